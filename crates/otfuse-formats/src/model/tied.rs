//! Tensors of a state dict that are one: they stay one in the graph, so that they are aligned and averaged together.

use std::collections::HashMap;

use bytes::Bytes;
use otfuse_graph::{Graph, GraphEditor, GraphError, NodeId, Operator, Tensor, ValueId};

use super::{Model, ModelError, Source, StateDictSource, invalid};
use crate::StateDict;
use crate::correspondence::{Binding, permuted};

/// What is behind the name of a node that turns a tied matrix.
const SUFFIX: &str = ".tied";

/// An initializer whose place another one takes.
#[derive(Clone, Debug)]
pub(crate) struct Tie {
    /// The initializer that is gone.
    name: String,
    /// The one that stands in its place.
    of: String,
    /// Whether it is the transpose of that one.
    transposed: bool,
    /// The nodes that read it, by the name of their first output, and at which place.
    readers: Vec<(String, usize)>,
    /// How it was bound, and the place of that among the bindings.
    bound: (usize, Binding),
}

/// The graph with one initializer for all tensors of the state dict that share one storage, the bindings that fit it, and
/// what was done.
pub(super) fn tie(
    graph: Graph,
    mut bindings: Vec<Binding>,
    dict: &StateDict,
) -> Result<(Graph, Vec<Binding>, Vec<Tie>), GraphError> {
    let mut ties = Vec::new();
    let places: HashMap<String, usize> =
        bindings.iter().enumerate().filter_map(|(at, binding)| Some((binding.whole()?.to_owned(), at))).collect();
    for names in dict.tied() {
        let mut places = names.into_iter().filter_map(|name| places.get(name).copied());
        let Some(first) = places.next() else { continue };
        for place in places {
            let (base, other) = (bindings[first].clone(), &mut bindings[place]);
            if base.initializer != other.initializer && can_be_tied(&graph, &base, other) {
                let transposed = base.permutation != other.permutation;
                let (name, of) = (other.initializer.clone(), base.initializer.clone());
                ties.push(Tie { name, of, transposed, readers: Vec::new(), bound: (place, other.clone()) });
                (other.initializer, other.permutation) = (base.initializer, base.permutation);
            }
        }
    }
    if ties.is_empty() {
        return Ok((graph, bindings, ties));
    }
    let consumers = graph.consumers();
    let mut editor = GraphEditor::edit(graph.clone());
    for tie in &mut ties {
        let (Some(gone), Some(kept)) = (graph.find_value(&tie.name), graph.find_value(&tie.of)) else { continue };
        let readers = consumers.get(&gone).map(Vec::as_slice).unwrap_or_default();
        let first = |node: NodeId| graph.node(node).output(0).map(|output| graph.value(output).name.clone());
        tie.readers = readers.iter().filter_map(|&(node, position)| Some((first(node)?, position))).collect();
        let stands = if tie.transposed {
            let name = format!("{}{SUFFIX}", tie.name);
            let turned = editor.add_value(name.clone(), None);
            let operator = Operator::Transpose { permutation: None };
            editor.add_node(name, operator, vec![Some(kept)], vec![Some(turned)]);
            turned
        } else {
            kept
        };
        readers.iter().for_each(|&(node, position)| editor.set_input(node, position, Some(stands)));
        editor.remove_tensor(gone);
    }
    Ok((editor.finish()?, bindings, ties))
}

/// Whether one initializer can stand for both.
fn can_be_tied(graph: &Graph, base: &Binding, other: &Binding) -> bool {
    let tensor = |binding: &Binding| {
        let id = graph.find_value(&binding.initializer)?;
        Some((id, graph.initializer(id)?))
    };
    let (Some((_, base_tensor)), Some((id, tensor))) = (tensor(base), tensor(other)) else { return false };
    let mut shape = tensor.shape().to_vec();
    if base.permutation != other.permutation {
        shape.reverse();
    }
    let turns = |binding: &Binding| binding.permutation.as_ref().is_none_or(|order| *order == [1, 0]);
    let is_equal = base_tensor.shape() == shape && base_tensor.data_type() == tensor.data_type();
    is_equal && turns(base) && turns(other) && graph.is_weight(id) && !graph.outputs().contains(&id)
}

