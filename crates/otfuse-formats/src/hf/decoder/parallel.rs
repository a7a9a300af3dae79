//! GPT-NeoX, GPT-J, Phi, Cohere and Falcon: decoders whose attention and perceptron both read a layer's input.

use serde_json::json;

use super::gpt::{Fields, decoder, stack};
use super::{Config, Embeddings, HfError, Scores, classes, key_heads};
use crate::hf::blocks::{AttentionNames, Gate, LayerNames, MlpNames, Norm, Order, Packed, Pairs};
use crate::hf::config::unfit;
use crate::hf::head::Head;
use crate::hf::rotary::{self, Rope};
use crate::hf::sketch::{Linear, Sketch, activation_name};

const FIELDS: Fields = Fields {
    width: "hidden_size",
    heads: "num_attention_heads",
    inner: "intermediate_size",
    activation: ("hidden_act", "gelu"),
    epsilon: "layer_norm_eps",
};

const NEOX_LAYER: LayerNames = LayerNames {
    attention: AttentionNames::packed(Packed::ByHead("attention.query_key_value"), "attention.dense"),
    attention_norm: "input_layernorm",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "mlp.dense_h_to_4h", down: "mlp.dense_4h_to_h" },
    mlp_norm: "post_attention_layernorm",
};

const GPTJ_LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate(["attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj"]),
    attention_norm: "ln_1",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "mlp.fc_in", down: "mlp.fc_out" },
    mlp_norm: "ln_1",
};

const PHI_LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.dense",
    ]),
    attention_norm: "input_layernorm",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "mlp.fc1", down: "mlp.fc2" },
    mlp_norm: "input_layernorm",
};

/// Draws GPT-NeoX.
pub(crate) fn draw_gpt_neox(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let head = Head::of(config, &classes!("GPTNeoX"))?;
    let mut stack = stack(config, NEOX_LAYER, &FIELDS)?;
    let linear = Linear::biased_if(config.flag("attention_bias", true)?);
    (stack.projections, stack.output) = (linear, linear);
    if config.flag("use_parallel_residual", true)? {
        stack.order = Order::Parallel;
    }
    let rope = Rope { theta_field: "rotary_emb_base", share_field: "rotary_pct", share: 0.25, ..Rope::PLAIN };
    let embeddings = Embeddings::of("embed_in.weight");
    let mut decoder = decoder(config, head, stack, ("layers", config.size("num_hidden_layers")?), embeddings)?;
    decoder.prefix = "gpt_neox.";
    decoder.norm = Some(("final_layer_norm", stack.norm));
    decoder.scores.path = "embed_out";
    decoder.frequencies = vec![rotary::frequencies(config, stack.head_width, &rope)?];
    decoder.each.iter_mut().for_each(|layer| layer.rotation = Some(0));
    decoder.draw(sketch, config)
}

/// Draws GPT-J.
pub(crate) fn draw_gptj(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let classes = [
        ("GPTJModel", Head::Base),
        ("GPTJForCausalLM", Head::CausalLanguage),
        ("GPTJForSequenceClassification", Head::SequenceClassification),
    ];
    let head = Head::of(config, &classes)?;
    let fields = Fields {
        width: "n_embd",
        heads: "n_head",
        inner: "n_inner",
        activation: ("activation_function", "gelu_new"),
        epsilon: "layer_norm_epsilon",
    };
    let mut stack = stack(config, GPTJ_LAYER, &fields)?;
    (stack.projections, stack.output) = (Linear::PLAIN, Linear::PLAIN);
    stack.order = Order::Parallel;
    let channels = match config.0.contains_key("rotary_dim") {
        true => config.optional_size("rotary_dim")?.unwrap_or(stack.head_width),
        false => 64,
    };
    if !channels.is_multiple_of(2) || channels > stack.head_width {
        let expected = format!("an even number up to the heads' width {}", stack.head_width);
        return Err(unfit("rotary_dim", &expected, &channels.into()));
    }
    let embeddings = Embeddings::of("wte.weight");
    let mut decoder = decoder(config, head, stack, ("h", config.size("n_layer")?), embeddings)?;
    decoder.frequencies = vec![rotary::geometric(channels, 10_000.0)];
    decoder.pairs = Pairs::Neighbours;
    decoder.each.iter_mut().for_each(|layer| layer.rotation = Some(0));
    decoder.scores.bias = Some("lm_head.bias");
    decoder.draw(sketch, config)
}

