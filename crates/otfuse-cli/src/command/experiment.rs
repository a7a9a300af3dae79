//! `otfuse experiment`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::experiment::file::{Changes, read};
use crate::cli::experiment::machine::Record;
use crate::cli::experiment::plan::plan;
use crate::cli::experiment::result::{Results, results};
use crate::cli::experiment::store::{Store, json};
use crate::cli::experiment::work::Worker;
use crate::cli::experiment::{chart, table};
use crate::cli::output::Output;
use crate::cli::pages::{Pages, experiment_page};

/// `experiment`.
#[derive(Args, Debug)]
pub struct Experiment {
    /// The experiment: a YAML file, see docs/experiments.md
    #[arg(value_name = "FILE.yml")]
    pub file: PathBuf,
    /// Folder of the results and of what was trained; the same command goes on where it was interrupted
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Which size of the experiment: full, or a variant of the file, such as small
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Use seeds 0 to N - 1 in place of the file's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: Option<u64>,
    /// Give a variable of the file another value
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Check the file and say what would be done
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pages: Pages,
}

/// What a page holds as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    results: &'a Results,
    run: &'a Record,
}

/// Runs the command.
pub fn run(arguments: &Experiment, output: &Output) -> Result<(), Failure> {
    let changes = Changes {
        variant: arguments.variant.as_deref(),
        set: &arguments.set,
        seeds: arguments.seeds.map(|seeds| seeds as usize),
    };
    let experiment = read(&arguments.file, &changes)?;
    let plan = plan(&experiment).map_err(|failure| failure.of(&arguments.file))?;
    if arguments.dry_run {
        return output.result(&plan.lines(), |lines| lines.join("\n"));
    }
    arguments.pages.check(std::slice::from_ref(&arguments.file))?;
    let store = Store::open(&arguments.output)?;
    let done = Worker::new(&plan, &experiment.data, &store).run()?;
    let results = results(&experiment, &plan, &done);
    store.result("results.csv", &table::csv(&results))?;
    let markdown = table::markdown(&results);
    store.result("results.md", &markdown)?;
    store.result("results.json", &json(&results)?)?;
    for figure in chart::figures(&results).map_err(Failure::run)? {
        store.result(&format!("{}.svg", figure.name), &figure.svg)?;
    }
    let record = Record::new(&plan, &done);
    store.result("run.md", &record.markdown())?;
    store.result("run.json", &json(&record)?)?;
    let whole = Whole { results: &results, run: &record };
    arguments.pages.write(&whole, |_| experiment_page(&results, &record))?;
    output.result(&results, |_| markdown)
}
