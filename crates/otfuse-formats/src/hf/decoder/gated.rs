//! Llama and what follows it: decoders with gated perceptrons that normalise by the root mean square.

use super::{Config, Decoder, Embeddings, HfError, Layer, Scores, classes, factor, key_heads, layer_types};
use crate::hf::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Packed, Pairs, Stack};
use crate::hf::config::unfit;
use crate::hf::encoder::head_width;
use crate::hf::head::Head;
use crate::hf::rotary::{self, Rope};
use crate::hf::sketch::{Bias, Linear, Sketch, activation_name};

pub(super) const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
    ]),
    attention_norm: "input_layernorm",
    cross: None,
    mlp: MlpNames { gate: Gate::Layer("mlp.gate_proj"), up: "mlp.up_proj", down: "mlp.down_proj" },
    mlp_norm: "post_attention_layernorm",
};

pub(super) const HEAD_NORMS: [&str; 2] = ["self_attn.q_norm", "self_attn.k_norm"];

/// What the families of gated decoders differ in.
pub(crate) struct Family {
    pub(super) classes: [(&'static str, Head); 4],
    /// Whether queries, keys and values have biases, and whether outputs have; `None` as the setting says.
    pub(super) biases: Option<[bool; 2]>,
    /// Whether queries and keys are normalised.
    pub(super) norms: bool,
    /// Whether what blocks compute is normalised, rather than what they read.
    pub(super) changes: bool,
    pub(super) key_heads: Option<usize>,
    pub(super) head_width: Option<usize>,
    pub(super) window: Window,
    /// Whether settings scale embeddings, changes, attention and scores.
    pub(super) factors: bool,
    pub(super) theta: f64,
}

/// Which layers see a limited number of tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Never,
    /// All, unless the setting is null; this many where the setting is missing.
    Always(Option<usize>),
    /// Those that are listed.
    ByLayer,
}

pub(crate) const LLAMA: Family = Family {
    classes: classes!("Llama"),
    biases: None,
    norms: false,
    changes: false,
    key_heads: None,
    head_width: None,
    window: Window::Never,
    factors: false,
    theta: 10_000.0,
};

pub(crate) const MISTRAL: Family = Family {
    classes: classes!("Mistral"),
    biases: Some([false, false]),
    key_heads: Some(8),
    window: Window::Always(Some(4096)),
    ..LLAMA
};

pub(crate) const QWEN2: Family = Family {
    classes: classes!("Qwen2"),
    biases: Some([true, false]),
    key_heads: Some(32),
    window: Window::ByLayer,
    ..LLAMA
};

pub(crate) const QWEN3: Family = Family {
    classes: classes!("Qwen3"),
    norms: true,
    key_heads: Some(32),
    head_width: Some(128),
    window: Window::ByLayer,
    ..LLAMA
};

pub(crate) const GRANITE: Family = Family { classes: classes!("Granite"), factors: true, ..LLAMA };

pub(crate) const SMOLLM3: Family =
    Family { classes: classes!("SmolLM3"), key_heads: Some(4), window: Window::ByLayer, theta: 2_000_000.0, ..LLAMA };

pub(crate) const OLMO2: Family = Family { classes: classes!("Olmo2"), norms: true, changes: true, ..LLAMA };

/// The sizes that most decoders have settings of the same names for.
pub(super) fn stack<'c>(config: &'c Config, family: &Family) -> Result<Stack<'c>, HfError> {
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let key_heads = key_heads(config, "num_key_value_heads", heads, family.key_heads)?;
    let head_width = match config.optional_size("head_dim")?.or(family.head_width) {
        Some(head_width) => head_width,
        None => head_width(width, heads, "num_attention_heads")?,
    };
    let [projections, output] = match family.biases {
        Some(biases) => biases,
        None => [config.flag("attention_bias", false)?; 2],
    };
    let mut names = LAYER;
    names.attention.norms = family.norms.then_some(HEAD_NORMS);
    let mut order = Order::Before;
    if family.changes {
        order = Order::Change;
        (names.attention_norm, names.mlp_norm) = ("post_attention_layernorm", "post_feedforward_layernorm");
    }
    let mlp = Linear { bias: if config.flag("mlp_bias", false)? { Bias::Yes } else { Bias::No }, transposed: false };
    let plain = 1.0 / (head_width as f64).sqrt();
    let more = match family.factors {
        true => More { residual: factor(config, "residual_multiplier")?, ..More::NOTHING },
        false => More { norms_over_heads: family.changes, ..More::NOTHING },
    };
    Ok(Stack {
        names,
        norm: Norm::RootMeanSquare(config.number("rms_norm_eps", 1e-6)?),
        order,
        width,
        inner: config.size("intermediate_size")?,
        heads,
        key_heads,
        head_width,
        scale: if family.factors { factor(config, "attention_multiplier")? } else { plain },
        activation: activation_name(config, "hidden_act", "silu")?,
        activation_field: "hidden_act",
        projections: Linear::biased_if(projections),
        output: Linear::biased_if(output),
        mlp,
        more,
    })
}

