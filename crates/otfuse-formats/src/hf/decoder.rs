//! GPT-2, Llama, Mistral and Qwen: decoders that normalise before each block.

use otfuse_graph::ValueId;
use serde_json::{Value, json};

use super::HfError;
use super::blocks::{AttentionNames, LayerNames, MlpNames, Norm, Positions, Stack};
use super::config::{Config, unfit};
use super::encoder::head_width;
use super::head::{Head, Vocabulary};
use super::rotary;
use super::sketch::{Bias, Linear, Sketch, activation_name};

const GPT2_LAYER: LayerNames = LayerNames {
    attention: AttentionNames {
        query: "",
        key: "",
        value: "",
        output: "attn.c_proj",
        packed: Some("attn.c_attn"),
        norms: None,
    },
    attention_norm: "ln_1",
    cross: None,
    mlp: MlpNames { gate: None, up: "mlp.c_fc", down: "mlp.c_proj" },
    mlp_norm: "ln_2",
};

const LLAMA_LAYER: LayerNames = LayerNames {
    attention: AttentionNames {
        query: "self_attn.q_proj",
        key: "self_attn.k_proj",
        value: "self_attn.v_proj",
        output: "self_attn.o_proj",
        packed: None,
        norms: None,
    },
    attention_norm: "input_layernorm",
    cross: None,
    mlp: MlpNames { gate: Some("mlp.gate_proj"), up: "mlp.up_proj", down: "mlp.down_proj" },
    mlp_norm: "post_attention_layernorm",
};

