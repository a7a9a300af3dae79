//! T5: an encoder and a decoder with relative positions.

use otfuse_graph::{Operator, Tensor, ValueId, Variadic};

use super::HfError;
use super::blocks::{AttentionNames, Gate, LayerNames, MlpNames, More, Norm, Order, Positions, Stack};
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
        (false, false) => {
            MlpNames { gate: Gate::No, up: "layer.1.DenseReluDense.wi", down: "layer.1.DenseReluDense.wo" }
        }
        (false, true) => MlpNames {
            gate: Gate::Layer("layer.1.DenseReluDense.wi_0"),
            up: "layer.1.DenseReluDense.wi_1",
            down: "layer.1.DenseReluDense.wo",
        },
        (true, false) => {
            MlpNames { gate: Gate::No, up: "layer.2.DenseReluDense.wi", down: "layer.2.DenseReluDense.wo" }
        }
        (true, true) => MlpNames {
            gate: Gate::Layer("layer.2.DenseReluDense.wi_0"),
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
    bias: RelativeBias,
}

/// Draws T5.
pub(super) fn draw(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    draw_classes(sketch, config, CLASSES)
}

/// Draws mT5, which is T5 with gated perceptrons and other defaults.
pub(super) fn draw_mt5(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let mut config = config.clone();
    config.0.entry("feed_forward_proj").or_insert("gated-gelu".into());
    // Scores are never scaled here, whatever the embeddings are tied to.
    config.0.entry("scale_decoder_outputs").or_insert(false.into());
    let classes = [
        ("MT5ForConditionalGeneration", Head::ConditionalGeneration),
        ("MT5Model", Head::Base),
        ("MT5EncoderModel", Head::Encoder),
    ];
    draw_classes(sketch, &config, &classes)
}

fn draw_classes(sketch: &mut Sketch<'_>, config: &Config, classes: &[(&str, Head)]) -> Result<(), HfError> {
    let head = Head::of(config, classes)?;
    let width = config.size("d_model")?;
    let heads = config.size("num_heads")?;
    let (gated, activation) = feed_forward(config)?;
    let stack = Stack {
        names: names(false, gated),
        norm: Norm::RootMeanSquare(config.number("layer_norm_epsilon", 1e-6)?),
        order: Order::Before,
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
        more: More::NOTHING,
    };
    let parts = Parts {
        stack,
        embeddings: embeddings(sketch),
        words: config.size("vocab_size")?,
        bias: RelativeBias {
            buckets: config.optional_size("relative_attention_num_buckets")?.unwrap_or(32),
            farthest: config.optional_size("relative_attention_max_distance")?.unwrap_or(128),
            heads,
            both_ways: true,
        },
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
    let RelativeBias { buckets, farthest, heads, .. } = parts.bias;
    let bias = RelativeBias { buckets, farthest, heads, both_ways: memory.is_none() };
    let bias = bias.draw(sketch, &table, tokens)?;
    for layer in 0..layers {
        let positions = Positions { mask: Some(mask), bias: Some(bias), ..Positions::default() };
        x = sketch.layer(x, &format!("{path}.block.{layer}."), stack, positions, memory)?;
    }
    sketch.norm(x, &format!("{path}.final_layer_norm"), stack.width, stack.norm)
}

/// What each head adds for the distance from query to key, by the distance's bucket.
pub(super) struct RelativeBias {
    pub buckets: usize,
    pub farthest: usize,
    pub heads: usize,
    /// Whether later keys have buckets of their own.
    pub both_ways: bool,
}

impl RelativeBias {
    /// 1 x heads x queries x keys.
    pub fn draw(&self, sketch: &mut Sketch<'_>, table: &str, tokens: ValueId) -> Result<ValueId, HfError> {
        let farthest = i64::try_from(self.farthest).unwrap_or(i64::MAX);
        let bucket = |distance| bucket(distance, self.both_ways, self.buckets, self.farthest);
        let buckets: Vec<i64> = (-farthest..=farthest).map(bucket).collect();
        let positions = sketch.positions(tokens);
        let buckets = sketch.by_distance(positions, buckets);
        let bias = sketch.embed(table, [self.buckets, self.heads], buckets)?;
        let bias = sketch.transpose(bias, &[2, 0, 1]);
        Ok(sketch.unsqueeze(bias, &[0]))
    }
}

impl Sketch<'_> {
    /// The numbers of a list for the distances from queries to keys, queries x keys. The middle of the list is for
    /// distance 0, its ends are for all distances beyond.
    pub fn by_distance(&mut self, positions: ValueId, list: Vec<i64>) -> ValueId {
        let farthest = (list.len() / 2) as i64;
        let (queries, keys) = (self.unsqueeze(positions, &[1]), self.unsqueeze(positions, &[0]));
        let distances = self.binary(otfuse_graph::Binary::Sub, keys, queries);
        let (least, most) = (self.integer(-farthest), self.integer(farthest));
        let near = self.b.node(Operator::Variadic(Variadic::Max), &[distances, least]);
        let near = self.b.node(Operator::Variadic(Variadic::Min), &[near, most]);
        let index = self.b.add(near, most);
        let list = self.b.constant(Tensor::from_i64(&[list.len()], list));
        self.b.node(Operator::Gather { axis: 0 }, &[list, index])
    }
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
