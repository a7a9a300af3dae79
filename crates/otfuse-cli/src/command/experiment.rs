//! `otfuse experiment`.

use std::path::PathBuf;

use clap::Args;
use otfuse::experiment::file::Changes;
use otfuse::experiment::{read, run};
use otfuse::{Registry, Result};

use crate::arguments::Pages;
use crate::session::Session;

/// `experiment`.
#[derive(Args, Debug)]
pub struct Experiment {
    /// The experiment: a YAML file, see docs/experiments.md
    #[arg(value_name = "FILE.yml")]
    file: PathBuf,
    /// Folder of the results and of what was trained; the same command goes on where it was interrupted
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Which size of the experiment: full, or a variant of the file, such as small
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Use seeds 0 to N - 1 in place of the file's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,
    /// Give a variable of the file another value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Check the file and say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pages: Pages,
}

impl Experiment {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let changes =
            Changes { variant: self.variant.as_deref(), set: &self.set, seeds: self.seeds.map(|seeds| seeds as usize) };
        let planned = read(&self.file, &changes)?;
        if self.dry_run {
            return session.print(&planned.1.lines(), |lines| lines.join("\n"));
        }
        let mut registry = Registry::new();
        registry.input("experiment", &self.file)?;
        self.pages.register(&mut registry)?;
        let found = run(&planned, &self.output, &mut registry, &session.typed(), &session.context)?;
        self.pages.write(&found, &registry)?;
        registry.commit()?;
        session.print(&found.results, |_| found.markdown())
    }
}
