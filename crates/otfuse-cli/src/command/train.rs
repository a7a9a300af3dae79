//! `otfuse train`.

use clap::Args;
use otfuse::{Registry, Result, TrainData, train, untrained};

use super::training::Training;
use crate::session::Session;

/// `train`.
#[derive(Args, Debug)]
pub struct Train {
    /// Architecture: mlp:400-200-100, vgg11, vgg11-nobias, vgg11-bn, resnet20, resnet18, lenet or cnn; a number behind a
    /// colon multiplies all widths (vgg11:0.5). Transformers: gpt2:LAYERS,WIDTH,HEADS (also bert, roberta, distilbert,
    /// llama, mistral, qwen2, qwen3, vit), or a folder with config.json; they are written as folders
    arch: String,
    #[command(flatten)]
    training: Training,
}

impl Train {
    /// Runs the command.
    pub fn run(&self, session: &Session) -> Result<()> {
        let mut registry = Registry::new();
        registry.input("architecture", self.arch.as_ref())?;
        let (options, dataset) = (self.training.options(), self.training.data.required(&mut registry)?);
        let data = TrainData::of(&dataset, &options)?;
        let model = untrained(&self.arch, &data.train, &options)?;
        let state = self.training.register(&model, &mut registry)?;
        let trained = train(&model, &data, &options, &state, &session.context)?;
        self.training.finish(trained, registry, session)
    }
}
