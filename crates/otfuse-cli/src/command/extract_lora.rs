//! `otfuse extract-lora`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use otfuse::{ExtractOptions, ExtractReport, Registry, Result, TypeName, extract_lora};

use crate::arguments::Reading;
use crate::choice::{choice, said};
use crate::session::Session;
use crate::table::{count, percent, table};

/// `extract-lora`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("much").required(true).args(["rank", "energy"]))]
pub struct ExtractLora {
    /// The network that was tuned
    tuned: PathBuf,
    /// What it was before
    base: PathBuf,
    /// The folder to write the adapter into, as PEFT reads it
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// Rank of each layer's product; a layer that is smaller has its own size
    #[arg(long, value_name = "R")]
    rank: Option<usize>,
    /// Share of the sum of squares of each layer's difference that is kept, above 0 and up to 1
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    energy: Option<f64>,
    /// Element type of the adapter's tensors [default: float32]
    #[arg(long, value_parser = choice::<TypeName>())]
    dtype: Option<TypeName>,
    /// Leave out biases, normalisations, embeddings and what else is not the weight of a linear layer; without, they are kept
    /// whole where they differ
    #[arg(long)]
    linear_only: bool,
}

impl ExtractLora {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let models = self.reading.open_all(&[self.tuned.clone(), self.base.clone()], &mut registry)?;
        registry.folder("output", &self.output)?;
        let options = ExtractOptions {
            rank: self.rank,
            energy: self.energy,
            dtype: self.dtype,
            linear_only: said(self.linear_only),
        };
        let mut found = extract_lora(&models[0], &models[1], &options, &session.context)?;
        found.write(&registry, &self.output)?;
        registry.commit()?;
        session.print(&found.report, text)
    }
}

fn text(report: &ExtractReport) -> String {
    let rows = report.layers.iter().map(|layer| {
        vec![
            layer.name.clone(),
            format!("{} x {}", layer.shape[0], layer.shape[1]),
            layer.rank.to_string(),
            percent(layer.energy),
            percent(layer.difference),
        ]
    });
    let saved = match report.saved.len() {
        0 => String::new(),
        _ => format!("\nkept whole: {}", report.saved.join(", ")),
    };
    let biases =
        if report.biases > 0 { format!("\n{} kept", count(report.biases, "bias vector")) } else { String::new() };
    let left = match report.left_out.len() {
        0 => String::new(),
        _ => format!("\nleft out, although they differ: {}", report.left_out.join(", ")),
    };
    format!(
        "{}{saved}{biases}{left}\n{}: {}, {} of the difference of {} kept",
        table(&["layer", "size", "rank", "energy", "difference"], &["rank", "energy", "difference"], rows),
        report.output,
        count(report.parameters, "number"),
        percent(report.energy),
        count(report.layers.len(), "layer"),
    )
}
