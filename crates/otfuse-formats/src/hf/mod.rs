//! Hugging Face folders: `config.json` says what the network is, the weights lie beside it.
//!
//! Each family is a short description (names of weights and settings) over the blocks that all transformers share:
//! attention, multi-layer perceptron, normalisation. The graph computes what the class of the `transformers` library
//! computes that `architectures` names, in inference mode, for token ids and an attention mask (or pixels). A setting
//! that would change the function and is not drawn here is refused by name.

mod blocks;
mod config;
mod decoder;
mod draft;
mod encoder;
mod error;
mod head;
mod rotary;
mod sketch;
mod t5;
mod vision;
mod weights;

use std::path::{Path, PathBuf};

use otfuse_graph::Graph;

pub(crate) use self::config::Config;
pub(crate) use self::draft::Draft;
pub use self::draft::Fill;
pub use self::error::HfError;
pub use self::weights::{HfIndex, HfWeights};
pub(crate) use self::weights::{companions, write_folder};
pub use crate::file::check_folder_target;

use self::config::{missing, unfit};
use self::sketch::Sketch;
use crate::StateDict;
use crate::file::open_mapped;

/// The name of the file with the settings.
pub const CONFIG_FILE: &str = "config.json";

/// A network from a Hugging Face folder.
#[derive(Clone, Debug)]
pub struct HfModel {
    /// The network.
    pub graph: Graph,
    /// What the folder holds.
    pub source: HfSource,
}

/// What a Hugging Face folder holds.
#[derive(Clone, Debug)]
pub struct HfSource {
    /// Where the files beside the weights are.
    pub files: HfFiles,
    /// All its tensors.
    pub dict: StateDict,
    /// The files that they lie in.
    pub weights: HfWeights,
    /// For each tensor that the graph uses, its initializer. Tied weights have one initializer.
    pub(crate) bindings: Vec<(String, String)>,
}

/// The files of a folder beside its weights.
#[derive(Clone, Debug)]
pub enum HfFiles {
    /// Those of a folder.
    Folder(PathBuf),
    /// New ones: names and contents.
    New(Vec<(String, Vec<u8>)>),
}

/// Reads the network of a folder with `config.json` and weights: `model.safetensors`, the index of its shards, or
/// `pytorch_model.bin`. Tensors of safetensors files are slices of memory maps.
///
/// # Errors
/// Any [`HfError`]: a missing file, a family or setting that is not drawn here, tensors that do not fit the settings.
pub fn open_folder(folder: &Path) -> Result<HfModel, HfError> {
    let path = folder.join(CONFIG_FILE);
    if !path.is_file() {
        return Err(HfError::MissingFile { expected: "config.json and weights" });
    }
    let config = Config::parse(&open_mapped(&path)?)?;
    let (weights, dict) = HfWeights::open(folder)?;
    let (graph, bindings) = draw(&config, &dict)?;
    Ok(HfModel { graph, source: HfSource { files: HfFiles::Folder(folder.into()), dict, weights, bindings } })
}

/// The network of a state dict, with the settings of a folder or of its `config.json`.
///
/// # Errors
/// As [`open_folder`].
pub(crate) fn draw_with_settings(settings: &Path, dict: &StateDict) -> Result<(Graph, Vec<(String, String)>), HfError> {
    draw(&Config::parse(&open_mapped(&settings_file(settings))?)?, dict)
}

/// The file with the settings of a folder, or the file itself.
pub(crate) fn settings_file(settings: &Path) -> PathBuf {
    if settings.is_dir() { settings.join(CONFIG_FILE) } else { settings.into() }
}

/// The network of these settings and weights.
fn draw(config: &Config, dict: &StateDict) -> Result<(Graph, Vec<(String, String)>), HfError> {
    let mut sketch = Sketch::new(config.text("model_type")?.unwrap_or_default(), dict);
    draw_into(&mut sketch, config)?;
    sketch.finish()
}

/// The network of these settings before training, with the tensors that it asks for.
#[allow(clippy::type_complexity)]
pub(crate) fn draft(config: &Config, classes: usize) -> Result<(Graph, Vec<(String, String)>, Draft), HfError> {
    let empty = StateDict::new();
    let mut sketch = Sketch::new(config.text("model_type")?.unwrap_or_default(), &empty);
    sketch.draft = Some(Draft::of_classes(classes));
    draw_into(&mut sketch, config)?;
    let draft = sketch.draft.take().ok_or_else(|| HfError::Graph { found: "no tensors".into() })?;
    let (graph, bindings) = sketch.finish()?;
    Ok((graph, bindings, draft))
}

/// Draws a network of these settings.
fn draw_into(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let families = "bert, distilbert, roberta, vit, gpt2, llama, mistral, qwen2, qwen3 or t5";
    let family = config.text("model_type")?.ok_or_else(|| missing("model_type", families))?;
    config.refuse("quantization_config")?;
    match family {
        "bert" => encoder::draw(sketch, config, &encoder::BERT),
        "distilbert" => encoder::draw(sketch, config, &encoder::DISTILBERT),
        "roberta" => encoder::draw(sketch, config, &encoder::ROBERTA),
        "vit" => vision::draw(sketch, config),
        "gpt2" => decoder::draw_gpt2(sketch, config),
        "llama" => decoder::draw(sketch, config, &decoder::LLAMA),
        "mistral" => decoder::draw(sketch, config, &decoder::MISTRAL),
        "qwen2" => decoder::draw(sketch, config, &decoder::QWEN2),
        "qwen3" => decoder::draw(sketch, config, &decoder::QWEN3),
        "t5" => t5::draw(sketch, config),
        other => Err(unfit("model_type", families, &other.into())),
    }
}