/// Draws Phi.
pub(crate) fn draw_phi(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("qk_layernorm", &json!(false))?;
    let head = Head::of(config, &classes!("Phi"))?;
    let fields = Fields { activation: ("hidden_act", "gelu_new"), ..FIELDS };
    let mut stack = stack(config, PHI_LAYER, &fields)?;
    stack.key_heads = key_heads(config, "num_key_value_heads", stack.heads, None)?;
    stack.order = Order::Parallel;
    let rope = Rope { share: 0.5, ..Rope::PLAIN };
    let embeddings = Embeddings::of("embed_tokens.weight");
    let mut decoder = decoder(config, head, stack, ("layers", config.size("num_hidden_layers")?), embeddings)?;
    decoder.prefix = "model.";
    decoder.norm = Some(("final_layernorm", stack.norm));
    decoder.scores.bias = Some("lm_head.bias");
    decoder.frequencies = vec![rotary::frequencies(config, stack.head_width, &rope)?];
    decoder.each.iter_mut().for_each(|layer| layer.rotation = Some(0));
    decoder.draw(sketch, config)
}

/// Draws Cohere's Command R.
pub(crate) fn draw_cohere(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("use_qk_norm", &json!(false))?;
    let classes = [("CohereModel", Head::Base), ("CohereForCausalLM", Head::CausalLanguage)];
    let head = Head::of(config, &classes)?;
    let names = LayerNames { mlp_norm: "input_layernorm", ..super::gated::LAYER };
    let mut stack = stack(config, names, &FIELDS)?;
    stack.norm = Norm::LayerScaled(config.number("layer_norm_eps", 1e-5)?);
    stack.key_heads = key_heads(config, "num_key_value_heads", stack.heads, None)?;
    stack.order = Order::Parallel;
    stack.activation = activation_name(config, "hidden_act", "silu")?;
    let linear = Linear::biased_if(config.flag("attention_bias", false)?);
    (stack.projections, stack.output, stack.mlp) = (linear, linear, Linear::PLAIN);
    let rope = Rope { theta: 500_000.0, ..Rope::PLAIN };
    let embeddings = Embeddings::of("embed_tokens.weight");
    let mut decoder = decoder(config, head, stack, ("layers", config.size("num_hidden_layers")?), embeddings)?;
    decoder.prefix = "model.";
    decoder.norm = Some(("norm", stack.norm));
    decoder.scores.scale = config.number("logit_scale", 0.0625)?;
    decoder.frequencies = vec![rotary::frequencies(config, stack.head_width, &rope)?];
    decoder.pairs = Pairs::Neighbours;
    decoder.each.iter_mut().for_each(|layer| layer.rotation = Some(0));
    decoder.draw(sketch, config)
}

/// Draws Falcon with rotations.
pub(crate) fn draw_falcon(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("alibi", &json!(false))?;
    let classes = [
        ("FalconModel", Head::Base),
        ("FalconForCausalLM", Head::CausalLanguage),
        ("FalconForSequenceClassification", Head::SequenceClassification),
        ("FalconForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    let new = config.flag("new_decoder_architecture", false)?;
    let norms = match config.optional_size("num_ln_in_parallel_attn")? {
        Some(norms) => norms,
        None => 1 + usize::from(new),
    };
    let parallel = config.flag("parallel_attn", true)? || new;
    let [attention_norm, mlp_norm] = match (parallel, new && norms == 2) {
        (true, true) => ["ln_attn", "ln_mlp"],
        (true, false) => ["input_layernorm", "input_layernorm"],
        (false, _) => ["input_layernorm", "post_attention_layernorm"],
    };
    let attention = AttentionNames::packed(Packed::ByHead("self_attention.query_key_value"), "self_attention.dense");
    let names = LayerNames { attention, attention_norm, mlp_norm, ..NEOX_LAYER };
    let fields = Fields {
        inner: "ffn_hidden_size",
        activation: ("activation", "gelu"),
        epsilon: "layer_norm_epsilon",
        ..FIELDS
    };
    let mut stack = stack(config, names, &fields)?;
    stack.key_heads = match (new, config.flag("multi_query", true)?) {
        (true, _) => key_heads(config, "num_kv_heads", stack.heads, None)?,
        (false, true) => 1,
        (false, false) => stack.heads,
    };
    let linear = Linear::biased_if(config.flag("bias", false)?);
    (stack.projections, stack.output, stack.mlp) = (linear, linear, linear);
    if parallel {
        stack.order = Order::Parallel;
    }
    let embeddings = Embeddings::of("word_embeddings.weight");
    let mut decoder = decoder(config, head, stack, ("h", config.size("num_hidden_layers")?), embeddings)?;
    decoder.frequencies = vec![rotary::frequencies(config, stack.head_width, &Rope::PLAIN)?];
    decoder.each.iter_mut().for_each(|layer| layer.rotation = Some(0));
    decoder.scores = Scores::PLAIN;
    decoder.draw(sketch, config)
}
