//! How an axis is made up of blocks of neurons, and the unification of such layouts.
//!
//! A *block* is a set of neurons whose order is so far unconstrained. An axis need not be one block: behind a concat it
//! is a *sequence* of blocks, behind a flatten a *product* of blocks (channel times position, row-major). Requiring two
//! axes to share their order is the unification of two such terms: a block that meets a composite becomes that
//! composite, blocks are cut where the other side has a boundary, and what cannot be matched part by part is pinned.

use std::cell::Cell;
use std::sync::Arc;

use crate::Dim;
use crate::id::id;
use crate::symmetry::PinReason;

id!(
    /// A block in the analysis.
    BlockId,
    "b"
);

/// The make-up of one axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layout {
    Block(BlockId),
    /// Parts behind one another.
    Sequence(Parts),
    /// Factors, the first being the slowest; the empty product has length 1.
    Product(Vec<Layout>),
}

/// The parts of a sequence, shared by all axes that have them: a concatenation of concatenations costs what its own inputs do.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    list: Arc<[Layout]>,
    /// Their lengths together.
    length: usize,
    /// How deep sequences lie in it.
    depth: usize,
}

impl PartialEq for Parts {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.list, &other.list) || (self.length == other.length && self.list == other.list)
    }
}

impl std::ops::Deref for Parts {
    type Target = [Layout];

    fn deref(&self) -> &[Layout] {
        &self.list
    }
}

impl Layout {
    pub(crate) fn unit() -> Self {
        Self::Product(Vec::new())
    }

    /// The product of factors, those that are products themselves taken apart.
    pub(crate) fn product(factors: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for factor in factors {
            match factor {
                Self::Product(inner) => flat.extend(inner),
                factor => flat.push(factor),
            }
        }
        Self::Product(flat)
    }

    fn depth(&self) -> usize {
        match self {
            Self::Sequence(parts) => parts.depth,
            Self::Product(factors) => factors.iter().map(Self::depth).max().unwrap_or(0),
            Self::Block(_) => 0,
        }
    }
}

/// Sequences in sequences are made one beyond this depth.
const MOST_DEPTH: usize = 64;

/// Factors of one product: each is 2 at least, but for those of unknown length.
const MOST_FACTORS: usize = 128;

/// Parts looked at in one analysis. Networks take a few for each axis; one that takes so many was made to.
const MOST_WORK: usize = 1 << 23;

#[derive(Clone, Debug)]
enum State {
    Free,
    Pinned(PinReason),
    Bound(Layout),
}

#[derive(Clone, Debug)]
struct Block {
    size: Dim,
    state: State,
    /// Whether it may be a part of something.
    is_part: bool,
}

/// Cuts the first layout to the length of the second: head and rest.
type Cut = fn(&mut Blocks, &Layout, &Layout) -> Option<(Layout, Layout)>;

/// All blocks of an analysis: a union-find whose representatives may be composite.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    /// Parts looked at so far.
    work: Cell<usize>,
}

impl Blocks {
    fn add(&mut self, size: Dim, state: State) -> Layout {
        if size.is_one() {
            return Layout::unit();
        }
        self.blocks.push(Block { size, state, is_part: false });
        Layout::Block(BlockId::new(self.blocks.len() - 1))
    }

    pub(crate) fn fresh(&mut self, size: Dim) -> Layout {
        self.add(size, State::Free)
    }

    pub(crate) fn pinned(&mut self, size: Dim, reason: PinReason) -> Layout {
        self.add(size, State::Pinned(reason))
    }

    /// Counts parts that are looked at.
    pub(crate) fn charge(&self, parts: usize) {
        self.work.set(self.work.get().saturating_add(parts));
    }

