//! Wrong axis rules on purpose: a proof of the rules must fail for each of them.

use super::analysis::Analysis;
use super::layout::Layout;
use super::rules;
use crate::{Node, ValueId};

/// What is done to the rule of one operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The operator's ONNX name.
    pub operator: String,
    /// How its rule is spoilt.
    pub change: Change,
}

/// See [`Mutation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing is unified and nothing pinned: every axis is independent.
    Remove,
    /// The rule is told a wrong order of the neurons that come in: the first one stands last. Where it pins them all,
    /// it lets axes of equal length pass instead.
    Shift,
}

impl Mutation {
    /// Applies the spoilt rule to a node of the operator.
    pub(crate) fn apply(&self, analysis: &mut Analysis<'_>, node: &Node) {
        let incoming = node.inputs.iter().flatten().find_map(|&input| Some((input, free_axes(analysis, input)?)));
        match (self.change, incoming) {
            (Change::Remove, _) => independent(analysis, node, &[]),
            (Change::Shift, None) => independent(analysis, node, &[]),
            (Change::Shift, Some((input, axes))) => {
                let before = analysis.blocks.clone();
                let shifted = axes.iter().map(|axis| shifted(analysis, axis)).collect();
                analysis.set_axes(Some(input), shifted);
                rules::apply(analysis, node);
                analysis.set_axes(Some(input), axes.clone());
                if !axes.iter().any(|axis| analysis.blocks.is_free(axis)) {
                    analysis.blocks = before;
                    independent(analysis, node, &axes);
                }
            }
        }
    }
}

/// The axes of a value, if one of them can be reordered.
fn free_axes(analysis: &mut Analysis<'_>, value: ValueId) -> Option<Vec<Layout>> {
    let axes = analysis.axes(value)?;
    axes.iter().any(|axis| analysis.blocks.is_free(axis)).then_some(axes)
}

/// The first neuron (with all that belongs to it) behind all others.
fn shifted(analysis: &mut Analysis<'_>, axis: &Layout) -> Layout {
    if !analysis.blocks.is_free(axis) {
        return axis.clone();
    }
    let at = match analysis.blocks.resolve(axis) {
        Layout::Product(factors) => analysis.blocks.size(&Layout::product(factors[1..].to_vec())).as_known(),
        _ => Some(1),
    };
    match at.and_then(|at| analysis.blocks.split(axis, at)) {
        Some((head, tail)) => analysis.blocks.sequence(vec![tail, head]),
        None => axis.clone(),
    }
}

/// Gives the outputs axes of their own, or those of `passed` where the length is the same.
fn independent(analysis: &mut Analysis<'_>, node: &Node, passed: &[Layout]) {
    for &output in node.outputs.iter().flatten() {
        let Some(shape) = analysis.shape(output) else { continue };
        let axes = shape.into_iter().enumerate().map(|(axis, length)| match passed.get(axis) {
            Some(layout) if analysis.blocks.size(layout) == length => layout.clone(),
            _ => analysis.blocks.fresh(length),
        });
        let axes = axes.collect();
        analysis.set_axes(Some(output), axes);
    }
}
