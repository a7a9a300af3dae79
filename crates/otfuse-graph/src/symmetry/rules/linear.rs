//! Products that sum over an axis: the summed axes of both sides share their order.

use super::elementwise::broadcast_axes;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Conv, ConvTranspose, DeformConv, Dim, Einsum, Gemm, Node, ValueId, Window};

/// `Y = A' B' + C`.
pub(super) fn gemm(analysis: &mut Analysis<'_>, node: &Node, gemm: &Gemm) -> Option<()> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let [a0, a1]: [Layout; 2] = analysis.axes(a)?.try_into().ok()?;
    let [b0, b1]: [Layout; 2] = analysis.axes(b)?.try_into().ok()?;
    let (rows, a_sum, a_axis) = if gemm.transpose_a { (a1, a0, 0) } else { (a0, a1, 1) };
    let (b_sum, columns, b_axis) = if gemm.transpose_b { (b1, b0, 1) } else { (b0, b1, 0) };
    contract(analysis, (a, a_axis, &a_sum), (b, b_axis, &b_sum));
    analysis.produce(a, 1 - a_axis);
    analysis.produce(b, 1 - b_axis);
    let product = vec![rows, columns];
    if let Some(bias) = node.input(2) {
        let bias = analysis.axes(bias)?;
        broadcast_axes(analysis, &[product.clone(), bias]);
    }
    analysis.set_axes(node.output(0), product);
    Some(())
}

