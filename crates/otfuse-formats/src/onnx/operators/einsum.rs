//! Products by Einstein's notation.

use otfuse_graph::{Einsum, Node, Operator};

use super::{Written, text};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if call.operator != "Einsum" {
        return Ok(Reading::Other);
    }
    let Some(equation) = call.attributes.text("equation")? else {
        return Err(call.attributes.error("equation", "an equation", "nothing"));
    };
    let found = Einsum::parse(equation).filter(|einsum| einsum.inputs.len() == call.inputs.len());
    Ok(found.map_or(Reading::Opaque, |einsum| Reading::Operator(Operator::Einsum(einsum))))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let Operator::Einsum(einsum) = &node.operator else { return None };
    Some(Written::new(vec![text("equation", &einsum.equation())]))
}