/// What the families of gated decoders differ in.
pub(super) struct Family {
    classes: [(&'static str, Head); 4],
    /// Whether queries, keys and values have biases, and whether outputs have; `None` as the setting says.
    biases: Option<[bool; 2]>,
    /// Whether queries and keys are normalised in each head.
    norms: bool,
    key_heads: Option<usize>,
    head_width: Option<usize>,
    window: Window,
}

/// Which layers see a limited number of tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Window {
    Never,
    /// All, unless the setting is null.
    Always,
    /// Those that are listed.
    ByLayer,
}

macro_rules! classes {
    ($name:literal) => {
        [
            (concat!($name, "Model"), Head::Base),
            (concat!($name, "ForCausalLM"), Head::CausalLanguage),
            (concat!($name, "ForSequenceClassification"), Head::SequenceClassification),
            (concat!($name, "ForTokenClassification"), Head::TokenClassification),
        ]
    };
}

pub(super) const LLAMA: Family = Family {
    classes: classes!("Llama"),
    biases: None,
    norms: false,
    key_heads: None,
    head_width: None,
    window: Window::Never,
};

pub(super) const MISTRAL: Family = Family {
    classes: classes!("Mistral"),
    biases: Some([false, false]),
    key_heads: Some(8),
    window: Window::Always,
    ..LLAMA
};

pub(super) const QWEN2: Family = Family {
    classes: classes!("Qwen2"),
    biases: Some([true, false]),
    key_heads: Some(32),
    window: Window::ByLayer,
    ..LLAMA
};

pub(super) const QWEN3: Family = Family {
    classes: classes!("Qwen3"),
    norms: true,
    key_heads: Some(32),
    head_width: Some(128),
    window: Window::ByLayer,
    ..LLAMA
};

/// The ends of a decoder.
struct Ends<'n> {
    prefix: &'n str,
    embeddings: &'n str,
    norm: (&'n str, Norm),
    width: usize,
}

/// Draws GPT-2.
pub(super) fn draw_gpt2(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("add_cross_attention", &json!(false))?;
    config.refuse("pruned_heads")?;
    let classes = [
        ("GPT2Model", Head::Base),
        ("GPT2LMHeadModel", Head::CausalLanguage),
        ("GPT2ForSequenceClassification", Head::SequenceClassification),
        ("GPT2ForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    let (width, heads) = (config.size("n_embd")?, config.size("n_head")?);
    let norm = Norm::Layer(config.number("layer_norm_epsilon", 1e-5)?);
    let head_width = head_width(width, heads, "n_head")?;
    let scale = if config.flag("scale_attn_weights", true)? { 1.0 / (head_width as f64).sqrt() } else { 1.0 };
    let by_layer = config.flag("scale_attn_by_inverse_layer_idx", false)?;
    let stack = Stack {
        names: GPT2_LAYER,
        norm,
        norm_first: true,
        width,
        inner: config.optional_size("n_inner")?.unwrap_or(4 * width),
        heads,
        key_heads: heads,
        head_width,
        scale,
        activation: activation_name(config, "activation_function", "gelu_new")?,
        activation_field: "activation_function",
        projections: Linear::TRANSPOSED,
        output: Linear::TRANSPOSED,
        mlp: Linear::TRANSPOSED,
    };
    let prefix = sketch.prefix("transformer.", "wte.weight");
    let ends = Ends { prefix, embeddings: "wte.weight", norm: ("ln_f", norm), width };
    let (tokens, attended) = inputs(sketch);
    let mut x = sketch.embed(&format!("{prefix}wte.weight"), [config.size("vocab_size")?, width], tokens)?;
    let positions = sketch.positions(tokens);
    let table = [config.optional_size("n_positions")?.unwrap_or(1024), width];
    let places = sketch.embed(&format!("{prefix}wpe.weight"), table, positions)?;
    x = sketch.b.add(x, places);
    let mask = mask(sketch, positions, attended, None);
    for layer in 0..config.size("n_layer")? {
        let scale = if by_layer { stack.scale / (layer + 1) as f64 } else { stack.scale };
        let positions = Positions { mask: Some(mask), ..Positions::default() };
        x = sketch.layer(x, &format!("{prefix}h.{layer}."), &Stack { scale, ..stack }, positions, None)?;
    }
    finish(sketch, config, head, &ends, (x, tokens))
}

/// Draws a decoder of the Llama kind.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config, family: &Family) -> Result<(), HfError> {
    let head = Head::of(config, &family.classes)?;
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let key_heads = config.optional_size("num_key_value_heads")?.or_else(|| {
        let is_null = config.0.contains_key("num_key_value_heads");
        family.key_heads.filter(|_| !is_null)
    });
    let key_heads = key_heads.unwrap_or(heads);
    if !heads.is_multiple_of(key_heads) {
        let expected = format!("a divisor of the {heads} attention heads");
        return Err(unfit("num_key_value_heads", &expected, &key_heads.into()));
    }
    let head_width = match config.optional_size("head_dim")?.or(family.head_width) {
        Some(head_width) => head_width,
        None => head_width(width, heads, "num_attention_heads")?,
    };
    let norm = Norm::RootMeanSquare(config.number("rms_norm_eps", 1e-6)?);
    let [projections, output] = match family.biases {
        Some(biases) => biases,
        None => [config.flag("attention_bias", false)?; 2],
    };
    let mut names = LLAMA_LAYER;
    names.attention.norms = family.norms.then_some(["self_attn.q_norm", "self_attn.k_norm"]);
    let mlp = Linear { bias: if config.flag("mlp_bias", false)? { Bias::Yes } else { Bias::No }, transposed: false };
    let stack = Stack {
        names,
        norm,
        norm_first: true,
        width,
        inner: config.size("intermediate_size")?,
        heads,
        key_heads,
        head_width,
        scale: 1.0 / (head_width as f64).sqrt(),
        activation: activation_name(config, "hidden_act", "silu")?,
        activation_field: "hidden_act",
        projections: Linear::biased_if(projections),
        output: Linear::biased_if(output),
        mlp,
    };
    let prefix = sketch.prefix("model.", "embed_tokens.weight");
    let ends = Ends { prefix, embeddings: "embed_tokens.weight", norm: ("norm", norm), width };
    let (tokens, attended) = inputs(sketch);
    let mut x = sketch.embed(&format!("{prefix}embed_tokens.weight"), [config.size("vocab_size")?, width], tokens)?;
    let positions = sketch.positions(tokens);
    let frequencies = rotary::frequencies(config, head_width)?;
    let rotation = Some(sketch.rotation(positions, frequencies));
    let layers = config.size("num_hidden_layers")?;
    let windows = windows(config, family.window, layers)?;
    let mut masks: Vec<(Option<usize>, ValueId)> = Vec::new();
    for (layer, &window) in windows.iter().enumerate() {
        let known = masks.iter().find(|(of, _)| *of == window).map(|(_, mask)| *mask);
        let mask = known.unwrap_or_else(|| {
            let made = mask(sketch, positions, attended, window);
            masks.push((window, made));
            made
        });
        let positions = Positions { mask: Some(mask), bias: None, rotation };
        x = sketch.layer(x, &format!("{prefix}layers.{layer}."), &stack, positions, None)?;
    }
    finish(sketch, config, head, &ends, (x, tokens))
}

/// How many tokens each layer sees.
fn windows(config: &Config, kind: Window, layers: usize) -> Result<Vec<Option<usize>>, HfError> {
    let field = "sliding_window";
    let length = match config.optional_size(field)? {
        None if !config.0.contains_key(field) => Some(4096),
        length => length,
    };
    let slides = match kind {
        Window::Never => vec![false; layers],
        Window::Always => vec![true; layers],
        Window::ByLayer => match config.get("layer_types") {
            Some(list) => layer_types(list, layers)?,
            None => {
                let first = config.number("max_window_layers", 28.0)?;
                let on = config.flag("use_sliding_window", false)?;
                (0..layers).map(|layer| on && layer as f64 >= first).collect()
            }
        },
    };
    Ok(slides.into_iter().map(|slides| length.filter(|_| slides)).collect())
}

fn layer_types(list: &Value, layers: usize) -> Result<Vec<bool>, HfError> {
    let expected = format!("{layers} times full_attention or sliding_attention");
    let kinds = list.as_array().filter(|kinds| kinds.len() == layers);
    let kind = |kind: &Value| match kind.as_str() {
        Some("full_attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    };
    let kinds = kinds.and_then(|kinds| kinds.iter().map(kind).collect());
    kinds.ok_or_else(|| unfit("layer_types", &expected, list))
}

/// Token ids, and which of them may be attended to.
fn inputs(sketch: &mut Sketch<'_>) -> (ValueId, ValueId) {
    let tokens = sketch.tokens("input_ids", "sequence");
    let attention_mask = sketch.tokens("attention_mask", "sequence");
    (tokens, sketch.attended(attention_mask))
}

fn mask(sketch: &mut Sketch<'_>, positions: ValueId, attended: ValueId, window: Option<usize>) -> ValueId {
    let causal = sketch.causal(positions, window);
    let causal = sketch.unsqueeze(causal, &[0, 1]);
    let allowed = sketch.binary(otfuse_graph::Binary::And, causal, attended);
    sketch.mask(allowed)
}

fn finish(
    sketch: &mut Sketch<'_>,
    config: &Config,
    head: Head,
    ends: &Ends<'_>,
    (x, tokens): (ValueId, ValueId),
) -> Result<(), HfError> {
    let Ends { prefix, embeddings, norm: (path, norm), width } = *ends;
    let x = sketch.norm(x, &format!("{prefix}{path}"), width, norm)?;
    let (value, name) = match head {
        Head::CausalLanguage => {
            let embeddings = format!("{prefix}{embeddings}");
            let words = config.size("vocab_size")?;
            let vocabulary = Vocabulary { embeddings: &embeddings, projection: "lm_head", bias: None, words, width };
            (sketch.scores(x, config, &vocabulary)?, "logits")
        }
        Head::SequenceClassification => {
            let padding = config.token("pad_token_id")?;
            let last = sketch.last_token(x, tokens, padding);
            (sketch.classes(last, "score", width, Linear::PLAIN)?, "logits")
        }
        Head::TokenClassification => {
            let path = if sketch.contains("classifier.weight") { "classifier" } else { "score" };
            (sketch.classes(x, path, width, Linear::OPEN)?, "logits")
        }
        _ => (x, "last_hidden_state"),
    };
    sketch.output(value, name);
    Ok(())
}
