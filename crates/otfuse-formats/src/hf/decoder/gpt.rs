//! GPT-2, GPT-Neo, OPT and BLOOM: decoders with layer normalisation and perceptrons that are not gated.

use serde_json::{Value, json};

use super::{Config, Decoder, Embeddings, HfError, Layer, Places, Scores, kinds};
use crate::hf::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Packed, Pairs, Stack};
use crate::hf::config::unfit;
use crate::hf::encoder::head_width;
use crate::hf::head::Head;
use crate::hf::sketch::{Linear, Sketch, activation_name};

const GPT2_LAYER: LayerNames = LayerNames {
    attention: AttentionNames::packed(Packed::InTurn("attn.c_attn"), "attn.c_proj"),
    attention_norm: "ln_1",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "mlp.c_fc", down: "mlp.c_proj" },
    mlp_norm: "ln_2",
};

const OPT_LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
    ]),
    attention_norm: "self_attn_layer_norm",
    cross: None,
    mlp: MlpNames { gate: Gate::No, up: "fc1", down: "fc2" },
    mlp_norm: "final_layer_norm",
};

/// The names of settings of sizes.
pub(super) struct Fields {
    pub width: &'static str,
    pub heads: &'static str,
    pub inner: &'static str,
    pub activation: (&'static str, &'static str),
    pub epsilon: &'static str,
}

/// Layers with as many heads of keys as of queries and layer normalisation before their blocks.
pub(super) fn stack<'c>(config: &'c Config, names: LayerNames, fields: &Fields) -> Result<Stack<'c>, HfError> {
    let (width, heads) = (config.size(fields.width)?, config.size(fields.heads)?);
    let head_width = head_width(width, heads, fields.heads)?;
    let (activation_field, activation) = fields.activation;
    Ok(Stack {
        names,
        norm: Norm::Layer(config.number(fields.epsilon, 1e-5)?),
        order: Order::Before,
        width,
        inner: config.optional_size(fields.inner)?.unwrap_or(4 * width),
        heads,
        key_heads: heads,
        head_width,
        scale: 1.0 / (head_width as f64).sqrt(),
        activation: activation_name(config, activation_field, activation)?,
        activation_field,
        projections: Linear::BIASED,
        output: Linear::BIASED,
        mlp: Linear::BIASED,
        more: More::NOTHING,
    })
}

/// A decoder of layers that are all alike and see all tokens before, without rotations.
pub(super) fn decoder<'c>(
    config: &Config,
    head: Head,
    stack: Stack<'c>,
    layers: (&'static str, usize),
    embeddings: Embeddings,
) -> Result<Decoder<'c>, HfError> {
    Ok(Decoder {
        head,
        prefix: "transformer.",
        embeddings,
        layers: layers.0,
        each: vec![Layer { stack, window: None, rotation: None }; layers.1],
        frequencies: Vec::new(),
        pairs: Pairs::Halves,
        slopes: false,
        norm: Some(("ln_f", stack.norm)),
        width: stack.width,
        words: config.size("vocab_size")?,
        scores: Scores::PLAIN,
    })
}

