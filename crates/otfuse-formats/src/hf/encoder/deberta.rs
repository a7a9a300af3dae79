//! DeBERTa's second and third version: scores are of contents with contents, and of contents with distances.

use otfuse_graph::{Binary, Operator, ValueId};
use serde_json::{Value, json};

use super::heads::MaskedNames;
use super::{BERT_LAYER, HfError, Sizes, first_through_named, head_width};
use crate::hf::blocks::{AttentionNames, LayerNames, More, Norm, Order, Positions, Stack};
use crate::hf::config::{Config, unfit};
use crate::hf::head::Head;
use crate::hf::sketch::{Linear, Sketch, activation_name};

/// Vectors of distances, and which one is that of each query and key.
#[derive(Clone, Copy)]
pub(crate) struct Distances {
    /// Buckets of distances x width.
    vectors: ValueId,
    buckets: usize,
    /// For queries x keys the vector that the query's content meets, and for keys x queries the one that the key's does.
    of_queries: Option<ValueId>,
    of_keys: Option<ValueId>,
    /// Whether contents' own layers make queries and keys of the vectors.
    is_shared: bool,
}

const LAYER: LayerNames = LayerNames {
    attention: AttentionNames::separate([
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        "attention.output.dense",
    ]),
    ..BERT_LAYER
};

/// The furthest distance that is looked at for where buckets end.
const FARTHEST: i64 = 1 << 20;

impl Sketch<'_> {
    /// Adds the scores of contents with distances.
    pub fn with_distances(
        &mut self,
        mut scores: ValueId,
        [query, key]: [ValueId; 2],
        path: &str,
        stack: &Stack<'_>,
        names: &AttentionNames,
        distances: &Distances,
    ) -> Result<ValueId, HfError> {
        let own = |shared: &str, own: &str| match distances.is_shared {
            true => format!("{path}{shared}"),
            false => format!("{path}{own}"),
        };
        if let Some(index) = distances.of_queries {
            let name = own(names.key, "attention.self.pos_key_proj");
            let found = self.met(query, &name, stack, distances, index)?;
            scores = self.b.add(scores, found);
        }
        if let Some(index) = distances.of_keys {
            let name = own(names.query, "attention.self.pos_query_proj");
            let found = self.met(key, &name, stack, distances, index)?;
            let found = self.transpose(found, &[0, 1, 3, 2]);
            scores = self.b.add(scores, found);
        }
        Ok(scores)
    }

    /// The products of contents with the vectors of distances: batch x heads x contents x others.
    fn met(
        &mut self,
        contents: ValueId,
        name: &str,
        stack: &Stack<'_>,
        distances: &Distances,
        index: ValueId,
    ) -> Result<ValueId, HfError> {
        let Stack { heads, head_width, width, scale, .. } = *stack;
        let vectors = self.linear(distances.vectors, name, [heads * head_width, width], Linear::BIASED)?;
        let vectors = self.reshape(vectors, &[distances.buckets as i64, heads as i64, head_width as i64]);
        let vectors = self.transpose(vectors, &[1, 2, 0]);
        let products = self.b.node(Operator::MatMul, &[contents, vectors]);
        let products = self.times(products, scale);
        let outer = self.b.node(Operator::Shape { start: 0, end: Some(2) }, &[products]);
        let inner = self.b.node(Operator::Shape { start: 0, end: None }, &[index]);
        let shape = self.b.concat(&[outer, inner], 0);
        let index = self.b.node(Operator::Expand, &[index, shape]);
        Ok(self.b.node(Operator::GatherElements { axis: -1 }, &[products, index]))
    }
}

