//! Quantized numbers.

use otfuse_graph::{Conv, DataType, Node, Operator};

use super::{Written, int, window};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};
use crate::onnx::data_type;

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let operator = match call.operator {
        "QuantizeLinear" | "DequantizeLinear" => {
            // Saturation is a matter of 8-bit floats, which have no counterpart here.
            call.attributes.ignore(&["saturate"]);
            let axis = call.attributes.int("axis")?.unwrap_or(1);
            let block = call.attributes.int("block_size")?.unwrap_or(0);
            let number = call.attributes.int("output_dtype")?.filter(|&number| number != 0);
            let precision = call.attributes.int("precision")?.unwrap_or(0);
            let to = number.and_then(|number| i32::try_from(number).ok()).and_then(data_type::from_number);
            if block != 0 || precision != 0 || (number.is_some() && to.is_none()) {
                return Ok(Reading::Opaque);
            }
            match call.operator {
                "QuantizeLinear" => {
                    // The type that most files mean where they have no zero point.
                    let unsupported = to.is_some_and(DataType::is_float);
                    if unsupported {
                        return Ok(Reading::Opaque);
                    }
                    Operator::QuantizeLinear { axis, data_type: to }
                }
                _ if to.is_some() => return Ok(Reading::Opaque),
                _ => Operator::DequantizeLinear { axis },
            }
        }
        "MatMulInteger" => Operator::MatMulInteger,
        "QLinearConv" => {
            call.attributes.sizes("kernel_shape", 1)?;
            let window = window::read(call)?;
            let groups = call.attributes.int("group")?.unwrap_or(1);
            let count = usize::try_from(groups).ok().filter(|&groups| groups > 0);
            let groups = count.ok_or_else(|| call.attributes.error("group", "a positive integer", groups))?;
            Operator::QLinearConv(Conv { groups, window })
        }
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(operator))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::QuantizeLinear { axis, data_type: to } => {
            let number = to.map(|to| int("output_dtype", data_type::to_number(to).into()));
            let version = if number.is_some() { 21 } else { 18 };
            return Some(Written::new(std::iter::once(int("axis", *axis)).chain(number).collect()).since(version));
        }
        Operator::DequantizeLinear { axis } => vec![int("axis", *axis)],
        Operator::MatMulInteger => Vec::new(),
        Operator::QLinearConv(conv) => {
            let mut attributes = window::write(&conv.window);
            attributes.push(int("group", conv.groups as i64));
            attributes
        }
        _ => return None,
    }))
}
