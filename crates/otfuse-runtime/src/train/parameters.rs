//! Which constants of a graph are weights.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{Binary, Graph, NodeId, Operator, ValueId, Variadic};

/// The floating-point constants that training changes, in the order of their ids: those that are read as weights,
/// biases, scales or slopes of an operator that has such, directly or through operators that only move elements; and
/// those of more than one element that are added, multiplied or concatenated (biases behind MatMul, embeddings).
/// Running statistics, bounds, single factors and what is part of the architecture are not among them.
pub fn trainable(graph: &Graph) -> Vec<ValueId> {
    let consumers = graph.consumers();
    let mut found = Vec::new();
    for (id, tensor) in graph.initializers() {
        if graph.is_weight(id) && !tensor.is_empty() {
            let mut seen = HashSet::new();
            if is_read_as_weight(graph, &consumers, id, tensor.len() > 1, &mut seen) {
                found.push(id);
            }
        }
    }
    found
}

fn is_read_as_weight(
    graph: &Graph,
    consumers: &HashMap<ValueId, Vec<(NodeId, usize)>>,
    value: ValueId,
    several: bool,
    seen: &mut HashSet<ValueId>,
) -> bool {
    if !seen.insert(value) {
        return false;
    }
    let readers = consumers.get(&value).map_or(&[][..], Vec::as_slice);
    readers.iter().any(|&(reader, position)| {
        let node = graph.node(reader);
        match &node.operator {
            Operator::Gemm(_) | Operator::MatMul | Operator::Einsum(_) => true,
            Operator::Conv(_) | Operator::ConvTranspose(_) => true,
            Operator::BatchNormalization { .. } | Operator::BatchNormalizationInTraining { .. } => {
                matches!(position, 1 | 2)
            }
            Operator::InstanceNormalization { .. }
            | Operator::LayerNormalization { .. }
            | Operator::GroupNormalization { .. }
            | Operator::PRelu => position > 0,
            // Weights of inputs and of the recurrence, biases, peepholes; initial states are no weights.
            Operator::Recurrent(_) => matches!(position, 1..=3 | 7),
            Operator::Gather { .. } => position == 0,
            Operator::Binary(Binary::Add | Binary::Mul)
            | Operator::Variadic(Variadic::Sum)
            | Operator::Concat { .. } => several,
            operator if position == 0 && operator.copies_elements() => {
                let outputs = node.outputs.iter().flatten();
                let mut outputs = outputs.copied();
                outputs.any(|output| is_read_as_weight(graph, consumers, output, several, seen))
            }
            _ => false,
        }
    })
}
