//! Hugging Face folders: `config.json` says what the network is, the weights lie beside it.
//!
//! Each family is a short description (names of weights and settings) over the blocks that all transformers share:
//! attention, multi-layer perceptron, normalisation. The graph computes what the class of the `transformers` library
//! computes that `architectures` names, in inference mode, for token ids and an attention mask (or pixels). A setting
//! that would change the function and is not drawn here is refused by name.

mod adapter;
mod bart;
mod blocks;
mod config;
mod decoder;
mod draft;
mod encoder;
mod error;
mod experts;
mod head;
mod rotary;
mod sketch;
mod t5;
mod towers;
mod untied;
mod vision;
mod weights;
mod words;

use std::path::{Path, PathBuf};

use otfuse_graph::Graph;

pub(crate) use self::adapter::adapter_of_tensors;
pub(crate) use self::config::Config;
pub(crate) use self::draft::Draft;
pub use self::draft::Fill;
pub use self::error::HfError;
pub(crate) use self::experts::{Stacks, Unstacked};
pub use self::weights::{HfIndex, HfWeights};
pub(crate) use self::weights::{companions, write_beside, write_folder};
pub use self::words::Tokens;
pub(crate) use self::words::{vocabulary_axes, vocabulary_of};
pub use crate::file::check_folder_target;

use self::adapter::adapter_of_folder;
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
    /// Which of the tensors stand for several in the files.
    pub(crate) stacks: Stacks,
}

impl HfSource {
    /// Whether a tensor of the dict stands for several in the files: the experts of a layer.
    pub fn is_stacked(&self, name: &str) -> bool {
        self.stacks.is_stacked(name)
    }
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
        let missing = HfError::MissingFile { expected: "config.json and weights" };
        return Err(adapter_of_folder(folder).unwrap_or(missing));
    }
    let config = Config::parse(&open_mapped(&path)?)?;
    drawing(&config)?;
    let (weights, dict) = open_weights(folder)?;
    let (dict, stacks) = Stacks::of(dict)?;
    let (graph, bindings) = draw(&config, &dict)?;
    Ok(HfModel { graph, source: HfSource { files: HfFiles::Folder(folder.into()), dict, weights, bindings, stacks } })
}

/// The weights of a folder alone.
pub(crate) fn open_weights(folder: &Path) -> Result<(HfWeights, StateDict), HfError> {
    HfWeights::open(folder).map_err(|error| match error {
        HfError::MissingFile { .. } => adapter_of_folder(folder).unwrap_or(error),
        other => other,
    })
}

