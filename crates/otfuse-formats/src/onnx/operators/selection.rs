//! Elements chosen, placed or ordered by indices.

use otfuse_graph::{Node, Operator, ScatterReduction};

use super::{Written, int, text};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

const REDUCTIONS: [(&str, ScatterReduction); 5] = [
    ("none", ScatterReduction::None),
    ("add", ScatterReduction::Add),
    ("mul", ScatterReduction::Mul),
    ("min", ScatterReduction::Min),
    ("max", ScatterReduction::Max),
];

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let axis = |default: i64| call.attributes.int("axis").map(|axis| axis.unwrap_or(default));
    let operator = match call.operator {
        "CumSum" => Operator::CumSum {
            exclusive: call.attributes.flag("exclusive")?.unwrap_or(false),
            reverse: call.attributes.flag("reverse")?.unwrap_or(false),
        },
        "TopK" => {
            // Where the order of the result is open, any order will do.
            call.attributes.ignore(&["sorted"]);
            let axis = axis(-1)?;
            let largest = call.attributes.flag("largest")?.unwrap_or(true);
            if call.version < 10 {
                let Some(k) = call.attributes.int("k")? else {
                    return Err(call.attributes.error("k", "a number", "nothing"));
                };
                let k = call.integers("k", vec![k]);
                call.inputs.resize(1, None);
                call.inputs.push(Some(k));
            }
            Operator::TopK { axis, largest }
        }
        "Hardmax" => Operator::Hardmax { axis: axis(-1)? },
        "GatherElements" => Operator::GatherElements { axis: axis(0)? },
        "GatherND" => {
            let batch = call.attributes.int("batch_dims")?.unwrap_or(0);
            let batch_dims = usize::try_from(batch);
            Operator::GatherNd {
                batch_dims: batch_dims.map_err(|_| call.attributes.error("batch_dims", "0 or more", batch))?,
            }
        }
        "ScatterElements" | "Scatter" => Operator::ScatterElements { axis: axis(0)?, reduction: reduction(call)? },
        "ScatterND" => Operator::ScatterNd { reduction: reduction(call)? },
        "OneHot" => Operator::OneHot { axis: axis(-1)? },
        "NonZero" => Operator::NonZero,
        "Trilu" => Operator::Trilu { upper: call.attributes.flag("upper")?.unwrap_or(true) },
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(operator))
}

fn reduction(call: &Call<'_>) -> Result<ScatterReduction, OnnxError> {
    let name = call.attributes.text("reduction")?.unwrap_or("none");
    let known = REDUCTIONS.iter().find(|(known, _)| *known == name);
    let error = || call.attributes.error("reduction", "none, add, mul, min or max", format!("'{name}'"));
    known.map(|&(_, reduction)| reduction).ok_or_else(error)
}

pub(super) fn write(node: &Node) -> Option<Written> {
    let reduction = |reduction: &ScatterReduction| {
        let name = REDUCTIONS.iter().find(|(_, known)| known == reduction).map_or("", |(name, _)| name);
        text("reduction", name)
    };
    Some(Written::new(match &node.operator {
        Operator::CumSum { exclusive, reverse } => {
            vec![int("exclusive", (*exclusive).into()), int("reverse", (*reverse).into())]
        }
        Operator::TopK { axis, largest } => vec![int("axis", *axis), int("largest", (*largest).into())],
        Operator::Hardmax { axis } | Operator::GatherElements { axis } | Operator::OneHot { axis } => {
            vec![int("axis", *axis)]
        }
        Operator::GatherNd { batch_dims } => vec![int("batch_dims", *batch_dims as i64)],
        Operator::ScatterElements { axis, reduction: found } => vec![int("axis", *axis), reduction(found)],
        Operator::ScatterNd { reduction: found } => vec![reduction(found)],
        Operator::NonZero => Vec::new(),
        Operator::Trilu { upper } => vec![int("upper", (*upper).into())],
        _ => return None,
    }))
}
