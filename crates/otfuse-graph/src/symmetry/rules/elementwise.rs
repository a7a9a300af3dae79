//! Operators that treat all elements alike, and those whose outputs carry no neurons.

use crate::Node;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::Layout;

/// Element by element with NumPy's broadcasting: axes are aligned at the end, those of equal length share their order.
/// Softmax belongs here since it commutes with every permutation.
pub(super) fn broadcast(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let inputs: Vec<_> = node.inputs.iter().flatten().copied().collect();
    let axes: Vec<Vec<Layout>> = inputs.iter().map(|&input| analysis.axes(input)).collect::<Option<_>>()?;
    let output = broadcast_axes(analysis, &axes);
    if let [input] = inputs.as_slice() {
        let all: Vec<_> = (0..output.len()).map(Some).collect();
        analysis.rearranged(*input, node.output(0), &all);
    }
    analysis.set_axes(node.output(0), output);
    Some(())
}

/// Unifies axes under broadcasting and returns the result's axes.
pub(super) fn broadcast_axes(analysis: &mut Analysis<'_>, inputs: &[Vec<Layout>]) -> Vec<Layout> {
    let rank = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let mut result = vec![Layout::unit(); rank];
    for axes in inputs {
        for (slot, layout) in result[rank - axes.len()..].iter_mut().zip(axes) {
            let (have, found) = (analysis.blocks.size(slot), analysis.blocks.size(layout));
            if have.is_one() {
                *slot = layout.clone();
            } else if have == found {
                analysis.unify(slot, layout);
            } else if !found.is_one() {
                // An unknown length against another one: whether they broadcast cannot be told.
                analysis.pin(slot, "broadcasts an axis of unknown length");
                analysis.pin(layout, "broadcasts an axis of unknown length");
            }
        }
    }
    result
}

/// Outputs whose elements follow from lengths alone; nothing is asked of the inputs.
pub(super) fn unordered(analysis: &mut Analysis<'_>, node: &Node) -> Option<()> {
    let output = node.output(0)?;
    let shape = analysis.shape(output)?;
    let uniform = matches!(node.operator, crate::Operator::ConstantOfShape { .. });
    let axes = shape
        .into_iter()
        .map(|dim| if uniform { analysis.blocks.fresh(dim) } else { analysis.position(dim) })
        .collect();
    analysis.set_axes(Some(output), axes);
    Some(())
}
