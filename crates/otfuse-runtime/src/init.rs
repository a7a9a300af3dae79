//! Networks with random weights.

use std::collections::HashMap;

use otfuse_graph::{Binary, Graph, GraphBuilder, GraphEditor, GraphError, Node, Operator, Tensor, ValueId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What the elements of a tensor are before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Uniform from minus to plus a bound.
    Uniform(f32),
    /// One number.
    Constant(f32),
    /// Normally distributed around 0 with this standard deviation.
    Normal(f64),
}

/// The network with new weights: each of the named initializers is filled as is said of it, in that order; one row may be
/// 0. The same arguments give the same weights everywhere. Names that the graph does not have are left out.
///
/// # Errors
/// None for a valid graph.
pub fn filled(graph: &Graph, starts: &[(&str, Start, Option<usize>)], seed: u64) -> Result<Graph, GraphError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut editor = GraphEditor::edit(graph.clone());
    for &(name, start, zero_row) in starts {
        let Some(id) = graph.find_value(name) else { continue };
        let Some(tensor) = graph.initializer(id) else { continue };
        let mut values: Vec<f32> = (0..tensor.len()).map(|_| start.draw(&mut random)).collect();
        let width = tensor.len() / tensor.shape().first().copied().unwrap_or(1).max(1);
        let row = zero_row.and_then(|row| values.get_mut(row * width..(row + 1) * width));
        row.into_iter().flatten().for_each(|value| *value = 0.0);
        editor.set_tensor(id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values));
    }
    editor.finish()
}

impl Start {
    fn draw(self, random: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Uniform(bound) => (2.0 * uniform(random) - 1.0) * bound,
            Self::Constant(value) => value,
            Self::Normal(deviation) => (deviation * normal(random)) as f32,
        }
    }
}

/// A normally distributed number (Box and Muller 1958).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = (1.0 - f64::from(uniform(random)), f64::from(uniform(random)));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// The network before training, as PyTorch's layers begin: weights of linear layers and convolutions, and their biases,
/// are uniform in `±1/sqrt(f)` with `f` the inputs of an output (`kaiming_uniform_` with `a = sqrt(5)`); normalisations
/// have scale and variance 1, shift and mean 0; weights and biases of recurrent layers of h hidden units are uniform in
/// `±1/sqrt(h)`. Other tensors stay as they are.
///
/// Weights are drawn in the order of the nodes: the same network and seed give the same weights everywhere. A weight
/// that several nodes read is drawn once.
///
/// # Errors
/// None for a valid graph.
pub fn initialised(graph: &Graph, seed: u64) -> Result<Graph, GraphError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: HashMap<ValueId, Tensor> = HashMap::new();
    for (_, node) in graph.nodes() {
        for (id, start) in starts(graph, node) {
            let Some(tensor) = graph.initializer(id).filter(|tensor| tensor.data_type().is_float()) else { continue };
            drawn.entry(id).or_insert_with(|| {
                let values = (0..tensor.len()).map(|_| start.draw(&mut random)).collect();
                Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values)
            });
        }
    }
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in drawn {
        editor.set_tensor(id, tensor);
    }
    editor.finish()
}

