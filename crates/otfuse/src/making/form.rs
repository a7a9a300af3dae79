//! What kind of samples networks take, read off their graphs.

use std::collections::HashMap;

use otfuse_graph::{Binary, DataType, Dim, Facts, Graph, Operator, ValueId};
use otfuse_runtime::inverse::is_causal;
use otfuse_runtime::{Head, fixed_batch_size};

use crate::inputs::vocabulary;
use crate::{Context, InputShapes, Model, Result};

/// The most tokens of a window; fewer where there are fewer positions.
const WINDOW: usize = 64;
/// The fewest pixels on a side of what is taken for an image.
const LEAST_SIDE: usize = 8;

/// What kind of samples networks take.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// Images of `channels x height x width` into so many classes.
    Images { shape: [usize; 3], declared: Vec<usize>, channels_last: bool, classes: usize, is_normalised: bool },
    /// Windows of tokens for language models.
    Text { length: usize, vocabulary: usize },
    /// Rows of numbers; where classes are told apart, how many.
    Numbers { count: usize, classes: Option<usize>, scale: Option<(Vec<f32>, Vec<f32>)> },
}

/// Why there is no form.
type Refusal = String;

impl Form {
    /// The form that all models share, or why none is known.
    pub(super) fn of(
        models: &[Model],
        shapes: &InputShapes,
        context: &Context,
    ) -> Result<std::result::Result<Self, Refusal>> {
        let mut forms = Vec::with_capacity(models.len());
        for model in models {
            match Self::of_graph(model.graph()?, &model.facts()?, shapes, context) {
                Ok(form) => forms.push(form),
                Err(refusal) => return Ok(Err(format!("{}: {refusal}", model.shown()))),
            }
        }
        let mut forms = forms.into_iter().enumerate();
        let Some((_, mut common)) = forms.next() else { return Ok(Err("there is no network".to_owned())) };
        for (at, form) in forms {
            if !common.agrees(&form) {
                let model = models[at].shown();
                return Ok(Err(format!("{model}: its samples have another form than those of the others")));
            }
            common = common.joined(form);
        }
        Ok(Ok(common))
    }

