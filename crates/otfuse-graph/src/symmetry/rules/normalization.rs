//! Normalisations.

use super::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Dim, Node};

/// One scale, shift (and mean and variance) per channel: all share the order of axis 1.
pub(super) fn per_channel(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let channels = axes.get(1)?.clone();
    for &parameter in node.inputs[1..].iter().flatten() {
        let [layout] = analysis.axes(parameter)?.try_into().ok()?;
        analysis.unify(&channels, &layout);
    }
    for statistic in [1, 2] {
        analysis.set_axes(node.output(statistic), vec![channels.clone()]);
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// Scale and shift share the order of the normalised axes; the statistics do not depend on it.
pub(super) fn layer_norm(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let first = axis_index(axis, axes.len())?;
    for &parameter in node.inputs[1..].iter().flatten() {
        let layouts = analysis.axes(parameter)?;
        super::elementwise::broadcast_axes(analysis, &[axes[first..].to_vec(), layouts]);
    }
    analysis.set_axes(node.output(0), axes);
    for statistic in [1, 2].into_iter().filter_map(|i| node.output(i)) {
        let lengths = analysis.shape(statistic)?;
        let layouts = lengths.into_iter().map(|dim| analysis.position(dim)).collect();
        analysis.set_axes(Some(statistic), layouts);
    }
    Some(())
}

/// Neighbouring channels inhibit each other, so that their order matters.
pub(super) fn local_response(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    analysis.pin(axes.get(1)?, "normalises across neighbouring channels");
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// Groups are permuted as wholes, channels within each; scale and bias follow the channels, or the groups.
pub(super) fn group_norm(analysis: &mut Analysis<'_>, node: &Node, groups: usize, per_group: bool) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let channels = axes.get(1)?;
    let inner = analysis.blocks.size(channels).divided_by(&Dim::known(groups))?;
    let (group, inner) = (analysis.blocks.fresh(Dim::known(groups)), analysis.blocks.fresh(inner));
    analysis.unify(channels, &Layout::product(vec![group.clone(), inner]));
    for &parameter in node.inputs[1..].iter().flatten() {
        let [layout] = analysis.axes(parameter)?.try_into().ok()?;
        analysis.unify(if per_group { &group } else { channels }, &layout);
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}
