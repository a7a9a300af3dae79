//! Layers of networks of any architecture.

use otfuse_graph::Graph;
use serde::Serialize;

use crate::layers::{Layer, Recorded, layers, moments, record_layers};
use crate::{Context, Error, Model, Result, Samples};

/// The layers of one model.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Layers {
    pub model: usize,
    pub layers: Vec<Statistics>,
}

/// Numbers about one layer.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Statistics {
    /// The name of its weight.
    pub name: String,
    pub shape: Vec<usize>,
    pub mean: f64,
    pub deviation: f64,
    /// Root of the sum of squares.
    pub norm: f64,
    pub activations: Option<LayerActivations>,
}

/// What a layer gives, behind its nonlinearity.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct LayerActivations {
    pub mean: f64,
    pub deviation: f64,
    /// The share that is 0.
    pub zeros: f64,
}

/// Similarities of layers.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Kernels {
    pub samples: usize,
    pub pairs: Vec<Kernel>,
}

/// Linear CKA between the layers of two models.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Kernel {
    pub first: usize,
    pub second: usize,
    /// Layers of the first model.
    pub rows: Vec<String>,
    /// Layers of the second model.
    pub columns: Vec<String>,
    /// None where a layer says the same of all samples.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Statistics of all layers of all models, and their similarities on samples.
pub(super) fn compare(
    models: &[Model],
    graphs: &[&Graph],
    samples: Option<&Samples>,
    context: &Context,
) -> Result<(Vec<Layers>, Option<Kernels>)> {
    let all: Vec<Vec<Layer>> = graphs.iter().map(|graph| layers(graph)).collect();
    let mut recorded: Vec<Vec<Recorded>> = Vec::new();
    if let Some(samples) = samples {
        let total = all.iter().map(Vec::len).sum();
        let bar = context.stage("comparing layers", total);
        let mut before = 0;
        for ((model, graph), layers) in models.iter().zip(graphs).zip(&all) {
            let found = record_layers(graph, layers, samples, context.host(), &mut |done, _| {
                bar.at(before + done, total);
            });
            recorded.push(found.map_err(|error| Error::from(error).of(model.path()))?);
            before += layers.len();
        }
    }
    let statistics = all.iter().enumerate().map(|(model, layers)| Layers {
        model,
        layers: layers
            .iter()
            .enumerate()
            .map(|(at, layer)| statistics(graphs[model], layer, recorded.get(model).and_then(|found| found.get(at))))
            .collect(),
    });
    let statistics = statistics.collect();
    let Some(samples) = samples else { return Ok((statistics, None)) };
    let mut pairs = Vec::new();
    let names = |model: usize| all[model].iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    for second in 1..graphs.len() {
        for first in 0..second {
            let row = |left: &Recorded| -> Vec<Option<f64>> {
                let similarity = |right: &Recorded| left.gram.as_ref()?.similarity(right.gram.as_ref()?);
                recorded[second].iter().map(similarity).collect()
            };
            let values = recorded[first].iter().map(row).collect();
            pairs.push(Kernel { first, second, rows: names(first), columns: names(second), values });
        }
    }
    Ok((statistics, Some(Kernels { samples: samples.len(), pairs })))
}

fn statistics(graph: &Graph, layer: &Layer, recorded: Option<&Recorded>) -> Statistics {
    let tensor = graph.initializer(layer.weight);
    let values = tensor.and_then(|tensor| tensor.to_f32()).unwrap_or_default();
    let (mean, deviation) = moments(&values);
    Statistics {
        name: layer.name.clone(),
        shape: tensor.map_or_else(Vec::new, |tensor| tensor.shape().to_vec()),
        mean,
        deviation,
        norm: values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt(),
        activations: recorded.map(|recorded| LayerActivations {
            mean: recorded.mean,
            deviation: recorded.deviation,
            zeros: recorded.zeros,
        }),
    }
}