/// The network of a state dict, with the settings of a folder or of its `config.json`.
///
/// # Errors
/// As [`open_folder`].
pub(crate) fn draw_with_settings(settings: &Path, dict: &StateDict) -> Result<(Graph, Vec<(String, String)>), HfError> {
    let config = Config::parse(&open_mapped(&settings_file(settings))?)?;
    let family = config.text("model_type")?.unwrap_or_default();
    if MIXTURES.contains(&family) {
        let expected = "the folder itself as the model where there are experts, whose tensors are kept apart";
        return Err(unfit("model_type", expected, &family.into()));
    }
    draw(&config, dict)
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

/// Draws a network of the settings of a family.
type Draw = fn(&mut Sketch<'_>, &Config) -> Result<(), HfError>;

/// The families, by `model_type`.
const FAMILIES: &[(&str, Draw)] = &[
    ("albert", |sketch, config| encoder::draw(sketch, config, &encoder::ALBERT)),
    ("bart", |sketch, config| bart::draw(sketch, config, &bart::BART)),
    ("bert", |sketch, config| encoder::draw(sketch, config, &encoder::BERT)),
    ("blenderbot", |sketch, config| bart::draw(sketch, config, &bart::BLENDERBOT)),
    ("bloom", decoder::draw_bloom),
    ("camembert", |sketch, config| encoder::draw(sketch, config, &encoder::CAMEMBERT)),
    ("clip", |sketch, config| towers::draw(sketch, config, towers::Kind::Clip)),
    ("clip_text_model", |sketch, config| towers::draw_text(sketch, config, towers::Kind::Clip)),
    ("clip_vision_model", |sketch, config| towers::draw_image(sketch, config, towers::Kind::Clip)),
    ("convnext", |sketch, config| vision::draw_convnext(sketch, config, false)),
    ("convnextv2", |sketch, config| vision::draw_convnext(sketch, config, true)),
    ("cohere", decoder::draw_cohere),
    ("deberta-v2", encoder::draw_deberta),
    ("deit", |sketch, config| vision::draw(sketch, config, &vision::DEIT)),
    ("dinov2", |sketch, config| vision::draw(sketch, config, &vision::DINOV2)),
    ("dinov2_with_registers", |sketch, config| vision::draw(sketch, config, &vision::DINOV2_WITH_REGISTERS)),
    ("distilbert", |sketch, config| encoder::draw(sketch, config, &encoder::DISTILBERT)),
    ("electra", |sketch, config| encoder::draw(sketch, config, &encoder::ELECTRA)),
    ("ernie", |sketch, config| encoder::draw(sketch, config, &encoder::ERNIE)),
    ("falcon", decoder::draw_falcon),
    ("gemma", decoder::draw_gemma),
    ("gemma2", decoder::draw_gemma2),
    ("gemma3_text", decoder::draw_gemma3),
    ("gpt2", decoder::draw_gpt2),
    ("gpt_neo", decoder::draw_gpt_neo),
    ("gpt_neox", decoder::draw_gpt_neox),
    ("gptj", decoder::draw_gptj),
    ("granite", |sketch, config| decoder::draw_gated(sketch, config, &decoder::GRANITE)),
    ("ijepa", |sketch, config| vision::draw(sketch, config, &vision::IJEPA)),
    ("llama", |sketch, config| decoder::draw_gated(sketch, config, &decoder::LLAMA)),
    ("m2m_100", |sketch, config| bart::draw(sketch, config, &bart::M2M_100)),
    ("marian", |sketch, config| bart::draw(sketch, config, &bart::MARIAN)),
    ("mbart", |sketch, config| bart::draw(sketch, config, &bart::MBART)),
    ("mistral", |sketch, config| decoder::draw_gated(sketch, config, &decoder::MISTRAL)),
    ("mixtral", decoder::draw_mixtral),
    ("modernbert", encoder::draw_modern),
    ("mpnet", |sketch, config| encoder::draw(sketch, config, &encoder::MPNET)),
    ("mt5", t5::draw_mt5),
    ("olmo", decoder::draw_olmo),
    ("olmo2", |sketch, config| decoder::draw_gated(sketch, config, &decoder::OLMO2)),
    ("olmoe", decoder::draw_olmoe),
    ("opt", decoder::draw_opt),
    ("pegasus", |sketch, config| bart::draw(sketch, config, &bart::PEGASUS)),
    ("phi", decoder::draw_phi),
    ("phi3", decoder::draw_phi3),
    ("qwen2", |sketch, config| decoder::draw_gated(sketch, config, &decoder::QWEN2)),
    ("qwen2_moe", decoder::draw_qwen2_moe),
    ("qwen3", |sketch, config| decoder::draw_gated(sketch, config, &decoder::QWEN3)),
    ("qwen3_moe", decoder::draw_qwen3_moe),
    ("regnet", vision::draw_regnet),
    ("resnet", vision::draw_resnet),
    ("roberta", |sketch, config| encoder::draw(sketch, config, &encoder::ROBERTA)),
    ("siglip", |sketch, config| towers::draw(sketch, config, towers::Kind::Siglip)),
    ("siglip_text_model", |sketch, config| towers::draw_text(sketch, config, towers::Kind::Siglip)),
    ("siglip_vision_model", |sketch, config| towers::draw_image(sketch, config, towers::Kind::Siglip)),
    ("smollm3", |sketch, config| decoder::draw_gated(sketch, config, &decoder::SMOLLM3)),
    ("stablelm", decoder::draw_stablelm),
    ("starcoder2", decoder::draw_starcoder2),
    ("swin", vision::draw_swin),
    ("t5", t5::draw),
    ("vit", |sketch, config| vision::draw(sketch, config, &vision::VIT)),
    ("vit_msn", |sketch, config| vision::draw(sketch, config, &vision::VIT_MSN)),
    ("whisper", bart::draw_whisper),
    ("xlm-roberta", |sketch, config| encoder::draw(sketch, config, &encoder::XLM_ROBERTA)),
];

/// The families whose experts' tensors are stacked when a folder is opened.
const MIXTURES: [&str; 4] = ["mixtral", "olmoe", "qwen2_moe", "qwen3_moe"];

/// Draws a network of these settings.
fn draw_into(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.refuse("quantization_config")?;
    drawing(config)?(sketch, config)
}

/// What draws the family of these settings.
fn drawing(config: &Config) -> Result<Draw, HfError> {
    let families = || {
        let names: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    };
    let family = config.text("model_type")?.ok_or_else(|| missing("model_type", &families()))?;
    let known = FAMILIES.iter().find(|(name, _)| *name == family);
    known.map(|(_, draw)| *draw).ok_or_else(|| unfit("model_type", &families(), &family.into()))
}