/// How the tensors that a node reads begin.
fn starts(graph: &Graph, node: &Node) -> Vec<(ValueId, Start)> {
    let at = |position: usize| node.input(position);
    let mut found = Vec::new();
    match &node.operator {
        Operator::BatchNormalization { .. }
        | Operator::BatchNormalizationInTraining { .. }
        | Operator::LayerNormalization { .. }
        | Operator::GroupNormalization { .. }
        | Operator::InstanceNormalization { .. } => {
            for (position, value) in [(1, 1.0), (2, 0.0), (3, 0.0), (4, 1.0)] {
                found.extend(at(position).map(|id| (id, Start::Constant(value))));
            }
        }
        Operator::Recurrent(recurrent) if recurrent.hidden > 0 => {
            let bound = 1.0 / (recurrent.hidden as f32).sqrt();
            found.extend([1, 2, 3].into_iter().filter_map(at).map(|id| (id, Start::Uniform(bound))));
        }
        // A bias behind a product, as exporters write linear layers over more than two axes.
        Operator::Binary(Binary::Add) => {
            for (bias, product) in [(0, 1), (1, 0)] {
                let bound = at(product).and_then(|value| producer(graph, value)).and_then(|node| bound(graph, node));
                let vector = at(bias)
                    .filter(|&id| graph.initializer(id).is_some_and(|tensor| tensor.shape().len() == 1))
                    .zip(bound);
                found.extend(vector.map(|(id, bound)| (id, Start::Uniform(bound))));
            }
        }
        _ => {
            if let Some(bound) = bound(graph, node) {
                let positions = [1, 2].into_iter().filter_map(at);
                found.extend(positions.map(|id| (id, Start::Uniform(bound))));
            }
        }
    }
    found
}

fn producer(graph: &Graph, value: ValueId) -> Option<&Node> {
    graph.nodes().map(|(_, node)| node).find(|node| node.outputs.contains(&Some(value)))
}

/// `1/sqrt(f)` of a layer with a constant weight in its second place.
fn bound(graph: &Graph, node: &Node) -> Option<f32> {
    let shape = graph.initializer(node.input(1)?)?.shape();
    let inputs: usize = match &node.operator {
        Operator::Gemm(gemm) if !gemm.transpose_b => *shape.first()?,
        Operator::MatMul => *shape.iter().nth_back(1)?,
        // Of a transposed convolution as well: PyTorch takes the second axis for the inputs.
        Operator::Gemm(_) | Operator::Conv(_) | Operator::ConvTranspose(_) => shape.iter().skip(1).product(),
        _ => return None,
    };
    (inputs > 0).then(|| 1.0 / (inputs as f32).sqrt())
}

/// A multilayer perceptron with rectifiers between its layers, before training: see [`initialised`].
///
/// `widths` are the lengths of the input, the hidden layers and the output: at least two, all positive. Weights are
/// `fc1.weight`, `fc1.bias`, `fc2.weight`, ..
pub fn mlp(widths: &[usize], seed: u64) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new("mlp");
    let mut x = builder.input("input", &[None, widths.first().copied()]);
    for (layer, pair) in widths.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        if layer > 0 {
            x = builder.relu(x);
        }
        let mut zeros = |part: &str, shape: &[usize]| {
            let tensor = Tensor::from_f32(shape, vec![0.0; shape.iter().product()]);
            builder.initializer(&format!("fc{}.{part}", layer + 1), tensor)
        };
        let (weight, bias) = (zeros("weight", &[outputs, inputs]), zeros("bias", &[outputs]));
        x = builder.linear(x, weight, Some(bias));
    }
    builder.output(x);
    initialised(&builder.finish()?, seed)
}

/// A number from 0 up to 1, a multiple of 2^-24.
fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_biases_fill_the_range_of_pytorch() {
        let graph = mlp(&[100, 50, 10], 3).unwrap();
        for (id, tensor) in graph.initializers() {
            let bound = if graph.value(id).name.starts_with("fc1") { 0.1 } else { 1.0 / 50.0_f32.sqrt() };
            let values = tensor.to_f32().unwrap();
            let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            assert!(largest <= bound && largest > 0.6 * bound, "{}: {largest}", graph.value(id).name);
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            assert!(mean.abs() < 0.4 * bound, "{mean}");
        }
        let again = mlp(&[100, 50, 10], 3).unwrap();
        let bytes = |graph: &Graph| graph.initializers().map(|(_, tensor)| tensor.bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(bytes(&graph), bytes(&again));
        assert_ne!(bytes(&graph), bytes(&mlp(&[100, 50, 10], 4).unwrap()));
    }
}
