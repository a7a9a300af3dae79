//! Models as expressions.

use std::path::Path;

use otfuse_formats::onnx::proto::{
    AttributeProto, DimensionProto, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto, attribute_type,
};
use otfuse_formats::onnx::{OnnxError, OnnxModel, read_onnx};
use prost::Message;

pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(operator.into()),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: outputs.iter().map(|&name| name.into()).collect(),
        attribute,
        ..NodeProto::default()
    }
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind), ..AttributeProto::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, attribute_type::INT) }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, attribute_type::INTS) }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, attribute_type::FLOAT) }
}

pub fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(Box::new(graph)), ..attribute(name, attribute_type::GRAPH) }
}

/// A float32 tensor whose elements count up from 1.
pub fn weight(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: (1..=count).map(|value| value as f32).collect(),
        ..TensorProto::default()
    }
}

/// A float32 value; lengths below 0 are left open.
pub fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&length: &i64| DimensionProto {
        value: (length >= 0).then_some(DimensionValue::DimValue(length)),
        ..DimensionProto::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = TensorType { elem_type: Some(1), shape: Some(shape) };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..ValueInfoProto::default() }
}

/// A model with the input `x` and the output `y`.
pub fn model(opset: i64, x: &[i64], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let output = ValueInfoProto { name: Some("y".into()), ..ValueInfoProto::default() };
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("a test".into()),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(opset) }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: nodes,
            initializer: initializers,
            input: vec![value("x", x)],
            output: vec![output],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

pub fn try_read(model: &ModelProto) -> Result<OnnxModel, OnnxError> {
    read_onnx(model.encode_to_vec().into(), Path::new("."))
}

pub fn read(model: &ModelProto) -> OnnxModel {
    try_read(model).expect("a sound model")
}

pub fn operators(model: &OnnxModel) -> Vec<&str> {
    model.graph.nodes().map(|(_, node)| node.operator.name()).collect()
}

/// The integers of the constant that the node with that operator reads.
pub fn integers(model: &OnnxModel, operator: &str, position: usize) -> Option<Vec<i64>> {
    let (_, node) = model.graph.nodes().find(|(_, node)| node.operator.name() == operator)?;
    model.graph.initializer(node.input(position)?)?.to_i64()
}
