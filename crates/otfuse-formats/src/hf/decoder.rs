//! Decoders of text: one drawing for all families, which describe what they have of it.

mod experts;
mod gated;
mod gemma;
mod gpt;
mod parallel;

use otfuse_graph::{Binary, Operator, ValueId};
use serde_json::Value;

pub(super) use self::experts::{draw_mixtral, draw_olmoe, draw_qwen2_moe, draw_qwen3_moe};
pub(super) use self::gated::{
    GRANITE, LLAMA, MISTRAL, OLMO2, QWEN2, QWEN3, SMOLLM3, draw as draw_gated, draw_olmo, draw_phi3, draw_stablelm,
    draw_starcoder2,
};
pub(super) use self::gemma::{draw_gemma, draw_gemma2, draw_gemma3};
pub(super) use self::gpt::{draw_bloom, draw_gpt_neo, draw_gpt2, draw_opt};
pub(super) use self::parallel::{draw_cohere, draw_falcon, draw_gpt_neox, draw_gptj, draw_phi};
use super::HfError;
use super::blocks::{Norm, Pairs, Positions, Rotation, Stack};
use super::config::{Config, unfit};
use super::head::{Head, Vocabulary};
use super::sketch::{Linear, Sketch};

/// The four classes that most families have, by what stands before their names.
macro_rules! classes {
    ($name:literal) => {
        [
            (concat!($name, "Model"), $crate::hf::head::Head::Base),
            (concat!($name, "ForCausalLM"), $crate::hf::head::Head::CausalLanguage),
            (concat!($name, "ForSequenceClassification"), $crate::hf::head::Head::SequenceClassification),
            (concat!($name, "ForTokenClassification"), $crate::hf::head::Head::TokenClassification),
        ]
    };
}
use classes;

/// A decoder, as its family and its settings describe it.
struct Decoder<'c> {
    head: Head,
    /// What stands before the names where there is a head.
    prefix: &'static str,
    embeddings: Embeddings,
    /// The path of the layers.
    layers: &'static str,
    each: Vec<Layer<'c>>,
    /// The frequencies of the rotations that layers choose from.
    frequencies: Vec<Vec<f32>>,
    pairs: Pairs,
    /// Whether scores grow with the position, by a slope for each head.
    slopes: bool,
    /// The last normalisation.
    norm: Option<(&'static str, Norm)>,
    width: usize,
    words: usize,
    scores: Scores,
}