/// A decoder of these layers, which are all alike but for the tokens that they see.
pub(super) fn decoder<'c>(
    config: &Config,
    head: Head,
    stack: Stack<'c>,
    window: Window,
    rope: &Rope<'_>,
) -> Result<Decoder<'c>, HfError> {
    let layers = config.size("num_hidden_layers")?;
    let windows = windows(config, window, layers)?;
    let frequencies = vec![rotary::frequencies(config, stack.head_width, rope)?];
    Ok(Decoder {
        head,
        prefix: "model.",
        embeddings: Embeddings::of("embed_tokens.weight"),
        layers: "layers",
        each: windows.into_iter().map(|window| Layer { stack, window, rotation: Some(0) }).collect(),
        frequencies,
        pairs: Pairs::Halves,
        slopes: false,
        norm: Some(("norm", stack.norm)),
        width: stack.width,
        words: config.size("vocab_size")?,
        scores: Scores::PLAIN,
    })
}

/// Draws a decoder of the Llama kind.
pub(crate) fn draw(sketch: &mut Sketch<'_>, config: &Config, family: &Family) -> Result<(), HfError> {
    let head = Head::of(config, &family.classes)?;
    let rope = Rope { theta: family.theta, ..Rope::PLAIN };
    let mut decoder = decoder(config, head, stack(config, family)?, family.window, &rope)?;
    if family.factors {
        decoder.embeddings.scale = factor(config, "embedding_multiplier")?;
        decoder.scores.scale = 1.0 / factor(config, "logits_scaling")?;
    }
    if family.classes[0].0 == "SmolLM3Model" {
        unrotated(config, &mut decoder)?;
    }
    decoder.draw(sketch, config)
}

