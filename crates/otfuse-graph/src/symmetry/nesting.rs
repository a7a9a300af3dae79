//! Neurons inside of neurons: which groups may be ordered anew for each neuron of another group.
//!
//! The channels of an attention head belong to that head alone: each head may have its own order of them. An axis then
//! is a product of heads and channels, and the order of the second factor may depend on the index of the first. That is
//! so if no operator ever lets two heads meet while it keeps their channels apart: every value that carries the
//! channels carries the heads as well, once, and no sum over heads leaves channels behind.

use std::collections::{BTreeSet, HashMap};

use super::rules::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::{BlockId, Layout};
use crate::{Node, Operator, ValueId};

/// For each block the blocks that its order may depend on.
pub(super) type Candidates = HashMap<BlockId, BTreeSet<BlockId>>;

/// Finds the blocks that the order of each of `free` may depend on. `O(values * blocks per value)`.
pub(super) fn candidates(analysis: &Analysis<'_>, free: &BTreeSet<BlockId>) -> Candidates {
    let mut found = Candidates::new();
    let terms: HashMap<ValueId, Vec<Terms>> = analysis
        .known_axes()
        .map(|(value, axes)| (value, axes.iter().map(|axis| terms(analysis, axis)).collect()))
        .collect();
    for axes in terms.values() {
        for inner in blocks(axes) {
            let beside = beside(axes, inner);
            match found.get_mut(&inner) {
                Some(known) => known.retain(|outer| beside.contains(outer)),
                None => {
                    found.insert(inner, beside.into_iter().filter(|outer| free.contains(outer)).collect());
                }
            }
        }
    }
    for (_, node) in analysis.graph.nodes() {
        let axes = |value: Option<ValueId>| value.and_then(|value| terms.get(&value)).map(Vec::as_slice);
        Meeting { node, found: &mut found }.apply(analysis, &axes);
    }
    found.retain(|inner, _| free.contains(inner));
    found
}

/// The products that an axis is a sequence of.
type Terms = Vec<Vec<BlockId>>;

fn terms(analysis: &Analysis<'_>, layout: &Layout) -> Terms {
    expand(&analysis.blocks.resolve(layout))
}

fn expand(layout: &Layout) -> Terms {
    match layout {
        Layout::Block(block) => vec![vec![*block]],
        Layout::Sequence(parts) => parts.iter().flat_map(expand).collect(),
        Layout::Product(factors) => factors.iter().fold(vec![Vec::new()], |products, factor| {
            let factor = expand(factor);
            products.iter().flat_map(|product| factor.iter().map(|term| [&product[..], term].concat())).collect()
        }),
    }
}

fn blocks(axes: &[Terms]) -> BTreeSet<BlockId> {
    axes.iter().flatten().flatten().copied().collect()
}

fn carries(axis: &Terms, block: BlockId) -> bool {
    axis.iter().any(|term| term.contains(&block))
}

/// The blocks that stand exactly once beside each occurrence of `inner`.
fn beside(axes: &[Terms], inner: BlockId) -> BTreeSet<BlockId> {
    let mut common: Option<BTreeSet<BlockId>> = None;
    let carriers = axes.iter().filter(|axis| carries(axis, inner)).count();
    for (position, axis) in axes.iter().enumerate() {
        for term in axis.iter().filter(|term| term.contains(&inner)) {
            let once = |block: BlockId| {
                let here = term.iter().filter(|other| **other == block).count();
                let others = axes.iter().enumerate().filter(|(other, _)| *other != position);
                let mut elsewhere = others.map(|(_, axis)| axis).filter(|axis| carries(axis, block));
                match (here, elsewhere.next(), elsewhere.next()) {
                    (1, None, _) => true,
                    (0, Some(axis), None) => {
                        axis.iter().all(|term| term.iter().filter(|other| **other == block).count() == 1)
                    }
                    _ => false,
                }
            };
            let is_single = carriers == 1 && term.iter().filter(|other| **other == inner).count() == 1;
            let here: BTreeSet<BlockId> = match is_single {
                true => blocks(axes).into_iter().filter(|&block| block != inner && once(block)).collect(),
                false => BTreeSet::new(),
            };
            common = Some(match common {
                Some(common) => common.intersection(&here).copied().collect(),
                None => here,
            });
        }
    }
    common.unwrap_or_default()
}

/// What an operator lets meet.
struct Meeting<'a> {
    node: &'a Node,
    found: &'a mut Candidates,
}

