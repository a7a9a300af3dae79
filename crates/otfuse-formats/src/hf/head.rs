//! What stands behind the layers: the classes that networks are saved as.

use otfuse_graph::{Binary, DataType, Operator, Unary, ValueId};

use super::HfError;
use super::config::{Config, unfit};
use super::sketch::{Linear, Sketch};

/// The task of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// The stream behind the last layer.
    Base,
    MaskedLanguage,
    CausalLanguage,
    SequenceClassification,
    TokenClassification,
    ImageClassification,
    ConditionalGeneration,
    /// For each token whether it was replaced.
    Discrimination,
    Encoder,
}

impl Head {
    /// The head of the class that `config.json` names; `classes` are those that the family has here.
    pub fn of(config: &Config, classes: &[(&str, Self)]) -> Result<Self, HfError> {
        let Some(found) = config.architecture()? else { return Ok(Self::Base) };
        let known = classes.iter().find(|(class, _)| *class == found);
        known.map(|(_, head)| *head).ok_or_else(|| {
            let names: Vec<&str> = classes.iter().map(|(class, _)| *class).collect();
            unfit("architectures", &names.join(" or "), &found.into())
        })
    }
}

/// The words of a vocabulary and where their vectors are kept.
pub(super) struct Vocabulary<'n> {
    pub embeddings: &'n str,
    /// The last layer's own path, used where its weight differs from the embeddings.
    pub projection: &'n str,
    /// Where its bias is kept, if it has one.
    pub bias: Option<&'n str>,
    pub words: usize,
    pub width: usize,
}

impl Sketch<'_> {
    /// Scores over the vocabulary. As `from_pretrained` does, the weight is that of the embeddings if the settings tie
    /// them, unless the checkpoint has another one.
    pub fn scores(&mut self, x: ValueId, config: &Config, words: &Vocabulary<'_>) -> Result<ValueId, HfError> {
        let Vocabulary { embeddings, projection, bias, words, width } = *words;
        let own = format!("{projection}.weight");
        let is_same = match (self.dict.get(&own), self.dict.get(embeddings)) {
            (Some(own), Some(embeddings)) => own == embeddings,
            _ => true,
        };
        let tied = config.flag("tie_word_embeddings", true)? && is_same;
        let scores = if tied {
            self.tie(&own, embeddings);
            self.unembed(x, embeddings, [words, width])?
        } else {
            self.linear(x, projection, [words, width], Linear::PLAIN)?
        };
        let Some(bias) = bias else { return Ok(scores) };
        let copy = format!("{projection}.bias");
        let bias = if !self.contains(bias) && self.contains(&copy) { copy.clone() } else { bias.to_owned() };
        if copy != bias {
            self.tie(&copy, &bias);
        }
        let bias = self.weight(&bias, &[words])?;
        Ok(self.b.add(scores, bias))
    }

    /// A linear layer with its bias over as many classes as its weight has.
    pub fn classes(&mut self, x: ValueId, path: &str, width: usize, form: Linear) -> Result<ValueId, HfError> {
        let classes = self.length(&format!("{path}.weight"), 0)?;
        self.linear(x, path, [classes, width], form)
    }

    /// The vector of each sequence's last token that is no padding.
    pub fn last_token(&mut self, x: ValueId, tokens: ValueId, padding: Option<i64>) -> ValueId {
        let Some(padding) = padding else { return self.take(x, -1, 1) };
        let positions = self.positions(tokens);
        let padding = self.integer(padding);
        let is_padding = self.binary(Binary::Equal, tokens, padding);
        let is_token = self.unary(Unary::Not, is_padding);
        let is_token = self.cast(is_token, DataType::I64);
        let numbered = self.binary(Binary::Mul, positions, is_token);
        let last = Operator::ArgExtremum { largest: true, axis: -1, keep_dims: true };
        let last = self.b.node(last, &[numbered]);
        self.vector_at(x, tokens, last)
    }

    /// The vectors at places of batch x 1.
    pub fn vector_at(&mut self, x: ValueId, tokens: ValueId, place: ValueId) -> ValueId {
        let positions = self.positions(tokens);
        let chosen = self.binary(Binary::Equal, positions, place);
        let chosen = self.cast(chosen, DataType::F32);
        let chosen = self.unsqueeze(chosen, &[1]);
        let vector = self.b.node(Operator::MatMul, &[chosen, x]);
        let axes = self.b.integers(&[1]);
        self.b.node(Operator::Squeeze, &[vector, axes])
    }
}
