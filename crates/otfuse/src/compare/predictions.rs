//! What networks say of the same samples.

use otfuse_graph::Graph;
use otfuse_runtime::RuntimeError;
use otfuse_runtime::dataset::Targets;
use serde::Serialize;

use crate::fitting::suspect;
use crate::measure::{Measure, Meter};
use crate::{Context, Error, Model, Result, Samples};

/// All models on the same samples.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Predictions {
    pub data: String,
    pub samples: usize,
    #[serde(skip)]
    pub(crate) measures: Vec<Measure>,
    /// Samples of each class.
    pub classes: Vec<usize>,
    /// Per model the accuracy on the samples of each class; none for a class without samples.
    pub class_accuracy: Vec<Vec<Option<f64>>>,
    pub pairs: Vec<Pair>,
}

/// Two models.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Pair {
    pub first: usize,
    pub second: usize,
    /// The share of samples of which both say the same.
    pub agreement: f64,
    /// The share of samples of which both are wrong, where it is known what is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub both_wrong: Option<f64>,
    /// The share of samples of each class of which they say different things.
    pub class_disagreement: Vec<Option<f64>>,
}

/// Runs all models on the samples. `None` where the samples have no labels and the networks say no classes either, which is
/// said.
pub(super) fn compare(
    models: &[Model],
    graphs: &[&Graph],
    samples: &Samples,
    context: &Context,
) -> Result<Option<Predictions>> {
    let meter = Meter::new(context, graphs.len() * samples.len());
    let (mut measures, mut said) = (Vec::new(), Vec::new());
    let is_numbers = matches!(samples.targets(), Targets::Numbers { .. });
    for (model, graph) in models.iter().zip(graphs) {
        let failure = |error| Error::from(error).of(model.path());
        if is_numbers {
            measures.push(Measure::from(meter.evaluation(graph, samples).map_err(failure)?));
            continue;
        }
        let found = match meter.probabilities(graph, samples) {
            Err(error @ RuntimeError::Output { .. }) if !samples.is_labelled() => {
                context.note(&format!("{}: predictions are not compared: {error}", model.shown()));
                return Ok(None);
            }
            found => found.map_err(failure)?,
        };
        if samples.is_labelled() {
            let measure = Measure::from(found.evaluate(samples).map_err(failure)?);
            suspect(graph, &model.shown(), measure.accuracy, samples, false, context);
            measures.push(measure);
        }
        said.push(found.best());
    }
    let labels: Vec<Option<usize>> = match samples.is_labelled() {
        true => samples.labels().iter().map(|&label| (label != Targets::VOID).then_some(label as usize)).collect(),
        false => vec![None; said.first().map_or(0, Vec::len)],
    };
    let mut classes = vec![0; labels.iter().flatten().max().map_or(0, |most| most + 1)];
    labels.iter().flatten().for_each(|&label| classes[label] += 1);
    let of_classes = |holds: &dyn Fn(usize) -> bool| -> Vec<Option<f64>> {
        let mut counts = vec![0usize; classes.len()];
        let known = labels.iter().enumerate().filter_map(|(at, label)| Some((at, (*label)?)));
        known.filter(|(at, _)| holds(*at)).for_each(|(_, label)| counts[label] += 1);
        counts.iter().zip(&classes).map(|(&found, &all)| (all > 0).then(|| found as f64 / all as f64)).collect()
    };
    // Places without a class do not count, unless nothing has one.
    let counts = |at: usize| labels[at].is_some() || !samples.is_labelled();
    let counted = (0..labels.len()).filter(|&at| counts(at)).count();
    let share = |holds: &dyn Fn(usize) -> bool| {
        (0..labels.len()).filter(|&at| counts(at) && holds(at)).count() as f64 / counted.max(1) as f64
    };
    let mut pairs = Vec::new();
    for second in 1..said.len() {
        for first in 0..second {
            let (a, b) = (&said[first], &said[second]);
            let is_wrong = |at: usize| Some(a[at]) != labels[at] && Some(b[at]) != labels[at];
            pairs.push(Pair {
                first,
                second,
                agreement: share(&|at| a[at] == b[at]),
                both_wrong: samples.is_labelled().then(|| share(&is_wrong)),
                class_disagreement: of_classes(&|at| a[at] != b[at]),
            });
        }
    }
    Ok(Some(Predictions {
        data: samples.name().to_owned(),
        samples: samples.len(),
        measures,
        class_accuracy: said.iter().map(|said| of_classes(&|at| Some(said[at]) == labels[at])).collect(),
        classes,
        pairs,
    }))
}
