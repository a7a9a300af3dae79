//! Operators that choose, place or order elements by indices: the axes that indices are of are pinned.

use super::axis_index;
use crate::Node;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;

/// Running sums along an axis; all other axes pass.
pub(super) fn cum_sum(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let &[axis] = analysis.facts.integers(node.input(1)?)?.as_slice() else { return None };
    analysis.pin(&axes[axis_index(axis, axes.len())?], "sums up along the axis");
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// Axes pass, but for those given, which are pinned.
pub(super) fn pinned_along(
    analysis: &mut Analysis<'_>,
    node: &Node,
    pinned: impl Fn(usize) -> Option<Vec<usize>>,
    explanation: &str,
) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    for axis in pinned(axes.len())? {
        analysis.pin(&axes[axis], explanation);
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// The order of the elements becomes an axis of ranks.
pub(super) fn top_k(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let mut axes = analysis.axes(node.input(0)?)?;
    let along = axis_index(axis, axes.len())?;
    let output = node.output(0).or(node.output(1))?;
    let length = analysis.shape(output)?.get(along)?.clone();
    axes[along] = analysis.positions_from(&axes[along], length, "orders the elements of the axis");
    analysis.set_axes(node.output(0), axes.clone());
    analysis.set_axes(node.output(1), axes);
    Some(())
}

/// Along the other axes, data and indices are at the same place.
pub(super) fn gather_elements(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let (data, indices) = (analysis.axes(node.input(0)?)?, analysis.axes(node.input(1)?)?);
    let along = axis_index(axis, data.len())?;
    same_places(analysis, along, &data, &[&indices])?;
    analysis.set_axes(node.output(0), indices);
    Some(())
}

/// Along the other axes, data, indices and updates are at the same place.
pub(super) fn scatter_elements(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let data = analysis.axes(node.input(0)?)?;
    let (indices, updates) = (analysis.axes(node.input(1)?)?, analysis.axes(node.input(2)?)?);
    let along = axis_index(axis, data.len())?;
    same_places(analysis, along, &data, &[&indices, &updates])?;
    for list in [&indices, &updates] {
        analysis.pin(&list[along], "places updates one after another");
    }
    analysis.set_axes(node.output(0), data);
    Some(())
}

fn same_places(analysis: &mut Analysis<'_>, along: usize, data: &[Layout], others: &[&Vec<Layout>]) -> Option<()> {
    analysis.pin(&data[along], "looks up indices of the axis");
    for other in others {
        if other.len() != data.len() {
            return None;
        }
        for (_, (layout, found)) in data.iter().zip(*other).enumerate().filter(|(axis, _)| *axis != along) {
            if analysis.blocks.size(layout) == analysis.blocks.size(found) {
                analysis.unify(layout, found);
            } else {
                analysis.pin(layout, "reads a part of the axis");
                analysis.pin(found, "reads a part of the axis");
            }
        }
    }
    Some(())
}

/// Addressed axes are pinned, those behind them pass; leading axes are shared.
pub(super) fn gather_nd(analysis: &mut Analysis<'_>, node: &Node, batch: usize) -> Option<()> {
    let (data, indices) = (analysis.axes(node.input(0)?)?, analysis.axes(node.input(1)?)?);
    let (last, leading) = indices.split_last()?;
    let addressed = batch + analysis.blocks.size(last).as_known()?;
    let rest = data.get(addressed..)?;
    analysis.pin(last, "addresses elements");
    for (layout, shared) in data.iter().zip(leading).take(batch) {
        analysis.unify(layout, shared);
    }
    for layout in &data[batch..addressed] {
        analysis.pin(layout, "looks up indices of the axis");
    }
    analysis.set_axes(node.output(0), [leading, rest].concat());
    Some(())
}

/// As [`gather_nd`], the other way round.
pub(super) fn scatter_nd(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let (data, indices) = (analysis.axes(node.input(0)?)?, analysis.axes(node.input(1)?)?);
    let updates = analysis.axes(node.input(2)?)?;
    let addressed = analysis.blocks.size(indices.last()?).as_known()?;
    for layout in data.get(..addressed)?.iter().chain(&indices) {
        analysis.pin(layout, "looks up indices of the axis");
    }
    let places = indices.len() - 1;
    for layout in updates.get(..places)? {
        analysis.pin(layout, "places updates one after another");
    }
    for (layout, update) in data[addressed..].iter().zip(&updates[places..]) {
        analysis.unify(layout, update);
    }
    analysis.set_axes(node.output(0), data);
    Some(())
}

/// The axes of the indices pass; the new one counts values.
pub(super) fn one_hot(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let mut axes = analysis.axes(node.input(0)?)?;
    let along = axis_index(axis, axes.len() + 1)?;
    for layout in analysis.axes(node.input(2)?)? {
        analysis.pin(&layout, "holds the values for off and on");
    }
    let depth = analysis.shape(node.output(0)?)?.get(along)?.clone();
    let depth = analysis.position(depth);
    axes.insert(along, depth);
    analysis.set_axes(node.output(0), axes);
    Some(())
}
