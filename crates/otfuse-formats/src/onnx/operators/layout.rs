//! The same elements under another shape or order.

use otfuse_graph::{Node, Operator};

use super::{Written, int, sizes};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let operator = match call.operator {
        "Flatten" => Operator::Flatten { axis: call.attributes.int("axis")?.unwrap_or(1) },
        "Reshape" => {
            if call.version < 5 {
                call.attributes.ignore(&["consumed_inputs"]);
                call.ints_as_input(1, "shape")?;
            }
            Operator::Reshape { allow_zero: call.attributes.flag("allowzero")?.unwrap_or(false) }
        }
        "Transpose" => {
            let permutation = call.attributes.sizes("perm", 0)?;
            if let Some(axes) = &permutation {
                let mut sorted = axes.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..axes.len()) {
                    let expected = format!("each axis from 0 to {} once", axes.len().saturating_sub(1));
                    return Err(call.attributes.error("perm", expected, format!("{axes:?}")));
                }
            }
            Operator::Transpose { permutation }
        }
        "Squeeze" | "Unsqueeze" => {
            if call.version < 13 {
                call.ints_as_input(1, "axes")?;
            }
            if call.operator == "Squeeze" { Operator::Squeeze } else { Operator::Unsqueeze }
        }
        "Expand" => Operator::Expand,
        "Tile" => Operator::Tile,
        "Shape" => {
            Operator::Shape { start: call.attributes.int("start")?.unwrap_or(0), end: call.attributes.int("end")? }
        }
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(operator))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::Flatten { axis } => vec![int("axis", *axis)],
        Operator::Reshape { allow_zero } => vec![int("allowzero", (*allow_zero).into())],
        Operator::Transpose { permutation } => permutation.iter().map(|axes| sizes("perm", axes)).collect(),
        Operator::Shape { start, end } => {
            let end = end.map(|end| int("end", end));
            std::iter::once(int("start", *start)).chain(end).collect()
        }
        Operator::Squeeze | Operator::Unsqueeze | Operator::Expand | Operator::Tile => Vec::new(),
        _ => return None,
    }))
}
