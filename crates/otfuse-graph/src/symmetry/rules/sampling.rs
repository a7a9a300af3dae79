//! Operators that sample between positions, and those that turn positions into channels.

use super::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;
use crate::{Aspect, Coordinates, DepthOrder, Dim, Node, Resize, Tensor};

/// Axes whose scale is 1 pass, all others are interpolated.
pub(super) fn resize(analysis: &mut Analysis<'_>, node: &Node, resize: &Resize) -> Option<()> {
    let input = node.input(0)?;
    let mut axes = analysis.axes(input)?;
    let (from, to) = (analysis.shape(input)?, analysis.shape(node.output(0)?)?);
    for parameter in node.inputs[1..].iter().flatten() {
        for layout in analysis.axes(*parameter)? {
            analysis.pin(&layout, "holds numbers for each axis");
        }
    }
    let touched: Vec<usize> = match &resize.axes {
        Some(list) => list.iter().map(|&axis| axis_index(axis, axes.len())).collect::<Option<_>>()?,
        None => (0..axes.len()).collect(),
    };
    let scales = node.input(2).and_then(|scales| analysis.graph.initializer(scales)).and_then(Tensor::to_f32);
    for (i, &axis) in touched.iter().enumerate() {
        let unscaled = match (node.input(3), &scales) {
            (Some(_), _) => resize.aspect == Aspect::Stretch && from[axis] == to[axis],
            (None, Some(scales)) => scales.get(i) == Some(&1.0),
            (None, None) => false,
        };
        if !unscaled || resize.coordinates == Coordinates::CropAndResize {
            axes[axis] = analysis.positions_from(&axes[axis], to[axis].clone(), "interpolates along the axis");
        }
    }
    analysis.set_axes(node.output(0), axes);
    Some(())
}

/// Channels pass; the grid addresses positions.
pub(super) fn grid_sample(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let (axes, grid) = (analysis.axes(node.input(0)?)?, analysis.axes(node.input(1)?)?);
    let (last, places) = grid.split_last()?;
    analysis.pin(last, "holds coordinates");
    for layout in axes.get(2..)? {
        analysis.pin(layout, "is addressed by coordinates");
    }
    let mut output = axes[..2].to_vec();
    analysis.unify(&output[0], places.first()?);
    output.extend_from_slice(&places[1..]);
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// Channels are block x inner or inner x block; the block becomes positions.
pub(super) fn depth_to_space(analysis: &mut Analysis<'_>, node: &Node, block: usize, order: DepthOrder) -> Option<()> {
    let axes: [Layout; 4] = analysis.axes(node.input(0)?)?.try_into().ok()?;
    let lengths = analysis.shape(node.output(0)?)?;
    let inner = analysis.blocks.fresh(lengths.get(1)?.clone());
    let square = analysis.position(Dim::known(block * block));
    let channels = match order {
        DepthOrder::BlockFirst => vec![square, inner.clone()],
        DepthOrder::ChannelsFirst => vec![inner.clone(), square],
    };
    analysis.unify(&axes[1], &Layout::product(channels));
    spread(analysis, node, &axes, inner, &lengths)
}

/// A block of positions becomes the slow part of the channels.
pub(super) fn space_to_depth(analysis: &mut Analysis<'_>, node: &Node, block: usize) -> Option<()> {
    let axes: [Layout; 4] = analysis.axes(node.input(0)?)?.try_into().ok()?;
    let lengths = analysis.shape(node.output(0)?)?;
    let square = analysis.position(Dim::known(block * block));
    let channels = Layout::product(vec![square, axes[1].clone()]);
    spread(analysis, node, &axes, channels, &lengths)
}

fn spread(
    analysis: &mut Analysis<'_>,
    node: &Node,
    axes: &[Layout; 4],
    channels: Layout,
    lengths: &[Dim],
) -> Option<()> {
    let mut output = vec![axes[0].clone(), channels];
    for (layout, length) in axes.iter().zip(lengths).skip(2) {
        output.push(analysis.positions_from(layout, length.clone(), "mixes the axis with channels"));
    }
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// Rows are channels x block; what counts blocks and positions is in order.
pub(super) fn col2im(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let input = node.input(0)?;
    let [samples, rows, blocks]: [Layout; 3] = analysis.axes(input)?.try_into().ok()?;
    let lengths = analysis.shape(node.output(0)?)?;
    let channels = analysis.blocks.fresh(lengths.get(1)?.clone());
    let block = analysis.shape(input)?.get(1)?.divided_by(lengths.get(1)?)?;
    let block = analysis.position(block);
    analysis.unify(&rows, &Layout::product(vec![channels.clone(), block]));
    analysis.pin(&blocks, "places blocks by their index");
    let mut output = vec![samples, channels];
    output.extend(lengths.into_iter().skip(2).map(|length| analysis.position(length)));
    analysis.set_axes(node.output(0), output);
    Some(())
}
