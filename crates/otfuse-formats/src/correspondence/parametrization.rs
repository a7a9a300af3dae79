//! Weights that a checkpoint has in another form than the layer uses them: `weight_norm` (Salimans and Kingma, 2016, equation
//! 2) and `spectral_norm` (Miyato et al., 2018, equation 8) of PyTorch, in the old form of both (`weight_g`, `weight_u`) and
//! the new one (`parametrizations.weight.original0`, `parametrizations.weight.0._u`).
//!
//! What is fused is the weight that the layer uses. The form is made anew from the result: a mean of directions and lengths
//! apart is not the mean of the weights, and a mean of singular vectors is none.

use otfuse_graph::Tensor;

use super::binding::Source;
use crate::StateDict;

/// Steps of the power iteration by which singular vectors are found anew.
const POWER_STEPS: usize = 50;

/// The weight is `gain * direction / |direction|`, the norm taken over the axes along which the gain has length 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightNorm {
    gain: String,
    direction: String,
}

/// The weight is `original / (left . matrix right)`, the matrix being `original` with `axis` in front and all else flattened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpectralNorm {
    original: String,
    left: String,
    right: String,
    axis: usize,
}

/// A weight as its layer uses it.
#[derive(Clone, Debug)]
pub(crate) struct Parametrized {
    /// The name that the weight would have without the parametrization.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) source: Source,
}

/// All weights of a checkpoint that are there in such a form.
pub(crate) fn find(dict: &StateDict) -> Vec<Parametrized> {
    let mut found = Vec::new();
    for (key, tensor) in dict.iter() {
        if let Some(name) = new_form(key, ".original1").or_else(|| key.strip_suffix("_v").map(str::to_owned)) {
            let gain = match key.strip_suffix("original1") {
                Some(stem) => format!("{stem}original0"),
                None => format!("{name}_g"),
            };
            if dict.contains(&gain) {
                let source = Source::WeightNorm(WeightNorm { gain, direction: key.into() });
                found.push(Parametrized { name, shape: tensor.shape().into(), source });
                continue;
            }
        }
        let Some(name) = new_form(key, ".original").or_else(|| key.strip_suffix("_orig").map(str::to_owned)) else {
            continue;
        };
        let vectors = match key.strip_suffix("original") {
            Some(stem) => [format!("{stem}0._u"), format!("{stem}0._v")],
            None => [format!("{name}_u"), format!("{name}_v")],
        };
        let [left, right] = vectors;
        let length = |key: &str| dict.get(key).map(Tensor::len);
        if let (Some(rows), Some(columns)) = (length(&left), length(&right)) {
            let fits = |&axis: &usize| tensor.shape()[axis] == rows && rows.checked_mul(columns) == Some(tensor.len());
            let Some(axis) = (0..tensor.shape().len()).find(fits) else { continue };
            let source = Source::SpectralNorm(SpectralNorm { original: key.into(), left, right, axis });
            found.push(Parametrized { name, shape: tensor.shape().into(), source });
        }
    }
    found
}

/// `layer.weight` for `layer.parametrizations.weight.original`.
fn new_form(key: &str, ending: &str) -> Option<String> {
    let (module, weight) = key.strip_suffix(ending)?.rsplit_once("parametrizations.")?;
    Some(format!("{module}{weight}"))
}

impl WeightNorm {
    pub(super) fn keys(&self) -> Vec<&str> {
        vec![&self.gain, &self.direction]
    }

    pub(super) fn weight(&self, dict: &StateDict, shape: &[usize]) -> Option<Tensor> {
        let (gain, direction) = (dict.get(&self.gain)?, dict.get(&self.direction)?);
        if direction.shape() != shape {
            return None;
        }
        let rows = rows(shape, gain.shape())?;
        let (gains, mut values) = (gain.to_f32()?, direction.to_f32()?);
        let norms = norms(&values, &rows, gains.len());
        for (value, &row) in values.iter_mut().zip(&rows) {
            *value = (f64::from(gains[row]) * f64::from(*value) / norms[row]) as f32;
        }
        Some(Tensor::from_f32_as(direction.data_type(), shape, values))
    }

    /// The part of that name of a weight: its direction is the weight itself, with the norms that the checkpoint's has.
    pub(super) fn part(&self, key: &str, own: &Tensor, weight: &Tensor) -> Option<Tensor> {
        if key == self.direction {
            return super::binding::cast(weight.clone(), own.data_type());
        }
        // The gain has an axis for each of the weight's, of the same length or 1; a single number has none.
        let axes = own.shape().len().min(weight.shape().len());
        let shape: Vec<usize> =
            (0..axes).map(|axis| if own.shape()[axis] == 1 { 1 } else { weight.shape()[axis] }).collect();
        let rows = rows(weight.shape(), &shape)?;
        let norms = norms(&weight.to_f32()?, &rows, shape.iter().product());
        Some(Tensor::from_f32_as(own.data_type(), &shape, norms.into_iter().map(|norm| norm as f32).collect()))
    }
}

