//! ModernBERT: an encoder with rotations, gated perceptrons and layers that see near tokens alone.

use otfuse_graph::{Binary, DataType, ReduceKind, Unary, ValueId};

use super::{HfError, head_width};
use crate::hf::blocks::{
    AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Packed, Pairs, Positions, Stack,
};
use crate::hf::config::{Config, unfit};
use crate::hf::decoder::layer_types;
use crate::hf::head::{Head, Vocabulary};
use crate::hf::rotary::{self, Rope};
use crate::hf::sketch::{Linear, Sketch, activation_name};

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::packed(Packed::InTurn("attn.Wqkv"), "attn.Wo"),
    attention_norm: "attn_norm",
    cross: None,
    mlp: MlpNames { gate: Gate::Half, up: "mlp.Wi", down: "mlp.Wo" },
    mlp_norm: "mlp_norm",
};

/// Draws ModernBERT.
pub(crate) fn draw(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let classes = [
        ("ModernBertModel", Head::Base),
        ("ModernBertForMaskedLM", Head::MaskedLanguage),
        ("ModernBertForSequenceClassification", Head::SequenceClassification),
        ("ModernBertForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    let stack = stack(config)?;
    let width = stack.width;
    let prefix = sketch.prefix("model.", "embeddings.tok_embeddings.weight");
    let tokens = sketch.tokens("input_ids", "sequence");
    let attention_mask = sketch.tokens("attention_mask", "sequence");
    let table = format!("{prefix}embeddings.tok_embeddings.weight");
    let mut x = sketch.embed(&table, [config.size("vocab_size")?, width], tokens)?;
    x = sketch.norm(x, &format!("{prefix}embeddings.norm"), width, stack.norm)?;
    let layers = config.size("num_hidden_layers")?;
    let every = config.optional_size("global_attn_every_n_layers")?.unwrap_or(3);
    let near: Vec<bool> = match config.get("layer_types") {
        Some(list) => layer_types(list, layers)?,
        None => (0..layers).map(|layer| !layer.is_multiple_of(every)).collect(),
    };
    let [whole, local] = views(sketch, config, &stack, [tokens, attention_mask])?;
    for (layer, near) in near.into_iter().enumerate() {
        let mut stack = stack;
        if layer == 0 {
            stack.names.attention_norm = "";
        }
        let positions = if near { local } else { whole };
        x = sketch.layer(x, &format!("{prefix}layers.{layer}."), &stack, positions, None)?;
    }
    x = sketch.norm(x, &format!("{prefix}final_norm"), width, stack.norm)?;
    finish(sketch, config, head, &stack, &table, (x, attention_mask))
}

fn stack(config: &Config) -> Result<Stack<'_>, HfError> {
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let head_width = head_width(width, heads, "num_attention_heads")?;
    let epsilon = config.number("norm_eps", 1e-5)?;
    let attention = Linear::biased_if(config.flag("attention_bias", false)?);
    Ok(Stack {
        names: LAYER,
        norm: if config.flag("norm_bias", false)? { Norm::Layer(epsilon) } else { Norm::LayerScaled(epsilon) },
        order: Order::Before,
        width,
        inner: config.size("intermediate_size")?,
        heads,
        key_heads: heads,
        head_width,
        scale: 1.0 / (head_width as f64).sqrt(),
        activation: activation_name(config, "hidden_activation", "gelu")?,
        activation_field: "hidden_activation",
        projections: attention,
        output: attention,
        mlp: Linear::biased_if(config.flag("mlp_bias", false)?),
        more: More::NOTHING,
    })
}

/// Masks and rotations of layers that see all tokens, and of those that see near ones.
fn views(
    sketch: &mut Sketch<'_>,
    config: &Config,
    stack: &Stack<'_>,
    [tokens, attention_mask]: [ValueId; 2],
) -> Result<[Positions; 2], HfError> {
    let attended = sketch.attended(attention_mask);
    let positions = sketch.positions(tokens);
    let (queries, keys) = (sketch.unsqueeze(positions, &[1]), sketch.unsqueeze(positions, &[0]));
    let distance = sketch.binary(Binary::Sub, queries, keys);
    let distance = sketch.unary(Unary::Abs, distance);
    let reach = sketch.integer((config.optional_size("local_attention")?.unwrap_or(128) / 2) as i64);
    let near = sketch.binary(Binary::LessOrEqual, distance, reach);
    let near = sketch.unsqueeze(near, &[0, 1]);
    let near = sketch.binary(Binary::And, near, attended);
    let ropes = [
        Rope { kind: Some("full_attention"), theta_field: "global_rope_theta", theta: 160_000.0, ..Rope::PLAIN },
        Rope { kind: Some("sliding_attention"), theta_field: "local_rope_theta", ..Rope::PLAIN },
    ];
    let mut views = [Positions::default(); 2];
    for ((view, rope), allowed) in views.iter_mut().zip(ropes).zip([attended, near]) {
        let frequencies = rotary::frequencies(config, stack.head_width, &rope)?;
        view.rotation = Some(sketch.rotation(positions, frequencies, Pairs::Halves));
        view.mask = Some(sketch.mask(allowed));
    }
    Ok(views)
}

fn finish(
    sketch: &mut Sketch<'_>,
    config: &Config,
    head: Head,
    stack: &Stack<'_>,
    table: &str,
    (mut x, attention_mask): (ValueId, ValueId),
) -> Result<(), HfError> {
    let width = stack.width;
    if head == Head::Base {
        sketch.output(x, "last_hidden_state");
        return Ok(());
    }
    if head == Head::SequenceClassification {
        x = match config.text("classifier_pooling")?.unwrap_or("cls") {
            "cls" => sketch.take(x, 0, 1),
            "mean" => mean(sketch, x, attention_mask),
            other => return Err(unfit("classifier_pooling", "cls or mean", &other.into())),
        };
    }
    let linear = Linear::biased_if(config.flag("classifier_bias", false)?);
    let field = "classifier_activation";
    x = sketch.linear(x, "head.dense", [width; 2], linear)?;
    x = sketch.activation(x, activation_name(config, field, "gelu")?, field)?;
    x = sketch.norm(x, "head.norm", width, stack.norm)?;
    let logits = match head {
        Head::MaskedLanguage => {
            let bias = config.flag("decoder_bias", true)?.then_some("decoder.bias");
            let words = config.size("vocab_size")?;
            sketch.scores(x, config, &Vocabulary { embeddings: table, projection: "decoder", bias, words, width })?
        }
        _ => sketch.classes(x, "classifier", width, Linear::BIASED)?,
    };
    sketch.output(logits, "logits");
    Ok(())
}

/// The mean over the tokens that may be attended to.
fn mean(sketch: &mut Sketch<'_>, x: ValueId, attention_mask: ValueId) -> ValueId {
    let attended = sketch.cast(attention_mask, DataType::F32);
    let attended = sketch.unsqueeze(attended, &[2]);
    let kept = sketch.binary(Binary::Mul, x, attended);
    let [sum, count] = [kept, attended].map(|of| sketch.reduced(of, ReduceKind::Sum, 1));
    let mean = sketch.binary(Binary::Div, sum, count);
    sketch.take(mean, 0, 1)
}