/// Draws DeBERTa.
pub(crate) fn draw(sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
    let classes = [
        ("DebertaV2Model", Head::Base),
        ("DebertaV2ForMaskedLM", Head::MaskedLanguage),
        ("DebertaV2ForSequenceClassification", Head::SequenceClassification),
        ("DebertaV2ForTokenClassification", Head::TokenClassification),
    ];
    let head = Head::of(config, &classes)?;
    if config.number("conv_kernel_size", 0.0)? > 0.0 {
        config.require("conv_kernel_size", &json!(0))?;
    }
    let (width, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    if let Some(embedded) = config.optional_size("embedding_size")?.filter(|&embedded| embedded != width) {
        return Err(unfit("embedding_size", &format!("the width {width}"), &embedded.into()));
    }
    let relative = config.flag("relative_attention", false)?;
    let kinds = if relative { kinds(config)? } else { [false; 2] };
    let head_width = head_width(width, heads, "num_attention_heads")?;
    let parts = 1 + kinds.iter().filter(|is| **is).count();
    let epsilon = config.number("layer_norm_eps", 1e-7)?;
    let stack = Stack {
        names: LAYER,
        norm: Norm::Layer(epsilon),
        order: Order::Behind,
        width,
        inner: config.size("intermediate_size")?,
        heads,
        key_heads: heads,
        head_width,
        scale: 1.0 / ((head_width * parts) as f64).sqrt(),
        activation: activation_name(config, "hidden_act", "gelu")?,
        activation_field: "hidden_act",
        projections: Linear::BIASED,
        output: Linear::BIASED,
        mlp: Linear::BIASED,
        more: More::NOTHING,
    };
    let prefix = sketch.prefix("deberta.", "embeddings.word_embeddings.weight");
    let tokens = sketch.tokens("input_ids", "sequence");
    let attention_mask = sketch.tokens("attention_mask", "sequence");
    let mut x = embeddings(sketch, config, &stack, prefix, [tokens, attention_mask])?;
    let attended = sketch.attended(attention_mask);
    let queries = sketch.transpose(attended, &[0, 1, 3, 2]);
    let both = sketch.binary(Binary::And, attended, queries);
    let distances = match relative {
        true => Some(distances(sketch, config, &stack, prefix, (tokens, kinds))?),
        false => None,
    };
    let positions = Positions { mask: Some(sketch.mask(both)), distances, ..Positions::default() };
    for layer in 0..config.size("num_hidden_layers")? {
        x = sketch.layer(x, &format!("{prefix}encoder.layer.{layer}."), &stack, positions, None)?;
    }
    finish(sketch, config, head, &stack, (prefix, epsilon), x)
}

/// Whether contents of queries meet distances, and whether contents of keys do.
fn kinds(config: &Config) -> Result<[bool; 2], HfError> {
    let field = "pos_att_type";
    let expected = "c2p and p2c, in a list or separated by |";
    let names: Vec<String> = match config.get(field) {
        None => Vec::new(),
        Some(Value::String(text)) => text.to_lowercase().split('|').map(|name| name.trim().to_owned()).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_lowercase).collect(),
        Some(other) => return Err(unfit(field, expected, other)),
    };
    if let Some(other) = names.iter().find(|name| !["c2p", "p2c", "", "none"].contains(&name.as_str())) {
        return Err(unfit(field, expected, &other.as_str().into()));
    }
    Ok(["c2p", "p2c"].map(|kind| names.iter().any(|name| name == kind)))
}

fn embeddings(
    sketch: &mut Sketch<'_>,
    config: &Config,
    stack: &Stack<'_>,
    prefix: &str,
    [tokens, attention_mask]: [ValueId; 2],
) -> Result<ValueId, HfError> {
    let Stack { width, norm, .. } = *stack;
    let path = format!("{prefix}embeddings");
    let words = config.size("vocab_size")?;
    let mut x = sketch.embed(&format!("{path}.word_embeddings.weight"), [words, width], tokens)?;
    if config.flag("position_biased_input", true)? {
        let positions = sketch.positions(tokens);
        let table = [config.optional_size("max_position_embeddings")?.unwrap_or(512), width];
        let places = sketch.embed(&format!("{path}.position_embeddings.weight"), table, positions)?;
        x = sketch.b.add(x, places);
    }
    let types = config.number("type_vocab_size", 0.0)? as usize;
    if types > 0 {
        let zeros = sketch.zeros_like(tokens);
        let types = sketch.embed(&format!("{path}.token_type_embeddings.weight"), [types, width], zeros)?;
        x = sketch.b.add(x, types);
    }
    let x = sketch.norm(x, &format!("{path}.LayerNorm"), width, norm)?;
    let attended = sketch.cast(attention_mask, otfuse_graph::DataType::F32);
    let attended = sketch.unsqueeze(attended, &[2]);
    Ok(sketch.binary(Binary::Mul, x, attended))
}