    /// What both take.
    fn joined(self, other: Self) -> Self {
        match (self, other) {
            // Some may have normalisations, others none.
            (
                Self::Images { shape, declared, channels_last, classes, is_normalised },
                Self::Images { is_normalised: other, .. },
            ) => Self::Images { shape, declared, channels_last, classes, is_normalised: is_normalised || other },
            (Self::Text { length, vocabulary }, Self::Text { length: its, vocabulary: of_it }) => {
                Self::Text { length: length.min(its), vocabulary: vocabulary.min(of_it) }
            }
            (form, _) => form,
        }
    }

    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Images { shape, declared, channels_last, classes, .. },
                Self::Images { shape: of_it, declared: its, channels_last: last, classes: other, .. },
            ) => (shape, declared, channels_last, classes) == (of_it, its, last, other),
            (Self::Text { .. }, Self::Text { .. }) => true,
            (Self::Numbers { count, classes, .. }, Self::Numbers { count: its, classes: other, .. }) => {
                (count, classes) == (its, other)
            }
            _ => false,
        }
    }

    fn of_graph(
        graph: &Graph,
        facts: &Facts,
        shapes: &InputShapes,
        context: &Context,
    ) -> std::result::Result<Self, Refusal> {
        let tokens =
            |id: &ValueId| facts.data_type(*id).is_some_and(|found| !found.is_float() && found != DataType::Bool);
        if let Some(&input) = graph.inputs().iter().find(|id| tokens(id)) {
            return Self::of_tokens(graph, facts, input, context);
        }
        let &[input] = graph.inputs() else {
            return Err(format!("it has {} inputs", graph.inputs().len()));
        };
        if fixed_batch_size(graph).is_some() {
            return Err("its input fixes the number of samples".to_owned());
        }
        let name = &graph.value(input).name;
        let given = shapes.get(name).map(<[usize]>::to_vec);
        let lengths: Option<Vec<usize>> = match (given, facts.shape(input)) {
            (Some(given), _) => Some(given.into_iter().skip(1).collect()),
            (None, Some(shape)) => shape.iter().skip(1).map(Dim::as_known).collect(),
            (None, None) => None,
        };
        let Some(lengths) = lengths.filter(|lengths| !lengths.is_empty() && !lengths.contains(&0)) else {
            return Err(format!("the lengths of its input '{name}' are open; `shape` gives them"));
        };
        let classes = classes(graph, facts);
        let is_normalised = graph.nodes().any(|(_, node)| matches!(node.operator, Operator::BatchNormalization { .. }));
        let image = image_of(&lengths);
        match (image, classes) {
            (Some((shape, channels_last)), Some(classes)) => {
                Ok(Self::Images { shape, declared: lengths, channels_last, classes, is_normalised })
            }
            _ if lengths.len() == 1 => {
                Ok(Self::Numbers { count: lengths[0], classes, scale: statistics(graph, input) })
            }
            (Some(_), None) => Err("it tells no classes apart".to_owned()),
            (None, _) => Err(format!("nothing is known of samples of shape {lengths:?}")),
        }
    }

    fn of_tokens(
        graph: &Graph,
        facts: &Facts,
        input: ValueId,
        context: &Context,
    ) -> std::result::Result<Self, Refusal> {
        let head = Head::find(graph).map_err(|error| error.to_string())?;
        let shape = facts.shape(head.logits);
        let scores = shape.filter(|shape| shape.len() == 3).and_then(|shape| shape.last()?.as_known());
        let (Some(scores), Some(rows)) = (scores, vocabulary(graph, facts, input)) else {
            return Err("it takes tokens and predicts none".to_owned());
        };
        let vocabulary = scores.min(rows);
        if vocabulary < 2 {
            return Err(format!("its vocabulary has {vocabulary} tokens, of which no text is made"));
        }
        let fixed = facts.shape(input).and_then(|shape| shape.get(1)?.as_known());
        let length =
            fixed.unwrap_or_else(|| positions(graph, facts, input).map_or(WINDOW, |count| count.clamp(2, WINDOW)));
        match is_causal(graph, length, vocabulary, context.host()) {
            Ok(true) => Ok(Self::Text { length, vocabulary }),
            Ok(false) => {
                Err("what it says of a token depends on those behind it, so that it writes no text".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The classes that a network tells apart: the columns of its scores.
fn classes(graph: &Graph, facts: &Facts) -> Option<usize> {
    let head = Head::find(graph).ok()?;
    let shape = facts.shape(head.logits)?;
    let (columns, rest) = (shape.get(1)?.as_known()?, shape.get(2..)?);
    (shape.len() >= 2 && columns >= 2 && rest.iter().all(Dim::is_one)).then_some(columns)
}

/// Images of 1 or 3 channels: as they are, with the channels behind, or one after the other in a row.
fn image_of(lengths: &[usize]) -> Option<([usize; 3], bool)> {
    let fits = |height: usize, width: usize| height >= LEAST_SIDE && width >= LEAST_SIDE;
    match *lengths {
        [channels @ (1 | 3), height, width] if fits(height, width) => Some(([channels, height, width], false)),
        [height, width, channels @ (1 | 3)] if fits(height, width) => Some(([channels, height, width], true)),
        [count] => [1, 3].into_iter().find_map(|channels| {
            let side = (count / channels).isqrt();
            (side * side * channels == count && fits(side, side)).then_some(([channels, side, side], false))
        }),
        _ => None,
    }
}

/// Running means and deviations of a normalisation that stands right behind the input.
fn statistics(graph: &Graph, input: ValueId) -> Option<(Vec<f32>, Vec<f32>)> {
    let (_, node) = graph.nodes().find(|(_, node)| {
        matches!(node.operator, Operator::BatchNormalization { .. }) && node.input(0) == Some(input)
    })?;
    let numbers = |at: usize| graph.initializer(node.input(at)?)?.to_f32();
    let (mean, variance) = (numbers(3)?, numbers(4)?);
    Some((mean, variance.into_iter().map(|variance| variance.max(0.0).sqrt()).collect()))
}

/// The rows of the table of positions: of the smallest table that is added to what the tokens look up.
fn positions(graph: &Graph, facts: &Facts, tokens: ValueId) -> Option<usize> {
    let known = |value: ValueId| {
        let shape = facts.shape(value)?;
        (shape.len() == 2).then(|| shape[0].as_known())?
    };
    let mut tables = HashMap::new();
    for (_, node) in graph.nodes() {
        if let (Operator::Gather { .. }, Some(table), Some(&Some(output))) =
            (&node.operator, node.input(0), node.outputs.first())
            && graph.initializer(table).is_some()
            && node.input(1) != Some(tokens)
        {
            tables.insert(output, table);
        }
    }
    let added = |node: &otfuse_graph::Node| matches!(node.operator, Operator::Binary(Binary::Add));
    let rows = graph.nodes().filter(|(_, node)| added(node)).flat_map(|(_, node)| node.inputs.iter().flatten());
    rows.filter_map(|value| known(*tables.get(value)?)).min()
}
