//! How each operator maps the axes of its inputs to those of its outputs.
//!
//! A rule unifies the axes that must share one order and gives the output its axes. It may assume what shape inference
//! has checked. An operator without a rule pins everything that it touches.

mod elementwise;
mod indexing;
mod linear;
mod normalization;
mod packed;
mod rearrange;
mod reduction;
mod window;

pub(crate) use packed::Packed;

use crate::symmetry::analysis::Analysis;
use crate::{Node, Operator};

/// Applies the rule of a node's operator.
pub(crate) fn apply(analysis: &mut Analysis<'_>, node: &Node) {
    if packed::apply(analysis, node).is_some() {
        return;
    }
    let applied = match &node.operator {
        Operator::Gemm(gemm) => linear::gemm(analysis, node, gemm),
        Operator::MatMul => linear::matmul(analysis, node),
        Operator::Conv(conv) => linear::conv(analysis, node, conv.groups),
        Operator::ConvTranspose(conv) => linear::conv_transpose(analysis, node, conv.groups),
        Operator::BatchNormalization { .. } | Operator::InstanceNormalization { .. } => {
            normalization::per_channel(analysis, node)
        }
        Operator::LayerNormalization { axis, .. } => normalization::layer_norm(analysis, node, *axis),
        Operator::LocalResponseNormalization { .. } => normalization::local_response(analysis, node),
        Operator::Unary(_)
        | Operator::Binary(_)
        | Operator::Variadic(_)
        | Operator::PRelu
        | Operator::Clip
        | Operator::Where
        | Operator::Softmax { .. }
        | Operator::LogSoftmax { .. }
        | Operator::Cast { .. }
        | Operator::Identity => elementwise::broadcast(analysis, node),
        Operator::Reduce(reduce) => reduction::reduce(analysis, node, reduce),
        Operator::ArgExtremum { axis, keep_dims, .. } => reduction::arg_extremum(analysis, node, *axis, *keep_dims),
        Operator::Pool(_) | Operator::GlobalPool(_) => window::pool(analysis, node),
        Operator::Flatten { .. } | Operator::Reshape { .. } | Operator::Squeeze | Operator::Unsqueeze => {
            rearrange::reshape(analysis, node)
        }
        Operator::Transpose { permutation } => rearrange::transpose(analysis, node, permutation.as_deref()),
        Operator::Concat { axis } => rearrange::concat(analysis, node, *axis),
        Operator::Split { axis } => rearrange::split(analysis, node, *axis),
        Operator::Slice => indexing::slice(analysis, node),
        Operator::Pad(mode) => indexing::pad(analysis, node, *mode),
        Operator::Gather { axis } => indexing::gather(analysis, node, *axis),
        Operator::Expand => rearrange::expand(analysis, node),
        Operator::Tile => rearrange::tile(analysis, node),
        Operator::Shape { .. } | Operator::ConstantOfShape { .. } | Operator::Range => {
            elementwise::unordered(analysis, node)
        }
        Operator::Opaque { .. } => None,
    };
    if applied.is_none() {
        analysis.pin_node(node, "has no axis rule for these inputs");
    }
}

/// The axis that a possibly negative number means.
pub(super) fn axis_index(axis: i64, rank: usize) -> Option<usize> {
    let index = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(index).ok().filter(|&index| index < rank)
}
