//! What is put side by side, or stacked along an axis of its own, for a moment only.

use std::collections::HashMap;

use crate::{Dim, Facts, FoldError, Graph, GraphEditor, Node, NodeId, Operator, ValueId};

/// Lets the readers of a `Split` read the parts of the `Concat` before it, where both have the same parts: side by side in
/// between, the parts would have to share the order of their other axes. What nothing reads any more goes.
///
/// # Errors
/// Shapes that do not fit.
pub fn pass_parts(graph: Graph) -> Result<Graph, FoldError> {
    let is_split = |(_, node): (NodeId, &Node)| matches!(node.operator, Operator::Split { .. });
    if !graph.nodes().any(is_split) {
        return Ok(graph);
    }
    let (facts, producers, consumers) = (Facts::of(&graph)?, graph.producers(), graph.consumers());
    let mut passed: Vec<(NodeId, NodeId, Vec<ValueId>)> = Vec::new();
    for (id, node) in graph.nodes() {
        let (Operator::Split { axis }, Some(whole)) = (&node.operator, node.input(0)) else { continue };
        let Some(&joined) = producers.get(&whole) else { continue };
        let Operator::Concat { axis: along } = graph.node(joined).operator else { continue };
        let Some(rank) = facts.shape(whole).map(Vec::len) else { continue };
        let index = |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok();
        let parts: Vec<ValueId> = graph.node(joined).inputs.iter().flatten().copied().collect();
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let length = |value: &ValueId| facts.shape(*value)?.get(index(*axis)?).cloned();
        let agree = parts.len() == outputs.len()
            && outputs.len() == node.outputs.len()
            && parts
                .iter()
                .zip(&outputs)
                .all(|(part, output)| length(part).is_some() && length(part) == length(output));
        if index(*axis) == index(along) && agree && !outputs.iter().any(|output| graph.outputs().contains(output)) {
            passed.push((id, joined, parts));
        }
    }
    if passed.is_empty() {
        return Ok(graph);
    }
    let gone: Vec<NodeId> = passed.iter().map(|(split, ..)| *split).collect();
    let is_unread = |joined: &NodeId| {
        let outputs = graph.node(*joined).outputs.iter().flatten();
        outputs.into_iter().all(|output| {
            let readers = consumers.get(output).map_or(&[][..], Vec::as_slice);
            !graph.outputs().contains(output) && readers.iter().all(|(reader, _)| gone.contains(reader))
        })
    };
    let unread: Vec<NodeId> = passed.iter().map(|(_, joined, _)| *joined).filter(is_unread).collect();
    let nodes: Vec<Node> = passed.iter().map(|(split, ..)| graph.node(*split).clone()).collect();
    let mut editor = GraphEditor::edit(graph);
    let mut aliases: HashMap<ValueId, ValueId> = HashMap::new();
    for (node, (_, _, parts)) in nodes.iter().zip(&passed) {
        aliases.extend(node.outputs.iter().flatten().copied().zip(parts.iter().copied()));
    }
    for (&output, &part) in &aliases {
        // A part may itself be one that another split gave.
        let mut part = part;
        while let Some(&next) = aliases.get(&part) {
            part = next;
        }
        for &(reader, position) in consumers.get(&output).into_iter().flatten() {
            editor.set_input(reader, position, Some(part));
        }
    }
    gone.into_iter().chain(unread).for_each(|node| editor.remove_node(node));
    Ok(editor.finish()?)
}

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
