//! Neurons inside of neurons: which groups may be ordered anew for each neuron of another group.
//!
//! The channels of an attention head belong to that head alone: each head may have its own order of them. So do those of
//! a group of a grouped convolution, of a group that is normalised by itself, and the hidden units of one expert of many
//! in one tensor. An axis then is a product of heads and channels, and the order of the second factor may depend on the
//! index of the first. That is so if no operator ever lets two heads meet while it keeps their channels apart: every value
//! that carries the channels carries the heads as well, once, and no sum over heads leaves channels behind.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use super::rules::axis_index;
use crate::symmetry::analysis::Analysis;
use crate::symmetry::layout::{BlockId, Layout};
use crate::{Attention, Einsum, Node, Operator, ValueId};

/// For each block the blocks that its order may depend on.
pub(super) type Candidates = HashMap<BlockId, BTreeSet<BlockId>>;

/// Finds the blocks that the order of each of `free` may depend on. Takes time proportional to the parts of all axes.
pub(super) fn candidates(analysis: &Analysis<'_>, free: &BTreeSet<BlockId>) -> Candidates {
    let mut found = Candidates::new();
    for (_, axes) in analysis.known_axes() {
        if analysis.blocks.is_exhausted() {
            return Candidates::new();
        }
        let axes: Vec<Terms> = axes.iter().map(|axis| terms(analysis, axis)).collect();
        for (inner, beside) in Beside::of(&axes).of_all() {
            match found.get_mut(&inner) {
                Some(known) => known.retain(|outer| beside.contains(outer)),
                None => {
                    found.insert(inner, beside.into_iter().filter(|outer| free.contains(outer)).collect());
                }
            }
        }
    }
    for (_, node) in analysis.graph.nodes() {
        if analysis.blocks.is_exhausted() {
            return Candidates::new();
        }
        let axes = |value: Option<ValueId>| {
            let axes = analysis.own_axes(value?);
            (!axes.is_empty()).then(|| axes.iter().map(|axis| terms(analysis, axis)).collect::<Vec<_>>())
        };
        Meeting { node, found: &mut found }.apply(analysis, &axes);
    }
    found.retain(|inner, _| free.contains(inner));
    found
}

/// The products that an axis is a sequence of.
type Terms = Vec<Vec<BlockId>>;

fn terms(analysis: &Analysis<'_>, layout: &Layout) -> Terms {
    expand(analysis, &analysis.blocks.resolve(layout))
}

fn expand(analysis: &Analysis<'_>, layout: &Layout) -> Terms {
    match layout {
        Layout::Block(block) => vec![vec![*block]],
        Layout::Sequence(parts) => parts.iter().flat_map(|part| expand(analysis, part)).collect(),
        Layout::Product(factors) => factors.iter().fold(vec![Vec::new()], |products, factor| {
            let factor = expand(analysis, factor);
            analysis.blocks.charge(products.len().saturating_mul(factor.len()));
            if analysis.blocks.is_exhausted() {
                return Vec::new();
            }
            products.iter().flat_map(|product| factor.iter().map(|term| [&product[..], term].concat())).collect()
        }),
    }
}

fn blocks(axes: &[Terms]) -> BTreeSet<BlockId> {
    axes.iter().flatten().flatten().copied().collect()
}

fn members(axis: &Terms) -> BTreeSet<BlockId> {
    axis.iter().flatten().copied().collect()
}

/// The axes behind samples and channels.
fn positions(axes: Option<&[Terms]>) -> Vec<i64> {
    (2..axes.map_or(0, <[Terms]>::len)).map(|axis| axis as i64).collect()
}

/// The first factors of an axis, of which there are `count`; `None` where they are not factors of all of it.
fn leading(analysis: &Analysis<'_>, axis: &Terms, count: usize) -> Option<BTreeSet<BlockId>> {
    let [term] = axis.as_slice() else { return None };
    let (mut found, mut product) = (BTreeSet::new(), 1_usize);
    for &block in term {
        if product == count {
            break;
        }
        product = product.checked_mul(analysis.blocks.size(&Layout::Block(block)).as_known()?)?;
        found.insert(block);
    }
    (product == count).then_some(found)
}

