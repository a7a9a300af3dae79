//! Softmax and its logarithm.

use otfuse_graph::{Node, Operator};

use super::{Written, int};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let operator = match call.operator {
        "Softmax" => |axis| Operator::Softmax { axis },
        "LogSoftmax" => |axis| Operator::LogSoftmax { axis },
        _ => return Ok(Reading::Other),
    };
    let axis = call.attributes.int("axis")?;
    if call.version >= 13 {
        return Ok(Reading::Operator(operator(axis.unwrap_or(-1))));
    }
    // Before opset 13 the axes from `axis` on are taken together; with the last axis this is the same.
    let axis = axis.unwrap_or(1);
    let last = call.rank(0).and_then(|rank| i64::try_from(rank).ok()).map(|rank| rank - 1);
    if axis == -1 || Some(axis) == last {
        return Ok(Reading::Operator(operator(axis)));
    }
    let x = call.input(0);
    let shape = call.add(Operator::Shape { start: 0, end: None }, vec![x]);
    let flat = call.add(Operator::Flatten { axis }, vec![x]);
    let result = call.add(operator(-1), vec![Some(flat)]);
    let inputs = vec![Some(result), Some(shape)];
    let outputs = call.outputs.clone();
    call.editor.add_node(call.name, Operator::Reshape { allow_zero: true }, inputs, outputs);
    Ok(Reading::Expanded)
}

pub(super) fn write(node: &Node) -> Option<Written> {
    match &node.operator {
        Operator::Softmax { axis } | Operator::LogSoftmax { axis } => Some(Written::new(vec![int("axis", *axis)])),
        _ => None,
    }
}