impl Meeting<'_> {
    fn apply<'t>(&mut self, analysis: &Analysis<'_>, axes: &dyn Fn(Option<ValueId>) -> Option<&'t [Terms]>) {
        let node = self.node;
        let input = axes(node.input(0));
        match &node.operator {
            operator if operator.keeps_elements() => {}
            Operator::Unary(_)
            | Operator::Binary(_)
            | Operator::Variadic(_)
            | Operator::PRelu
            | Operator::Clip
            | Operator::Where
            | Operator::Concat { .. }
            | Operator::Split { .. }
            | Operator::Slice
            | Operator::Gather { .. }
            | Operator::Expand
            | Operator::Shape { .. } => {}
            Operator::Softmax { axis } | Operator::LogSoftmax { axis } => self.over(input, &[*axis]),
            Operator::ArgExtremum { axis, .. } => self.over(input, &[*axis]),
            Operator::LayerNormalization { axis, .. } => {
                let rank = input.map_or(0, <[Terms]>::len);
                let first = axis_index(*axis, rank).unwrap_or(0);
                let all: Vec<i64> = (first..rank).map(|axis| axis as i64).collect();
                self.over(input, &all);
            }
            Operator::Reduce(_) => {
                let listed = node.input(1).and_then(|list| analysis.facts.integers(list)).unwrap_or_default();
                let rank = input.map_or(0, <[Terms]>::len);
                let all: Vec<i64> = (0..rank).map(|axis| axis as i64).collect();
                self.over(input, if listed.is_empty() { &all } else { &listed });
            }
            Operator::MatMul => {
                if let (Some(a), Some(b)) = (input, axes(node.input(1))) {
                    let (a_axis, b_axis) = (a.len().saturating_sub(1), b.len().saturating_sub(2));
                    self.contract((a, a_axis), (b, b_axis), (a.len().saturating_sub(2), b.len().saturating_sub(2)));
                }
            }
            Operator::Gemm(gemm) => {
                if let (Some(a), Some(b)) = (input, axes(node.input(1))) {
                    let (a_axis, b_axis) = (usize::from(!gemm.transpose_a), usize::from(gemm.transpose_b));
                    self.contract((a, a_axis), (b, b_axis), (0, 0));
                }
            }
            _ => {
                let touched = node.inputs.iter().chain(&node.outputs).filter_map(|&value| axes(value));
                for inner in touched.flat_map(blocks).collect::<Vec<_>>() {
                    self.found.insert(inner, BTreeSet::new());
                }
            }
        }
    }

    /// The order of `inner` may not depend on any of `outer`.
    fn part(&mut self, inner: BlockId, outer: &BTreeSet<BlockId>) {
        if let Some(known) = self.found.get_mut(&inner) {
            known.retain(|candidate| !outer.contains(candidate));
        }
    }

    /// Elements along some axes meet, those of the other axes stay apart.
    fn over(&mut self, axes: Option<&[Terms]>, over: &[i64]) {
        let Some(axes) = axes else { return };
        let over: Vec<usize> = over.iter().filter_map(|&axis| axis_index(axis, axes.len())).collect();
        let met: BTreeSet<BlockId> = over.iter().flat_map(|&axis| axes[axis].iter().flatten().copied()).collect();
        for inner in blocks(axes).difference(&met).copied().collect::<Vec<_>>() {
            self.part(inner, &met);
        }
    }

    /// Two axes are summed over against each other; the first so many axes of either are joined from the end.
    fn contract(
        &mut self,
        (a, a_axis): (&[Terms], usize),
        (b, b_axis): (&[Terms], usize),
        (a_batch, b_batch): (usize, usize),
    ) {
        self.over(Some(a), &[a_axis as i64]);
        self.over(Some(b), &[b_axis as i64]);
        let (Some(left), Some(right)) = (a.get(a_axis), b.get(b_axis)) else { return };
        for inner in left.iter().chain(right).flatten().copied().collect::<BTreeSet<_>>() {
            let known = self.found.get(&inner).cloned().unwrap_or_default();
            let apart = |outer: &BlockId| {
                let summed = carries(left, *outer) && carries(right, *outer);
                let place =
                    |axes: &[Terms], batch: usize| axes[..batch].iter().rev().position(|axis| carries(axis, *outer));
                let joined = place(a, a_batch).is_some_and(|at| place(b, b_batch) == Some(at));
                !summed && !joined
            };
            self.part(inner, &known.into_iter().filter(apart).collect());
        }
    }
}