/// Takes the rotation from the layers that a setting names: a 0 in the list, or each of so many.
fn unrotated(config: &Config, decoder: &mut Decoder<'_>) -> Result<(), HfError> {
    let field = "no_rope_layers";
    let layers = decoder.each.len();
    let rotated: Vec<bool> = match config.get(field) {
        Some(list) => {
            let flags = list.as_array().filter(|flags| flags.len() == layers);
            let flags = flags.and_then(|flags| flags.iter().map(|flag| flag.as_i64().map(|flag| flag != 0)).collect());
            flags.ok_or_else(|| unfit(field, &format!("{layers} times 0 or 1"), list))?
        }
        None => {
            let interval = config.optional_size("no_rope_layer_interval")?.unwrap_or(4);
            (1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect()
        }
    };
    for (layer, rotated) in decoder.each.iter_mut().zip(rotated) {
        layer.rotation = layer.rotation.filter(|_| rotated);
    }
    Ok(())
}

/// Draws OLMo, which normalises without weights.
pub(crate) fn draw_olmo(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.refuse("clip_qkv")?;
    let family = Family { classes: classes!("Olmo"), ..LLAMA };
    let head = Head::of(config, &family.classes)?;
    let mut stack = stack(config, &family)?;
    stack.norm = Norm::LayerPlain(1e-5);
    decoder(config, head, stack, Window::Never, &Rope::PLAIN)?.draw(sketch, config)
}

/// Draws Phi-3, whose layers keep several weights in one.
pub(crate) fn draw_phi3(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let family = Family { classes: classes!("Phi3"), biases: Some([false; 2]), ..LLAMA };
    let head = Head::of(config, &family.classes)?;
    let mut stack = stack(config, &family)?;
    stack.names.attention = AttentionNames::packed(Packed::InTurn("self_attn.qkv_proj"), "self_attn.o_proj");
    stack.names.mlp = MlpNames { gate: Gate::Half, up: "mlp.gate_up_proj", down: "mlp.down_proj" };
    stack.mlp = Linear::PLAIN;
    stack.norm = Norm::RootMeanSquare(config.number("rms_norm_eps", 1e-5)?);
    decoder(config, head, stack, Window::Always(None), &Rope::PLAIN)?.draw(sketch, config)
}

/// Draws StableLM, which normalises layers.
pub(crate) fn draw_stablelm(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("qk_layernorm", &false.into())?;
    let qkv = config.flag("use_qkv_bias", false)?;
    let family = Family { classes: classes!("StableLm"), biases: Some([qkv, false]), key_heads: Some(32), ..LLAMA };
    let head = Head::of(config, &family.classes)?;
    let mut stack = stack(config, &family)?;
    stack.norm = Norm::Layer(config.number("layer_norm_eps", 1e-5)?);
    stack.mlp = Linear::PLAIN;
    if config.flag("use_parallel_residual", false)? {
        stack.order = Order::Parallel;
        stack.names.mlp_norm = stack.names.attention_norm;
    }
    let rope = Rope { share: 0.25, ..Rope::PLAIN };
    decoder(config, head, stack, Window::Never, &rope)?.draw(sketch, config)
}

/// Draws StarCoder2, whose perceptrons are not gated.
pub(crate) fn draw_starcoder2(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let biased = config.flag("use_bias", true)?;
    let family = Family { classes: classes!("Starcoder2"), biases: Some([biased; 2]), key_heads: Some(2), ..LLAMA };
    let head = Head::of(config, &family.classes)?;
    let mut stack = stack(config, &family)?;
    stack.norm = Norm::Layer(config.number("norm_epsilon", 1e-5)?);
    stack.names.mlp = MlpNames { gate: Gate::No, up: "mlp.c_fc", down: "mlp.c_proj" };
    stack.mlp = Linear::biased_if(biased);
    stack.activation = activation_name(config, "hidden_act", "gelu_pytorch_tanh")?;
    decoder(config, head, stack, Window::Always(None), &Rope::PLAIN)?.draw(sketch, config)
}

/// How many tokens each layer sees.
fn windows(config: &Config, kind: Window, layers: usize) -> Result<Vec<Option<usize>>, HfError> {
    let field = "sliding_window";
    let (slides, default) = match kind {
        Window::Never => return Ok(vec![None; layers]),
        Window::Always(default) => (vec![true; layers], default),
        Window::ByLayer => {
            let slides = match config.get("layer_types") {
                Some(list) => layer_types(list, layers)?,
                None => {
                    let first = config.number("max_window_layers", 28.0)?;
                    let on = config.flag("use_sliding_window", false)?;
                    (0..layers).map(|layer| on && layer as f64 >= first).collect()
                }
            };
            (slides, Some(4096))
        }
    };
    if !slides.contains(&true) {
        return Ok(vec![None; layers]);
    }
    let length = match config.optional_size(field)? {
        None if !config.0.contains_key(field) => default,
        length => length,
    };
    Ok(slides.into_iter().map(|slides| length.filter(|_| slides)).collect())
}
