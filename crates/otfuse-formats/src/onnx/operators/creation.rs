//! Values made from nothing but shapes and numbers. Constants are read as initializers before any node is.

use otfuse_graph::{Node, Operator, Tensor};

use super::{Written, int, tensor};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};
use crate::onnx::data_type;
use crate::onnx::external::ExternalFiles;
use crate::onnx::tensor::{Constant, read as read_tensor};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    match call.operator {
        "Size" => Ok(Reading::Operator(Operator::Size)),
        "EyeLike" => {
            let number = call.attributes.int("dtype")?;
            let to = number.and_then(|number| i32::try_from(number).ok()).and_then(data_type::from_number);
            if number.is_some() && to.is_none() {
                return Ok(Reading::Opaque);
            }
            let offset = call.attributes.int("k")?.unwrap_or(0);
            Ok(Reading::Operator(Operator::EyeLike { data_type: to, offset }))
        }
        "Range" => Ok(Reading::Operator(Operator::Range)),
        "ConstantOfShape" => {
            let value = match call.attributes.tensor("value")? {
                None => Tensor::from_f32(&[1], vec![0.0]),
                Some(proto) => match read_tensor(proto, &mut ExternalFiles::default())? {
                    Constant::Tensor(value) if value.len() == 1 => value,
                    Constant::Tensor(value) => {
                        return Err(call.attributes.error("value", "one element", format!("{} elements", value.len())));
                    }
                    Constant::Unsupported(_) => return Ok(Reading::Opaque),
                },
            };
            Ok(Reading::Operator(Operator::ConstantOfShape { value }))
        }
        _ => Ok(Reading::Other),
    }
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::Range | Operator::Size => Vec::new(),
        Operator::EyeLike { data_type: to, offset } => {
            let to = to.map(|to| int("dtype", data_type::to_number(to).into()));
            std::iter::once(int("k", *offset)).chain(to).collect()
        }
        Operator::ConstantOfShape { value } => {
            // The format asks for a list of one element.
            let value = value.reshaped(&[1]).unwrap_or_else(|_| value.clone());
            vec![tensor("value", &value)]
        }
        _ => return None,
    }))
}
