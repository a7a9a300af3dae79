//! Variance restored in closed form, without any data.

use otfuse_graph::{Graph, GraphEditor, Tensor};

use super::LinearUnit;
use crate::average::mapped;
use crate::error::FusionError;
use crate::fuse::Fusion;
use crate::networks::Networks;

/// The fused network with the variance of every layer restored as far as the weights tell.
///
/// For inputs of equal variance that are not correlated, a neuron's sum varies in proportion to the norm of its incoming
/// weights, and averaging weights that agree in part only shrinks that norm. Without normalisation the averaged row gets
/// the parents' mean norm; with batch normalisation the running variance becomes that of the averaged sums,
/// `sum_kl w_k w_l cos(row_k, row_l) std_k std_l`. A network fused with itself stays as it is.
///
/// Linear in the number of weights, times the square of the number of models.
///
/// # Errors
/// A result that is no valid graph.
pub fn repair_without_data(networks: &Networks, fusion: &Fusion) -> Result<Graph, FusionError> {
    let anchor = networks.reference();
    let mut editor = GraphEditor::edit(fusion.graph.clone());
    let named = |name: &str| fusion.graph.find_value(name);
    for unit in LinearUnit::of(anchor) {
        let Some(id) = named(&anchor.value(unit.weight).name) else { continue };
        let Some(tensor) = fusion.graph.initializer(id) else { continue };
        let models: Vec<usize> = (0..networks.len()).filter(|&model| fusion.weights[model] > 0.0).collect();
        let rows = |values: Vec<f32>| Rows::new(values, tensor.shape(), unit.output_axis);
        let parents: Vec<Rows> =
            models.iter().map(|&model| rows(mapped(networks, model, unit.weight, &fusion.maps[model]))).collect();
        let weights: Vec<f64> = models.iter().map(|&model| fusion.weights[model]).collect();
        match unit.normalization {
            None => {
                let mut fused = rows(tensor.to_f32().unwrap_or_default());
                for row in 0..fused.count {
                    let norm = fused.dot(&fused, row).sqrt();
                    let wanted: f64 =
                        parents.iter().zip(&weights).map(|(rows, weight)| weight * rows.dot(rows, row).sqrt()).sum();
                    if norm > 0.0 && wanted > 0.0 {
                        fused.scale(row, wanted / norm);
                    }
                }
                editor.set_tensor(id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), fused.values));
            }
            Some(normalization) => {
                let variances: Vec<Vec<f32>> = models
                    .iter()
                    .map(|&model| mapped(networks, model, normalization.variance, &fusion.maps[model]))
                    .collect();
                let Some(id) = named(&anchor.value(normalization.variance).name) else { continue };
                let Some(tensor) = fusion.graph.initializer(id) else { continue };
                let of_row = |row: usize| averaged_variance(&parents, &weights, &variances, row) as f32;
                let values = (0..tensor.len()).map(of_row).collect();
                editor.set_tensor(id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values));
            }
        }
    }
    Ok(editor.finish()?)
}

/// The variance of the weighted mean of the parents' sums.
fn averaged_variance(parents: &[Rows], weights: &[f64], variances: &[Vec<f32>], row: usize) -> f64 {
    let deviation = |model: usize| f64::from(variances[model][row]).max(0.0).sqrt();
    let mut variance = 0.0;
    for k in 0..parents.len() {
        for l in 0..parents.len() {
            let norms = (parents[k].dot(&parents[k], row) * parents[l].dot(&parents[l], row)).sqrt();
            let cosine = if k == l || norms == 0.0 { 1.0 } else { parents[k].dot(&parents[l], row) / norms };
            variance += weights[k] * weights[l] * cosine * deviation(k) * deviation(l);
        }
    }
    variance.max(0.0)
}

/// A weight by its outputs.
struct Rows {
    values: Vec<f32>,
    count: usize,
    inner: usize,
}

impl Rows {
    fn new(values: Vec<f32>, shape: &[usize], axis: usize) -> Self {
        Self { values, count: shape[axis], inner: shape[axis + 1..].iter().product() }
    }

    /// Where the row's values lie: blocks of `inner`, `count` blocks apart.
    fn blocks(&self, row: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (inner, step, end) = (self.inner, self.inner * self.count, self.values.len());
        (row * inner..end).step_by(step.max(1)).map(move |start| start..start + inner)
    }

    fn dot(&self, other: &Self, row: usize) -> f64 {
        let block = |range: std::ops::Range<usize>| {
            let pairs = self.values[range.clone()].iter().zip(&other.values[range]);
            pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        self.blocks(row).map(block).sum()
    }

    fn scale(&mut self, row: usize, factor: f64) {
        for range in self.blocks(row) {
            self.values[range].iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
    }
}
