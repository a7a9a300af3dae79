//! Functions of one value, element by element.

use otfuse_graph::{Node, Operator, Tensor, Unary};

use super::{Written, float, int, text};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};
use crate::onnx::data_type;
use crate::onnx::tensor::scalar;

const PLAIN: [Unary; 32] = [
    Unary::Relu,
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Reciprocal,
    Unary::Abs,
    Unary::Neg,
    Unary::Sign,
    Unary::Erf,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Not,
    Unary::Softplus,
    Unary::Softsign,
    Unary::Mish,
    Unary::HardSwish,
    Unary::Asin,
    Unary::Acos,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
    Unary::Acosh,
    Unary::Atanh,
    Unary::BitwiseNot,
    Unary::IsNan,
];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    call.attributes.ignore(&["consumed_inputs"]);
    if let Some(&unary) = PLAIN.iter().find(|unary| unary.name() == call.operator) {
        return Ok(Reading::Operator(Operator::Unary(unary)));
    }
    let parameter =
        |name: &'static str, default: f32| call.attributes.float(name).map(|found| found.unwrap_or(default));
    let unary = match call.operator {
        "LeakyRelu" => Unary::LeakyRelu { alpha: parameter("alpha", 0.01)? },
        "Elu" => Unary::Elu { alpha: parameter("alpha", 1.0)? },
        "Celu" => Unary::Celu { alpha: parameter("alpha", 1.0)? },
        "ThresholdedRelu" => Unary::ThresholdedRelu { alpha: parameter("alpha", 1.0)? },
        "HardSigmoid" => Unary::HardSigmoid { alpha: parameter("alpha", 0.2)?, beta: parameter("beta", 0.5)? },
        "Swish" => Unary::Swish { alpha: parameter("alpha", 1.0)? },
        "Shrink" => Unary::Shrink { bias: parameter("bias", 0.0)?, lambda: parameter("lambd", 0.5)? },
        "IsInf" => Unary::IsInf {
            negative: call.attributes.flag("detect_negative")?.unwrap_or(true),
            positive: call.attributes.flag("detect_positive")?.unwrap_or(true),
        },
        "Selu" => {
            let (alpha, gamma) = if call.version < 6 { (1.6732, 1.0507) } else { (1.673_263_2, 1.050_701) };
            Unary::Selu { alpha: parameter("alpha", alpha)?, gamma: parameter("gamma", gamma)? }
        }
        "Gelu" => match call.attributes.text("approximate")?.unwrap_or("none") {
            "none" => Unary::Gelu { tanh: false },
            "tanh" => Unary::Gelu { tanh: true },
            other => return Err(call.attributes.error("approximate", "none or tanh", format!("'{other}'"))),
        },
        "Clip" => return clip(call),
        "Cast" => return cast(call),
        "CastLike" => return cast_like(call),
        "Identity" => return Ok(Reading::Operator(Operator::Identity)),
        "Dropout" => return dropout(call),
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(Operator::Unary(unary)))
}

/// Before opset 11 the limits are attributes.
fn clip(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if call.version < 11 {
        let data_type = call.data_type(0);
        for (position, name) in [(1, "min"), (2, "max")] {
            if let Some(limit) = call.attributes.float(name)? {
                call.attribute_as_input(position, name, scalar(data_type, limit));
            }
        }
    }
    Ok(Reading::Operator(Operator::Clip))
}

fn cast(call: &Call<'_>) -> Result<Reading, OnnxError> {
    // How values beyond the range of an 8-bit float are treated; these types have no counterpart here.
    call.attributes.ignore(&["saturate", "round_mode"]);
    let Some(number) = call.attributes.int("to")? else {
        return Err(call.attributes.error("to", "an element type", "nothing"));
    };
    let to = i32::try_from(number).ok().and_then(data_type::from_number);
    Ok(to.map_or(Reading::Opaque, |to| Reading::Operator(Operator::Cast { to })))
}

/// The type is that of another value, of which nothing else matters.
fn cast_like(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    call.attributes.ignore(&["saturate", "round_mode"]);
    let Some(to) = call.known_type(1) else { return Ok(Reading::Opaque) };
    call.inputs.truncate(1);
    Ok(Reading::Operator(Operator::Cast { to }))
}

/// In inference nothing is dropped. The mask has no counterpart; training mode is asked for by an input.
fn dropout(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    call.attributes.ignore(&["ratio", "seed", "is_test", "consumed_inputs"]);
    let training = match call.input(2) {
        None => Some(false),
        Some(_) => call.constant(2).and_then(Tensor::to_i64).map(|values| values.iter().any(|&value| value != 0)),
    };
    if training != Some(false) || !call.keep_first_output() {
        return Ok(Reading::Opaque);
    }
    call.inputs.truncate(1);
    Ok(Reading::Operator(Operator::Identity))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let unary = match &node.operator {
        Operator::Unary(unary) => *unary,
        Operator::Cast { to } => return Some(Written::new(vec![int("to", data_type::to_number(*to).into())])),
        Operator::Clip | Operator::Identity => return Some(Written::new(Vec::new())),
        _ => return None,
    };
    let attributes = match unary {
        Unary::LeakyRelu { alpha }
        | Unary::Elu { alpha }
        | Unary::Celu { alpha }
        | Unary::ThresholdedRelu { alpha } => {
            vec![float("alpha", alpha)]
        }
        Unary::Selu { alpha, gamma } => vec![float("alpha", alpha), float("gamma", gamma)],
        Unary::Swish { alpha } => return Some(Written::new(vec![float("alpha", alpha)]).since(24)),
        Unary::Shrink { bias, lambda } => vec![float("bias", bias), float("lambd", lambda)],
        Unary::IsInf { negative, positive } => {
            let attributes = vec![int("detect_negative", negative.into()), int("detect_positive", positive.into())];
            return Some(Written::new(attributes).since(20));
        }
        Unary::IsNan => return Some(Written::new(Vec::new()).since(20)),
        Unary::HardSigmoid { alpha, beta } => vec![float("alpha", alpha), float("beta", beta)],
        Unary::Gelu { tanh } => {
            let approximate = text("approximate", if tanh { "tanh" } else { "none" });
            return Some(Written::new(vec![approximate]).since(20));
        }
        _ => Vec::new(),
    };
    Some(Written::new(attributes))
}
