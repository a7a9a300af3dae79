//! Latent inputs: noise that a generator makes its outputs of, whose coordinates mean nothing.
//!
//! Noise of independent, equally distributed numbers is the same noise in any order; if they are distributed evenly around 0, with
//! any signs; and normal noise turned by any orthogonal matrix (the same holds of no other law: J. Maxwell 1860). So a generator
//! whose layers read their noise turned is the same generator, and two generators are compared best after the noise of one was
//! turned until both make nearly the same of it. Which way to turn is seen in the *first-order responses*
//! `J = E[(G(z) - E G(z)) z^T]`, the Hermite coefficients of degree one: turned noise turns them, `J -> J R`, so that the best
//! `R` is that of an orthogonal Procrustes problem.

use std::collections::HashSet;

use otfuse_graph::{AxisLayout, Graph, GraphEditor, GroupId, InferenceError, NeuronGroups, Operator, Tensor, ValueId};
use otfuse_transport::TransportError;

use crate::rotation::best_order;
use crate::rotation::dense::Dense;

/// By what maps noise stays the noise that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseSymmetry {
    /// Another order: of numbers that are independent and of one distribution.
    Permutations,
    /// Another order and other signs: of such that are even.
    SignedPermutations,
    /// All orthogonal maps: of normal ones.
    Orthogonal,
}

