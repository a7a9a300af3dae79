//! Operators that choose or add indices.

use super::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Dim, Node, PadMode};

/// A run of consecutive indices is a part of a sequence; any other choice fixes the order.
pub(super) fn slice(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let input = node.input(0)?;
    let mut axes = analysis.axes(input)?;
    let lengths = analysis.shape(input)?;
    let to = analysis.shape(node.output(0)?)?;
    let list = |position| node.input(position).map(|value| analysis.facts.integers(value));
    let starts = list(1).flatten();
    let chosen: Vec<usize> = match list(3) {
        Some(chosen) => chosen?.iter().map(|&axis| axis_index(axis, axes.len())).collect::<Option<_>>()?,
        None => (0..starts.as_ref().map_or(axes.len(), Vec::len).min(axes.len())).collect(),
    };
    let steps = match list(4) {
        Some(steps) => steps?,
        None => vec![1; chosen.len()],
    };
    for (i, &axis) in chosen.iter().enumerate() {
        if lengths[axis] == to[axis] && steps.get(i) == Some(&1) {
            continue;
        }
        let start = starts.as_ref().and_then(|starts| starts.get(i)).copied();
        let part = (steps.get(i) == Some(&1))
            .then(|| run(analysis, &axes[axis], lengths[axis].as_known()?, start?, to[axis].as_known()?))
            .flatten();
        axes[axis] = part.unwrap_or_else(|| {
            analysis.positions_from(&axes[axis], to[axis].clone(), "takes some indices of the axis")
        });
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// The `count` indices from `start` on.
fn run(analysis: &mut Analysis<'_>, layout: &Layout, length: usize, start: i64, count: usize) -> Option<Layout> {
    let start = if start < 0 { start.checked_add(i64::try_from(length).ok()?)?.max(0) } else { start };
    let start = usize::try_from(start).ok()?.min(length);
    let (_, tail) = analysis.blocks.split(layout, start)?;
    let (part, _) = analysis.blocks.split(&tail, count)?;
    Some(part)
}

/// Constant elements before and after an axis are alike, so that their order is free; other modes copy neighbours.
pub(super) fn pad(analysis: &mut Analysis<'_>, node: &Node, mode: PadMode) -> Option<()> {
    let mut axes = analysis.axes(node.input(0)?)?;
    let to = analysis.shape(node.output(0)?)?;
    let pads = analysis.facts.integers(node.input(1)?)?;
    let chosen: Vec<usize> = match node.input(3) {
        Some(list) => {
            let list = analysis.facts.integers(list)?;
            list.iter().map(|&axis| axis_index(axis, axes.len())).collect::<Option<_>>()?
        }
        None => (0..axes.len()).collect(),
    };
    for (i, &axis) in chosen.iter().enumerate() {
        let (before, after) = (*pads.get(i)?, *pads.get(chosen.len() + i)?);
        if (before, after) == (0, 0) {
            continue;
        }
        let counts = (usize::try_from(before).ok(), usize::try_from(after).ok());
        axes[axis] = match counts {
            (Some(before), Some(after)) if mode == PadMode::Constant && analysis.blocks.is_free(&axes[axis]) => {
                let mut fresh = |count: usize| (count > 0).then(|| analysis.blocks.fresh(Dim::known(count)));
                let (before, after) = (fresh(before), fresh(after));
                let parts = before.into_iter().chain([axes[axis].clone()]).chain(after).collect();
                analysis.blocks.sequence(parts)
            }
            _ => analysis.positions_from(&axes[axis], to[axis].clone(), "extends the axis by its neighbours"),
        };
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// Indices that are known and consecutive take a run; all others depend on the order of the axis.
pub(super) fn gather(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let (data, indices) = (node.input(0)?, node.input(1)?);
    let axes = analysis.axes(data)?;
    let along = axis_index(axis, axes.len())?;
    let length = analysis.shape(data)?.get(along)?.as_known();
    let rank = analysis.shape(indices)?.len();
    let constant = || analysis.graph.initializer(indices)?.to_i64();
    let known = analysis.facts.integers(indices).or_else(constant).unwrap_or_default();
    let consecutive = known.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    let taken = match (known.first(), length) {
        (Some(&first), Some(length)) if consecutive => run(analysis, &axes[along], length, first, known.len()),
        _ => None,
    };
    let mut chosen = match (rank, taken) {
        (0, Some(_)) => Vec::new(),
        (1, Some(taken)) => vec![taken],
        (_, Some(taken)) => {
            // As if what is taken were reshaped.
            let lengths = analysis.shape(indices)?;
            let parts: Vec<Layout> = lengths.into_iter().map(|length| analysis.blocks.fresh(length)).collect();
            analysis.unify(&taken, &Layout::product(parts.clone()));
            parts
        }
        _ => {
            analysis.pin(&axes[along], "looks up indices of the axis");
            analysis.axes(indices)?
        }
    };
    let mut output = axes[..along].to_vec();
    output.append(&mut chosen);
    output.extend_from_slice(&axes[along + 1..]);
    let origin: Vec<Option<usize>> = (0..output.len())
        .map(|i| match i {
            i if i < along => Some(i),
            i if i < along + rank => None,
            i => Some(i + 1 - rank),
        })
        .collect();
    for axis in (0..axes.len()).filter(|&axis| axis != along) {
        analysis.produce(data, axis);
    }
    analysis.rearranged(data, node.output(0), &origin);
    analysis.set_axes(node.output(0), output);
    Some(())
}
