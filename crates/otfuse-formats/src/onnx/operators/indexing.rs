//! Parts of values, and values put together.

use otfuse_graph::{Node, Operator, PadMode};

use super::{Written, int, text};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};
use crate::onnx::tensor::scalar;

const PAD_MODES: [(&str, PadMode); 4] =
    [("constant", PadMode::Constant), ("reflect", PadMode::Reflect), ("edge", PadMode::Edge), ("wrap", PadMode::Wrap)];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let operator = match call.operator {
        "Concat" => {
            let Some(axis) = call.attributes.int("axis")?.or((call.version < 4).then_some(1)) else {
                return Err(call.attributes.error("axis", "an axis", "nothing"));
            };
            Operator::Concat { axis }
        }
        "Gather" => Operator::Gather { axis: call.attributes.int("axis")?.unwrap_or(0) },
        "Split" => return split(call),
        "Slice" => return slice(call),
        "Pad" => return pad(call),
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(operator))
}

/// Before opset 13 the lengths are an attribute; since opset 18 the number of equal parts is one, which has to be that
/// of the outputs.
fn split(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let axis = call.attributes.int("axis")?.unwrap_or(0);
    if call.version < 13 {
        call.ints_as_input(1, "split")?;
    }
    if let Some(parts) = call.attributes.int("num_outputs")?
        && usize::try_from(parts) != Ok(call.outputs.len())
    {
        let expected = format!("{}, the number of outputs", call.outputs.len());
        return Err(call.attributes.error("num_outputs", expected, parts));
    }
    Ok(Reading::Operator(Operator::Split { axis }))
}

/// Before opset 10 everything is an attribute.
fn slice(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    if call.version < 10 {
        for (position, name) in [(1, "starts"), (2, "ends")] {
            if !call.ints_as_input(position, name)? {
                return Err(call.attributes.error(name, "a list of integers", "nothing"));
            }
        }
        call.ints_as_input(3, "axes")?;
    }
    Ok(Reading::Operator(Operator::Slice))
}

/// Before opset 11 the widths and the value are attributes.
fn pad(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let name = call.attributes.text("mode")?.unwrap_or("constant");
    let Some(&(_, mode)) = PAD_MODES.iter().find(|(known, _)| *known == name) else {
        return Err(call.attributes.error("mode", "constant, reflect, edge or wrap", format!("'{name}'")));
    };
    if call.version < 11 {
        let widths = if call.version < 2 { "paddings" } else { "pads" };
        if !call.ints_as_input(1, widths)? {
            return Err(call.attributes.error(widths, "a list of integers", "nothing"));
        }
        if let Some(value) = call.attributes.float("value")? {
            call.attribute_as_input(2, "value", scalar(call.data_type(0), value));
        }
    }
    Ok(Reading::Operator(Operator::Pad(mode)))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(match &node.operator {
        Operator::Concat { axis } | Operator::Gather { axis } => Written::new(vec![int("axis", *axis)]),
        Operator::Split { axis } => {
            // Either the lengths or the number of parts has to be given.
            let parts = node.input(1).is_none().then(|| int("num_outputs", node.outputs.len() as i64));
            Written::new(std::iter::once(int("axis", *axis)).chain(parts).collect())
        }
        Operator::Slice => Written::new(Vec::new()),
        Operator::Pad(mode) => {
            let name = PAD_MODES.iter().find(|(_, known)| known == mode).map_or("constant", |(name, _)| name);
            Written::new(vec![text("mode", name)]).since(if *mode == PadMode::Wrap { 19 } else { 0 })
        }
        _ => return None,
    })
}