/// Which blocks stand exactly once beside each occurrence of a block in the axes of a value.
struct Beside<'a> {
    axes: &'a [Terms],
    /// The axes that carry each block.
    carriers: HashMap<BlockId, Vec<usize>>,
    /// Blocks that stand once in each term of an axis, with that axis.
    everywhere: Vec<(BlockId, usize)>,
}

impl<'a> Beside<'a> {
    fn of(axes: &'a [Terms]) -> Self {
        let mut carriers: HashMap<BlockId, Vec<usize>> = HashMap::new();
        for (position, axis) in axes.iter().enumerate() {
            for &block in axis.iter().flatten() {
                let known = carriers.entry(block).or_default();
                if known.last() != Some(&position) {
                    known.push(position);
                }
            }
        }
        let mut everywhere = Vec::new();
        for (position, axis) in axes.iter().enumerate() {
            let first: BTreeSet<BlockId> = axis.first().into_iter().flatten().copied().collect();
            let is_once = |block: &BlockId| axis.iter().all(|term| once(term, *block));
            everywhere.extend(first.into_iter().filter(is_once).map(|block| (block, position)));
        }
        Self { axes, carriers, everywhere }
    }

    /// For each block what stands beside all of its occurrences.
    fn of_all(&self) -> HashMap<BlockId, BTreeSet<BlockId>> {
        let mut found: HashMap<BlockId, BTreeSet<BlockId>> = HashMap::new();
        for (position, axis) in self.axes.iter().enumerate() {
            let mut before: Option<&Vec<BlockId>> = None;
            for term in axis {
                // Copies of a term say nothing new.
                if before.replace(term) == Some(term) {
                    continue;
                }
                for &inner in term {
                    let here = self.here(inner, term, position);
                    match found.get_mut(&inner) {
                        Some(common) => common.retain(|block| here.contains(block)),
                        None => {
                            found.insert(inner, here);
                        }
                    }
                }
            }
        }
        found
    }

    /// What stands beside a block in a term: others of the term that are in no other axis, and what is in all of one other axis.
    fn here(&self, inner: BlockId, term: &[BlockId], position: usize) -> BTreeSet<BlockId> {
        let others = |block: BlockId| {
            let carriers = self.carriers.get(&block).map_or(&[][..], Vec::as_slice);
            carriers.iter().copied().filter(move |&axis| axis != position)
        };
        if others(inner).next().is_some() || !once(term, inner) {
            return BTreeSet::new();
        }
        let is_beside = |block: &BlockId| *block != inner && once(term, *block) && others(*block).next().is_none();
        let is_around = |&&(block, axis): &&(BlockId, usize)| {
            axis != position && !term.contains(&block) && others(block).eq(std::iter::once(axis))
        };
        let elsewhere = self.everywhere.iter().filter(is_around).map(|(block, _)| *block);
        term.iter().copied().filter(is_beside).chain(elsewhere).collect()
    }
}

fn once(term: &[BlockId], block: BlockId) -> bool {
    term.iter().filter(|other| **other == block).count() == 1
}

/// The axes of a value, where they are known.
type Axes<'a> = &'a dyn Fn(Option<ValueId>) -> Option<Vec<Terms>>;

/// What an operator lets meet.
struct Meeting<'a> {
    node: &'a Node,
    found: &'a mut Candidates,
}