/// What the layers read.
struct Embeddings {
    table: &'static str,
    /// The width of its vectors, and the layers between them and the stream, where that is another one.
    narrow: Option<(usize, [&'static str; 2])>,
    scale: f64,
    norm: Option<(&'static str, Norm)>,
    places: Option<Places>,
}

impl Embeddings {
    const fn of(table: &'static str) -> Self {
        Self { table, narrow: None, scale: 1.0, norm: None, places: None }
    }
}

/// A vector for each position.
struct Places {
    table: &'static str,
    length: usize,
    /// Counts tokens that may be attended to, from this row on, rather than positions.
    counted_from: Option<usize>,
}

/// What a layer has of its own.
#[derive(Clone, Copy)]
struct Layer<'c> {
    stack: Stack<'c>,
    /// How many tokens it sees.
    window: Option<usize>,
    rotation: Option<usize>,
}

/// How scores over the vocabulary are computed.
struct Scores {
    path: &'static str,
    bias: Option<&'static str>,
    scale: f64,
    cap: Option<f64>,
}

impl Scores {
    const PLAIN: Self = Self { path: "lm_head", bias: None, scale: 1.0, cap: None };
}

impl Decoder<'_> {
    fn draw(self, sketch: &mut Sketch<'_>, config: &Config) -> Result<(), HfError> {
        let prefix = sketch.prefix(self.prefix, self.embeddings.table);
        let tokens = sketch.tokens("input_ids", "sequence");
        let attention_mask = sketch.tokens("attention_mask", "sequence");
        let attended = sketch.attended(attention_mask);
        let mut x = self.embedded(sketch, prefix, tokens)?;
        let positions = sketch.positions(tokens);
        if let Some(Places { table, length, counted_from }) = self.embeddings.places {
            let places = match counted_from {
                Some(first) => counted(sketch, positions, attention_mask, first),
                None => positions,
            };
            let places = sketch.embed(&format!("{prefix}{table}"), [length, self.width], places)?;
            x = sketch.b.add(x, places);
        }
        let rotations: Vec<Rotation> = self
            .frequencies
            .iter()
            .map(|frequencies| sketch.rotation(positions, frequencies.clone(), self.pairs))
            .collect();
        let bias = self.slopes.then(|| {
            let heads = self.each.first().map_or(1, |layer| layer.stack.heads);
            sloped(sketch, positions, attention_mask, heads)
        });
        let mut masks: Vec<(Option<usize>, ValueId)> = Vec::new();
        for (number, layer) in self.each.iter().enumerate() {
            let known = masks.iter().find(|(of, _)| *of == layer.window).map(|(_, mask)| *mask);
            let mask = known.unwrap_or_else(|| {
                let made = mask(sketch, positions, attended, layer.window);
                masks.push((layer.window, made));
                made
            });
            let rotation = layer.rotation.and_then(|index| rotations.get(index).copied());
            let positions = Positions { mask: Some(mask), bias, rotation, ..Positions::default() };
            let path = format!("{prefix}{}.{number}.", self.layers);
            x = sketch.layer(x, &path, &layer.stack, positions, None)?;
        }
        self.finish(sketch, config, prefix, (x, tokens))
    }

    fn embedded(&self, sketch: &mut Sketch<'_>, prefix: &str, tokens: ValueId) -> Result<ValueId, HfError> {
        let Embeddings { table, narrow, scale, norm, .. } = self.embeddings;
        let width = narrow.map_or(self.width, |(width, _)| width);
        let mut x = sketch.embed(&format!("{prefix}{table}"), [self.words, width], tokens)?;
        if let Some((width, [project, _])) = narrow {
            x = sketch.linear(x, &format!("{prefix}{project}"), [self.width, width], Linear::PLAIN)?;
        }
        x = sketch.times(x, scale);
        match norm {
            Some((path, norm)) => sketch.norm(x, &format!("{prefix}{path}"), width, norm),
            None => Ok(x),
        }
    }

    fn finish(
        &self,
        sketch: &mut Sketch<'_>,
        config: &Config,
        prefix: &str,
        (x, tokens): (ValueId, ValueId),
    ) -> Result<(), HfError> {
        let mut width = self.width;
        let mut x = match self.norm {
            Some((path, norm)) => sketch.norm(x, &format!("{prefix}{path}"), width, norm)?,
            None => x,
        };
        if let Some((narrow, [_, project])) = self.embeddings.narrow {
            x = sketch.linear(x, &format!("{prefix}{project}"), [narrow, width], Linear::PLAIN)?;
            width = narrow;
        }
        let (value, name) = match self.head {
            Head::CausalLanguage => {
                let embeddings = format!("{prefix}{}", self.embeddings.table);
                let Scores { path, bias, scale, cap } = self.scores;
                let vocabulary =
                    Vocabulary { embeddings: &embeddings, projection: path, bias, words: self.words, width };
                let scores = sketch.scores(x, config, &vocabulary)?;
                let scores = sketch.times(scores, scale);
                (cap.map_or(scores, |cap| sketch.capped(scores, cap)), "logits")
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
}

/// A setting that scores or layers are scaled by.
fn factor(config: &Config, field: &str) -> Result<f64, HfError> {
    config.number(field, 1.0)
}

/// Heads of keys and values: a divisor of those of queries.
fn key_heads(config: &Config, field: &str, heads: usize, default: Option<usize>) -> Result<usize, HfError> {
    let is_null = config.0.contains_key(field);
    let found = config.optional_size(field)?.or_else(|| default.filter(|_| !is_null));
    let key_heads = found.unwrap_or(heads);
    if !heads.is_multiple_of(key_heads) {
        let expected = format!("a divisor of the {heads} attention heads");
        return Err(unfit(field, &expected, &key_heads.into()));
    }
    Ok(key_heads)
}

/// For each layer whether its kind in a list is the second of the two.
fn kinds(list: &Value, field: &str, layers: usize, [no, yes]: [&str; 2]) -> Result<Vec<bool>, HfError> {
    let expected = format!("{layers} times {no} or {yes}");
    let kinds = list.as_array().filter(|kinds| kinds.len() == layers);
    let kind = |kind: &Value| match kind.as_str() {
        Some(kind) if kind == no => Some(false),
        Some(kind) if kind == yes => Some(true),
        _ => None,
    };
    let kinds = kinds.and_then(|kinds| kinds.iter().map(kind).collect());
    kinds.ok_or_else(|| unfit(field, &expected, list))
}

/// Which layers see a limited number of tokens, by the list of their kinds.
pub(super) fn layer_types(list: &Value, layers: usize) -> Result<Vec<bool>, HfError> {
    kinds(list, "layer_types", layers, ["full_attention", "sliding_attention"])
}

fn mask(sketch: &mut Sketch<'_>, positions: ValueId, attended: ValueId, window: Option<usize>) -> ValueId {
    let causal = sketch.causal(positions, window);
    let causal = sketch.unsqueeze(causal, &[0, 1]);
    let allowed = sketch.binary(Binary::And, causal, attended);
    sketch.mask(allowed)
}

/// How many tokens up to each may be attended to, as numbers of batch x sequence; 0 for those that may not.
fn count(sketch: &mut Sketch<'_>, positions: ValueId, attention_mask: ValueId) -> ValueId {
    let attended = sketch.cast(attention_mask, otfuse_graph::DataType::F32);
    let (earlier, later) = (sketch.unsqueeze(positions, &[1]), sketch.unsqueeze(positions, &[0]));
    let upto = sketch.binary(Binary::LessOrEqual, earlier, later);
    let upto = sketch.cast(upto, otfuse_graph::DataType::F32);
    let count = sketch.b.node(Operator::MatMul, &[attended, upto]);
    sketch.binary(Binary::Mul, count, attended)
}

/// The rows of tokens that may be attended to from row `first` on; the others are at the row before.
fn counted(sketch: &mut Sketch<'_>, positions: ValueId, attention_mask: ValueId, first: usize) -> ValueId {
    let count = count(sketch, positions, attention_mask);
    let count = sketch.cast(count, otfuse_graph::DataType::I64);
    let before = sketch.integer(first as i64 - 1);
    sketch.b.add(count, before)
}

/// What each head adds for the place of a key: batch x heads x 1 x keys.
fn sloped(sketch: &mut Sketch<'_>, positions: ValueId, attention_mask: ValueId, heads: usize) -> ValueId {
    let count = count(sketch, positions, attention_mask);
    let attended = sketch.cast(attention_mask, otfuse_graph::DataType::F32);
    let place = sketch.binary(Binary::Sub, count, attended);
    let place = sketch.unsqueeze(place, &[1, 2]);
    let slopes = sketch.b.constant(otfuse_graph::Tensor::from_f32(&[heads, 1, 1], slopes(heads)));
    sketch.binary(Binary::Mul, place, slopes)
}

/// Powers of two from near 1 down to 1/256; where heads are no power of two, those between follow behind.
fn slopes(heads: usize) -> Vec<f32> {
    let whole = 1_usize << heads.ilog2();
    let base = 2_f32.powf(-(2_f32.powf(-((whole as f32).log2() - 3.0))));
    let between = 2_f32.powf(-(2_f32.powf(-((2.0 * whole as f32).log2() - 3.0))));
    let first = (1..=whole).map(|head| base.powi(head as i32));
    let rest = (0..heads - whole).map(|head| between.powi(2 * head as i32 + 1));
    first.chain(rest).collect()
}
