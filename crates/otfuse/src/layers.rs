//! A network's layers, for comparisons across architectures.

use otfuse_fusion::Gram;
use otfuse_graph::{Binary, Graph, Operator, ValueId, Variadic};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::{Executable, Host, RuntimeError, run_batched};

/// Recorded values that are held at once, in bytes.
const BUDGET: usize = 512 << 20;

/// A weighted sum with what follows it up to its nonlinearity.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The weight's name.
    pub name: String,
    /// The weight.
    pub weight: ValueId,
    /// What the layer gives: behind bias, normalisation, residual addition and nonlinearity.
    pub value: ValueId,
}

/// What a layer does on some samples.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Inner products of the samples; none if the layer says the same of all, or has no axis of samples.
    pub gram: Option<Gram>,
    /// Mean of all outputs.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The share of them that is 0.
    pub zeros: f64,
}

/// The convolutions and products of a network with learned weights, in the order of its nodes.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let (readers, producers) = (graph.consumers(), graph.producers());
    let weight_of = |mut value: ValueId| loop {
        if graph.initializer(value).is_some() {
            return graph.is_weight(value).then_some(value);
        }
        let node = graph.node(*producers.get(&value)?);
        if !matches!(node.operator, Operator::Transpose { .. } | Operator::Cast { .. } | Operator::Identity) {
            return None;
        }
        value = node.input(0)?;
    };
    let mut found = Vec::new();
    for (_, node) in graph.nodes() {
        if !matches!(node.operator.name(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul") {
            continue;
        }
        let weight = node.inputs.iter().take(2).flatten().find_map(|&input| weight_of(input));
        let (Some(weight), Some(mut value)) = (weight, node.output(0)) else { continue };
        while let Some([(reader, _)]) = readers.get(&value).map(Vec::as_slice) {
            let reader = graph.node(*reader);
            let is_affine = matches!(
                reader.operator,
                Operator::BatchNormalization { .. }
                    | Operator::BatchNormalizationInTraining { .. }
                    | Operator::Binary(Binary::Add | Binary::Sub)
                    | Operator::Variadic(Variadic::Sum)
            );
            let is_nonlinear = matches!(reader.operator, Operator::Unary(_) | Operator::PRelu | Operator::Clip);
            let Some(output) = reader.output(0).filter(|_| is_affine || is_nonlinear) else { break };
            value = output;
            if is_nonlinear {
                break;
            }
        }
        found.push(Layer { name: graph.value(weight).name.clone(), weight, value });
    }
    found
}

/// Runs a network over samples and keeps what comparisons need of each layer; as often as its values fit in memory
/// (512 MiB) together. `observe` is told how many of how many layers are done.
///
/// # Errors
/// A network that cannot be run on the samples.
pub fn record_layers(
    graph: &Graph,
    layers: &[Layer],
    samples: &Dataset,
    host: &Host,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Recorded>, RuntimeError> {
    let executable = Executable::new(graph, host)?;
    let mut sizes = vec![0; layers.len()];
    let values: Vec<ValueId> = layers.iter().map(|layer| layer.value).collect();
    run_batched(&executable, &samples.clone().truncated(1), &values, None, |_, found| {
        for (size, value) in sizes.iter_mut().zip(&values) {
            *size = found.get(value).map_or(0, |tensor| 4 * tensor.len() * samples.len());
        }
        Ok(())
    })?;
    let mut recorded = Vec::with_capacity(layers.len());
    while recorded.len() < layers.len() {
        let start = recorded.len();
        let (mut end, mut held) = (start, 0);
        while end < layers.len() && (end == start || held + sizes[end] <= BUDGET) {
            held += sizes[end];
            end += 1;
        }
        let mut tables: Vec<Vec<f32>> = vec![Vec::new(); end - start];
        let mut has_samples = vec![true; end - start];
        run_batched(&executable, samples, &values[start..end], None, |range, found| {
            for (at, value) in values[start..end].iter().enumerate() {
                let Some(tensor) = found.get(value) else { continue };
                has_samples[at] &= tensor.shape().first() == Some(&range.len());
                tables[at].extend(tensor.to_f32().unwrap_or_default());
            }
            Ok(())
        })?;
        for (table, has_samples) in tables.iter().zip(has_samples) {
            recorded.push(summary(table, samples.len(), has_samples));
            observe(recorded.len(), layers.len());
        }
    }
    Ok(recorded)
}

fn summary(table: &[f32], samples: usize, has_samples: bool) -> Recorded {
    let (mean, deviation) = moments(table);
    let zeros = table.iter().filter(|value| **value == 0.0).count();
    Recorded {
        gram: Some(samples).filter(|_| has_samples).and_then(|samples| Gram::new(samples, table)),
        mean,
        deviation,
        zeros: zeros as f64 / table.len().max(1) as f64,
    }
}

/// Mean and standard deviation.
pub fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}