impl Meeting<'_> {
    fn apply(&mut self, analysis: &Analysis<'_>, axes: Axes<'_>) {
        let node = self.node;
        let of_input = OnceCell::new();
        let input = || of_input.get_or_init(|| axes(node.input(0))).as_deref();
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
            | Operator::Pad(_)
            | Operator::Resize(_)
            | Operator::BatchNormalization { .. }
            | Operator::Shape { .. } => {}
            Operator::Pool(_) | Operator::GlobalPool(_) | Operator::InstanceNormalization { .. } => {
                self.over(input(), &positions(input()));
            }
            Operator::GroupNormalization { groups, .. } => self.normalize_groups(analysis, axes, *groups),
            Operator::Conv(_) => {
                if let (Some(x), Some(weight)) = (input(), axes(node.input(1))) {
                    self.convolve(x, &weight, weight.get(1).map(members).unwrap_or_default());
                }
            }
            Operator::ConvTranspose(_) => {
                if let (Some(x), Some(weight), Some(y)) = (input(), axes(node.input(1)), axes(node.output(0))) {
                    let of = |axes: &[Terms], axis: usize| axes.get(axis).map(members).unwrap_or_default();
                    let whole: BTreeSet<BlockId> = of(&y, 1).difference(&of(&weight, 1)).copied().collect();
                    let met = of(&weight, 0).difference(&whole).copied().collect();
                    self.convolve(x, &weight, met);
                }
            }
            Operator::Attention(attention) => self.attend(analysis, axes, attention),
            Operator::Einsum(einsum) => {
                let operands: Option<Vec<Vec<Terms>>> = node.inputs.iter().map(|&input| axes(input)).collect();
                match operands {
                    Some(operands) => self.multiply(einsum, &operands),
                    None => self.nothing(axes),
                }
            }
            Operator::Softmax { axis } | Operator::LogSoftmax { axis } => self.over(input(), &[*axis]),
            Operator::ArgExtremum { axis, .. } => self.over(input(), &[*axis]),
            Operator::LayerNormalization { axis, .. } => {
                let rank = input().map_or(0, <[Terms]>::len);
                let first = axis_index(*axis, rank).unwrap_or(0);
                let all: Vec<i64> = (first..rank).map(|axis| axis as i64).collect();
                self.over(input(), &all);
            }
            Operator::Reduce(_) => {
                let listed = node.input(1).and_then(|list| analysis.facts.integers(list)).unwrap_or_default();
                let rank = input().map_or(0, <[Terms]>::len);
                let all: Vec<i64> = (0..rank).map(|axis| axis as i64).collect();
                self.over(input(), if listed.is_empty() { &all } else { &listed });
            }
            Operator::MatMul => {
                if let (Some(a), Some(b)) = (input(), axes(node.input(1))) {
                    let (a_axis, b_axis) = (a.len().saturating_sub(1), b.len().saturating_sub(2));
                    self.contract((a, a_axis), (&b, b_axis), (a.len().saturating_sub(2), b.len().saturating_sub(2)));
                }
            }
            Operator::Gemm(gemm) => {
                if let (Some(a), Some(b)) = (input(), axes(node.input(1))) {
                    let (a_axis, b_axis) = (usize::from(!gemm.transpose_a), usize::from(gemm.transpose_b));
                    self.contract((a, a_axis), (&b, b_axis), (0, 0));
                }
            }
            _ => self.nothing(axes),
        }
    }

    /// The channels of each group meet, those of different groups stay apart.
    fn normalize_groups(&mut self, analysis: &Analysis<'_>, axes: Axes<'_>, groups: usize) {
        let Some(x) = axes(self.node.input(0)) else { return };
        let Some(channels) = x.get(1) else { return };
        let Some(whole) = leading(analysis, channels, groups) else { return self.nothing(axes) };
        self.apart(Some(&x), &members(channels).difference(&whole).copied().collect());
        self.over(Some(&x), &positions(Some(&x)));
    }

    /// The channels of each head meet, those of different heads stay apart.
    fn attend(&mut self, analysis: &Analysis<'_>, axes: Axes<'_>, attention: &Attention) {
        let (of_queries, of_keys) = attention.heads.unzip();
        for (at, heads) in [of_queries, of_keys, of_keys].into_iter().enumerate() {
            let Some(own) = axes(self.node.input(at)) else { continue };
            let width = match own.as_slice() {
                [_, _, _, width] => Some(members(width)),
                [_, _, both] => heads.and_then(|heads| {
                    let whole = leading(analysis, both, heads)?;
                    Some(members(both).difference(&whole).copied().collect())
                }),
                _ => None,
            };
            match width {
                Some(width) => self.apart(Some(&own), &width),
                None => self.nothing(axes),
            }
        }
    }

    /// No order of what the node touches may depend on anything.
    fn nothing(&mut self, axes: Axes<'_>) {
        let touched = self.node.inputs.iter().chain(&self.node.outputs).filter_map(|&value| axes(value));
        for inner in touched.flat_map(|axes| blocks(&axes)).collect::<Vec<_>>() {
            self.found.insert(inner, BTreeSet::new());
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
        self.apart(Some(axes), &met);
    }

    /// Blocks that meet, while all others of the axes stay apart.
    fn apart(&mut self, axes: Option<&[Terms]>, met: &BTreeSet<BlockId>) {
        for inner in blocks(axes.unwrap_or_default()).difference(met).copied().collect::<Vec<_>>() {
            self.part(inner, met);
        }
    }

    /// The channels `met` of each group are summed over against those of a weight; groups stay apart, as positions do
    /// outside of windows.
    fn convolve(&mut self, x: &[Terms], weight: &[Terms], met: BTreeSet<BlockId>) {
        self.over(Some(x), &positions(Some(x)));
        self.apart(Some(x), &met);
        self.apart(Some(weight), &met);
        let channels = x.get(1).map(members).unwrap_or_default();
        for inner in met {
            let known = self.found.get(&inner).cloned().unwrap_or_default();
            self.part(inner, &known.difference(&channels).copied().collect());
        }
    }

    /// Axes of one letter are joined, and those that the output lacks are summed over: an order may depend on what has the
    /// same letter wherever it goes.
    fn multiply(&mut self, einsum: &Einsum, operands: &[Vec<Terms>]) {
        let mut letters: HashMap<char, Vec<(usize, BTreeSet<BlockId>)>> = HashMap::new();
        for (operand, (terms, axes)) in einsum.inputs.iter().zip(operands).enumerate() {
            let summed = |(axis, letter): (usize, &char)| (!einsum.output.contains(letter)).then_some(axis as i64);
            self.over(Some(axes), &terms.iter().enumerate().filter_map(summed).collect::<Vec<_>>());
            for (letter, axis) in terms.iter().zip(axes) {
                letters.entry(*letter).or_default().push((operand, members(axis)));
            }
        }
        let carriers = |block: BlockId, operand: usize| -> BTreeSet<char> {
            let axes = einsum.inputs[operand].iter().zip(&operands[operand]);
            axes.filter(|(_, axis)| members(axis).contains(&block)).map(|(letter, _)| *letter).collect()
        };
        for places in letters.values() {
            for inner in places.iter().flat_map(|(_, blocks)| blocks).copied().collect::<BTreeSet<_>>() {
                let known = self.found.get(&inner).cloned().unwrap_or_default();
                let differs = |outer: &BlockId| {
                    let mut letters = places.iter().map(|&(operand, _)| carriers(*outer, operand));
                    let first = letters.next().unwrap_or_default();
                    first.len() != 1 || letters.any(|other| other != first)
                };
                self.part(inner, &known.into_iter().filter(differs).collect());
            }
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
        let (left, right) = (members(left), members(right));
        let batch = |axes: &[Terms], batch: usize| axes[..batch].iter().rev().map(members).collect::<Vec<_>>();
        let (a_batch, b_batch) = (batch(a, a_batch), batch(b, b_batch));
        for inner in left.iter().chain(&right).copied().collect::<BTreeSet<_>>() {
            let known = self.found.get(&inner).cloned().unwrap_or_default();
            let apart = |outer: &BlockId| {
                let summed = left.contains(outer) && right.contains(outer);
                let place = |axes: &[BTreeSet<BlockId>]| axes.iter().position(|axis| axis.contains(outer));
                let joined = place(&a_batch).is_some_and(|at| place(&b_batch) == Some(at));
                !summed && !joined
            };
            self.part(inner, &known.into_iter().filter(apart).collect());
        }
    }
}
