//! What is stacked along an axis of its own and flattened right after is put side by side instead.

use std::collections::HashMap;

use crate::{Dim, Facts, FoldError, Graph, GraphEditor, Node, NodeId, Operator, ValueId};

/// Rewrites `Concat` of parts of length 1, `Transpose`, `Reshape` that merges that axis with the one behind it into one
/// `Concat` of the parts along the merged axis. The result is the same, but the parts keep orders of their own: stacked
/// tensors (the two directions of a recurrent layer) would have to share one. Nothing else of the graph changes.
///
/// # Errors
/// Shapes that do not fit.
pub fn join_stacked(graph: Graph) -> Result<Graph, FoldError> {
    let is_concat = |(_, node): (NodeId, &Node)| matches!(node.operator, Operator::Concat { .. });
    if !graph.nodes().any(is_concat) {
        return Ok(graph);
    }
    let facts = Facts::of(&graph)?;
    let consumers = graph.consumers();
    let found: Vec<Stack> =
        graph.nodes().filter_map(|(id, node)| Stack::of(&graph, &facts, &consumers, id, node)).collect();
    if found.is_empty() {
        return Ok(graph);
    }
    let mut editor = GraphEditor::edit(graph);
    for stack in found {
        stack.rewrite(&mut editor);
    }
    Ok(editor.finish()?)
}

/// A concat, a transpose and a reshape behind one another.
struct Stack {
    nodes: [NodeId; 3],
    parts: Vec<ValueId>,
    /// The axis that the parts are stacked along.
    axis: usize,
    /// The order of the other axes, counted without it.
    order: Vec<usize>,
    /// Where the merged axis is in the end.
    merged: usize,
    output: ValueId,
}

impl Stack {
    fn of(
        graph: &Graph,
        facts: &Facts,
        consumers: &HashMap<ValueId, Vec<(NodeId, usize)>>,
        id: NodeId,
        node: &Node,
    ) -> Option<Self> {
        let Operator::Concat { axis } = node.operator else { return None };
        let parts: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        let rank = facts.shape(*parts.first()?)?.len();
        let axis = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()?;
        if !parts.iter().all(|&part| facts.shape(part).and_then(|shape| shape.get(axis)).is_some_and(Dim::is_one)) {
            return None;
        }
        let next = |value: ValueId| {
            let readers = consumers.get(&value)?;
            let [(reader, 0)] = readers.as_slice() else { return None };
            (!graph.outputs().contains(&value)).then_some(*reader)
        };
        let transpose = next(node.output(0)?)?;
        let Operator::Transpose { permutation: Some(permutation) } = &graph.node(transpose).operator else {
            return None;
        };
        let between = graph.node(transpose).output(0)?;
        let reshape = next(between)?;
        if !matches!(graph.node(reshape).operator, Operator::Reshape { .. }) {
            return None;
        }
        let output = graph.node(reshape).output(0)?;
        let merged = permutation.iter().position(|&from| from == axis)?;
        let (from, to) = (facts.shape(between)?, facts.shape(output)?);
        let mut expected = from.clone();
        let stacked = expected.remove(merged);
        *expected.get_mut(merged)? = stacked.times(from.get(merged + 1)?);
        if *to != expected {
            return None;
        }
        let others = permutation.iter().filter(|&&from| from != axis);
        let order = others.map(|&from| if from > axis { from - 1 } else { from }).collect();
        Some(Self { nodes: [id, transpose, reshape], parts, axis, order, merged, output })
    }

    fn rewrite(self, editor: &mut GraphEditor) {
        let name = editor.graph().node(self.nodes[2]).name.clone();
        let axes = crate::Tensor::from_i64(&[1], vec![self.axis as i64]);
        let axes = editor.add_initializer(format!("{name}_axes"), axes);
        let in_order = self.order.iter().enumerate().all(|(axis, &from)| axis == from);
        let parts = self.parts.iter().enumerate().map(|(index, &part)| {
            let mut value = editor.add_value(format!("{name}_part_{index}"), None);
            let (operator, inputs) = (Operator::Squeeze, vec![Some(part), Some(axes)]);
            editor.add_node(format!("{name}_squeeze_{index}"), operator, inputs, vec![Some(value)]);
            if !in_order {
                let moved = editor.add_value(format!("{name}_moved_{index}"), None);
                let operator = Operator::Transpose { permutation: Some(self.order.clone()) };
                editor.add_node(format!("{name}_transpose_{index}"), operator, vec![Some(value)], vec![Some(moved)]);
                value = moved;
            }
            Some(value)
        });
        let parts: Vec<Option<ValueId>> = parts.collect();
        for node in self.nodes {
            editor.remove_node(node);
        }
        let operator = Operator::Concat { axis: self.merged as i64 };
        editor.add_node(name, operator, parts, vec![Some(self.output)]);
    }
}
