//! Operators that move whole axes: index maps come from here.

use super::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Dim, Node};

/// Any change of shape that keeps the row-major order: axes are matched chunk by chunk from the front.
pub(super) fn reshape(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let input = node.input(0)?;
    let (axes, from) = (analysis.axes(input)?, analysis.shape(input)?);
    let to = analysis.shape(node.output(0)?)?;
    let chunks = chunks(&from, &to)?;
    let mut output = vec![Layout::unit(); to.len()];
    let mut origin = vec![None; to.len()];
    for (sources, targets) in chunks {
        let product = Layout::product(axes[sources.clone()].to_vec());
        let targets: Vec<usize> = targets.filter(|&target| !to[target].is_one()).collect();
        if let [target] = targets.as_slice() {
            output[*target] = product;
            let sources: Vec<usize> = sources.filter(|&source| !from[source].is_one()).collect();
            if let [source] = sources.as_slice() {
                origin[*target] = Some(*source);
            }
        } else {
            for &target in &targets {
                output[target] = analysis.blocks.fresh(to[target].clone());
            }
            let parts: Vec<Layout> = targets.iter().map(|&target| output[target].clone()).collect();
            analysis.unify(&product, &Layout::product(parts));
        }
    }
    analysis.rearranged(input, node.output(0), &origin);
    analysis.set_axes(node.output(0), output);
    Some(())
}

pub(super) type Chunk = (std::ops::Range<usize>, std::ops::Range<usize>);

/// The shortest runs of axes on both sides that have equal products.
pub(super) fn chunks(from: &[Dim], to: &[Dim]) -> Option<Vec<Chunk>> {
    let mut chunks = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() && j < to.len() {
        let (first_i, first_j) = (i, j);
        let (mut left, mut right) = (from[i].clone(), to[j].clone());
        (i, j) = (i + 1, j + 1);
        while left != right {
            let left_is_smaller = match (left.as_known(), right.as_known()) {
                (Some(left), Some(right)) => left < right,
                _ if right.divided_by(&left).is_some() => true,
                _ => left.divided_by(&right).is_none() && i < from.len(),
            };
            if left_is_smaller {
                left = left.times(from.get(i)?);
                i += 1;
            } else {
                right = right.times(to.get(j)?);
                j += 1;
            }
        }
        chunks.push((first_i..i, first_j..j));
    }
    // What is left on one side has length 1 each.
    let rest_is_one = from[i..].iter().chain(&to[j..]).all(Dim::is_one);
    rest_is_one.then_some(chunks)
}

/// Axes in another order.
pub(super) fn transpose(analysis: &mut Analysis<'_>, node: &Node, permutation: Option<&[usize]>) -> Option<()> {
    let input = node.input(0)?;
    let axes = analysis.axes(input)?;
    let order: Vec<usize> = permutation.map_or_else(|| (0..axes.len()).rev().collect(), <[usize]>::to_vec);
    let output = order.iter().map(|&axis| axes.get(axis).cloned()).collect::<Option<_>>()?;
    let origin: Vec<_> = order.into_iter().map(Some).collect();
    analysis.rearranged(input, node.output(0), &origin);
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// Side by side: the axis is a sequence, the others share their order.
pub(super) fn concat(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let inputs: Vec<Vec<Layout>> =
        node.inputs.iter().flatten().map(|&input| analysis.axes(input)).collect::<Option<_>>()?;
    let mut output = inputs.first()?.clone();
    let along = axis_index(axis, output.len())?;
    for other in &inputs[1..] {
        for (i, (layout, other)) in output.iter().zip(other).enumerate() {
            if i != along {
                analysis.unify(layout, other);
            }
        }
    }
    let parts: Vec<Layout> = inputs.iter().map(|axes| axes.get(along).cloned()).collect::<Option<_>>()?;
    // A sequence needs known lengths; of positions or of unknown lengths only their being fixed matters.
    let known = parts.iter().all(|part| analysis.blocks.size(part).as_known().is_some());
    let length = analysis.shape(node.output(0)?)?.get(along)?.clone();
    output[along] = if known {
        analysis.blocks.sequence(parts)
    } else {
        for part in &parts {
            analysis.pin(part, "joins axes of unknown length");
        }
        analysis.position(length)
    };
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// The inverse of a concat.
pub(super) fn split(analysis: &mut Analysis<'_>, node: &Node, axis: i64) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let along = axis_index(axis, axes.len())?;
    // Every part has to be known, also one that nothing reads.
    let mut lengths = Vec::with_capacity(node.outputs.len());
    for &output in &node.outputs {
        lengths.push(analysis.shape(output?)?.get(along)?.clone());
    }
    let known: Option<Vec<usize>> = lengths.iter().map(Dim::as_known).collect();
    if let Some(parts) = known.and_then(|known| analysis.blocks.cut(&axes[along], &known)) {
        for (&output, layout) in node.outputs.iter().zip(parts) {
            let mut part = axes.clone();
            part[along] = layout;
            analysis.set_axes(output, part);
        }
        return Some(());
    }
    let mut rest = axes[along].clone();
    for (&output, length) in node.outputs.iter().zip(lengths) {
        let mut part = axes.clone();
        match length.as_known().and_then(|at| analysis.blocks.split(&rest, at)) {
            Some((head, tail)) => (part[along], rest) = (head, tail),
            None => part[along] = analysis.positions_from(&axes[along], length, "cuts the axis inside its parts"),
        }
        analysis.set_axes(output, part);
    }
    Some(())
}

/// Copies along axes of length 1.
pub(super) fn expand(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let lengths = analysis.shape(node.output(0)?)?;
    let added = lengths.len().checked_sub(axes.len())?;
    let output = lengths
        .into_iter()
        .enumerate()
        .map(|(i, length)| match i.checked_sub(added).map(|i| &axes[i]) {
            Some(layout) if analysis.blocks.size(layout) == length => layout.clone(),
            // All copies are equal, so that their order is free.
            _ => analysis.blocks.fresh(length),
        })
        .collect();
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// Copies of whole axes behind one another.
pub(super) fn tile(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let lengths = analysis.shape(node.output(0)?)?;
    let output = axes
        .into_iter()
        .zip(lengths)
        .map(|(layout, length)| {
            let copies = length.divided_by(&analysis.blocks.size(&layout))?;
            let copies = analysis.blocks.fresh(copies);
            Some(Layout::product(vec![copies, layout]))
        })
        .collect::<Option<_>>()?;
    analysis.set_axes(node.output(0), output);
    Some(())
}
