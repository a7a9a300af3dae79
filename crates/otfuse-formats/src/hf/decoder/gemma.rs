//! Gemma: decoders that scale embeddings by the root of their width, and normalisations by one more than their weights.

use super::gated::{self, Family, HEAD_NORMS, LLAMA, Window};
use super::{Config, Decoder, HfError, classes, layer_types};
use crate::hf::blocks::{Norm, Order};
use crate::hf::head::Head;
use crate::hf::rotary::{self, Rope};
use crate::hf::sketch::{Sketch, activation_name};

/// What stands between the families.
struct Kind {
    family: Family,
    /// Whether blocks are normalised on both sides.
    around: bool,
    /// Whether queries and keys are normalised in each head.
    norms: bool,
}

fn decoder<'c>(config: &'c Config, kind: &Kind, ropes: &[Rope<'_>]) -> Result<Decoder<'c>, HfError> {
    let head = Head::of(config, &kind.family.classes)?;
    let mut stack = gated::stack(config, &kind.family)?;
    stack.norm = Norm::RootMeanSquareFromOne(config.number("rms_norm_eps", 1e-6)?);
    let field = if kind.around { "hidden_activation" } else { "hidden_act" };
    stack.activation_field = field;
    stack.activation = match activation_name(config, field, "gelu_pytorch_tanh")? {
        // Checkpoints of the first version name the exact function and mean this one.
        "gelu" if field == "hidden_act" => "gelu_pytorch_tanh",
        other => other,
    };
    if kind.around {
        stack.order = Order::Around(["post_attention_layernorm", "post_feedforward_layernorm"]);
        stack.names.mlp_norm = "pre_feedforward_layernorm";
        stack.scale = 1.0 / config.number("query_pre_attn_scalar", 256.0)?.sqrt();
        stack.more.cap = cap(config, "attn_logit_softcapping", 50.0)?;
    }
    stack.names.attention.norms = kind.norms.then_some(HEAD_NORMS);
    let mut decoder = gated::decoder(config, head, stack, Window::Never, &ropes[0])?;
    for rope in &ropes[1..] {
        decoder.frequencies.push(rotary::frequencies(config, stack.head_width, rope)?);
    }
    decoder.embeddings.scale = f64::from((stack.width as f32).sqrt());
    Ok(decoder)
}

/// A number below which a tangent keeps scores; none where the setting is null.
fn cap(config: &Config, field: &str, default: f64) -> Result<Option<f64>, HfError> {
    match (config.get(field), config.0.contains_key(field)) {
        (None, true) => Ok(None),
        _ => Ok(Some(config.number(field, default)?)),
    }
}

/// Draws the first Gemma.
pub(crate) fn draw_gemma(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("use_bidirectional_attention", &false.into())?;
    let family = Family { classes: classes!("Gemma"), head_width: Some(256), ..LLAMA };
    let kind = Kind { family, around: false, norms: false };
    decoder(config, &kind, &[Rope::PLAIN])?.draw(sketch, config)
}

/// Draws Gemma 2, of whose layers each second one sees a limited number of tokens.
pub(crate) fn draw_gemma2(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("use_bidirectional_attention", &false.into())?;
    let family = Family { classes: classes!("Gemma2"), head_width: Some(256), ..LLAMA };
    let kind = Kind { family, around: true, norms: false };
    let mut decoder = decoder(config, &kind, &[Rope::PLAIN])?;
    decoder.scores.cap = cap(config, "final_logit_softcapping", 30.0)?;
    slide(config, &mut decoder, 2, false)?;
    decoder.draw(sketch, config)
}

/// Draws the text part of Gemma 3, whose layers with a limited view have rotations of their own.
pub(crate) fn draw_gemma3(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("use_bidirectional_attention", &false.into())?;
    let classes = [
        ("Gemma3TextModel", Head::Base),
        ("Gemma3ForCausalLM", Head::CausalLanguage),
        ("Gemma3TextForSequenceClassification", Head::SequenceClassification),
        ("Gemma3TextForTokenClassification", Head::TokenClassification),
    ];
    let family = Family { classes, head_width: Some(256), ..LLAMA };
    let kind = Kind { family, around: true, norms: true };
    let whole = Rope { kind: Some("full_attention"), theta: 1_000_000.0, ..Rope::PLAIN };
    let near =
        Rope { kind: Some("sliding_attention"), theta_field: "rope_local_base_freq", is_unscaled: true, ..Rope::PLAIN };
    let mut decoder = decoder(config, &kind, &[whole, near])?;
    for layer in &mut decoder.each {
        layer.stack.more.cap = optional(config, "attn_logit_softcapping")?;
    }
    decoder.scores.cap = optional(config, "final_logit_softcapping")?;
    let pattern = match config.optional_size("sliding_window_pattern")? {
        Some(pattern) => pattern,
        None => config.optional_size("_sliding_window_pattern")?.unwrap_or(6),
    };
    slide(config, &mut decoder, pattern, true)?;
    decoder.draw(sketch, config)
}

fn optional(config: &Config, field: &str) -> Result<Option<f64>, HfError> {
    config.get(field).map(|_| config.number(field, 1.0)).transpose()
}

/// Limits what layers see: as the list of their kinds says, or all but each of so many.
fn slide(config: &Config, decoder: &mut Decoder<'_>, pattern: usize, own_rotation: bool) -> Result<(), HfError> {
    let layers = decoder.each.len();
    let slides: Vec<bool> = match config.get("layer_types") {
        Some(list) => layer_types(list, layers)?,
        None => (1..=layers).map(|layer| !layer.is_multiple_of(pattern)).collect(),
    };
    let length = config.optional_size("sliding_window")?;
    let length = if config.0.contains_key("sliding_window") { length } else { Some(4096) };
    for (layer, slides) in decoder.each.iter_mut().zip(slides) {
        layer.window = length.filter(|_| slides);
        layer.rotation = Some(usize::from(slides && own_rotation));
    }
    Ok(())
}
