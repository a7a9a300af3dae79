//! Pools: channels pass through, windows slide over positions.

use crate::Node;
use crate::symmetry::analysis::Analysis;

/// Local and global pools.
pub(super) fn pool(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let axes = analysis.axes(node.input(0)?)?;
    let lengths = analysis.shape(node.output(0)?)?;
    let mut output: Vec<_> = axes.iter().take(2).cloned().collect();
    let global = matches!(node.operator, crate::Operator::GlobalPool(_));
    for (layout, length) in axes.iter().zip(lengths).skip(2) {
        // A global pool does not depend on the order of the positions.
        output.push(if global {
            analysis.position(length)
        } else {
            analysis.positions_from(layout, length, "slides a window over the axis")
        });
    }
    analysis.set_axes(node.output(0), output);
    Some(())
}
