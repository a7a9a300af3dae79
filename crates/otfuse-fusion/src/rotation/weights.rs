//! The weights of a network as arrays, and maps along their axes.

use std::collections::BTreeMap;

use otfuse_graph::{Graph, GraphEditor, GraphError, NeuronGroups, Tensor, ValueId};

use super::dense::Dense;

/// A weight in double precision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// The weights of a network by the anchor's ids.
pub(crate) type Weights = BTreeMap<ValueId, Array>;

/// The weights of a network that the analysis of another one of its kind knows; `tensor` is what stands at an id of that.
pub(crate) fn weights_of<'t>(
    graph: &Graph,
    groups: &NeuronGroups,
    tensor: impl Fn(ValueId) -> Option<&'t Tensor>,
) -> Weights {
    let floats = |id: ValueId| {
        let tensor = tensor(id)?;
        let data = tensor.to_f32()?.into_iter().map(f64::from).collect();
        Some((id, Array { shape: tensor.shape().to_vec(), data }))
    };
    let is_weight = |id: &ValueId| graph.is_weight(*id) && groups.layouts(*id).is_some();
    graph.initializers().map(|(id, _)| id).filter(is_weight).filter_map(floats).collect()
}

/// A graph with these weights in single precision, where they are others than its own; `place` is where one stands in it.
pub(crate) fn with_weights(
    graph: &Graph,
    weights: &Weights,
    place: impl Fn(ValueId) -> ValueId,
) -> Result<Graph, GraphError> {
    let mut editor = GraphEditor::edit(graph.clone());
    for (&id, array) in weights {
        let values: Vec<f32> = array.data.iter().map(|&value| value as f32).collect();
        if graph.initializer(place(id)).and_then(Tensor::to_f32).is_some_and(|own| own != values) {
            editor.set_tensor(place(id), Tensor::from_f32(&array.shape, values));
        }
    }
    editor.finish()
}

impl Array {
    fn steps(&self, axis: usize) -> (usize, usize, usize) {
        let (before, after) = (self.shape[..axis].iter().product(), self.shape[axis + 1..].iter().product());
        (before, self.shape[axis], after)
    }

    /// Some indices of an axis as columns, all else as rows.
    pub fn columns(&self, axis: usize, indices: &[usize]) -> Dense {
        let (before, length, after) = self.steps(axis);
        let mut data = Vec::with_capacity(before * after * indices.len());
        for outer in 0..before {
            for inner in 0..after {
                data.extend(indices.iter().map(|&index| self.data[(outer * length + index) * after + inner]));
            }
        }
        Dense { rows: before * after, columns: indices.len(), data }
    }

    /// Writes what [`columns`](Self::columns) gives.
    pub fn set_columns(&mut self, axis: usize, indices: &[usize], columns: &Dense) {
        let (before, length, after) = self.steps(axis);
        let mut values = columns.data.iter();
        for outer in 0..before {
            for inner in 0..after {
                for (&index, &value) in indices.iter().zip(values.by_ref()) {
                    self.data[(outer * length + index) * after + inner] = value;
                }
            }
        }
    }

    /// Multiplies each index of an axis with a number.
    pub fn scale(&mut self, axis: usize, factors: &[f64]) {
        let (_, length, after) = self.steps(axis);
        self.data.iter_mut().enumerate().for_each(|(at, value)| *value *= factors[at / after.max(1) % length]);
    }

    /// Takes the mean of the rows of a matrix away, and gives it.
    pub fn take_mean_row(&mut self) -> Vec<f64> {
        let (rows, width) = (self.shape[0].max(1), self.shape[1].max(1));
        let column = |data: &[f64], column: usize| data.iter().skip(column).step_by(width).sum::<f64>() / rows as f64;
        let mean: Vec<f64> = (0..width).map(|at| column(&self.data, at)).collect();
        self.data.iter_mut().enumerate().for_each(|(at, value)| *value -= mean[at % width]);
        mean
    }

    /// Takes the mean over an axis away.
    pub fn centre(&mut self, axis: usize) {
        let (before, length, after) = self.steps(axis);
        for outer in 0..before {
            for inner in 0..after {
                let at = |index: usize| (outer * length + index) * after + inner;
                let mean = (0..length).map(|index| self.data[at(index)]).sum::<f64>() / length.max(1) as f64;
                (0..length).for_each(|index| self.data[at(index)] -= mean);
            }
        }
    }
}
