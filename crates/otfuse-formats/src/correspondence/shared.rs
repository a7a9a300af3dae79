//! Tensors that an exporter wrote once since they were equal in the network that it was given: all scales of a network before
//! training are 1, and layers begin as copies of one another.

use std::collections::HashMap;

use otfuse_graph::{Graph, GraphEditor, GraphError, NodeId, ValueId};

use super::names::Names;
use super::provenance::Origin;

/// The places at which a call reads a tensor.
type Readers = Vec<(NodeId, usize)>;

/// A graph in which each call that reads a tensor has one of its own.
pub(super) struct Apart {
    pub(super) graph: Graph,
    /// For the name of each copy that was made that of the first.
    pub(super) copies: HashMap<String, String>,
}

/// Gives every call that an exporter says is another one its own copy of the tensors that it reads. What is one tensor in the
/// checkpoint as well becomes one again later.
pub(super) fn apart(graph: Graph, origins: &HashMap<String, Origin>, names: &Names) -> Result<Apart, GraphError> {
    let consumers = graph.consumers();
    let mut changes: Vec<(ValueId, Vec<Readers>)> = Vec::new();
    for (id, tensor) in graph.initializers() {
        let Some(readers) = consumers.get(&id).filter(|_| graph.is_weight(id) && tensor.len() > 1) else { continue };
        let own = names.key(&graph.value(id).name);
        let mut calls: Vec<(&Origin, Readers)> = Vec::new();
        for &(node, position) in readers {
            let Some(origin) = origins.get(&graph.node(node).name) else { continue };
            match calls.iter_mut().find(|(call, _)| call.call == origin.call) {
                Some((_, readers)) => readers.push((node, position)),
                None => calls.push((origin, vec![(node, position)])),
            }
        }
        // The call that the tensor is named after keeps it, or else the first.
        let is_own = |origin: &Origin| {
            let said = origin.arguments.iter().any(|argument| own.is_some() && names.key_of_mangled(argument) == own);
            said || names.in_module(&origin.module).iter().any(|(_, key)| Some(key.as_str()) == own)
        };
        let keeper = calls.iter().position(|(origin, _)| is_own(origin)).unwrap_or(0);
        if calls.len() > 1 {
            calls.remove(keeper);
            changes.push((id, calls.into_iter().map(|(_, readers)| readers).collect()));
        }
    }
    let mut copies = HashMap::new();
    if changes.is_empty() {
        return Ok(Apart { graph, copies });
    }
    let mut editor = GraphEditor::edit(graph);
    for (id, calls) in changes {
        let name = editor.graph().value(id).name.clone();
        let Some(tensor) = editor.graph().initializer(id).cloned() else { continue };
        for readers in calls {
            let copy = editor.add_initializer(format!("{name}.copy"), tensor.clone());
            copies.insert(editor.graph().value(copy).name.clone(), name.clone());
            readers.into_iter().for_each(|(node, position)| editor.set_input(node, position, Some(copy)));
        }
    }
    Ok(Apart { graph: editor.finish()?, copies })
}
