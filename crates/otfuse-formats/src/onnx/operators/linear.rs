//! Matrix products.

use otfuse_graph::{Gemm, Node, Operator};

use super::{Written, float, int};
use crate::error::OnnxError;
use crate::onnx::call::{Call, Reading};

pub(super) fn read(call: &mut Call<'_>) -> Result<Reading, OnnxError> {
    let operator = match call.operator {
        "MatMul" => Operator::MatMul,
        "Gemm" => {
            // Before opset 7 C was broadcast if this was set; it is never harmful.
            call.attributes.ignore(&["broadcast"]);
            Operator::Gemm(Gemm {
                alpha: call.attributes.float("alpha")?.unwrap_or(1.0),
                beta: call.attributes.float("beta")?.unwrap_or(1.0),
                transpose_a: call.attributes.flag("transA")?.unwrap_or(false),
                transpose_b: call.attributes.flag("transB")?.unwrap_or(false),
            })
        }
        _ => return Ok(Reading::Other),
    };
    Ok(Reading::Operator(operator))
}

pub(super) fn write(node: &Node) -> Option<Written> {
    Some(Written::new(match &node.operator {
        Operator::MatMul => Vec::new(),
        Operator::Gemm(gemm) => vec![
            float("alpha", gemm.alpha),
            float("beta", gemm.beta),
            int("transA", gemm.transpose_a.into()),
            int("transB", gemm.transpose_b.into()),
        ],
        _ => return None,
    }))
}
