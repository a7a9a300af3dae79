//! `otfuse merge-lora`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{LoraAdapter, MergeLoraReport, Registry, Result, merge_lora};

use crate::session::Session;
use crate::table::{count, table};

/// `merge-lora`.
#[derive(Args, Debug)]
pub struct MergeLora {
    /// The network that the adapters are for: a Hugging Face folder of any family, or a file of tensors
    base: PathBuf,
    /// Adapters: folders with adapter_config.json
    #[arg(required = true, num_args = 1.., value_name = "ADAPTER")]
    adapters: Vec<PathBuf>,
    /// Where to write the base with the adapters merged into it
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// How much each adapter counts; 1 if not given
    #[arg(long, value_name = "W,W,..", value_delimiter = ',', allow_hyphen_values = true)]
    weights: Vec<f64>,
    /// Of several state dicts in a PyTorch file the one under this key, as ema_state_dict or a.b
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
}

impl MergeLora {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        registry.input("network", &self.base)?;
        self.adapters.iter().try_for_each(|adapter| registry.input("adapter", adapter))?;
        let adapters = self.adapters.iter().map(LoraAdapter::open).collect::<Result<Vec<_>>>()?;
        let key = self.weights_key.as_deref();
        let mut merged = merge_lora(&self.base, key, &adapters, &self.weights, &session.context)?;
        merged.register(&mut registry, &self.output)?;
        merged.write(&registry, &self.output, &session.context)?;
        registry.commit()?;
        session.print(&merged.report, text)
    }
}

fn text(report: &MergeLoraReport) -> String {
    let rows = report.adapters.iter().map(|adapter| {
        vec![adapter.path.clone(), adapter.weight.to_string(), adapter.layers.to_string(), adapter.saved.to_string()]
    });
    let columns = ["adapter", "weight", "layers", "whole tensors"];
    format!(
        "{}\n{}: {} with {} merged, {} of {} changed",
        table(&columns, &columns[1..], rows),
        report.output,
        report.base,
        count(report.adapters.len(), "adapter"),
        report.changed,
        count(report.tensors, "tensor"),
    )
}
