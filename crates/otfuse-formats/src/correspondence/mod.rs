//! Which tensors of a checkpoint are which constants of a graph.
//!
//! A checkpoint has names and no graph, an exported graph has a graph and, of many tensors, no names: exporters transpose,
//! reshape, cut and join them, and compute what follows from constants. What is known is used in this order:
//!
//! 1. names ([`names`]): as they are, without wrappers, without a prefix that one side has in front of all;
//! 2. layers of known form: recurrent ones, whose gates have another order and whose directions and biases lie in one tensor
//!    ([`recurrent`]), weights in another form than the layer uses ([`parametrization`]), batch normalisations that were computed
//!    into the layer before them and are taken out again ([`batch_norm`]);
//! 3. what the exporter says of a node ([`provenance`]): the arguments of the call, the module around it;
//! 4. what equal tensors are read for, which exporters write once ([`shared`]);
//! 5. values, where the graph was exported from this very checkpoint;
//! 6. shapes, where only one tensor of each side is left that fits.
//!
//! What is left in the graph is a constant of the architecture if no tensor of the checkpoint could be meant, what is left in
//! the checkpoint is no part of the network's inference; anything else is an error that names both sides. The result is
//! always a whole checkpoint again: every tensor of the graph says how it gives the checkpoint's back ([`binding`]).

mod batch_norm;
mod binding;
mod names;
mod parametrization;
mod provenance;
mod recurrent;
mod search;
mod shared;
mod table;
mod views;

use std::collections::HashMap;
use std::path::Path;

use otfuse_graph::{Graph, GraphEditor, GraphError, Operator, Tensor};

use crate::StateDict;
use crate::error::{FormatError, OnnxError};
use crate::model::ModelError;
use crate::onnx::Template;

pub(crate) use binding::{Binding, permuted, written};

use names::Names;
use search::{Search, Twin};
use shared::Apart;

/// A network with a checkpoint's tensors.
pub(crate) struct Correspondence {
    pub(crate) graph: Graph,
    pub(crate) bindings: Vec<Binding>,
    /// What is to be said of tensors that only one side has.
    pub(crate) notes: Vec<String>,
    /// Whether the graph is still that of the file.
    pub(crate) is_as_read: bool,
}

