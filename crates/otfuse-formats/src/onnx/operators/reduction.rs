//! Reductions along axes.

use otfuse_graph::{Node, Operator, Reduce, ReduceKind};

use super::{Written, int};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

const KINDS: [ReduceKind; 10] = [
    ReduceKind::Sum,
    ReduceKind::Mean,
    ReduceKind::Max,
    ReduceKind::Min,
    ReduceKind::Prod,
    ReduceKind::L1,
    ReduceKind::L2,
    ReduceKind::SumSquare,
    ReduceKind::LogSum,
    ReduceKind::LogSumExp,
];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if matches!(call.operator, "ArgMax" | "ArgMin") {
        // Which of several extrema is given.
        if call.attributes.flag("select_last_index")?.unwrap_or(false) {
            return Ok(Reading::Opaque);
        }
        return Ok(Reading::Operator(Operator::ArgExtremum {
            largest: call.operator == "ArgMax",
            axis: call.attributes.int("axis")?.unwrap_or(0),
            keep_dims: call.attributes.flag("keepdims")?.unwrap_or(true),
        }));
    }
    let Some(&kind) = KINDS.iter().find(|kind| kind.name() == call.operator) else {
        return Ok(Reading::Other);
    };
    let keep_dims = call.attributes.flag("keepdims")?.unwrap_or(true);
    let noop_with_empty_axes = call.attributes.flag("noop_with_empty_axes")?.unwrap_or(false);
    let axes_are_input = call.version >= if kind == ReduceKind::Sum { 13 } else { 18 };
    if !axes_are_input {
        call.ints_as_input(1, "axes")?;
    }
    Ok(Reading::Operator(Operator::Reduce(Reduce { kind, keep_dims, noop_with_empty_axes })))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::Reduce(reduce) => vec![
            int("keepdims", reduce.keep_dims.into()),
            int("noop_with_empty_axes", reduce.noop_with_empty_axes.into()),
        ],
        Operator::ArgExtremum { axis, keep_dims, .. } => vec![int("axis", *axis), int("keepdims", (*keep_dims).into())],
        _ => return None,
    }))
}
