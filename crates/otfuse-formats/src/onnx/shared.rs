//! Constants that an exporter wrote once since they are equal: each reader gets one of its own.

use std::collections::{HashMap, HashSet};

use super::external::ExternalFiles;
use super::names;
use super::proto::{ModelProto, TensorProto};
use super::tensor::{self, Constant};
use crate::error::OnnxError;

/// Constants longer than this are not copied.
const MOST_ELEMENTS: usize = 1 << 20;

/// Gives each place that reads a floating-point initializer whose elements are all equal a tensor of its own; returns the
/// name of each copy with that of the tensor that it was made from.
///
/// Exporters write equal tensors once: zeros that states begin with, biases and scales that are not trained yet. They say
/// nothing of an order of neurons, but layers that read one tensor would have to share theirs.
pub(super) fn separate(
    model: &mut ModelProto,
    external: &mut ExternalFiles,
) -> Result<Vec<(String, String)>, OnnxError> {
    let Some(graph) = model.graph.as_mut().filter(|_| model.training_info.is_empty()) else { return Ok(Vec::new()) };
    let mut places: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
    let mut bound: HashSet<String> = graph.output.iter().filter_map(|output| output.name.clone()).collect();
    let annotations = graph.quantization_annotation.iter().flat_map(|entry| &entry.quant_parameter_tensor_names);
    bound.extend(annotations.filter_map(|entry| entry.value.clone()));
    let mut taken: HashSet<String> = HashSet::new();
    for (index, node) in graph.node.iter().enumerate() {
        bound.extend(names::captured(node).into_iter().map(str::to_owned));
        taken.extend(node.input.iter().chain(&node.output).cloned());
        for (position, name) in node.input.iter().enumerate() {
            places.entry(name.clone()).or_default().push((index, position));
        }
    }
    taken.extend(bound.iter().cloned());
    let declared = graph.input.iter().filter_map(|input| input.name.clone());
    taken.extend(declared.chain(graph.initializer.iter().filter_map(|proto| proto.name.clone())));
    let (mut copies, mut added): (Vec<(String, String)>, Vec<TensorProto>) = (Vec::new(), Vec::new());
    for proto in &graph.initializer {
        let Some(name) = proto.name.as_ref().filter(|name| !bound.contains(*name)) else { continue };
        let Some([_, others @ ..]) = places.get(name).map(Vec::as_slice) else { continue };
        if others.is_empty() || !is_uniform(proto, external)? {
            continue;
        }
        for (number, &(node, position)) in (2..).zip(others) {
            let mut copy = format!("{name}_{number}");
            while !taken.insert(copy.clone()) {
                copy.push('_');
            }
            graph.node[node].input[position].clone_from(&copy);
            added.push(TensorProto { name: Some(copy.clone()), ..proto.clone() });
            copies.push((copy, name.clone()));
        }
    }
    graph.initializer.extend(added);
    // Up to IR version 3 initializers are inputs as well.
    for (copy, name) in &copies {
        let input = graph.input.iter().find(|input| input.name.as_ref() == Some(name)).cloned();
        graph.input.extend(input.map(|mut input| {
            input.name = Some(copy.clone());
            input
        }));
    }
    Ok(copies)
}

fn is_uniform(proto: &TensorProto, external: &mut ExternalFiles) -> Result<bool, OnnxError> {
    let count = proto.dims.iter().try_fold(1_usize, |count, &length| count.checked_mul(usize::try_from(length).ok()?));
    if !count.is_some_and(|count| (2..=MOST_ELEMENTS).contains(&count)) {
        return Ok(false);
    }
    Ok(match tensor::read(proto, external)? {
        Constant::Tensor(tensor) => tensor.data_type().is_float() && tensor.is_uniform(),
        Constant::Unsupported(_) => false,
    })
}
