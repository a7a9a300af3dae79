//! Pools.

use otfuse_graph::{Node, Operator, Pool, PoolKind};

use super::{Written, int, sizes, window};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let kind = match call.operator {
        "GlobalMaxPool" => return Ok(Reading::Operator(Operator::GlobalPool(PoolKind::Max))),
        "GlobalAveragePool" => return Ok(Reading::Operator(Operator::GlobalPool(PoolKind::Average))),
        "MaxPool" => PoolKind::Max,
        "AveragePool" => PoolKind::Average,
        _ => return Ok(Reading::Other),
    };
    // The second output of a max pool are indices, in an order that `storage_order` gives.
    call.attributes.ignore(&["storage_order"]);
    if !call.keep_first_output() {
        return Ok(Reading::Opaque);
    }
    let window = window::read(call)?;
    let Some(kernel) = call.attributes.sizes("kernel_shape", 1)? else {
        return Err(call.attributes.error("kernel_shape", "the size of the window", "nothing"));
    };
    window::check(call, &window, kernel.len())?;
    Ok(Reading::Operator(Operator::Pool(Pool {
        kind,
        kernel,
        window,
        ceil: call.attributes.flag("ceil_mode")?.unwrap_or(false),
        count_include_pad: kind == PoolKind::Average && call.attributes.flag("count_include_pad")?.unwrap_or(false),
    })))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let pool = match &node.operator {
        Operator::GlobalPool(_) => return Some(Written::new(Vec::new())),
        Operator::Pool(pool) => pool,
        _ => return None,
    };
    let mut attributes = vec![sizes("kernel_shape", &pool.kernel), int("ceil_mode", pool.ceil.into())];
    attributes.extend(window::write(&pool.window));
    if pool.kind == PoolKind::Max {
        return Some(Written::new(attributes));
    }
    attributes.push(int("count_include_pad", pool.count_include_pad.into()));
    // An average over a dilated window came with opset 19; before, there is no attribute for it.
    let dilated = pool.window.dilations.iter().any(|&dilation| dilation != 1);
    if !dilated {
        attributes.retain(|attribute| attribute.name.as_deref() != Some("dilations"));
    }
    Some(Written::new(attributes).since(if dilated { 19 } else { 0 }))
}
