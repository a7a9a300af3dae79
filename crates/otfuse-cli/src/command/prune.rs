//! `otfuse prune`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{Names, NormName, PruneOptions, PruneReport, Registry, Result, brief, prune};

use crate::arguments::Reading;
use crate::choice::{choice, said};
use crate::session::Session;
use crate::table::{count, table};

/// `prune`.
#[derive(Args, Debug)]
pub struct Prune {
    /// The network
    model: PathBuf,
    /// Where to write the result; the extension chooses the format (.onnx, .safetensors, .pt ...)
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Share of the neurons that go; every group keeps at least two [default: 0.5]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    amount: Option<f64>,
    /// Norm of its incoming weights that makes a neuron important [default: l1]
    #[arg(long, value_parser = choice::<NormName>())]
    norm: Option<NormName>,
    /// Take the share of all groups together, the least weights first, instead of each
    #[arg(long)]
    global: bool,
    /// Only these groups: numbers as `otfuse inspect` counts them, or weights (a name, or how names begin)
    #[arg(long, value_name = "G,G,..", value_delimiter = ',')]
    groups: Vec<String>,
    /// All groups but these
    #[arg(long, value_name = "G,G,..", value_delimiter = ',')]
    exclude: Vec<String>,
}

impl Prune {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let model = self.reading.open(&self.model, &mut registry)?;
        registry.result("output", &self.output, &model)?;
        let options = PruneOptions {
            amount: self.amount,
            norm: self.norm,
            global: said(self.global),
            groups: Some(Names(self.groups.clone())),
            exclude: Some(Names(self.exclude.clone())),
        };
        let mut pruned = prune(&model, &options, &session.context)?;
        pruned.write(&registry, &self.output)?;
        registry.commit()?;
        session.print(&pruned.report, text)
    }
}

fn text(report: &PruneReport) -> String {
    let rows = report
        .groups
        .iter()
        .map(|group| vec![group.index.to_string(), group.name.clone(), group.size.to_string(), group.kept.to_string()]);
    let pinned = report.pinned.iter();
    let pinned = pinned.map(|group| vec![group.size.to_string(), brief(&group.members), group.reason.clone()]);
    format!(
        "{}\n\npinned: left as they are\n{}\n\n{} -> {}: {} of {}",
        table(&["group", "first weight", "neurons", "kept"], &["group", "neurons", "kept"], rows),
        table(&["size", "weights", "why"], &["size"], pinned),
        report.path,
        report.output,
        report.kept_parameters,
        count(report.parameters, "parameter"),
    )
}
