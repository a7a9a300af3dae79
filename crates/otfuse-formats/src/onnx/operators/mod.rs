//! Operators and their attributes, a file for every family: how each version of an operator is read as the one form
//! that the graph knows, and how that form is written.

mod activation;
mod arithmetic;
mod attention;
mod convolution;
mod creation;
mod einsum;
mod indexing;
mod layout;
mod linear;
pub(super) mod ml;
mod normalization;
mod pooling;
mod quantization;
mod random;
mod recurrent;
mod reduction;
mod sampling;
mod selection;
mod softmax;
mod versions;
mod window;

pub use versions::{FIRST_VERSIONS, first_version};

use otfuse_graph::{Node, Tensor};

use super::call::{Call, Reading};
use super::proto::{AttributeProto, attribute_type};
use super::tensor;
use crate::error::OnnxError;

/// The newest form of an operator: its attributes and the first opset that has it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) attributes: Vec<AttributeProto>,
    pub(super) version: i64,
}

/// The first opset whose forms are those of the graph: reductions and splits take their newest inputs since.
pub(super) const BASE_VERSION: i64 = 18;

impl Written {
    fn new(attributes: Vec<AttributeProto>) -> Self {
        Self { attributes, version: BASE_VERSION }
    }

    fn since(self, version: i64) -> Self {
        Self { version: self.version.max(version), ..self }
    }
}

type Read = fn(&mut Call<'_>) -> Result<Reading, OnnxError>;
type Write = fn(&Node) -> Option<Written>;

const FAMILIES: [(Read, Write); 18] = [
    (linear::read, linear::write),
    (convolution::read, convolution::write),
    (einsum::read, einsum::write),
    (pooling::read, pooling::write),
    (normalization::read, normalization::write),
    (activation::read, activation::write),
    (arithmetic::read, arithmetic::write),
    (softmax::read, softmax::write),
    (reduction::read, reduction::write),
    (layout::read, layout::write),
    (indexing::read, indexing::write),
    (creation::read, creation::write),
    (recurrent::read, recurrent::write),
    (attention::read, attention::write),
    (sampling::read, sampling::write),
    (selection::read, selection::write),
    (quantization::read, quantization::write),
    (random::read, random::write),
];

/// Reads a node of ONNX's own domain.
pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if first_version(call.operator).is_none_or(|first| call.version < first) {
        return Ok(Reading::Opaque);
    }
    for (read, _) in FAMILIES {
        match read(call)? {
            Reading::Other => {}
            // An attribute that no version of the operator has may change its meaning.
            Reading::Operator(_) if call.attributes.any_left() => return Ok(Reading::Opaque),
            reading => return Ok(reading),
        }
    }
    Ok(Reading::Opaque)
}

/// The newest form of a node's operator; `None` for an opaque one.
pub(super) fn write(node: &Node) -> Option<Written> {
    FAMILIES.iter().find_map(|(_, write)| write(node))
}

fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind), ..AttributeProto::default() }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, attribute_type::INT) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, attribute_type::FLOAT) }
}

fn ints(name: &str, values: impl IntoIterator<Item = i64>) -> AttributeProto {
    AttributeProto { ints: values.into_iter().collect(), ..attribute(name, attribute_type::INTS) }
}

fn floats(name: &str, values: Vec<f32>) -> AttributeProto {
    AttributeProto { floats: values, ..attribute(name, attribute_type::FLOATS) }
}

fn sizes(name: &str, values: &[usize]) -> AttributeProto {
    ints(name, values.iter().map(|&value| value as i64))
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec().into()), ..attribute(name, attribute_type::STRING) }
}

fn tensor(name: &str, value: &Tensor) -> AttributeProto {
    AttributeProto { t: Some(Box::new(tensor::write("", value))), ..attribute(name, attribute_type::TENSOR) }
}
