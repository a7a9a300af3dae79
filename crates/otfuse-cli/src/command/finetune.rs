//! `otfuse finetune`.

use std::path::PathBuf;

use clap::Args;
use otfuse::{Knowledge, Registry, Result, TrainData, finetune};

use super::training::Training;
use crate::arguments::Reading;
use crate::session::Session;

/// `finetune`.
#[derive(Args, Debug)]
pub struct Finetune {
    /// The network
    model: PathBuf,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    training: Training,
}

impl Finetune {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        let model = self.reading.open(&self.model, &mut registry)?;
        let (options, dataset) = (self.training.options(), self.training.data.required(&mut registry)?);
        if options.hold.is_some() {
            registry.input("knowledge", &Knowledge::beside(&self.model))?;
        }
        let state = self.training.register(&model, &mut registry)?;
        let data = TrainData::of(&dataset, &options)?;
        let trained = finetune(&model, &data, &options, &state, &session.context)?;
        self.training.finish(trained, registry, session)
    }
}
