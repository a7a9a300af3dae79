//! Reductions: they do not depend on the order of the reduced axes.

use super::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Node, Reduce};

/// Sums, means, extrema.
pub(super) fn reduce(analysis: &mut Analysis<'_>, node: &Node, reduce: &Reduce) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let listed = match node.input(1) {
        Some(list) => analysis.facts.integers(list)?,
        None => Vec::new(),
    };
    let reduced: Vec<usize> = if listed.is_empty() && !reduce.noop_with_empty_axes {
        (0..axes.len()).collect()
    } else {
        listed.iter().map(|&axis| axis_index(axis, axes.len())).collect::<Option<_>>()?
    };
    analysis.set_axes(node.output(0), without(&axes, &reduced, reduce.keep_dims));
    Some(())
}

/// The index of an extremum is an output: the order of the axis matters.
pub(super) fn arg_extremum(analysis: &mut Analysis<'_>, node: &Node, axis: i64, keep_dims: bool) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let reduced = axis_index(axis, axes.len())?;
    analysis.pin(&axes[reduced], "outputs indices along the axis");
    analysis.set_axes(node.output(0), without(&axes, &[reduced], keep_dims));
    Some(())
}

fn without(axes: &[Layout], reduced: &[usize], keep_dims: bool) -> Vec<Layout> {
    let axes = axes.iter().enumerate();
    if keep_dims {
        axes.map(|(i, layout)| if reduced.contains(&i) { Layout::unit() } else { layout.clone() }).collect()
    } else {
        axes.filter(|(i, _)| !reduced.contains(i)).map(|(_, layout)| layout.clone()).collect()
    }
}
