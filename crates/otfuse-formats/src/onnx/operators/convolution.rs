//! Convolutions.

use otfuse_graph::{Conv, ConvTranspose, DeformConv, Node, Operator};

use super::{Written, int, sizes, window};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if !matches!(call.operator, "Conv" | "ConvTranspose" | "DeformConv") {
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
    if call.operator == "DeformConv" {
        let parts = call.attributes.int("offset_group")?.unwrap_or(1);
        let count = usize::try_from(parts).ok().filter(|&parts| parts > 0);
        let offset_groups = count.ok_or_else(|| call.attributes.error("offset_group", "a positive integer", parts))?;
        return Ok(Reading::Operator(Operator::DeformConv(DeformConv { groups, offset_groups, window })));
    }
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
        Operator::DeformConv(deform) => {
            let mut attributes = window::write(&deform.window);
            attributes.push(int("group", deform.groups as i64));
            attributes.push(int("offset_group", deform.offset_groups as i64));
            return Some(Written::new(attributes).since(19));
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