/// Why an input is no latent one.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatentError {
    /// Shapes that contradict each other.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// All axes are held.
    #[error("no axis of the input '{0}' is free: its order counts in what reads it")]
    Held(String),
    /// A weight that cannot be written.
    #[error("'{0}' holds no floating-point numbers")]
    NotFloat(String),
    /// Responses that are no numbers.
    #[error("what the networks make of noise is not finite")]
    NotFinite,
    /// A graph that is not one any more.
    #[error(transparent)]
    Graph(#[from] otfuse_graph::GraphError),
    /// A transport problem that has no solution.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// An axis of a network's input whose order means nothing, and what reads it.
#[derive(Clone, Debug)]
pub struct LatentAxis {
    /// The input.
    pub input: ValueId,
    /// Its axis.
    pub axis: usize,
    /// How many numbers there are along it.
    pub size: usize,
    /// Whether linear layers alone read it, so that any linear map can be moved into their weights.
    pub is_linear: bool,
    /// Weights, their axes, and the places of each copy of the numbers along these.
    readers: Vec<(ValueId, usize, Vec<Vec<usize>>)>,
}

impl LatentAxis {
    /// The longest free axis of an input.
    ///
    /// # Errors
    /// An input all of whose axes are held.
    pub fn of(graph: &Graph, input: ValueId) -> Result<Self, LatentError> {
        let groups = NeuronGroups::with_free_inputs(graph, &[input])?;
        let free = groups.layouts(input).unwrap_or_default().iter().enumerate().filter_map(|(axis, layout)| {
            let AxisLayout::Group(group) = layout else { return None };
            let found = groups.group(*group);
            (found.size > 1 && found.within.is_none()).then_some((axis, *group, found.size))
        });
        let held = || LatentError::Held(graph.value(input).name.clone());
        let (axis, id, size) = free.max_by_key(|&(axis, _, size)| (size, usize::MAX - axis)).ok_or_else(held)?;
        let group = groups.group(id);
        let readers = group.members.iter().map(|member| {
            let layout = &groups.layouts(member.initializer).unwrap_or_default()[member.axis];
            (member.initializer, member.axis, copies(layout, id, &groups))
        });
        let readers: Vec<_> = readers.collect();
        if readers.is_empty() {
            return Err(held());
        }
        let weights = readers.iter().map(|&(weight, _, _)| weight).collect();
        Ok(Self { input, axis, size, is_linear: is_read_linearly(graph, input, weights), readers })
    }

    /// By which of the maps that leave the noise as it is the network can be mapped.
    pub fn symmetry(&self, of_noise: NoiseSymmetry) -> NoiseSymmetry {
        if self.is_linear { of_noise } else { NoiseSymmetry::Permutations }
    }

    /// The network that makes of noise `z` what this one makes of `map z`; `map` is row-major and square.
    ///
    /// # Errors
    /// Weights that hold no floating-point numbers.
    pub fn mapped(&self, graph: &Graph, map: &[f64]) -> Result<Graph, LatentError> {
        let mut editor = GraphEditor::edit(graph.clone());
        for (id, axis, copies) in &self.readers {
            let not_float = || LatentError::NotFloat(graph.value(*id).name.clone());
            let tensor = graph.initializer(*id).ok_or_else(not_float)?;
            let values = tensor.to_f32().ok_or_else(not_float)?;
            let (length, shape) = (tensor.shape()[*axis], tensor.shape());
            let inner: usize = shape[axis + 1..].iter().product();
            let mut result = values.clone();
            for outer in 0..values.len() / (length * inner).max(1) {
                for at in 0..inner {
                    let place = |index: usize| (outer * length + index) * inner + at;
                    for copy in copies {
                        for (column, &to) in copy.iter().enumerate() {
                            let term = |(row, &from): (usize, &usize)| {
                                f64::from(values[place(from)]) * map[row * self.size + column]
                            };
                            result[place(to)] = copy.iter().enumerate().map(term).sum::<f64>() as f32;
                        }
                    }
                }
            }
            editor.set_tensor(*id, Tensor::from_f32_as(tensor.data_type(), shape, result));
        }
        Ok(editor.finish()?)
    }
}

/// Whether all that reads an input, in whatever shape, is a linear layer with one of these weights.
fn is_read_linearly(graph: &Graph, input: ValueId, mut weights: HashSet<ValueId>) -> bool {
    let mut carriers = HashSet::from([input]);
    for (_, node) in graph.nodes() {
        let reads = |of: &HashSet<ValueId>, at: usize| node.input(at).is_some_and(|value| of.contains(&value));
        let count = node.inputs.iter().flatten().filter(|value| carriers.contains(value)).count();
        let is_layer = match &node.operator {
            Operator::Gemm(_) => reads(&carriers, 0) && reads(&weights, 1),
            Operator::Conv(conv) => conv.groups == 1 && reads(&carriers, 0) && reads(&weights, 1),
            Operator::ConvTranspose(conv) => conv.groups == 1 && reads(&carriers, 0) && reads(&weights, 1),
            Operator::MatMul => (0..2).any(|at| reads(&carriers, at) && reads(&weights, 1 - at)),
            _ => false,
        };
        if node.operator.keeps_elements() {
            let outputs = || node.outputs.iter().flatten().copied();
            if reads(&carriers, 0) {
                carriers.extend(outputs());
            } else if reads(&weights, 0) {
                weights.extend(outputs());
            }
        } else if count > 0 && !(count == 1 && is_layer) {
            return false;
        }
    }
    !graph.outputs().iter().any(|output| carriers.contains(output))
}

/// For each time that a group is on an axis the places of its neurons.
fn copies(layout: &AxisLayout, group: GroupId, groups: &NeuronGroups) -> Vec<Vec<usize>> {
    let size = |id: GroupId| groups.group(id).size;
    let mut places = vec![Vec::new(); size(group)];
    for (place, neuron) in layout.neurons(group, &size).into_iter().enumerate() {
        neuron.into_iter().for_each(|neuron| places[neuron].push(place));
    }
    let count = places.iter().map(Vec::len).min().unwrap_or(0);
    (0..count).map(|copy| places.iter().map(|places| places[copy]).collect()).collect()
}

/// What a network makes of noise to first order: sums of products of the noise and of outputs, one batch after the other.
/// Holds `latent x outputs` numbers.
#[derive(Clone, Debug)]
pub struct FirstOrder {
    products: Dense,
    noise: Vec<f64>,
    outputs: Vec<f64>,
    /// The axis along which noise is turned, and what is in front of and behind it.
    shape: [usize; 3],
    count: usize,
}

impl FirstOrder {
    /// Of noise of this shape, an axis in the middle, and so many outputs.
    pub fn new(shape: [usize; 3], outputs: usize) -> Self {
        let latent = shape.iter().product();
        let products = Dense::zeros(latent, outputs);
        Self { products, noise: vec![0.0; latent], outputs: vec![0.0; outputs], shape, count: 0 }
    }

    /// Adds samples: their noise and their outputs, one after the other. `O(samples latent outputs)`.
    pub fn add(&mut self, noise: &[f32], outputs: &[f32]) {
        let (latent, width) = (self.noise.len(), self.outputs.len());
        let dense = |values: &[f32], columns: usize| {
            let rows = values.len() / columns.max(1);
            Dense { rows, columns, data: values.iter().copied().map(f64::from).collect() }
        };
        let (z, y) = (dense(noise, latent), dense(outputs, width));
        self.products.add_products(&z, &y);
        let add = |sums: &mut Vec<f64>, table: &Dense| {
            let rows = table.data.chunks_exact(table.columns.max(1));
            rows.for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
        };
        add(&mut self.noise, &z);
        add(&mut self.outputs, &y);
        self.count += z.rows;
    }

    /// A row for each number along the axis, with its responses.
    fn responses(&self) -> Dense {
        let [outer, size, inner] = self.shape;
        let (width, count) = (self.outputs.len(), self.count.max(1) as f64);
        let mut rows = Dense::zeros(size, outer * inner * width);
        for (place, products) in self.products.data.chunks_exact(width.max(1)).enumerate() {
            let (at, rest) = (place / inner % size, place / (inner * size) * inner + place % inner);
            let into = &mut rows.data[(at * outer * inner + rest) * width..][..width];
            for ((into, product), output) in into.iter_mut().zip(products).zip(&self.outputs) {
                *into = (product - self.noise[place] * output / count) / count;
            }
        }
        rows
    }
}

/// The map of a model's noise, row-major, after which its first-order responses are nearest to the anchor's: `G(map z)` is near
/// to what the anchor makes of `z`. `O(latent^2 outputs)`.
///
/// # Errors
/// Responses that are not finite.
pub fn match_noise(model: &FirstOrder, anchor: &FirstOrder, symmetry: NoiseSymmetry) -> Result<Vec<f64>, LatentError> {
    let (own, of_anchor) = (model.responses(), anchor.responses());
    let score = own.times(&of_anchor.transposed());
    if !score.data.iter().all(|value| value.is_finite()) {
        return Err(LatentError::NotFinite);
    }
    if symmetry == NoiseSymmetry::Orthogonal {
        return Ok(score.nearest_orthogonal().data);
    }
    let is_signed = symmetry == NoiseSymmetry::SignedPermutations;
    let size = score.rows;
    let mut sizes = score.clone();
    if is_signed {
        sizes.data.iter_mut().for_each(|value| *value = value.abs());
    }
    let mut map = vec![0.0; size * size];
    for (row, column) in best_order(&sizes)?.into_iter().enumerate() {
        let sign = if is_signed && score.get(row, column) < 0.0 { -1.0 } else { 1.0 };
        map[row * size + column] = sign;
    }
    Ok(map)
}