impl SpectralNorm {
    /// Takes this axis as that of the left vector, if it is as long.
    pub(super) fn take_axis(&mut self, axis: usize, dict: &StateDict) {
        let length = dict.get(&self.original).and_then(|tensor| tensor.shape().get(axis));
        if length.is_some() && length == dict.get(&self.left).map(Tensor::len).as_ref() {
            self.axis = axis;
        }
    }

    pub(super) fn keys(&self) -> Vec<&str> {
        vec![&self.original, &self.left, &self.right]
    }

    pub(super) fn weight(&self, dict: &StateDict, shape: &[usize]) -> Option<Tensor> {
        let original = dict.get(&self.original).filter(|tensor| tensor.shape() == shape)?;
        let (left, right) = (dict.get(&self.left)?.to_f32()?, dict.get(&self.right)?.to_f32()?);
        let mut values = original.to_f32()?;
        let matrix = matrix(&values, shape, self.axis);
        let product = times(&matrix, &doubles(&right), left.len());
        let largest: f64 = product.iter().zip(&left).map(|(a, &b)| a * f64::from(b)).sum();
        values.iter_mut().for_each(|value| *value = (f64::from(*value) / largest) as f32);
        Some(Tensor::from_f32_as(original.data_type(), shape, values))
    }

    /// The part of that name: the original is the weight, and the vectors are its first singular ones, the left one over
    /// the singular value, so that the layer uses just this weight.
    pub(super) fn part(&self, key: &str, dict: &StateDict, weight: &Tensor) -> Option<Tensor> {
        let own = dict.get(key)?;
        if key == self.original {
            return super::binding::cast(weight.clone(), own.data_type());
        }
        let rows = *weight.shape().get(self.axis)?;
        let matrix = matrix(&weight.to_f32()?, weight.shape(), self.axis);
        let (mut left, mut right) = (vec![1.0; rows], Vec::new());
        if let Some(start) = dict.get(&self.left).and_then(Tensor::to_f32).filter(|start| start.len() == rows) {
            left = doubles(&start);
        }
        for _ in 0..POWER_STEPS {
            right = unit(times_transposed(&matrix, &left, rows));
            left = unit(times(&matrix, &right, rows));
        }
        let value: f64 = times(&matrix, &right, rows).iter().zip(&left).map(|(a, b)| a * b).sum();
        let vector = if key == self.right { right } else { left.into_iter().map(|x| x / value).collect() };
        let vector: Vec<f32> = vector.into_iter().map(|x| x as f32).collect();
        Some(Tensor::from_f32_as(own.data_type(), &[vector.len()], vector))
    }
}

/// How far apart neighbours along each axis are.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// For each element the gain that it belongs to; `None` if the gain's shape is no such one.
fn rows(shape: &[usize], gain: &[usize]) -> Option<Vec<usize>> {
    let fits = gain.is_empty() || gain.len() == shape.len();
    if !fits || gain.iter().zip(shape).any(|(&a, &b)| a != 1 && a != b) {
        return None;
    }
    let (steps, of_gain) = (strides(shape), strides(gain));
    let place = |element: usize| {
        let along = |axis: usize| if gain[axis] == 1 { 0 } else { element / steps[axis] % shape[axis] * of_gain[axis] };
        (0..gain.len()).map(along).sum()
    };
    Some((0..shape.iter().product()).map(place).collect())
}

fn norms(values: &[f32], rows: &[usize], count: usize) -> Vec<f64> {
    let mut norms = vec![0.0; count];
    for (&value, &row) in values.iter().zip(rows) {
        norms[row] += f64::from(value) * f64::from(value);
    }
    norms.into_iter().map(f64::sqrt).collect()
}

/// The values with an axis in front of all others.
fn matrix(values: &[f32], shape: &[usize], axis: usize) -> Vec<f64> {
    let behind: usize = shape[axis + 1..].iter().product();
    let (length, before): (usize, usize) = (shape[axis], shape[..axis].iter().product());
    let mut matrix = Vec::with_capacity(values.len());
    for row in 0..length {
        for outer in 0..before {
            let start = (outer * length + row) * behind;
            matrix.extend(values[start..start + behind].iter().map(|&value| f64::from(value)));
        }
    }
    matrix
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn times(matrix: &[f64], vector: &[f64], rows: usize) -> Vec<f64> {
    let row = |row: usize| {
        let start = row * vector.len();
        matrix[start..start + vector.len()].iter().zip(vector).map(|(a, b)| a * b).sum()
    };
    (0..rows).map(row).collect()
}

fn times_transposed(matrix: &[f64], vector: &[f64], rows: usize) -> Vec<f64> {
    let columns = matrix.len() / rows.max(1);
    let mut product = vec![0.0; columns];
    for (row, &factor) in vector.iter().enumerate() {
        for (sum, value) in product.iter_mut().zip(&matrix[row * columns..(row + 1) * columns]) {
            *sum += factor * value;
        }
    }
    product
}

fn unit(vector: Vec<f64>) -> Vec<f64> {
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    vector.into_iter().map(|x| x / norm).collect()
}
