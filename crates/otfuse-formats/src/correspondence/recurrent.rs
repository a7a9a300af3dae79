//! Recurrent layers: PyTorch has a tensor for each weight, direction and layer, ONNX one for all of a kind, gates in another order.

use std::collections::HashMap;

use otfuse_graph::{Cell, Graph, Node, NodeId, Operator};

use super::binding::{Binding, Piece, Source};
use super::names::Names;
use super::provenance::Origin;
use crate::StateDict;

/// The bindings of all recurrent layers whose weights are constants of the graph that no name of the checkpoint is meant by.
pub(super) fn bindings(
    graph: &Graph,
    file_node: impl Fn(&Node) -> (String, Origin),
    names: &Names,
    dict: &StateDict,
) -> Vec<Binding> {
    let modules: Vec<String> = modules(dict);
    let layers: Vec<(NodeId, &Node)> =
        graph.nodes().filter(|(_, node)| matches!(node.operator, Operator::Recurrent(_))).collect();
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    let mut taken: Vec<Layer> = Vec::new();
    let mut found = Vec::new();
    for (_, node) in layers {
        let Operator::Recurrent(recurrent) = &node.operator else { continue };
        let constant = |position: usize| {
            let id = node.input(position).filter(|&id| graph.initializer(id).is_some())?;
            names.key(&graph.value(id).name).is_none().then_some(id)
        };
        let (Some(input), Some(hidden)) = (constant(1), constant(2)) else { continue };
        let shape = |id| graph.initializer(id).map_or(&[][..], |tensor| tensor.shape());
        let suffix = if recurrent.reverse { "_reverse" } else { "" };
        // Both directions of a layer are one node of the file.
        let (call, origin) = file_node(node);
        let module = module_of(&origin, names, &modules);
        // The layers of one module come one after the other.
        let calls = seen.entry(module.clone().unwrap_or_default()).or_default();
        let number = calls.iter().position(|known| *known == call).unwrap_or_else(|| {
            calls.push(call);
            calls.len() - 1
        });
        let fits = |layer: &Layer| {
            let wanted = |name: &str| dict.get(&layer.key(name)).map(|tensor| tensor.shape().to_vec());
            let without_direction = |shape: &[usize]| shape.get(1..).map(<[usize]>::to_vec);
            wanted("weight_ih") == without_direction(shape(input))
                && wanted("weight_hh") == without_direction(shape(hidden))
        };
        let layer = match &module {
            Some(module) => Some(Layer { module: module.clone(), number, suffix }),
            None => {
                // Of modules that are not named the first that fits and is free; several that fit are told apart by their order.
                let all = modules
                    .iter()
                    .flat_map(|module| (0..64).map(|number| Layer { module: module.clone(), number, suffix }));
                all.filter(|layer| fits(layer) && !taken.contains(layer)).min_by_key(|layer| layer.number)
            }
        };
        let Some(layer) = layer.filter(fits) else { continue };
        let order = order(recurrent.cell);
        let name = |id| graph.value(id).name.as_str();
        for (id, key) in [(input, layer.key("weight_ih")), (hidden, layer.key("weight_hh"))] {
            found.push(Binding::of(name(id), None, Source::Pieces(gates(dict, &key, &order))));
        }
        let biases = ["bias_ih", "bias_hh"].map(|bias| layer.key(bias));
        if let Some(bias) = constant(3).filter(|_| biases.iter().all(|key| dict.contains(key))) {
            let pieces = biases.iter().flat_map(|key| gates(dict, key, &order)).collect();
            found.push(Binding::of(name(bias), None, Source::Pieces(pieces)));
        }
        taken.push(layer);
    }
    found
}

/// One direction of one layer of a recurrent module.
#[derive(Clone, PartialEq)]
struct Layer {
    module: String,
    number: usize,
    suffix: &'static str,
}

impl Layer {
    fn key(&self, name: &str) -> String {
        let Self { module, number, suffix } = self;
        let dot = if module.is_empty() { "" } else { "." };
        // A cell has one layer and no direction.
        format!("{module}{dot}{name}_l{number}{suffix}")
    }
}

/// The paths of the checkpoint's recurrent modules.
fn modules(dict: &StateDict) -> Vec<String> {
    let stems = dict.names().filter_map(|key| key.strip_suffix("weight_ih_l0"));
    stems.map(|stem| stem.trim_end_matches('.').to_owned()).collect()
}

/// The module, as the checkpoint names it, that a node comes from.
fn module_of(origin: &Origin, names: &Names, modules: &[String]) -> Option<String> {
    let keys = origin.arguments.iter().filter_map(|argument| names.key_of_mangled(argument));
    let of_keys = keys.filter_map(|key| key.strip_suffix("weight_ih_l0")).next();
    if let Some(stem) = of_keys {
        return Some(stem.trim_end_matches('.').to_owned());
    }
    let inside = names.in_module(&origin.module);
    let key = inside.iter().find(|(name, _)| name == "weight_ih_l0").map(|(_, key)| key)?;
    let module = key.strip_suffix("weight_ih_l0")?.trim_end_matches('.').to_owned();
    modules.contains(&module).then_some(module)
}

/// For each of ONNX's gates its place in PyTorch's order: input, forget, cell, output against input, output, forget, cell; reset,
/// update, new against update, reset, hidden.
fn order(cell: Cell) -> Vec<usize> {
    match cell {
        Cell::Rnn => vec![0],
        Cell::Gru { .. } => vec![1, 0, 2],
        Cell::Lstm { .. } => vec![0, 3, 1, 2],
    }
}

fn gates(dict: &StateDict, key: &str, order: &[usize]) -> Vec<Piece> {
    let length = dict.get(key).map_or(0, |tensor| tensor.len()) / order.len();
    if order.len() == 1 {
        return vec![Piece::whole(key)];
    }
    order.iter().map(|&gate| Piece { key: key.into(), range: Some(gate * length..(gate + 1) * length) }).collect()
}