/// A graph with the same weights in which every initializer is there again.
pub(super) fn untied(graph: &Graph, ties: &[Tie]) -> Result<Graph, GraphError> {
    let mut editor = GraphEditor::edit(graph.clone());
    let nodes: HashMap<&str, NodeId> =
        graph.nodes().filter_map(|(id, node)| Some((graph.value(node.output(0)?).name.as_str(), id))).collect();
    let tensor = |name: &str| -> Option<&Tensor> { graph.initializer(graph.find_value(name)?) };
    for tie in ties {
        let Some(of) = tensor(&tie.of) else { continue };
        let Some(own) = (if tie.transposed { permuted(of, &[1, 0]) } else { Some(of.clone()) }) else { continue };
        let again: ValueId = editor.add_initializer(tie.name.clone(), own);
        for (output, position) in &tie.readers {
            if let Some(&node) = nodes.get(output.as_str()) {
                editor.set_input(node, *position, Some(again));
            }
        }
        if let Some(&node) = nodes.get(format!("{}{SUFFIX}", tie.name).as_str()) {
            editor.remove_node(node);
        }
    }
    editor.finish()
}

impl Model {
    /// The names of tensors of a state dict that share one storage, in sets of two and more; none of other files.
    pub fn tied_names(&self) -> Vec<Vec<String>> {
        let Source::StateDict(source) = &self.source else { return Vec::new() };
        source.dict.tied().into_iter().map(|names| names.into_iter().map(str::to_owned).collect()).collect()
    }

    /// Whether a state dict's tensors of these names hold the same elements.
    pub fn holds_equal(&self, names: &[String]) -> bool {
        let Source::StateDict(source) = &self.source else { return false };
        let mut tensors = names.iter().map(|name| source.dict.get(name));
        let first = tensors.next().flatten();
        first.is_some() && tensors.all(|tensor| tensor == first)
    }

    /// The same network, in which just the tensors of these sets of names, which are equal, share one storage and so are one
    /// weight. Nothing changes in other files than state dicts.
    ///
    /// # Errors
    /// [`ModelError::Format`] if the graph does not stay sound.
    pub fn tied_as(&self, sets: &[Vec<String>]) -> Result<Self, ModelError> {
        let Source::StateDict(source) = &self.source else { return Ok(self.clone()) };
        let mut dict = source.dict.clone();
        let is_tied = |name: &str, of: &str| {
            let holds = |names: &Vec<String>, wanted: &str| names.iter().any(|name| name == wanted);
            sets.iter().any(|names| holds(names, name) && holds(names, of))
        };
        for names in source.dict.tied() {
            for again in names[1..].iter().filter(|again| !is_tied(again, names[0])) {
                let Some(tensor) = source.dict.get(again) else { continue };
                let bytes = Bytes::copy_from_slice(tensor.bytes());
                if let Ok(own) = Tensor::new(tensor.data_type(), tensor.shape().to_vec(), bytes) {
                    dict.replace(again, own);
                }
            }
        }
        dict.provenance_mut().left_out.retain(|name, of| is_tied(name, of));
        for names in sets {
            let Some(first) = names.first().and_then(|name| dict.get(name)).cloned() else { continue };
            for name in &names[1..] {
                if dict.get(name) == Some(&first) {
                    dict.replace(name, first.clone());
                }
            }
        }
        let failure = |error| invalid(&self.path, error);
        let graph = untied(&self.graph, &self.ties).map_err(failure)?;
        let mut bindings = source.bindings.clone();
        for Tie { bound: (place, binding), .. } in &self.ties {
            bindings[*place].clone_from(binding);
        }
        let (graph, bindings, ties) = tie(graph, bindings, &dict).map_err(failure)?;
        let source = StateDictSource { dict, bindings, ..(**source).clone() };
        Ok(Self { graph, ties, source: Source::StateDict(Box::new(source)), ..self.clone() })
    }
}