    /// Whether more parts were looked at than any network has. Nothing is known then: layouts are empty, nothing is free.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.work.get() > MOST_WORK
    }

    /// Parts behind one another, whose lengths are known.
    pub(crate) fn sequence(&mut self, parts: Vec<Layout>) -> Layout {
        let depth = 1 + parts.iter().map(Layout::depth).max().unwrap_or(0);
        let sizes = parts.iter().map(|part| self.size(part).as_known().unwrap_or(0));
        let length = sizes.fold(0_usize, usize::saturating_add);
        for part in &parts {
            self.mark(part);
        }
        let layout = Layout::Sequence(Parts { list: parts.into(), length, depth });
        if depth <= MOST_DEPTH { layout } else { self.resolve(&layout) }
    }

    /// Notes that a layout is a part of something.
    fn mark(&mut self, part: &Layout) {
        match part {
            Layout::Block(block) => self.blocks[block.index()].is_part = true,
            Layout::Product(factors) => factors.iter().for_each(|factor| self.mark(factor)),
            // Its parts were marked when it was made.
            Layout::Sequence(_) => {}
        }
    }

    /// Why a block is pinned, if it is.
    pub(crate) fn pin_reason(&self, block: BlockId) -> Option<&PinReason> {
        match &self.blocks[block.index()].state {
            State::Pinned(reason) => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn size(&self, layout: &Layout) -> Dim {
        match layout {
            Layout::Block(block) => self.blocks[block.index()].size.clone(),
            Layout::Product(factors) => {
                factors.iter().fold(Dim::known(1), |product, factor| product.times(&self.size(factor)))
            }
            Layout::Sequence(parts) => Dim::known(parts.length),
        }
    }

    /// What a block is bound to, and that in turn.
    fn followed<'a>(&'a self, mut layout: &'a Layout) -> &'a Layout {
        while let Layout::Block(block) = layout
            && let State::Bound(target) = &self.blocks[block.index()].state
        {
            self.charge(1);
            layout = target;
        }
        layout
    }

    /// The normal form: bound blocks replaced, nested sequences and products flattened, a product over a sequence in
    /// the slowest place turned into a sequence of products.
    pub(crate) fn resolve(&self, layout: &Layout) -> Layout {
        match self.followed(layout) {
            Layout::Block(block) => Layout::Block(*block),
            Layout::Sequence(parts) => self.flat_sequence(parts),
            Layout::Product(factors) => self.flat_product(factors),
        }
    }

    fn flat_sequence(&self, parts: &Parts) -> Layout {
        let mut flat = Vec::new();
        let mut rest: Vec<Layout> = parts.iter().rev().cloned().collect();
        while let Some(part) = rest.pop() {
            self.charge(1);
            if self.is_exhausted() {
                return Layout::unit();
            }
            match self.followed(&part) {
                Layout::Block(block) => flat.push(Layout::Block(*block)),
                Layout::Sequence(inner) => rest.extend(inner.iter().rev().cloned()),
                Layout::Product(factors) => match self.flat_product(factors) {
                    Layout::Sequence(inner) => flat.extend(inner.iter().cloned()),
                    part => flat.push(part),
                },
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { self.flat(flat) }
    }

    /// A sequence of parts in normal form.
    fn flat(&self, parts: Vec<Layout>) -> Layout {
        let sizes = parts.iter().map(|part| self.size(part).as_known().unwrap_or(0));
        let length = sizes.fold(0_usize, usize::saturating_add);
        Layout::Sequence(Parts { list: parts.into(), length, depth: 1 })
    }

    fn flat_product(&self, factors: &[Layout]) -> Layout {
        let flat = Layout::product(factors.iter().map(|factor| self.resolve(factor)));
        let Layout::Product(mut flat) = flat else { return flat };
        self.charge(flat.len());
        if flat.len() > MOST_FACTORS {
            self.charge(MOST_WORK);
        }
        if self.is_exhausted() {
            return Layout::unit();
        }
        match flat.as_slice() {
            [_] => flat.remove(0),
            [Layout::Sequence(parts), inner @ ..] => {
                let product =
                    |part: &Layout| Layout::product(std::iter::once(part.clone()).chain(inner.iter().cloned()));
                self.charge(parts.len().saturating_mul(1 + inner.len()));
                if self.is_exhausted() {
                    return Layout::unit();
                }
                let products = parts.iter().map(|part| self.resolve(&product(part)));
                self.flat(products.collect())
            }
            _ => Layout::Product(flat),
        }
    }

    /// The blocks that a layout consists of.
    pub(crate) fn leaves(&self, layout: &Layout) -> Vec<BlockId> {
        let mut leaves = Vec::new();
        self.enter_leaves(&self.resolve(layout), &mut leaves);
        leaves
    }

    fn enter_leaves(&self, resolved: &Layout, leaves: &mut Vec<BlockId>) {
        match resolved {
            Layout::Block(block) => leaves.push(*block),
            Layout::Sequence(parts) => parts.iter().for_each(|part| self.enter_leaves(part, leaves)),
            Layout::Product(parts) => parts.iter().for_each(|part| self.enter_leaves(part, leaves)),
        }
    }

    /// Whether some neurons of the layout may still be reordered.
    pub(crate) fn is_free(&self, layout: &Layout) -> bool {
        self.leaves(layout).iter().any(|leaf| matches!(self.blocks[leaf.index()].state, State::Free))
    }

    /// Takes away the freedom of every block in the layout.
    pub(crate) fn pin(&mut self, layout: &Layout, reason: &PinReason) {
        for leaf in self.leaves(layout) {
            let state = &mut self.blocks[leaf.index()].state;
            match state {
                State::Free | State::Pinned(PinReason::Position) => *state = State::Pinned(reason.clone()),
                _ => {}
            }
        }
    }

    /// Requires two layouts to share one order; pins both where their parts cannot be matched.
    pub(crate) fn unify(&mut self, a: &Layout, b: &Layout, reason: &PinReason) {
        if self.is_exhausted() || a == b {
            return;
        }
        let (a, b) = (self.resolve(a), self.resolve(b));
        if a == b {
            return;
        }
        match (a, b) {
            (Layout::Block(a), Layout::Block(b)) => self.link(a, b),
            (Layout::Block(block), other) | (other, Layout::Block(block)) => self.bind(block, other, reason),
            (Layout::Sequence(a), Layout::Sequence(b)) => {
                self.unify_parts(a.to_vec(), b.to_vec(), reason, Self::cut_sequence);
            }
            (Layout::Product(a), Layout::Product(b)) => self.unify_parts(a, b, reason, Self::cut_product),
            (Layout::Sequence(parts), product @ Layout::Product(_))
            | (product @ Layout::Product(_), Layout::Sequence(parts)) => {
                self.unify_parts(parts.to_vec(), vec![product], reason, Self::cut_sequence);
            }
        }
    }

    fn link(&mut self, a: BlockId, b: BlockId) {
        let (first, second) = (a.min(b), a.max(b));
        let second_state = self.blocks[second.index()].state.clone();
        if let State::Pinned(reason) = second_state {
            self.pin(&Layout::Block(first), &reason);
        }
        if self.blocks[first.index()].size.as_known().is_none() {
            self.blocks[first.index()].size = self.blocks[second.index()].size.clone();
        }
        self.blocks[first.index()].is_part |= self.blocks[second.index()].is_part;
        self.blocks[second.index()].state = State::Bound(Layout::Block(first));
    }

    /// The composite as one of a known length: positions of unknown lengths in a product become what is left beside the
    /// others. `None` if that cannot be told.
    fn measured(&mut self, length: &Dim, composite: Layout) -> Option<Layout> {
        let (Some(total), None) = (length.as_known(), self.size(&composite).as_known()) else { return Some(composite) };
        let Layout::Product(factors) = &composite else { return None };
        let is_unknown = |factor: &Layout| self.size(factor).as_known().is_none();
        let first = factors.iter().position(is_unknown)?;
        let last = factors.iter().rposition(is_unknown)?;
        let unknown = &factors[first..=last];
        if !unknown.iter().all(is_unknown) || unknown.iter().any(|factor| self.is_free(factor)) {
            return None;
        }
        let others = factors[..first].iter().chain(&factors[last + 1..]);
        let known = others
            .map(|factor| self.size(factor).as_known())
            .try_fold(1_usize, |product, length| product.checked_mul(length?))?;
        if known == 0 || !total.is_multiple_of(known) {
            return None;
        }
        let rest = self.pinned(Dim::known(total / known), PinReason::Position);
        Some(Layout::product([&factors[..first], &[rest], &factors[last + 1..]].concat()))
    }

    fn bind(&mut self, block: BlockId, composite: Layout, reason: &PinReason) {
        let state = self.blocks[block.index()].state.clone();
        match state {
            State::Pinned(pin) => self.pin(&composite, &pin),
            _ if self.blocks[block.index()].is_part && self.leaves(&composite).contains(&block) => {
                self.pin(&composite, reason);
            }
            _ => match self.measured(&self.blocks[block.index()].size.clone(), composite.clone()) {
                Some(composite) => {
                    self.mark(&composite);
                    self.blocks[block.index()].state = State::Bound(composite);
                }
                None => {
                    self.pin(&composite, reason);
                    self.pin(&Layout::Block(block), reason);
                }
            },
        }
    }

    /// Matches two lists part by part from the front. Of two parts of unequal length, `cut` takes from the longer (its
    /// first argument) a head as long as the shorter.
    fn unify_parts(&mut self, a: Vec<Layout>, b: Vec<Layout>, reason: &PinReason, cut: Cut) {
        let mut a: Vec<Layout> = a.into_iter().rev().collect();
        let mut b: Vec<Layout> = b.into_iter().rev().collect();
        while let (Some(first), Some(second)) = (a.pop(), b.pop()) {
            if self.size(&first) == self.size(&second) {
                self.unify(&first, &second, reason);
            } else if let Some((head, rest)) = cut(self, &first, &second) {
                a.push(rest);
                self.unify(&head, &second, reason);
            } else if let Some((head, rest)) = cut(self, &second, &first) {
                b.push(rest);
                self.unify(&first, &head, reason);
            } else {
                a.push(first);
                b.push(second);
                break;
            }
        }
        for layout in a.into_iter().chain(b) {
            self.pin(&layout, reason);
        }
    }

    fn cut_sequence(&mut self, longer: &Layout, shorter: &Layout) -> Option<(Layout, Layout)> {
        let at = self.size(shorter).as_known()?;
        if self.size(longer).as_known()? > at { self.split(longer, at) } else { None }
    }

    fn cut_product(&mut self, longer: &Layout, shorter: &Layout) -> Option<(Layout, Layout)> {
        let outer = self.size(shorter);
        let inner = self.size(longer).divided_by(&outer)?;
        self.factor(longer, outer, inner)
    }

    /// Cuts a layout of known length in two at `at`, cutting blocks where needed; `None` where a factor is in the way.
    pub(crate) fn split(&mut self, layout: &Layout, at: usize) -> Option<(Layout, Layout)> {
        let layout = self.resolve(layout);
        let total = self.size(&layout).as_known()?;
        if at == 0 || at >= total {
            let empty = self.sequence(Vec::new());
            return match at {
                0 => Some((empty, layout)),
                at if at == total => Some((layout, empty)),
                _ => None,
            };
        }
        match layout {
            Layout::Block(block) => {
                let state = self.blocks[block.index()].state.clone();
                let head = self.add(Dim::known(at), state.clone());
                let rest = self.add(Dim::known(total - at), state.clone());
                if let State::Free = state {
                    let parts = self.sequence(vec![head.clone(), rest.clone()]);
                    self.blocks[block.index()].state = State::Bound(parts);
                }
                Some((head, rest))
            }
            Layout::Sequence(parts) => {
                let (mut head, mut rest, mut offset) = (Vec::new(), Vec::new(), 0_usize);
                for part in parts.iter().cloned() {
                    let length = self.size(&part).as_known()?;
                    if offset.saturating_add(length) <= at {
                        head.push(part);
                    } else if offset >= at {
                        rest.push(part);
                    } else {
                        let (left, right) = self.split(&part, at - offset)?;
                        head.push(left);
                        rest.push(right);
                    }
                    offset = offset.saturating_add(length);
                }
                Some((self.sequence(head), self.sequence(rest)))
            }
            Layout::Product(factors) => {
                let (outer, inner) = factors.split_first()?;
                let inner_size = self.size(&Layout::Product(inner.to_vec())).as_known()?;
                if inner_size == 0 || !at.is_multiple_of(inner_size) {
                    return None;
                }
                let (head, rest) = self.split(outer, at / inner_size)?;
                let product = |outer: Layout| Layout::product(std::iter::once(outer).chain(inner.iter().cloned()));
                Some((product(head), product(rest)))
            }
        }
    }

    /// Cuts a layout of known length into parts of these lengths, which together are its own, as [`split`](Self::split) would
    /// one after the other, in one pass.
    pub(crate) fn cut(&mut self, layout: &Layout, lengths: &[usize]) -> Option<Vec<Layout>> {
        let layout = self.resolve(layout);
        let total = self.size(&layout).as_known()?;
        if lengths.iter().try_fold(0_usize, |sum, &length| sum.checked_add(length)) != Some(total) {
            return None;
        }
        match layout {
            Layout::Block(block) if lengths.iter().filter(|&&length| length > 0).nth(1).is_some() => {
                let state = self.blocks[block.index()].state.clone();
                let parts: Vec<Layout> = lengths
                    .iter()
                    .map(|&length| match length {
                        0 => self.sequence(Vec::new()),
                        length => self.add(Dim::known(length), state.clone()),
                    })
                    .collect();
                if let State::Free = state {
                    let whole = self.sequence(parts.clone());
                    self.blocks[block.index()].state = State::Bound(whole);
                }
                Some(parts)
            }
            Layout::Sequence(parts) => {
                let mut rest: Vec<Layout> = parts.iter().rev().cloned().collect();
                let mut found = Vec::with_capacity(lengths.len());
                for &length in lengths {
                    let (mut own, mut missing) = (Vec::new(), length);
                    while missing > 0 {
                        let part = rest.pop()?;
                        let size = self.size(&part).as_known()?;
                        if size > missing {
                            let (head, tail) = self.split(&part, missing)?;
                            rest.push(tail);
                            own.push(head);
                            missing = 0;
                        } else {
                            missing -= size;
                            own.push(part);
                        }
                    }
                    found.push(self.sequence(own));
                }
                Some(found)
            }
            layout => {
                let (mut rest, mut found) = (layout, Vec::with_capacity(lengths.len()));
                for &length in lengths {
                    let (head, tail) = self.split(&rest, length)?;
                    found.push(head);
                    rest = tail;
                }
                Some(found)
            }
        }
    }

    /// Writes one factor as `outer` times `inner`.
    fn factor(&mut self, layout: &Layout, outer: Dim, inner: Dim) -> Option<(Layout, Layout)> {
        let Layout::Block(block) = self.resolve(layout) else {
            return None;
        };
        let state = self.blocks[block.index()].state.clone();
        let outer = self.add(outer, state.clone());
        let inner = self.add(inner, state.clone());
        if let State::Free = state {
            let factors = Layout::product([outer.clone(), inner.clone()]);
            self.mark(&factors);
            self.blocks[block.index()].state = State::Bound(factors);
        }
        Some((outer, inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(blocks: &Blocks, layout: &Layout) -> Vec<usize> {
        blocks.leaves(layout).iter().map(|&leaf| blocks.size(&Layout::Block(leaf)).as_known().unwrap()).collect()
    }

    #[test]
    fn sequences_are_cut_at_each_others_boundaries() {
        let mut blocks = Blocks::default();
        let [three, five, six, two] = [3, 5, 6, 2].map(|size| blocks.fresh(Dim::known(size)));
        let a = blocks.sequence(vec![three, five]);
        let b = blocks.sequence(vec![six, two]);
        blocks.unify(&a, &b, &PinReason::Position);
        assert_eq!(sizes(&blocks, &a), [3, 3, 2]);
        assert_eq!(blocks.resolve(&a), blocks.resolve(&b));
        assert!(blocks.is_free(&a));
    }

    #[test]
    fn a_concat_behind_a_flatten_is_a_sequence_of_products() {
        let mut blocks = Blocks::default();
        let [a, b, positions, flat] = [4, 2, 9, 54].map(|size| blocks.fresh(Dim::known(size)));
        let channels = blocks.sequence(vec![a, b]);
        blocks.unify(&flat, &Layout::Product(vec![channels, positions]), &PinReason::Position);
        let (head, rest) = blocks.split(&flat, 36).unwrap();
        assert_eq!((sizes(&blocks, &head), sizes(&blocks, &rest)), (vec![4, 9], vec![2, 9]));
        let (head, _) = blocks.split(&flat, 18).unwrap();
        assert_eq!(sizes(&blocks, &head), [2, 9]);
        assert_eq!(blocks.split(&flat, 5), None);
    }

    #[test]
    fn products_of_other_factors_are_refined_or_pinned() {
        let mut blocks = Blocks::default();
        let [six, four, two, twelve] = [6, 4, 2, 12].map(|size| blocks.fresh(Dim::known(size)));
        let a = Layout::Product(vec![six, four]);
        blocks.unify(&a, &Layout::Product(vec![two, twelve]), &PinReason::Position);
        assert_eq!(sizes(&blocks, &a), [2, 3, 4]);
        assert!(blocks.is_free(&a));
        let [four, nine, six, other] = [4, 9, 6, 6].map(|size| blocks.fresh(Dim::known(size)));
        let a = Layout::Product(vec![four, nine]);
        blocks.unify(&a, &Layout::Product(vec![six, other]), &PinReason::Position);
        assert!(!blocks.is_free(&a));
    }
}
