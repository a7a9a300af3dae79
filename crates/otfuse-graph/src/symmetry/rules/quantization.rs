//! Quantized numbers.

use super::{axis_index, linear};
use crate::Node;
use crate::symmetry::analysis::Analysis;

/// Element by element; a scale and a zero point for each index of an axis share its order.
pub(super) fn scaled(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    for parameter in node.inputs[1..].iter().flatten() {
        let layouts = analysis.axes(*parameter)?;
        match layouts.as_slice() {
            [] => {}
            [layout] if analysis.blocks.size(layout).is_one() => {}
            [layout] => analysis.unify(axes.get(axis_index(axis, axes.len())?)?, layout),
            _ => return None,
        }
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// As a product of matrices, where the zero points are one number each.
pub(super) fn mat_mul_integer(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    for zero in [2, 3].into_iter().filter_map(|position| node.input(position)) {
        if !analysis.shape(zero)?.iter().all(crate::Dim::is_one) {
            return None;
        }
    }
    linear::matmul(analysis, node)
}
