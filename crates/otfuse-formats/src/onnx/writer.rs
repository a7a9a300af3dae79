//! A network as a file of its own.

use otfuse_graph::{DataType, Facts, Graph, ValueId};

use super::operators::{self, BASE_VERSION};
use super::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use super::{shape, tensor};
use crate::error::OnnxError;

/// A network as an ONNX model of IR version 8 and opset 18, or the first later ones that have all its operators.
///
/// # Errors
/// [`OnnxError::UnsupportedNode`] for an opaque operator, whose attributes only the file that it came from has: such a
/// network is written by the [`Template`](super::Template) that was read with it. [`OnnxError::Inference`] if the shapes
/// do not fit.
pub fn to_proto(graph: &Graph) -> Result<ModelProto, OnnxError> {
    let facts = Facts::of(graph)?;
    let mut version = BASE_VERSION;
    let mut nodes = Vec::with_capacity(graph.nodes().len());
    for (_, node) in graph.nodes() {
        let written = operators::write(node).ok_or_else(|| OnnxError::UnsupportedNode {
            node: node.name.clone(),
            operator: node.operator.name().into(),
            construct: "an operator without a meaning here, in a file of its own,".into(),
        })?;
        version = version.max(written.version);
        nodes.push(NodeProto {
            input: names(graph, &node.inputs),
            output: names(graph, &node.outputs),
            name: Some(node.name.clone()),
            op_type: Some(node.operator.name().into()),
            attribute: written.attributes,
            ..NodeProto::default()
        });
    }
    let tensors = graph.initializers().map(|(id, tensor)| tensor::write(&graph.value(id).name, tensor));
    let name = if graph.name().is_empty() { "network" } else { graph.name() };
    let proto = GraphProto {
        node: nodes,
        name: Some(name.into()),
        initializer: tensors.collect(),
        input: graph.inputs().iter().map(|&id| declaration(graph, &facts, id)).collect(),
        output: graph.outputs().iter().map(|&id| declaration(graph, &facts, id)).collect(),
        ..GraphProto::default()
    };
    Ok(ModelProto {
        // The IR versions that came with these opsets.
        ir_version: Some(if version <= 18 { 8 } else { 9 }),
        producer_name: Some(env!("CARGO_PKG_NAME").into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(proto),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(version) }],
        ..ModelProto::default()
    })
}

fn names(graph: &Graph, ids: &[Option<ValueId>]) -> Vec<String> {
    let given = ids.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    ids[..given].iter().map(|id| id.map_or_else(String::new, |id| graph.value(id).name.clone())).collect()
}

fn declaration(graph: &Graph, facts: &Facts, id: ValueId) -> ValueInfoProto {
    let declared = graph.value(id).declared.as_ref();
    let data_type = facts.data_type(id).or(declared.map(|declared| declared.data_type)).unwrap_or(DataType::F32);
    let shape = facts.shape(id).or_else(|| declared.and_then(|declared| declared.shape.as_ref()));
    shape::write(&graph.value(id).name, data_type, shape.map(Vec::as_slice))
}
