//! Normalisations.

use otfuse_graph::{Node, Operator};

use super::{Written, float, int};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    match call.operator {
        "BatchNormalization" => batch(call),
        "InstanceNormalization" => {
            call.attributes.ignore(&["consumed_inputs"]);
            let epsilon = call.attributes.float("epsilon")?.unwrap_or(1e-5);
            Ok(Reading::Operator(Operator::InstanceNormalization { epsilon }))
        }
        "LayerNormalization" => {
            // Of the precision in between no promise is made.
            call.attributes.ignore(&["stash_type"]);
            if !call.keep_first_output() {
                return Ok(Reading::Opaque);
            }
            Ok(Reading::Operator(Operator::LayerNormalization {
                axis: call.attributes.int("axis")?.unwrap_or(-1),
                epsilon: call.attributes.float("epsilon")?.unwrap_or(1e-5),
            }))
        }
        "GroupNormalization" => {
            call.attributes.ignore(&["stash_type"]);
            let groups = call.attributes.int("num_groups")?;
            let groups = groups.and_then(|groups| usize::try_from(groups).ok()).filter(|&groups| groups > 0);
            Ok(Reading::Operator(Operator::GroupNormalization {
                groups: groups.ok_or_else(|| call.attributes.error("num_groups", "a positive number", "none"))?,
                per_group: call.version < 21,
                epsilon: call.attributes.float("epsilon")?.unwrap_or(1e-5),
            }))
        }
        "LRN" => {
            let Some(size) = call.attributes.int("size")? else {
                return Err(call.attributes.error("size", "a number of channels", "nothing"));
            };
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            let size = size.ok_or_else(|| call.attributes.error("size", "a positive number of channels", "less"))?;
            Ok(Reading::Operator(Operator::LocalResponseNormalization {
                alpha: call.attributes.float("alpha")?.unwrap_or(1e-4),
                beta: call.attributes.float("beta")?.unwrap_or(0.75),
                bias: call.attributes.float("bias")?.unwrap_or(1.0),
                size,
            }))
        }
        _ => Ok(Reading::Other),
    }
}

fn batch(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    call.attributes.ignore(&["momentum", "consumed_inputs"]);
    // Statistics of the batch instead of the stored ones: since opset 14 on request, before opset 7 unless told
    // otherwise.
    let training = call.attributes.flag("training_mode")?.unwrap_or(false);
    let test = call.attributes.flag("is_test")?.unwrap_or(call.version >= 7);
    // A scale for every element instead of every channel, up to opset 8.
    let spatial = call.attributes.flag("spatial")?.unwrap_or(true);
    let epsilon = call.attributes.float("epsilon")?.unwrap_or(1e-5);
    // Older opsets have outputs for what no one reads.
    let alone = call.keep_first_output();
    if !spatial || !(alone || training) {
        return Ok(Reading::Opaque);
    }
    if training || !test {
        let momentum = call.attributes.float("momentum")?.unwrap_or(0.9);
        return Ok(Reading::Operator(Operator::BatchNormalizationInTraining { epsilon, momentum }));
    }
    Ok(Reading::Operator(Operator::BatchNormalization { epsilon }))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::BatchNormalization { epsilon } | Operator::InstanceNormalization { epsilon } => {
            vec![float("epsilon", *epsilon)]
        }
        Operator::BatchNormalizationInTraining { epsilon, momentum } => {
            vec![float("epsilon", *epsilon), float("momentum", *momentum), int("training_mode", 1)]
        }
        // The form with a number for each group has no place beside newer operators.
        Operator::GroupNormalization { per_group: true, .. } => return None,
        Operator::GroupNormalization { groups, epsilon, .. } => {
            let attributes = vec![int("num_groups", *groups as i64), float("epsilon", *epsilon)];
            return Some(Written::new(attributes).since(21));
        }
        Operator::LayerNormalization { axis, epsilon } => vec![int("axis", *axis), float("epsilon", *epsilon)],
        Operator::LocalResponseNormalization { alpha, beta, bias, size } => {
            vec![float("alpha", *alpha), float("beta", *beta), float("bias", *bias), int("size", *size as i64)]
        }
        _ => return None,
    }))
}