/// The network of `graph`, read from the file `architecture` that `template` keeps, with the tensors of `dict` instead of its own.
/// `witnesses` are other checkpoints of the same network: where the graph was exported from one of them, its values tell what
/// belongs to what.
///
/// `O((tensors of the graph) * (tensors of the checkpoint))` comparisons of names and shapes; values are compared only where
/// names do not decide.
///
/// # Errors
/// [`ModelError::OtherNetwork`] with the tensors of both sides for which no counterpart, or more than one, was found.
pub(crate) fn correspond(
    graph: Graph,
    template: &Template,
    dict: &StateDict,
    witnesses: &[&StateDict],
    path: &Path,
    architecture: &Path,
) -> Result<Correspondence, ModelError> {
    let invalid = |error: GraphError| {
        let source = Box::new(OnnxError::Graph(error));
        ModelError::Format(FormatError::Onnx { path: architecture.into(), source })
    };
    let mut origins = provenance::origins(template.nodes());
    let parametrized = parametrization::find(dict);
    let mut of_graph: Vec<String> = graph.initializers().map(|(id, _)| graph.value(id).name.clone()).collect();
    of_graph.extend(origins.values().map(|origin| format!("{}.weight", origin.module)));
    of_graph.sort();
    of_graph.dedup();
    let of_graph: Vec<&str> = of_graph.iter().map(String::as_str).collect();
    let names = Names::of(&of_graph, dict.names().chain(parametrized.iter().map(|weight| weight.name.as_str())));
    // Equal elements everywhere may be another tensor that began alike.
    let is_uniform =
        |name: &String| graph.find_value(name).and_then(|id| graph.initializer(id)).is_some_and(Tensor::is_uniform);
    let (repeated, aliases): (HashMap<String, String>, HashMap<String, String>) =
        provenance::aliases(template.nodes()).into_iter().partition(|(alias, _)| is_uniform(alias));
    let names = names.with_aliases(aliases);
    provenance::settle(&mut origins, &names);
    let (graph, folded) = search::fold_parametrized(graph, &parametrized, &names).map_err(invalid)?;
    let Apart { graph, copies } = shared::apart(graph, &origins, &names).map_err(invalid)?;
    // Where values are thought to tell and do not, the graph was exported from a network with some of the same weights.
    let alike = witnesses.iter().copied().filter(|witness| witness.names().eq(dict.names()));
    let known = std::iter::once(dict).chain(alike);
    let mut known: Vec<(usize, &StateDict)> =
        known.filter_map(|dict| Some((search::equal_values(&graph, dict, &names)?, dict))).collect();
    known.sort_by_key(|(equal, _)| std::cmp::Reverse(*equal));
    let mut ways: Vec<Option<&StateDict>> = known.into_iter().map(|(_, dict)| Some(dict)).collect();
    ways.push(None);
    let mut result = Err(Vec::new());
    for witness in ways {
        let unfolded = batch_norm::unfold(graph.clone(), &origins, &names, dict, witness).map_err(invalid)?;
        let mut search = Search::new(&unfolded.graph, dict, &origins, &names, parametrized.clone(), witness);
        search.copies = template.copies().iter().cloned().chain(repeated.clone()).chain(copies.clone()).collect();
        search.bindings = unfolded.bindings;
        search.problems = unfolded.problems;
        result = search.run().map(|found| (found, unfolded.graph, unfolded.is_changed, unfolded.notes));
        if result.is_ok() {
            break;
        }
    }
    let (found, graph, is_unfolded, mut notes) = result.map_err(|mut problems| {
        let count = problems.len();
        problems.truncate(search::MOST_PROBLEMS);
        ModelError::OtherNetwork { path: path.into(), architecture: architecture.into(), problems, count }
    })?;
    let is_as_read = !folded && copies.is_empty() && !is_unfolded && found.biases.is_empty() && found.merged.is_empty();
    let mut editor = GraphEditor::edit(graph);
    for (id, tensor) in found.tensors {
        editor.set_tensor(id, tensor);
    }
    for id in found.constants {
        editor.fix(id);
    }
    let mut bindings = found.bindings;
    for (node, position, key) in found.biases {
        let Some(tensor) = dict.get(&key) else { continue };
        let value = editor.add_initializer(key.clone(), tensor.clone());
        bindings.push(Binding::same(&key, &editor.graph().value(value).name));
        editor.set_input(node, position, Some(value));
    }
    found.merged.into_iter().for_each(|twin| merge(&mut editor, twin));
    if !is_as_read {
        editor.remove_unread();
    }
    let graph = editor.finish().map_err(invalid)?;
    notes.extend(found.notes);
    Ok(Correspondence { graph, bindings, notes, is_as_read })
}

/// Lets everything that reads a tensor read the one that it is instead.
fn merge(editor: &mut GraphEditor, Twin { gone, first, axes, order }: Twin) {
    let name = editor.graph().value(gone).name.clone();
    let mut stands = first;
    if let Some(permutation) = order {
        stands = editor.add_value(format!("{name}.ordered"), None);
        let operator = Operator::Transpose { permutation: Some(permutation) };
        editor.add_node(name.clone(), operator, vec![Some(first)], vec![Some(stands)]);
    }
    if axes > 0 {
        let places = Tensor::from_i64(&[axes], (0..axes as i64).collect());
        let places = editor.add_initializer(format!("{name}.axes"), places);
        let ordered = stands;
        stands = editor.add_value(format!("{name}.widened"), None);
        editor.add_node(name, Operator::Unsqueeze, vec![Some(ordered), Some(places)], vec![Some(stands)]);
    }
    editor.replace(gone, stands);
}