/// Axes of one letter share their order.
pub(super) fn einsum(analysis: &mut Analysis<'_>, node: &Node, einsum: &Einsum) -> Option<()> {
    let mut letters: Vec<(char, Layout)> = Vec::new();
    for (position, terms) in einsum.inputs.iter().enumerate() {
        let value = node.input(position)?;
        let axes = analysis.axes(value)?;
        for (axis, (letter, layout)) in terms.iter().zip(axes).enumerate() {
            match letters.iter().find(|(known, _)| known == letter) {
                Some((_, known)) => analysis.unify(&known.clone(), &layout),
                None => letters.push((*letter, layout)),
            }
            if einsum.output.contains(letter) {
                analysis.produce(value, axis);
            } else {
                analysis.consume(value, axis);
            }
        }
    }
    let layout = |letter: &char| letters.iter().find(|(known, _)| known == letter).map(|(_, layout)| layout.clone());
    let output = einsum.output.iter().map(layout).collect::<Option<_>>()?;
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// NumPy's `matmul`, with axes in front broadcast.
pub(super) fn matmul(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let (mut left, mut right) = (analysis.axes(a)?, analysis.axes(b)?);
    let a_axis = left.len().checked_sub(1)?;
    let b_axis = right.len().saturating_sub(2);
    let a_sum = left.pop()?;
    let rows = left.pop();
    let columns = if right.len() > 1 { right.pop() } else { None };
    let b_sum = right.pop()?;
    contract(analysis, (a, a_axis, &a_sum), (b, b_axis, &b_sum));
    for axis in 0..a_axis {
        analysis.produce(a, axis);
    }
    for axis in (0..=b_axis + 1).filter(|&axis| axis != b_axis) {
        analysis.produce(b, axis);
    }
    let mut output = broadcast_axes(analysis, &[left, right]);
    output.extend(rows);
    output.extend(columns);
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// `W[M, C / groups, kernel..]`: output channel (g, o) reads input channels (g, i), so that whole groups may be
/// reordered, and channels within each. With one channel a group (depthwise) in- and output are one.
pub(super) fn conv(analysis: &mut Analysis<'_>, node: &Node, conv: &Conv) -> Option<()> {
    let weight = node.input(1)?;
    let (input, kernel) = (analysis.axes(node.input(0)?)?, analysis.axes(weight)?);
    let ([_, channels, ..], [rows, columns, ..]) = (input.as_slice(), kernel.as_slice()) else { return None };
    let output_channels = grouped(analysis, conv.groups, channels, columns, rows)?;
    analysis.consume(weight, 1);
    analysis.produce(weight, 0);
    finish_conv(analysis, node, output_channels, (&input, &kernel, Some(&conv.window)))
}

/// As [`conv`]; offsets and mask are for positions, and so are the parts of the channels with offsets of their own.
pub(super) fn deform_conv(analysis: &mut Analysis<'_>, node: &Node, deform: &DeformConv) -> Option<()> {
    let weight = node.input(1)?;
    let (input, kernel) = (analysis.axes(node.input(0)?)?, analysis.axes(weight)?);
    let ([_, channels, ..], [rows, columns, ..]) = (input.as_slice(), kernel.as_slice()) else { return None };
    if deform.offset_groups > 1 {
        analysis.pin(channels, "moves parts of the channels by different offsets");
    }
    let outputs = grouped(analysis, deform.groups, channels, columns, rows)?;
    analysis.consume(weight, 1);
    analysis.produce(weight, 0);
    for offsets in [2, 4].into_iter().filter_map(|position| node.input(position)) {
        let axes = analysis.axes(offsets)?;
        analysis.unify(&input[0], axes.first()?);
        for layout in &axes[1..] {
            analysis.pin(layout, "moves the window at each position");
        }
    }
    let plain = Node { inputs: vec![node.input(0), node.input(1), node.input(3)], ..node.clone() };
    finish_conv(analysis, &plain, outputs, (&input, &kernel, None))
}

/// `W[C, M / groups, kernel..]`.
pub(super) fn conv_transpose(analysis: &mut Analysis<'_>, node: &Node, conv: &ConvTranspose) -> Option<()> {
    let weight = node.input(1)?;
    let (input, kernel) = (analysis.axes(node.input(0)?)?, analysis.axes(weight)?);
    let ([_, channels, ..], [rows, columns, ..]) = (input.as_slice(), kernel.as_slice()) else { return None };
    analysis.unify(channels, rows);
    let output_channels = if conv.groups == 1 {
        analysis.consume(weight, 0);
        columns.clone()
    } else {
        let (group, _) = factor(analysis, channels, conv.groups)?;
        Layout::product(vec![group, columns.clone()])
    };
    analysis.produce(weight, 1);
    let is_plain = conv.output_shape.is_none() && conv.output_padding.iter().all(|&more| more == 0);
    finish_conv(analysis, node, output_channels, (&input, &kernel, is_plain.then_some(&conv.window)))
}

/// The axes of input and kernel, and the window where it alone says what is read at which position: where it has one element
/// and a stride of one, positions pass.
fn finish_conv(
    analysis: &mut Analysis<'_>,
    node: &Node,
    channels: Layout,
    (input, kernel, window): (&[Layout], &[Layout], Option<&Window>),
) -> Option<()> {
    let reason = crate::symmetry::PinReason::Position;
    for position in &kernel[2..] {
        analysis.blocks.pin(position, &reason);
    }
    if let Some(bias) = node.input(2) {
        let [bias]: [Layout; 1] = analysis.axes(bias)?.try_into().ok()?;
        analysis.unify(&channels, &bias);
    }
    let lengths = analysis.shape(node.output(0)?)?;
    let mut output = vec![input[0].clone(), channels];
    let rank = input.len().checked_sub(2)?;
    for ((axis, layout), length) in input.iter().enumerate().zip(lengths).skip(2) {
        let is_point = kernel.get(axis).is_some_and(|size| analysis.blocks.size(size).as_known() == Some(1));
        output.push(match window {
            Some(window) if is_point && window.visits_each(axis - 2, rank) => layout.clone(),
            _ => analysis.positions_from(layout, length, "slides a window over the axis"),
        });
    }
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// Unifies `channels` with (group, inner) and returns the output channels (group, outer) = `rows`.
fn grouped(
    analysis: &mut Analysis<'_>,
    groups: usize,
    channels: &Layout,
    inner: &Layout,
    rows: &Layout,
) -> Option<Layout> {
    if groups == 1 {
        analysis.unify(channels, inner);
        return Some(rows.clone());
    }
    let group = analysis.blocks.fresh(Dim::known(groups));
    analysis.unify(channels, &Layout::product(vec![group.clone(), inner.clone()]));
    let outer = analysis.blocks.size(rows).divided_by(&Dim::known(groups))?;
    let outer = analysis.blocks.fresh(outer);
    analysis.unify(rows, &Layout::product(vec![group, outer]));
    Some(rows.clone())
}

fn factor(analysis: &mut Analysis<'_>, layout: &Layout, outer: usize) -> Option<(Layout, Layout)> {
    let inner = analysis.blocks.size(layout).divided_by(&Dim::known(outer))?;
    let factors = (analysis.blocks.fresh(Dim::known(outer)), analysis.blocks.fresh(inner));
    analysis.unify(layout, &Layout::product(vec![factors.0.clone(), factors.1.clone()]));
    Some(factors)
}

fn contract(analysis: &mut Analysis<'_>, a: (ValueId, usize, &Layout), b: (ValueId, usize, &Layout)) {
    analysis.unify(a.2, b.2);
    analysis.consume(a.0, a.1);
    analysis.consume(b.0, b.1);
}
