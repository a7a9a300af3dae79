//! How much work a network is.

use std::collections::BTreeMap;

use otfuse_graph::{Graph, Node, Operator, Tensor, ValueId};

use crate::batch::{SampleLayout, fixed_batch_size};
use crate::dataset::Dataset;
use crate::{Executable, RuntimeError};

/// The work of running a network on one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Products of two numbers that are added up, in convolutions, linear layers, products of matrices and recurrent layers.
    pub multiply_adds: u64,
    /// Numbers that nodes give, which are held while gradients are computed.
    pub values: u64,
}

impl Work {
    /// Of one sample of a data set, which is run.
    ///
    /// # Errors
    /// A network that cannot be run on the samples.
    pub fn of(executable: &Executable, dataset: &Dataset) -> Result<Self, RuntimeError> {
        let graph = executable.graph();
        let size = fixed_batch_size(graph).unwrap_or(1).max(1);
        let inputs = SampleLayout::of(graph, dataset)?.take(dataset, &vec![0; size], &|_| {});
        let nodes = || graph.nodes().map(|(_, node)| node);
        let read = nodes().filter(|node| is_counted(&node.operator)).filter_map(|node| node.input(0));
        let wanted: Vec<ValueId> =
            nodes().flat_map(|node| node.outputs.iter().flatten().copied()).chain(read).collect();
        let values = executable.run_for(&inputs, &wanted)?;
        let given = nodes().flat_map(|node| node.outputs.iter().flatten());
        let numbers: u64 = given.filter_map(|id| values.get(id)).map(|tensor| tensor.len() as u64).sum();
        let products: u64 = nodes().map(|node| products(graph, node, &values)).sum();
        Ok(Self { multiply_adds: products / size as u64, values: numbers / size as u64 })
    }
}

fn is_counted(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::Conv(_) | Operator::ConvTranspose(_) | Operator::Gemm(_) | Operator::MatMul | Operator::Recurrent(_)
    )
}

fn products(graph: &Graph, node: &Node, values: &BTreeMap<ValueId, Tensor>) -> u64 {
    let shape_of = |id: ValueId| values.get(&id).or_else(|| graph.initializer(id)).map(Tensor::shape);
    let count = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let output = node.outputs.iter().flatten().next().and_then(|&id| shape_of(id));
    let (Some(x), Some(w), Some(y)) = (node.input(0).and_then(shape_of), node.input(1).and_then(shape_of), output)
    else {
        return 0;
    };
    match &node.operator {
        // Each output is a product with the weights of one of its channels.
        Operator::Conv(_) => count(y) * count(w) / w.first().map_or(1, |&channels| channels.max(1) as u64),
        Operator::ConvTranspose(_) => count(x) * count(w) / w.first().map_or(1, |&channels| channels.max(1) as u64),
        Operator::Gemm(_) | Operator::MatMul => {
            let columns = y.last().map_or(1, |&columns| columns.max(1) as u64);
            count(x) * columns
        }
        // Weights of inputs and of the recurrence, in every step.
        Operator::Recurrent(_) => {
            let of_state = node.input(2).and_then(shape_of).map_or(0, count);
            let steps = count(x) / x.last().map_or(1, |&last| last.max(1) as u64);
            (count(w) + of_state) * steps
        }
        _ => 0,
    }
}
