//! Values made from nothing but shapes and numbers. Constants are read as initializers before any node is.

use otfuse_graph::{Node, Operator, Tensor};

use super::{Written, tensor};
use crate::onnx::call::{Call, Reading};
use crate::onnx::error::OnnxError;
use crate::onnx::external::ExternalFiles;
use crate::onnx::tensor::{Constant, read as read_tensor};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    match call.operator {
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
        Operator::Range => Vec::new(),
        Operator::ConstantOfShape { value } => {
            // The format asks for a list of one element.
            let value = value.reshaped(&[1]).unwrap_or_else(|_| value.clone());
            vec![tensor("value", &value)]
        }
        _ => return None,
    }))
}
