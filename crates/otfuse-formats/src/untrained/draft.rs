//! A transformer before training: its tensors follow from its settings.

use std::path::PathBuf;

use serde_json::Value;

use super::UntrainedError;
use super::tokenizer::tokenizer_files;
use super::transformer::{DEVIATION, Task, TransformerSpec};
use crate::hf::{CONFIG_FILE, Config, Draft, Fill, HfError, HfFiles, HfSource, HfWeights, Stacks, draft};
use crate::model::{Model, Source};

impl TransformerSpec {
    /// The network for a task, all weights 0, and how `transformers` fills each tensor before training. It is written as a
    /// folder that `from_pretrained` loads, with the tokenizer of its vocabulary.
    ///
    /// # Errors
    /// Settings of no network, or of none for this task.
    pub fn draft(&self, task: &Task) -> Result<(Model, Vec<(String, Fill)>), UntrainedError> {
        let config = self.config(task)?;
        let classes = match task {
            Task::Text { classes, .. } => classes.unwrap_or_default(),
            Task::Images { classes, .. } => *classes,
        };
        let error = |error| self.settings_error(error);
        let (graph, bindings, Draft { tensors: dict, mut fills, .. }) = draft(&config, classes).map_err(error)?;
        adjust(&mut fills, &config).map_err(error)?;
        let json = format!("{:#}\n", Value::Object(config.0)).into_bytes();
        let mut files = vec![(CONFIG_FILE.to_owned(), json)];
        files.extend(tokenizer_files(task));
        let stacks = Stacks::of_stacked(&dict);
        let source = HfSource { files: HfFiles::New(files), dict, weights: HfWeights::Single, bindings, stacks };
        let path = PathBuf::from(&self.text);
        Ok((
            Model {
                graph,
                source: Source::HuggingFace(Box::new(source)),
                path,
                ties: Vec::new(),
                admits_nonfinite: false,
            },
            fills,
        ))
    }
}

/// What families do differently from each other.
fn adjust(fills: &mut [(String, Fill)], config: &Config) -> Result<(), HfError> {
    let range = config.number("initializer_range", DEVIATION)?;
    let layers = config.optional_size("n_layer")?.unwrap_or(1);
    // Some settings have a negative id where there is no padding.
    let padding = config.token("pad_token_id")?.and_then(|id| usize::try_from(id).ok());
    let family = config.text("model_type")?.unwrap_or_default();
    for (name, fill) in fills {
        let Fill::Normal { deviation, zero_row } = fill else { continue };
        *deviation = range;
        if family == "gpt2" && name.ends_with("c_proj.weight") {
            // Radford et al. 2019: the stream sums up two blocks of each layer.
            *deviation = range / (2.0 * layers as f64).sqrt();
        }
        let words = name.ends_with("word_embeddings.weight") || name.ends_with("embed_tokens.weight");
        if words || (family == "roberta" && name.ends_with("position_embeddings.weight")) {
            *zero_row = padding;
        }
    }
    Ok(())
}