/// Draws GPT-2.
pub(crate) fn draw_gpt2(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("add_cross_attention", &json!(false))?;
    config.refuse("pruned_heads")?;
    let classes = [
        ("GPT2Model", Head::Base),
        ("GPT2LMHeadModel", Head::CausalLanguage),
        ("GPT2ForSequenceClassification", Head::SequenceClassification),
        ("GPT2ForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    let fields = Fields {
        width: "n_embd",
        heads: "n_head",
        inner: "n_inner",
        activation: ("activation_function", "gelu_new"),
        epsilon: "layer_norm_epsilon",
    };
    let mut stack = stack(config, GPT2_LAYER, &fields)?;
    (stack.projections, stack.output, stack.mlp) = (Linear::TRANSPOSED, Linear::TRANSPOSED, Linear::TRANSPOSED);
    if !config.flag("scale_attn_weights", true)? {
        stack.scale = 1.0;
    }
    let places = Places {
        table: "wpe.weight",
        length: config.optional_size("n_positions")?.unwrap_or(1024),
        counted_from: None,
    };
    let embeddings = Embeddings { places: Some(places), ..Embeddings::of("wte.weight") };
    let mut decoder = decoder(config, head, stack, ("h", config.size("n_layer")?), embeddings)?;
    if config.flag("scale_attn_by_inverse_layer_idx", false)? {
        for (number, layer) in decoder.each.iter_mut().enumerate() {
            layer.stack.scale /= (number + 1) as f64;
        }
    }
    decoder.draw(sketch, config)
}

/// Draws GPT-Neo, whose scores are not scaled, and some of whose layers see a limited number of tokens.
pub(crate) fn draw_gpt_neo(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let classes = [
        ("GPTNeoModel", Head::Base),
        ("GPTNeoForCausalLM", Head::CausalLanguage),
        ("GPTNeoForSequenceClassification", Head::SequenceClassification),
        ("GPTNeoForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    let attention = AttentionNames::separate([
        "attn.attention.q_proj",
        "attn.attention.k_proj",
        "attn.attention.v_proj",
        "attn.attention.out_proj",
    ]);
    let fields = Fields {
        width: "hidden_size",
        heads: "num_heads",
        inner: "intermediate_size",
        activation: ("activation_function", "gelu_new"),
        epsilon: "layer_norm_epsilon",
    };
    let mut stack = stack(config, LayerNames { attention, ..GPT2_LAYER }, &fields)?;
    (stack.scale, stack.projections) = (1.0, Linear::PLAIN);
    let length = config.optional_size("max_position_embeddings")?.unwrap_or(2048);
    let places = Places { table: "wpe.weight", length, counted_from: None };
    let embeddings = Embeddings { places: Some(places), ..Embeddings::of("wte.weight") };
    let layers = config.size("num_layers")?;
    let mut decoder = decoder(config, head, stack, ("h", layers), embeddings)?;
    let list = match config.get("attention_layers") {
        Some(list) => list.clone(),
        None => expanded(config.get("attention_types").unwrap_or(&json!([[["global", "local"], layers.div_ceil(2)]])))?,
    };
    let local = kinds(&list, "attention_layers", layers, ["global", "local"])?;
    let window = config.optional_size("window_size")?.unwrap_or(256);
    for (layer, local) in decoder.each.iter_mut().zip(local) {
        layer.window = local.then_some(window);
    }
    decoder.draw(sketch, config)
}

/// `[[[a, b], 2]]` as `[a, b, a, b]`.
fn expanded(types: &Value) -> Result<Value, HfError> {
    let wrong = || unfit("attention_types", "lists of kinds, and how often each is repeated", types);
    let mut list = Vec::new();
    for entry in types.as_array().ok_or_else(wrong)? {
        let Some([kinds, times]) = entry.as_array().map(Vec::as_slice) else { return Err(wrong()) };
        let (kinds, times) = kinds.as_array().zip(times.as_u64()).ok_or_else(wrong)?;
        (0..times.min(1 << 16)).for_each(|_| list.extend(kinds.iter().cloned()));
    }
    Ok(list.into())
}

/// Draws OPT.
pub(crate) fn draw_opt(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("layer_norm_elementwise_affine", &json!(true))?;
    let classes = [
        ("OPTModel", Head::Base),
        ("OPTForCausalLM", Head::CausalLanguage),
        ("OPTForSequenceClassification", Head::SequenceClassification),
    ];
    let head = Head::of(config, &classes)?;
    let fields = Fields {
        width: "hidden_size",
        heads: "num_attention_heads",
        inner: "ffn_dim",
        activation: ("activation_function", "relu"),
        epsilon: "layer_norm_eps",
    };
    let mut stack = stack(config, OPT_LAYER, &fields)?;
    let linear = Linear::biased_if(config.flag("enable_bias", true)?);
    (stack.projections, stack.output, stack.mlp) = (linear, linear, linear);
    let before = config.flag("do_layer_norm_before", true)?;
    if !before {
        stack.order = Order::Behind;
    }
    let length = config.optional_size("max_position_embeddings")?.unwrap_or(2048) + 2;
    let narrow = config.optional_size("word_embed_proj_dim")?.filter(|&narrow| narrow != stack.width);
    let embeddings = Embeddings {
        narrow: narrow.map(|narrow| (narrow, ["project_in", "project_out"])),
        places: Some(Places { table: "embed_positions.weight", length, counted_from: Some(2) }),
        ..Embeddings::of("embed_tokens.weight")
    };
    let mut decoder = decoder(config, head, stack, ("layers", config.size("num_hidden_layers")?), embeddings)?;
    let table = "model.decoder.embed_tokens.weight";
    let is_alone = head == Head::Base || sketch.contains("decoder.embed_tokens.weight");
    decoder.prefix = if is_alone && !sketch.contains(table) { "decoder." } else { "model.decoder." };
    let is_last = before && !config.flag("_remove_final_layer_norm", false)?;
    decoder.norm = is_last.then_some(("final_layer_norm", stack.norm));
    decoder.draw(sketch, config)
}

/// Draws BLOOM, whose scores grow with the position of the key.
pub(crate) fn draw_bloom(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    config.require("apply_residual_connection_post_layernorm", &json!(false))?;
    config.require("slow_but_exact", &json!(false))?;
    let classes = [
        ("BloomModel", Head::Base),
        ("BloomForCausalLM", Head::CausalLanguage),
        ("BloomForSequenceClassification", Head::SequenceClassification),
        ("BloomForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    let names = LayerNames {
        attention: AttentionNames::packed(Packed::ByHead("self_attention.query_key_value"), "self_attention.dense"),
        attention_norm: "input_layernorm",
        cross: None,
        mlp: MlpNames { gate: Gate::No, up: "mlp.dense_h_to_4h", down: "mlp.dense_4h_to_h" },
        mlp_norm: "post_attention_layernorm",
    };
    let of = |names: [&'static str; 2]| if config.get(names[0]).is_some() { names[0] } else { names[1] };
    let fields = Fields {
        width: of(["hidden_size", "n_embed"]),
        heads: of(["n_head", "num_attention_heads"]),
        // There is no such setting: the inner layer is four times as wide.
        inner: "n_inner",
        activation: ("hidden_act", "gelu_new"),
        epsilon: "layer_norm_epsilon",
    };
    let stack = stack(config, names, &fields)?;
    let embeddings = Embeddings {
        norm: Some(("word_embeddings_layernorm", stack.norm)),
        ..Embeddings::of("word_embeddings.weight")
    };
    let layers = config.size(of(["n_layer", "num_hidden_layers"]))?;
    let mut decoder = decoder(config, head, stack, ("h", layers), embeddings)?;
    decoder.slopes = true;
    decoder.draw(sketch, config)
}
