//! `otfuse run`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{Registry, Result, RunOutputs, run};

use crate::arguments::Reading;
use crate::session::Session;

/// `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The network
    model: PathBuf,
    #[command(flatten)]
    reading: Reading,
    /// The inputs by name
    #[arg(long, value_name = "X.npz")]
    inputs: PathBuf,
    /// Where to write the outputs by name
    #[arg(short, long, value_name = "Y.npz")]
    output: PathBuf,
}

impl Run {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        registry.input("inputs", &self.inputs)?;
        let model = self.reading.open(&self.model, &mut registry)?;
        RunOutputs::register(&mut registry, &self.output)?;
        let mut found = run(&model, &self.inputs, &session.context)?;
        found.write(&registry, &self.output)?;
        registry.commit()?;
        session.print(&found.report, |report| {
            let ports = report.outputs.iter().map(|port| format!("{} {:?}", port.name, port.shape));
            format!("{}: {}", report.output, ports.collect::<Vec<_>>().join(", "))
        })
    }
}
