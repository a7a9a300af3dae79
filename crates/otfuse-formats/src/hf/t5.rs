//! T5: an encoder and a decoder with relative positions.

use otfuse_graph::{Operator, Tensor, ValueId, Variadic};

use super::HfError;
use super::blocks::{AttentionNames, LayerNames, MlpNames, Norm, Positions, Stack};
use super::config::{Config, unfit};
use super::head::{Head, Vocabulary};
use super::sketch::{Linear, Sketch};

const CLASSES: &[(&str, Head)] = &[
    ("T5ForConditionalGeneration", Head::ConditionalGeneration),
    ("T5Model", Head::Base),
    ("T5EncoderModel", Head::Encoder),
];

const SELF_ATTENTION: AttentionNames = AttentionNames {
    query: "layer.0.SelfAttention.q",
    key: "layer.0.SelfAttention.k",
    value: "layer.0.SelfAttention.v",
    output: "layer.0.SelfAttention.o",
    packed: None,
    norms: None,
};

const CROSS_ATTENTION: AttentionNames = AttentionNames {
    query: "layer.1.EncDecAttention.q",
    key: "layer.1.EncDecAttention.k",
    value: "layer.1.EncDecAttention.v",
    output: "layer.1.EncDecAttention.o",
    packed: None,
    norms: None,
};

/// The names in a layer of the encoder, or of the decoder.
fn names(decoder: bool, gated: bool) -> LayerNames {
    let mlp = match (decoder, gated) {
        (false, false) => MlpNames { gate: None, up: "layer.1.DenseReluDense.wi", down: "layer.1.DenseReluDense.wo" },
        (false, true) => MlpNames {
            gate: Some("layer.1.DenseReluDense.wi_0"),
            up: "layer.1.DenseReluDense.wi_1",
            down: "layer.1.DenseReluDense.wo",
        },
        (true, false) => MlpNames { gate: None, up: "layer.2.DenseReluDense.wi", down: "layer.2.DenseReluDense.wo" },
        (true, true) => MlpNames {
            gate: Some("layer.2.DenseReluDense.wi_0"),
            up: "layer.2.DenseReluDense.wi_1",
            down: "layer.2.DenseReluDense.wo",
        },
    };
    LayerNames {
        attention: SELF_ATTENTION,
        attention_norm: "layer.0.layer_norm",
        cross: decoder.then_some((CROSS_ATTENTION, "layer.1.layer_norm")),
        mlp,
        mlp_norm: if decoder { "layer.2.layer_norm" } else { "layer.1.layer_norm" },
    }
}

/// What the encoder and the decoder share.
struct Parts<'s> {
    stack: Stack<'s>,
    embeddings: String,
    words: usize,
    buckets: usize,
    farthest: usize,
}

/// Draws T5.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let head = Head::of(config, CLASSES)?;
    let width = config.size("d_model")?;
    let heads = config.size("num_heads")?;
    let (gated, activation) = feed_forward(config)?;
    let stack = Stack {
        names: names(false, gated),
        norm: Norm::RootMeanSquare(config.number("layer_norm_epsilon", 1e-6)?),
        norm_first: true,
        width,
        inner: config.size("d_ff")?,
        heads,
        key_heads: heads,
        head_width: config.size("d_kv")?,
        // Queries and keys are not scaled: training begins with smaller weights instead.
        scale: 1.0,
        activation,
        activation_field: "feed_forward_proj",
        projections: Linear::PLAIN,
        output: Linear::PLAIN,
        mlp: Linear::PLAIN,
    };
    let parts = Parts {
        stack,
        embeddings: embeddings(sketch),
        words: config.size("vocab_size")?,
        buckets: config.optional_size("relative_attention_num_buckets")?.unwrap_or(32),
        farthest: config.optional_size("relative_attention_max_distance")?.unwrap_or(128),
    };
    let tokens = sketch.tokens("input_ids", "sequence");
    let attention_mask = sketch.tokens("attention_mask", "sequence");
    let attended = sketch.attended(attention_mask);
    let mask = sketch.mask(attended);
    let layers = config.size("num_layers")?;
    let encoded = stack_of(sketch, &parts, "encoder", layers, (tokens, mask), None)?;
    if head == Head::Encoder {
        sketch.output(encoded, "last_hidden_state");
        return Ok(());
    }
    let answers = sketch.tokens("decoder_input_ids", "decoder_sequence");
    let positions = sketch.positions(answers);
    let causal = sketch.causal(positions, None);
    let causal = sketch.unsqueeze(causal, &[0, 1]);
    let causal = sketch.mask(causal);
    let parts = Parts { stack: Stack { names: names(true, gated), ..parts.stack }, ..parts };
    let layers = config.optional_size("num_decoder_layers")?.unwrap_or(layers);
    let memory = (encoded, Positions { mask: Some(mask), ..Positions::default() });
    let decoded = stack_of(sketch, &parts, "decoder", layers, (answers, causal), Some(memory))?;
    if head == Head::Base {
        sketch.output(decoded, "last_hidden_state");
        sketch.output(encoded, "encoder_last_hidden_state");
        return Ok(());
    }
    generation(sketch, config, &parts, decoded)
}

