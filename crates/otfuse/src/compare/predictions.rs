//! What networks say of the same samples.

use otfuse_graph::Graph;
use serde::Serialize;

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
    /// The share of samples of which both are wrong.
    pub both_wrong: f64,
    /// The share of samples of each class of which they say different things.
    pub class_disagreement: Vec<Option<f64>>,
}

/// Runs all models on the samples.
pub(super) fn compare(
    models: &[Model],
    graphs: &[&Graph],
    samples: &Samples,
    context: &Context,
) -> Result<Predictions> {
    let meter = Meter::new(context, graphs.len() * samples.len());
    let (mut measures, mut said) = (Vec::new(), Vec::new());
    for (model, graph) in models.iter().zip(graphs) {
        let failure = |error| Error::from(error).of(model.path());
        let found = meter.probabilities(graph, samples).map_err(failure)?;
        measures.push(Measure::from(found.evaluate(samples).map_err(failure)?));
        said.push(found.best());
    }
    let labels: Vec<usize> = samples.labels().iter().map(|&label| label as usize).collect();
    let mut classes = vec![0; labels.iter().max().map_or(0, |most| most + 1)];
    labels.iter().for_each(|&label| classes[label] += 1);
    let of_classes = |holds: &dyn Fn(usize) -> bool| -> Vec<Option<f64>> {
        let mut counts = vec![0usize; classes.len()];
        labels.iter().enumerate().filter(|(at, _)| holds(*at)).for_each(|(_, &label)| counts[label] += 1);
        counts.iter().zip(&classes).map(|(&found, &all)| (all > 0).then(|| found as f64 / all as f64)).collect()
    };
    let share = |holds: &dyn Fn(usize) -> bool| {
        (0..labels.len()).filter(|&at| holds(at)).count() as f64 / labels.len().max(1) as f64
    };
    let mut pairs = Vec::new();
    for second in 1..said.len() {
        for first in 0..second {
            let (a, b) = (&said[first], &said[second]);
            pairs.push(Pair {
                first,
                second,
                agreement: share(&|at| a[at] == b[at]),
                both_wrong: share(&|at| a[at] != labels[at] && b[at] != labels[at]),
                class_disagreement: of_classes(&|at| a[at] != b[at]),
            });
        }
    }
    Ok(Predictions {
        data: samples.name().to_owned(),
        samples: samples.len(),
        measures,
        class_accuracy: said.iter().map(|said| of_classes(&|at| said[at] == labels[at])).collect(),
        classes,
        pairs,
    })
}