fn distances(
    sketch: &mut Sketch<'_>,
    config: &Config,
    stack: &Stack<'_>,
    prefix: &str,
    (tokens, [queries, keys]): (ValueId, [bool; 2]),
) -> Result<Distances, HfError> {
    let most = match config.number("max_relative_positions", -1.0)? {
        most if most >= 1.0 => most as usize,
        _ => config.optional_size("max_position_embeddings")?.unwrap_or(512),
    };
    let buckets = config.number("position_buckets", -1.0)?;
    let span = if buckets > 0.0 { buckets as usize } else { most };
    let bucket = |distance: i64| match buckets > 0.0 {
        true => bucket(distance, span as i64, most as i64),
        false => distance,
    };
    let farthest = (1..FARTHEST).find(|&distance| bucket(distance) >= span as i64).unwrap_or(FARTHEST);
    let last = 2 * span as i64 - 1;
    // Distances here are from queries to keys, there from keys to queries.
    let of_queries = (-farthest..=farthest).map(|distance| (bucket(-distance) + span as i64).clamp(0, last)).collect();
    let of_keys = (-farthest..=farthest).map(|distance| (span as i64 - bucket(-distance)).clamp(0, last)).collect();
    let positions = sketch.positions(tokens);
    let mut vectors = sketch.weight(&format!("{prefix}encoder.rel_embeddings.weight"), &[2 * span, stack.width])?;
    let norms = config.text("norm_rel_ebd")?.unwrap_or("none").to_lowercase();
    if norms.split('|').any(|norm| norm.trim() == "layer_norm") {
        vectors = sketch.norm(vectors, &format!("{prefix}encoder.LayerNorm"), stack.width, stack.norm)?;
    }
    Ok(Distances {
        vectors,
        buckets: 2 * span,
        of_queries: queries.then(|| sketch.by_distance(positions, of_queries)),
        of_keys: keys.then(|| sketch.by_distance(positions, of_keys)),
        is_shared: config.flag("share_att_key", false)?,
    })
}

/// One bucket for each of the nearest distances, then logarithmically wider ones.
fn bucket(distance: i64, buckets: i64, most: i64) -> i64 {
    let middle = buckets / 2;
    if distance.abs() <= middle {
        return distance;
    }
    let (far, middle_float) = (distance.abs() as f32, middle as f32);
    let share = (far / middle_float).ln() / (((most - 1) as f64 / middle as f64) as f32).ln();
    distance.signum() * ((share * (middle - 1) as f32).ceil() as i64 + middle)
}

fn finish(
    sketch: &mut Sketch<'_>,
    config: &Config,
    head: Head,
    stack: &Stack<'_>,
    (prefix, epsilon): (&'static str, f64),
    x: ValueId,
) -> Result<(), HfError> {
    let Stack { width, activation, activation_field, .. } = *stack;
    let words = config.size("vocab_size")?;
    let sizes = Sizes { width, embedded: width, words, epsilon, activation, activation_field, prefix };
    let (value, name) = match head {
        Head::MaskedLanguage => {
            config.require("legacy", &json!(true))?;
            let names = MaskedNames {
                dense: "cls.predictions.transform.dense",
                norm: "cls.predictions.transform.LayerNorm",
                projection: "cls.predictions.decoder",
                bias: "cls.predictions.bias",
                activation: None,
            };
            (names.draw(sketch, config, &sizes, x)?, "logits")
        }
        Head::SequenceClassification => {
            let field = "pooler_hidden_act";
            let first = first_through_named(
                sketch,
                "pooler.dense",
                (activation_name(config, field, "gelu")?, field),
                width,
                x,
            )?;
            (sketch.classes(first, "classifier", width, Linear::BIASED)?, "logits")
        }
        Head::TokenClassification => (sketch.classes(x, "classifier", width, Linear::BIASED)?, "logits"),
        _ => (x, "last_hidden_state"),
    };
    sketch.output(value, name);
    Ok(())
}
