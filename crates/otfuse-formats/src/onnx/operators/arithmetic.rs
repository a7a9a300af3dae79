//! Functions of several values, element by element.

use otfuse_graph::{Binary, Node, Operator, Variadic};

use super::{Written, int, text};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

const BINARY: [Binary; 16] = [
    Binary::Add,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Pow,
    Binary::Equal,
    Binary::Less,
    Binary::LessOrEqual,
    Binary::Greater,
    Binary::GreaterOrEqual,
    Binary::And,
    Binary::Or,
    Binary::Xor,
    Binary::BitwiseAnd,
    Binary::BitwiseOr,
    Binary::BitwiseXor,
];

const VARIADIC: [Variadic; 4] = [Variadic::Sum, Variadic::Mean, Variadic::Min, Variadic::Max];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    call.attributes.ignore(&["consumed_inputs"]);
    if let Some(&binary) = BINARY.iter().find(|binary| binary.name() == call.operator) {
        if call.version < 7 {
            legacy_broadcast(call)?;
        }
        return Ok(Reading::Operator(Operator::Binary(binary)));
    }
    if let Some(&variadic) = VARIADIC.iter().find(|variadic| variadic.name() == call.operator) {
        return Ok(Reading::Operator(Operator::Variadic(variadic)));
    }
    match call.operator {
        "Mod" => {
            let truncated = call.attributes.flag("fmod")?.unwrap_or(false);
            Ok(Reading::Operator(Operator::Binary(Binary::Mod { truncated })))
        }
        "BitShift" => match call.attributes.text("direction")? {
            Some("LEFT") => Ok(Reading::Operator(Operator::Binary(Binary::BitShift { left: true }))),
            Some("RIGHT") => Ok(Reading::Operator(Operator::Binary(Binary::BitShift { left: false }))),
            other => Err(call.attributes.error("direction", "LEFT or RIGHT", format!("{other:?}"))),
        },
        "Where" => Ok(Reading::Operator(Operator::Where)),
        "PRelu" => {
            // Before opset 7 the slope belongs to axis 1, unless it is a single number.
            let single = call.constant(1).is_some_and(|slope| slope.len() == 1);
            if call.version < 7 && !single && !call.line_up(1, 1, call.rank(0)) {
                return Err(call.unsupported("a slope for each channel of a value of unknown rank (opset 6 or older)"));
            }
            Ok(Reading::Operator(Operator::PRelu))
        }
        _ => Ok(Reading::Other),
    }
}

/// Before opset 7 the second operand's axes line up with those of the first from `axis` on, else with the last ones.
fn legacy_broadcast(call: &mut Call<'_>) -> Result<(), OnnxError> {
    let broadcast = call.attributes.flag("broadcast")?.unwrap_or(false);
    let axis = call.attributes.int("axis")?;
    match axis {
        Some(axis) if broadcast && !call.line_up(1, axis, call.rank(0)) => {
            Err(call
                .unsupported(format!("broadcasting along axis {axis} of values of unknown rank (opset 6 or older)")))
        }
        _ => Ok(()),
    }
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::Binary(Binary::Mod { truncated }) => vec![int("fmod", (*truncated).into())],
        Operator::Binary(Binary::BitShift { left }) => vec![text("direction", if *left { "LEFT" } else { "RIGHT" })],
        Operator::Binary(_) | Operator::Variadic(_) | Operator::Where | Operator::PRelu => Vec::new(),
        _ => return None,
    }))
}
