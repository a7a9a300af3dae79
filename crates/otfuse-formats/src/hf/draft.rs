//! A transformer before training: its tensors follow from its settings.

use std::path::Path;

use otfuse_graph::Tensor;

use super::config::Config;
use super::sketch::Sketch;
use super::spec::{DEVIATION, Task, TransformerSpec};
use super::tokenizer::tokenizer_files;
use super::{CONFIG_FILE, HfFiles, HfSource, HfWeights, draw_into};
use crate::StateDict;
use crate::catalogue::SpecError;
use crate::model::{Model, Source};

/// The most parameters of a network that is made here.
const MOST_PARAMETERS: usize = 1 << 31;

/// What the elements of a new tensor are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// One number.
    Constant(f32),
    /// Normally distributed around 0.
    Normal {
        /// The standard deviation.
        deviation: f64,
        /// A row of zeros: the vector of padding.
        zero_row: Option<usize>,
    },
}

/// Tensors that are made as they are asked for.
#[derive(Default)]
pub(super) struct Draft {
    pub tensors: StateDict,
    pub fills: Vec<(String, Fill)>,
    pub classes: usize,
    parameters: usize,
}

impl Draft {
    /// A tensor of zeros of that name, made if there is none yet; `None` if the network becomes too large.
    pub fn make(&mut self, name: &str, shape: &[usize], fill: Fill) -> Option<Tensor> {
        if let Some(known) = self.tensors.get(name) {
            return Some(known.clone());
        }
        let elements = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))?;
        self.parameters = self.parameters.checked_add(elements).filter(|&sum| sum <= MOST_PARAMETERS)?;
        let tensor = Tensor::from_f32(shape, vec![0.0; elements]);
        self.tensors.insert(name, tensor.clone()).ok()?;
        self.fills.push((name.to_owned(), fill));
        Some(tensor)
    }
}

impl TransformerSpec {
    /// The network for a task, all weights 0, and how `transformers` fills each tensor before training. It is written as a
    /// folder that `from_pretrained` loads, with the tokenizer of its vocabulary.
    ///
    /// # Errors
    /// Settings of no network, or of none for this task.
    pub fn draft(&self, task: &Task) -> Result<(Model, Vec<(String, Fill)>), SpecError> {
        let config = self.config(task)?;
        let empty = StateDict::new();
        let classes = match task {
            Task::Text { classes, .. } => classes.unwrap_or_default(),
            Task::Images { classes, .. } => *classes,
        };
        let family = config.text("model_type").ok().flatten().unwrap_or_default();
        let mut sketch = Sketch::new(family, &empty);
        sketch.draft = Some(Draft { classes, ..Draft::default() });
        let draft = draw_into(sketch, &config).map_err(|error| self.settings_error(error))?;
        let (graph, bindings, Some(Draft { tensors: dict, mut fills, .. })) = draft else {
            return Err(self.settings_error(super::HfError::Graph { found: "no tensors".into() }));
        };
        adjust(&mut fills, &config);
        let mut json = serde_json::to_vec_pretty(&config.0).unwrap_or_default();
        json.push(b'\n');
        let mut files = vec![(CONFIG_FILE.to_owned(), json)];
        files.extend(tokenizer_files(task));
        let source = HfSource { files: HfFiles::New(files), dict, weights: HfWeights::Single, bindings };
        let path = Path::new(&self.text).to_path_buf();
        Ok((Model { graph, source: Source::HuggingFace(Box::new(source)), path }, fills))
    }
}

/// What families do differently from each other.
fn adjust(fills: &mut [(String, Fill)], config: &Config) {
    let range = config.number("initializer_range", DEVIATION).unwrap_or(DEVIATION);
    let layers = config.optional_size("n_layer").ok().flatten().unwrap_or(1);
    let padding = config.token("pad_token_id").ok().flatten().and_then(|id| usize::try_from(id).ok());
    let family = config.text("model_type").ok().flatten().unwrap_or_default();
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
}