/// Whether the inner layer is gated, and its activation.
fn feed_forward(config: &Config) -> Result<(bool, &str), HfError> {
    let field = "feed_forward_proj";
    let text = config.text(field)?.unwrap_or("relu");
    Ok(match text.split_once('-') {
        None => (false, text),
        Some(("gated", "gelu")) => (true, "gelu_new"),
        Some(("gated", activation)) => (true, activation),
        Some(_) => return Err(unfit(field, "an activation or gated-ACTIVATION", &text.into())),
    })
}

/// The name under which the shared embeddings are kept; the copies are tied to it.
fn embeddings(sketch: &mut Sketch<'_>) -> String {
    let names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
    let kept = names.into_iter().find(|name| sketch.contains(name)).unwrap_or(names[0]);
    for name in names.into_iter().filter(|name| *name != kept) {
        sketch.tie(name, kept);
    }
    kept.to_owned()
}

fn stack_of(
    sketch: &mut Sketch<'_>,
    parts: &Parts<'_>,
    path: &str,
    layers: usize,
    (tokens, mask): (ValueId, ValueId),
    memory: Option<(ValueId, Positions)>,
) -> Result<ValueId, HfError> {
    let stack = &parts.stack;
    let mut x = sketch.embed(&parts.embeddings, [parts.words, stack.width], tokens)?;
    let table = format!("{path}.block.0.{}", "layer.0.SelfAttention.relative_attention_bias.weight");
    let bias = relative_bias(sketch, parts, &table, tokens, memory.is_none())?;
    for layer in 0..layers {
        let positions = Positions { mask: Some(mask), bias: Some(bias), rotation: None };
        x = sketch.layer(x, &format!("{path}.block.{layer}."), stack, positions, memory)?;
    }
    sketch.norm(x, &format!("{path}.final_layer_norm"), stack.width, stack.norm)
}

/// What each head adds for the distance from query to key: 1 x heads x queries x keys.
fn relative_bias(
    sketch: &mut Sketch<'_>,
    parts: &Parts<'_>,
    table: &str,
    tokens: ValueId,
    both_ways: bool,
) -> Result<ValueId, HfError> {
    let farthest = i64::try_from(parts.farthest).unwrap_or(i64::MAX);
    let buckets: Vec<i64> =
        (-farthest..=farthest).map(|distance| bucket(distance, both_ways, parts.buckets, parts.farthest)).collect();
    let positions = sketch.positions(tokens);
    let (queries, keys) = (sketch.unsqueeze(positions, &[1]), sketch.unsqueeze(positions, &[0]));
    let distances = sketch.binary(otfuse_graph::Binary::Sub, keys, queries);
    let (least, most) = (sketch.integer(-farthest), sketch.integer(farthest));
    let near = sketch.b.node(Operator::Variadic(Variadic::Max), &[distances, least]);
    let near = sketch.b.node(Operator::Variadic(Variadic::Min), &[near, most]);
    let index = sketch.b.add(near, most);
    let list = sketch.b.constant(Tensor::from_i64(&[buckets.len()], buckets));
    let buckets = sketch.b.node(Operator::Gather { axis: 0 }, &[list, index]);
    let bias = sketch.embed(table, [parts.buckets, parts.stack.heads], buckets)?;
    let bias = sketch.transpose(bias, &[2, 0, 1]);
    Ok(sketch.unsqueeze(bias, &[0]))
}

/// The bucket of a distance: one for each of the nearest, then logarithmically wider ones up to `farthest`.
fn bucket(distance: i64, both_ways: bool, buckets: usize, farthest: usize) -> i64 {
    let (buckets, first, distance) = match both_ways {
        true => (buckets / 2, if distance > 0 { buckets / 2 } else { 0 }, distance.abs()),
        false => (buckets, 0, (-distance).max(0)),
    };
    let exact = buckets / 2;
    let distance = usize::try_from(distance).unwrap_or(usize::MAX);
    if distance < exact {
        return (first + distance) as i64;
    }
    let share = (distance as f32 / exact as f32).ln() / (farthest as f64 / exact as f64).ln() as f32;
    let wide = exact + (share * (buckets - exact) as f32) as usize;
    (first + wide.min(buckets - 1)) as i64
}

fn generation(sketch: &mut Sketch<'_>, config: &Config, parts: &Parts<'_>, x: ValueId) -> Result<(), HfError> {
    let width = parts.stack.width;
    // In files of the first version tied embeddings stand for scores that are scaled down.
    let tied = config.flag("tie_word_embeddings", true)?;
    let mut x = x;
    if config.flag("scale_decoder_outputs", tied)? {
        let scale = sketch.scalar(1.0 / (width as f64).sqrt());
        x = sketch.binary(otfuse_graph::Binary::Mul, x, scale);
    }
    // Whatever the setting says, only a weight that differs is one of its own.
    let mut config = config.clone();
    config.0.insert("tie_word_embeddings".into(), true.into());
    let Parts { embeddings, words, .. } = parts;
    let vocabulary = Vocabulary { embeddings, projection: "lm_head", bias: None, words: *words, width };
    let logits = sketch.scores(x, &config, &vocabulary)?;
    sketch.output(logits, "logits");
    Ok(())
}
