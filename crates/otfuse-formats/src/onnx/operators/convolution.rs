//! Convolutions.

use otfuse_graph::{Conv, ConvTranspose, Node, Operator};

use super::{Written, int, sizes, window};
use crate::onnx::call::{Call, Reading};
use crate::onnx::error::OnnxError;

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if !matches!(call.operator, "Conv" | "ConvTranspose") {
        return Ok(Reading::Other);
    }
    let window = window::read(call)?;
    let kernel = call.attributes.sizes("kernel_shape", 1)?;
    if let Some(weight) = call.constant(1) {
        let shape = weight.shape();
        let spatial = shape.get(2..).unwrap_or_default();
        window::check(call, &window, spatial.len())?;
        if let Some(kernel) = kernel.filter(|kernel| kernel.as_slice() != spatial) {
            let expected = format!("{spatial:?}, the last axes of the weight of shape {shape:?}");
            return Err(call.attributes.error("kernel_shape", expected, format!("{kernel:?}")));
        }
    }
    let groups = call.attributes.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups)
        .ok()
        .filter(|&groups| groups > 0)
        .ok_or_else(|| call.attributes.error("group", "a positive integer", groups))?;
    if call.operator == "Conv" {
        return Ok(Reading::Operator(Operator::Conv(Conv { groups, window })));
    }
    let output_shape = call.attributes.sizes("output_shape", 0)?.filter(|shape| !shape.is_empty());
    Ok(Reading::Operator(Operator::ConvTranspose(ConvTranspose {
        groups,
        window,
        output_padding: call.attributes.sizes("output_padding", 0)?.unwrap_or_default(),
        output_shape,
    })))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let attributes = match &node.operator {
        Operator::Conv(conv) => {
            let mut attributes = window::write(&conv.window);
            attributes.push(int("group", conv.groups as i64));
            attributes
        }
        Operator::ConvTranspose(conv) => {
            let mut attributes = window::write(&conv.window);
            attributes.push(int("group", conv.groups as i64));
            if !conv.output_padding.is_empty() {
                attributes.push(sizes("output_padding", &conv.output_padding));
            }
            if let Some(shape) = &conv.output_shape {
                attributes.push(sizes("output_shape", shape));
            }
            attributes
        }
        _ => return None,
    };
    Some(Written::new(attributes))
}
