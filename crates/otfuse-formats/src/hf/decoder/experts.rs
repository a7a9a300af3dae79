//! Decoders with experts: Mixtral, Qwen's and OLMoE.

use super::gated::{self, Family, HEAD_NORMS, LLAMA, MISTRAL, QWEN2, QWEN3, Window};
use super::{Config, Decoder, HfError, classes};
use crate::hf::experts::{Experts, SHARED_EXPERT};
use crate::hf::head::Head;
use crate::hf::rotary::Rope;
use crate::hf::sketch::Sketch;

const GATED: (&str, [&str; 3]) = ("mlp.experts.", [".gate_proj", ".up_proj", ".down_proj"]);

/// Draws Mixtral.
pub(crate) fn draw_mixtral(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let family = Family { classes: classes!("Mixtral"), theta: 1_000_000.0, ..MISTRAL };
    let experts = Experts {
        router: "block_sparse_moe.gate",
        names: ("block_sparse_moe.experts.", [".w1", ".w3", ".w2"]),
        count: config.optional_size("num_local_experts")?.unwrap_or(8),
        chosen: config.optional_size("num_experts_per_tok")?.unwrap_or(2),
        inner: config.size("intermediate_size")?,
        normalised: true,
        shared: None,
    };
    let mut decoder = decoder(config, &family, Window::Always(None))?;
    decoder.each.iter_mut().for_each(|layer| layer.stack.more.experts = Some(experts));
    decoder.draw(sketch, config)
}

/// Draws the mixture of experts of Qwen2, one of which serves all tokens.
pub(crate) fn draw_qwen2_moe(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let biased = config.flag("qkv_bias", true)?;
    let family = Family { classes: classes!("Qwen2Moe"), biases: Some([biased, false]), key_heads: Some(16), ..QWEN2 };
    let shared = config.optional_size("shared_expert_intermediate_size")?.unwrap_or(5632);
    let shared = Some((SHARED_EXPERT, shared, "mlp.shared_expert_gate"));
    let experts = Experts { shared, ..qwen(config, [60, 4, 1408], false)? };
    let mut decoder = decoder(config, &family, Window::ByLayer)?;
    sparse(config, &mut decoder, experts)?;
    decoder.draw(sketch, config)
}

/// Draws the mixture of experts of Qwen3.
pub(crate) fn draw_qwen3_moe(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let family = Family { classes: classes!("Qwen3Moe"), key_heads: Some(4), head_width: None, ..QWEN3 };
    let window = if config.flag("use_sliding_window", false)? { Window::Always(Some(4096)) } else { Window::Never };
    let experts = qwen(config, [128, 8, 768], false)?;
    let mut decoder = decoder(config, &family, window)?;
    sparse(config, &mut decoder, experts)?;
    decoder.draw(sketch, config)
}

/// Draws OLMoE.
pub(crate) fn draw_olmoe(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.refuse("clip_qkv")?;
    let family = Family { classes: classes!("Olmoe"), norms: true, ..LLAMA };
    let inner = config.size("intermediate_size")?;
    let experts = qwen(config, [64, 8, inner], false)?;
    let mut decoder = decoder(config, &family, Window::Never)?;
    for layer in &mut decoder.each {
        layer.stack.more.experts = Some(experts);
        layer.stack.more.norms_over_heads = true;
        layer.stack.names.attention.norms = Some(HEAD_NORMS);
    }
    decoder.draw(sketch, config)
}

fn decoder<'c>(config: &'c Config, family: &Family, window: Window) -> Result<Decoder<'c>, HfError> {
    let head = Head::of(config, &family.classes)?;
    let rope = Rope { theta: family.theta, ..Rope::PLAIN };
    gated::decoder(config, head, gated::stack(config, family)?, window, &rope)
}

/// The settings of experts by Qwen's names, with the defaults for how many there are, are chosen, and their size.
fn qwen(config: &Config, [count, chosen, inner]: [usize; 3], normalised: bool) -> Result<Experts, HfError> {
    let count = match config.optional_size("num_experts")? {
        Some(count) => count,
        None => config.optional_size("num_local_experts")?.unwrap_or(count),
    };
    Ok(Experts {
        router: "mlp.gate",
        names: GATED,
        count,
        chosen: config.optional_size("num_experts_per_tok")?.unwrap_or(chosen),
        inner: config.optional_size("moe_intermediate_size")?.unwrap_or(inner),
        normalised: config.flag("norm_topk_prob", normalised)?,
        shared: None,
    })
}

/// Puts experts into the layers that have them by the settings.
fn sparse(config: &Config, decoder: &mut Decoder<'_>, experts: Experts) -> Result<(), HfError> {
    let step = config.optional_size("decoder_sparse_step")?.unwrap_or(1);
    let dense: Vec<u64> = match config.get("mlp_only_layers") {
        Some(list) => list.as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64).collect(),
        None => Vec::new(),
    };
    for (number, layer) in decoder.each.iter_mut().enumerate() {
        let is_sparse = !dense.contains(&(number as u64)) && (number + 1).is_multiple_of(step);
        layer.stack.more.experts = is_sparse.then_some(experts);
    }
    Ok(())
}
