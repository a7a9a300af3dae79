//! Initial states that are equal throughout: each recurrent layer gets one of its own.

use std::collections::HashMap;

use crate::{Facts, FoldError, Graph, GraphEditor, Node, NodeId, Operator, Tensor, ValueId, fold_constants};

/// Copies longer than this are not made.
const MOST_ELEMENTS: usize = 1 << 20;

/// Gives each recurrent layer whose initial state is cut out of a constant that is equal throughout (zeros, usually), or is
/// such a constant that others read too, a constant of its own. The result is the same, but layers and directions that
/// would share one order of their hidden units, because they begin alike, keep orders of their own.
///
/// # Errors
/// Shapes that do not fit.
pub fn separate_states(graph: Graph) -> Result<Graph, FoldError> {
    let states = |(id, node): (NodeId, &Node)| -> Vec<(NodeId, usize, ValueId)> {
        let is_recurrent = matches!(node.operator, Operator::Recurrent(_));
        let at = |position: usize| node.input(position).map(|value| (id, position, value));
        [5, 6].into_iter().filter(|_| is_recurrent).filter_map(at).collect()
    };
    let states: Vec<(NodeId, usize, ValueId)> = graph.nodes().flat_map(states).collect();
    if states.is_empty() {
        return Ok(graph);
    }
    let (facts, producers, consumers) = (Facts::of(&graph)?, graph.producers(), graph.consumers());
    let mut copies = Vec::new();
    for (node, position, value) in states {
        let Some(source) = source(&graph, &producers, value).filter(|tensor| tensor.is_uniform()) else { continue };
        let alone = consumers.get(&value).is_none_or(|readers| readers.iter().all(|(reader, _)| *reader == node));
        if alone && graph.initializer(value).is_some() {
            continue;
        }
        let shape = facts.fact(value).known_shape();
        if let Some(copy) = shape.and_then(|shape| filled(source, &shape)) {
            copies.push((node, position, graph.value(value).name.clone(), copy));
        }
    }
    if copies.is_empty() {
        return Ok(graph);
    }
    let mut editor = GraphEditor::edit(graph);
    let mut own: HashMap<(NodeId, String), ValueId> = HashMap::new();
    for (node, position, name, copy) in copies {
        // Hidden units and cells of one layer may well share a state.
        let value = *own.entry((node, name)).or_insert_with_key(|(_, name)| editor.add_initializer(name.clone(), copy));
        editor.set_input(node, position, Some(value));
    }
    // What the states were cut out of may have no reader any more.
    fold_constants(editor.finish()?)
}

/// The constant that all elements of a value come from, through what only copies elements.
fn source<'a>(graph: &'a Graph, producers: &HashMap<ValueId, NodeId>, mut value: ValueId) -> Option<&'a Tensor> {
    loop {
        if let Some(tensor) = graph.initializer(value) {
            return Some(tensor);
        }
        let node = graph.node(*producers.get(&value)?);
        if !node.operator.copies_elements() && node.operator != Operator::Identity {
            return None;
        }
        value = node.input(0)?;
    }
}

/// A tensor of that shape whose elements are all the first one of another.
fn filled(tensor: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let count = shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length))?;
    let element = tensor.bytes().get(..tensor.data_type().size()).filter(|_| count <= MOST_ELEMENTS)?;
    Tensor::new(tensor.data_type(), shape.to_vec(), element.repeat(count).into()).ok()
}
