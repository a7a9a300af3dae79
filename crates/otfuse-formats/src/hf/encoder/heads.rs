//! What stands behind the layers of an encoder: one drawing for all families, which differ in names.

use otfuse_graph::{Unary, ValueId};

use crate::hf::HfError;
use crate::hf::config::Config;
use crate::hf::head::{Head, Vocabulary};
use crate::hf::sketch::{Linear, Sketch};

/// The heads of a family.
pub(super) struct HeadNames {
    pub masked: MaskedNames,
    pub sequence: SequenceHead,
    /// Where the pooler is kept.
    pub pooler: &'static str,
}

/// The names in the head that finds masked words.
pub(super) struct MaskedNames {
    pub dense: &'static str,
    pub norm: &'static str,
    /// The last layer's own path, and where its bias is kept.
    pub projection: &'static str,
    pub bias: &'static str,
    /// The activation, where it is another one than in the layers.
    pub activation: Option<&'static str>,
}

/// What judges a sequence by its first token.
#[derive(Clone, Copy)]
pub(super) enum SequenceHead {
    /// A linear layer behind the pooler.
    Pooled,
    /// A linear layer, an activation and another linear layer.
    Hidden { dense: &'static str, activation: Unary, projection: &'static str },
}

/// The sizes that heads are made of.
pub(super) struct Sizes<'c> {
    pub width: usize,
    /// The width of embeddings.
    pub embedded: usize,
    pub words: usize,
    pub epsilon: f64,
    /// The activation of the layers, and the setting that names it.
    pub activation: &'c str,
    pub activation_field: &'c str,
    pub prefix: &'static str,
}

impl HeadNames {
    /// Draws a head over the stream `x` behind the last layer.
    pub fn draw(
        &self,
        sketch: &mut Sketch<'_>,
        config: &Config,
        head: Head,
        sizes: &Sizes<'_>,
        x: ValueId,
    ) -> Result<(), HfError> {
        let logits = match head {
            Head::MaskedLanguage => self.masked.draw(sketch, config, sizes, x)?,
            Head::Discrimination => discriminated(sketch, sizes, x)?,
            Head::TokenClassification => sketch.classes(x, "classifier", sizes.width, Linear::BIASED)?,
            Head::SequenceClassification => self.sequence.draw(sketch, sizes, self.pooler, x)?,
            _ => return base(sketch, sizes, self.pooler, x),
        };
        sketch.output(logits, "logits");
        Ok(())
    }
}

impl MaskedNames {
    /// A linear layer, the activation, a normalisation, and scores over the vocabulary.
    pub fn draw(
        &self,
        sketch: &mut Sketch<'_>,
        config: &Config,
        sizes: &Sizes<'_>,
        x: ValueId,
    ) -> Result<ValueId, HfError> {
        let Sizes { embedded: width, words, prefix, .. } = *sizes;
        let x = sketch.linear(x, self.dense, [width, sizes.width], Linear::BIASED)?;
        let x = sketch.activation(x, self.activation.unwrap_or(sizes.activation), sizes.activation_field)?;
        let x = sketch.layer_norm(x, self.norm, width, sizes.epsilon)?;
        let embeddings = format!("{prefix}embeddings.word_embeddings.weight");
        let (projection, bias) = (self.projection, Some(self.bias));
        sketch.scores(x, config, &Vocabulary { embeddings: &embeddings, projection, bias, words, width })
    }
}

impl SequenceHead {
    fn draw(self, sketch: &mut Sketch<'_>, sizes: &Sizes<'_>, pooler: &str, x: ValueId) -> Result<ValueId, HfError> {
        let (hidden, projection) = match self {
            Self::Pooled => (pooled(sketch, sizes, pooler, x)?, "classifier"),
            Self::Hidden { dense, activation, projection } => {
                (first_through(sketch, dense, activation, sizes, x)?, projection)
            }
        };
        sketch.classes(hidden, projection, sizes.width, Linear::BIASED)
    }
}

/// The stream itself, and its pooled first token where the checkpoint has a pooler.
fn base(sketch: &mut Sketch<'_>, sizes: &Sizes<'_>, pooler: &str, x: ValueId) -> Result<(), HfError> {
    sketch.output(x, "last_hidden_state");
    if sketch.contains(&format!("{}{pooler}.weight", sizes.prefix)) {
        let pooled = pooled(sketch, sizes, pooler, x)?;
        sketch.output(pooled, "pooler_output");
    }
    Ok(())
}

fn pooled(sketch: &mut Sketch<'_>, sizes: &Sizes<'_>, pooler: &str, x: ValueId) -> Result<ValueId, HfError> {
    first_through(sketch, &format!("{}{pooler}", sizes.prefix), Unary::Tanh, sizes, x)
}

/// The first token through a linear layer and an activation.
fn first_through(
    sketch: &mut Sketch<'_>,
    path: &str,
    activation: Unary,
    sizes: &Sizes<'_>,
    x: ValueId,
) -> Result<ValueId, HfError> {
    let first = sketch.take(x, 0, 1);
    let hidden = sketch.linear(first, path, [sizes.width; 2], Linear::BIASED)?;
    Ok(sketch.unary(activation, hidden))
}

/// The first token through a linear layer and an activation that a setting names.
pub(super) fn first_through_named(
    sketch: &mut Sketch<'_>,
    path: &str,
    (activation, field): (&str, &str),
    width: usize,
    x: ValueId,
) -> Result<ValueId, HfError> {
    let first = sketch.take(x, 0, 1);
    let hidden = sketch.linear(first, path, [width; 2], Linear::BIASED)?;
    sketch.activation(hidden, activation, field)
}

/// A score for each token whether it was replaced.
fn discriminated(sketch: &mut Sketch<'_>, sizes: &Sizes<'_>, x: ValueId) -> Result<ValueId, HfError> {
    let path = "discriminator_predictions.dense";
    let hidden = sketch.linear(x, path, [sizes.width; 2], Linear::BIASED)?;
    let hidden = sketch.activation(hidden, sizes.activation, sizes.activation_field)?;
    let scores = sketch.linear(hidden, &format!("{path}_prediction"), [1, sizes.width], Linear::BIASED)?;
    Ok(sketch.take(scores, 0, 2))
}
