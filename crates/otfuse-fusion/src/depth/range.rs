//! What is known of a value without running the network.

use std::collections::HashMap;

use otfuse_graph::{Graph, NodeId, Operator, PoolKind, Unary, ValueId};

/// The least and the largest number that a value can hold.
pub(super) fn range(graph: &Graph, producers: &HashMap<ValueId, NodeId>, mut value: ValueId) -> (f64, f64) {
    const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
    loop {
        let Some(&node) = producers.get(&value) else { return ANY };
        let node = graph.node(node);
        match &node.operator {
            Operator::Unary(Unary::Relu | Unary::Exp | Unary::Abs | Unary::Softplus) => return (0.0, f64::INFINITY),
            Operator::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }) | Operator::Softmax { .. } => {
                return (0.0, 1.0);
            }
            Operator::Unary(Unary::Tanh) => return (-1.0, 1.0),
            Operator::Clip => return clip(graph, node),
            Operator::Pool(pool) if matches!(pool.kind, PoolKind::Max | PoolKind::Average) => {}
            Operator::GlobalPool(PoolKind::Max | PoolKind::Average)
            | Operator::Flatten { .. }
            | Operator::Reshape { .. }
            | Operator::Transpose { .. }
            | Operator::Squeeze
            | Operator::Unsqueeze
            | Operator::Identity => {}
            _ => return ANY,
        }
        match node.input(0) {
            Some(input) => value = input,
            None => return ANY,
        }
    }
}

/// The bounds of a clip.
pub(super) fn clip(graph: &Graph, node: &otfuse_graph::Node) -> (f64, f64) {
    let bound = |position: usize, open: f64| match node.input(position) {
        None => open,
        Some(id) => {
            let number = graph.initializer(id).and_then(otfuse_graph::Tensor::to_f32);
            number.and_then(|values| values.first().copied()).map_or(f64::NAN, f64::from)
        }
    };
    (bound(1, f64::NEG_INFINITY), bound(2, f64::INFINITY))
}
