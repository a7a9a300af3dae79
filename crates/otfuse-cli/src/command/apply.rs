//! `otfuse apply`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{ApplyOptions, Registry, Result, apply};

use crate::arguments::Reading;
use crate::session::Session;
use crate::table::count;

/// `apply`.
#[derive(Args, Debug)]
pub struct Apply {
    /// What `align`, or `fuse`, wrote with --save-alignment
    alignment: PathBuf,
    /// A network of the same architecture as the one that was aligned: a later checkpoint, say
    model: PathBuf,
    /// Where to write it, aligned; the extension chooses the format
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// The network that it is aligned to; needed where widths differ
    #[arg(long, value_name = "MODEL")]
    to: Option<PathBuf>,
    /// Which alignment of the file, by the number of the model in `fuse`; needed if there are several
    #[arg(long, value_name = "I")]
    index: Option<usize>,
    /// The alignment was made with --preset paper
    #[arg(long)]
    published_scaling: bool,
}

impl Apply {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        registry.input("alignment", &self.alignment)?;
        let paths: Vec<PathBuf> = [&self.model].into_iter().chain(&self.to).cloned().collect();
        let mut models = self.reading.open_all(&paths, &mut registry)?;
        let to = models.split_off(1).pop();
        let model = models.remove(0);
        registry.result("output", &self.output, to.as_ref().unwrap_or(&model))?;
        let options = ApplyOptions { to, index: self.index, published_scaling: self.published_scaling };
        let mut applied = apply(&self.alignment, &model, &options)?;
        applied.write(&registry, &self.output)?;
        registry.commit()?;
        session.print(&applied.report, |report| {
            let groups = count(report.groups, "group");
            format!("{}: {} in its new order, {} of {groups} moved", report.output, report.model, report.moved)
        })
    }
}
