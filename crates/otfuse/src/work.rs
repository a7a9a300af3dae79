//! How much work a network is, so that no more samples are made than there is time for.

use otfuse_graph::{Dim, Facts, Graph, Operator};

/// Multiplications of a pass of one sample; lengths that are open count `length`, but for the first axis, which is that of
/// samples. What reads no weights is left out.
pub(crate) fn multiplications(graph: &Graph, facts: &Facts, length: usize) -> f64 {
    let mut sum = 0.0;
    for (_, node) in graph.nodes() {
        let weights = node.inputs.iter().flatten().filter_map(|input| graph.initializer(*input));
        let largest = weights.map(otfuse_graph::Tensor::len).max().unwrap_or(0);
        let Some(shape) = node.outputs.first().and_then(|output| facts.shape((*output)?)) else { continue };
        let lengths: Vec<usize> = shape.iter().skip(1).map(|dim| dim.as_known().unwrap_or(length)).collect();
        let places: usize = match &node.operator {
            Operator::Conv(_) | Operator::ConvTranspose(_) => lengths.iter().skip(1).product(),
            Operator::Gemm(_) | Operator::MatMul => lengths.split_last().map_or(1, |(_, front)| front.iter().product()),
            _ => continue,
        };
        // A sequence that is one row a token has its open length in front.
        let rows = if shape.first().is_some_and(|dim| is_open_product(dim, length)) { length } else { 1 };
        sum += largest as f64 * places as f64 * rows as f64;
    }
    sum
}

/// Whether an axis counts tokens of all samples: an open length that is no plain symbol.
fn is_open_product(dim: &Dim, length: usize) -> bool {
    length > 1 && dim.as_known().is_none() && dim.as_symbol().is_none()
}
