//! `otfuse convert`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{Registry, Result, convert};

use crate::arguments::Reading;
use crate::session::Session;
use crate::table::count;

/// `convert`.
#[derive(Args, Debug)]
pub struct Convert {
    /// The network
    input: PathBuf,
    /// Where to write it; the extension chooses the format
    output: PathBuf,
    #[command(flatten)]
    reading: Reading,
}

impl Convert {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let model = self.reading.open(&self.input, &mut registry)?;
        registry.result("output", &self.output, &model)?;
        let found = convert(&model, &registry, &self.output, &session.context)?;
        registry.commit()?;
        session.print(&found, |found| {
            format!("{} -> {}: {}", found.input, found.output, count(found.parameters, "parameter"))
        })
    }
}
