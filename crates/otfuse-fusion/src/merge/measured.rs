//! What is known of samples where tensors are merged.

use std::sync::Arc;

/// What a method has to know of samples, of each model by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// Nothing: weights say all.
    #[default]
    None,
    /// How much what a model says depends on each weight: the diagonal of the Fisher information.
    Fisher,
    /// What flows into each linear layer: the mean of the products of its inputs.
    Gram,
}

/// What was measured of the tensor that is merged, in the order of the models.
#[derive(Clone, Debug, Default)]
pub enum Measured<'a> {
    /// Nothing was, or there is nothing to be measured of this tensor (running statistics, biases where layers are).
    #[default]
    Nothing,
    /// The Fisher information of its elements.
    Fisher(Vec<Information<'a>>),
    /// What flows into the layer whose weight it is.
    Gram(LayerInputs<'a>),
}

/// The Fisher information of the elements of one model's tensor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Information<'a> {
    /// Of the elements that are merged, which may be a part of the tensor; none of a model that does not count.
    pub values: &'a [f32],
    /// The mean over the whole tensor.
    pub mean: f64,
}

/// What flows into a layer.
#[derive(Clone, Debug)]
pub struct LayerInputs<'a> {
    /// The axis of the weight that counts outputs. All others count inputs; those in front of it come first.
    pub output_axis: usize,
    /// For each model the inputs of each group of a convolution (one for other layers); none of a model that does not count.
    pub models: Vec<&'a [Products]>,
}

/// A symmetric matrix: means of products of two inputs each. Layers that read the same share it.
#[derive(Clone, Debug)]
pub struct Products {
    inputs: usize,
    /// The lower triangle, row by row.
    values: Arc<[f32]>,
}

impl Products {
    /// Of so many inputs; `at` gives the entry of a row and a column, the latter not above the former. `2 inputs^2` bytes.
    pub fn new(inputs: usize, at: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..inputs).flat_map(|row| (0..=row).map(move |column| (row, column)));
        Self { inputs, values: values.map(|(row, column)| at(row, column) as f32).collect() }
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The entry of a row and a column.
    pub fn at(&self, row: usize, column: usize) -> f64 {
        let (row, column) = (row.max(column), row.min(column));
        f64::from(self.values[row * (row + 1) / 2 + column])
    }
}
