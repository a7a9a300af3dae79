//! Blocks taken out of a network, and the others fitted to what it computed with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use otfuse_graph::{Block, Graph, GraphEditor, Tensor, ValueId};

use super::error::DepthError;
use super::pairs::Cut;
use super::walk::Walk;
use crate::error::FusionError;
use crate::repair::following::{self, Following};
use crate::repair::stream::{Stream, ancestors, floats};
use crate::repair::{LinearUnit, RepairError, Runner};

/// How layers are fitted: by what runs them, the ridge, and how often to what comes out behind an activation function.
pub type Fitted<'a> = (&'a dyn Runner, f64, usize);

/// The network `own` with the weights of `deep`, a network of the deeper one's form and its own widths: blocks without a partner in
/// `pairs` are left out. With samples, every layer behind the first of them is then fitted, in order and by least squares, on its
/// own inputs to what stands in its place in the deep network: in front of a gap to the stream right before the next block that
/// is kept; layers in front of an activation function so many times again to what comes out behind it. `observe` is told how many layers of how many are done.
///
/// A layer of `d` inputs and `m` outputs takes `r d (d + m) + d^3 / 3` operations on `r` rows. The result does not depend on the
/// number of threads.
///
/// # Errors
/// Networks whose blocks do not correspond; a network that cannot be run on the samples.
pub fn shorten(
    deep: Cut<'_>,
    own: Cut<'_>,
    pairs: &[(usize, usize)],
    fitting: Option<Fitted<'_>>,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Graph, DepthError> {
    super::pairs::check(deep.1, own.1, pairs)?;
    let walk = Walk::of(deep, own, pairs)?;
    let left = with_weights(&walk, deep, own, pairs)?;
    let Some(fitting) = fitting else { return Ok(left) };
    let mut fitting = Fitting::new(deep, (&left, own.1), pairs, &walk, fitting)?;
    fitting.run(observe)?;
    Ok(fitting.own.into_graph(&left)?)
}

/// The names of weights that `own` reads in several places and `deep`, a network of the deeper one's form, has apart.
///
/// # Errors
/// Networks whose blocks do not correspond.
pub fn split_weights(deep: Cut<'_>, own: Cut<'_>, pairs: &[(usize, usize)]) -> Result<Vec<String>, DepthError> {
    let walk = Walk::of(deep, own, pairs)?;
    let mut sources: BTreeMap<ValueId, BTreeSet<ValueId>> = BTreeMap::new();
    for (id, node) in deep.0.nodes() {
        for (position, input) in node.inputs.iter().enumerate() {
            if let (Some(from), Some(to)) = (*input, walk.constant(id, position)) {
                sources.entry(to).or_default().insert(from);
            }
        }
    }
    let is_split = |(to, from): &(ValueId, BTreeSet<ValueId>)| own.0.is_weight(*to) && from.len() > 1;
    Ok(sources.into_iter().filter(is_split).map(|(to, _)| own.0.value(to).name.clone()).collect())
}

/// The blocks of the deep network that are left out behind each of the other's own.
fn gaps(deep_blocks: usize, pairs: &[(usize, usize)]) -> HashMap<usize, usize> {
    let next = |at: usize| pairs.get(at + 1).map_or(deep_blocks, |pair| pair.0);
    let gap = |(at, &(a, b)): (usize, &(usize, usize))| (next(at) > a + 1).then(|| (b, next(at) - 1));
    pairs.iter().enumerate().filter_map(gap).collect()
}

/// The network with the deep one's weights where they correspond.
fn with_weights(walk: &Walk<'_>, deep: Cut<'_>, own: Cut<'_>, pairs: &[(usize, usize)]) -> Result<Graph, DepthError> {
    let mut editor = GraphEditor::edit(own.0.clone());
    let mut take = |from: ValueId, to: ValueId| {
        let (Some(new), Some(old)) = (deep.0.initializer(from), own.0.initializer(to)) else { return };
        if !own.0.is_weight(to) || new.shape() != old.shape() {
            return;
        }
        let retyped = || Some(Tensor::from_f32_as(old.data_type(), old.shape(), new.to_f32()?));
        let tensor = if new.data_type() == old.data_type() { Some(new.clone()) } else { retyped() };
        if let Some(tensor) = tensor {
            editor.set_tensor(to, tensor);
        }
    };
    for (id, node) in deep.0.nodes() {
        for (position, input) in node.inputs.iter().enumerate() {
            if let (Some(from), Some(to)) = (*input, walk.constant(id, position)) {
                take(from, to);
            }
        }
    }
    // What stands behind the last layer of a block, a normalisation, is that of the last block that is left out.
    let units = LinearUnit::with_turned(deep.0);
    for (kept, last) in gaps(deep.1.len(), pairs) {
        let Some(&(from, _)) = pairs.iter().find(|pair| pair.1 == kept) else { continue };
        let (block, behind) = (&deep.1[last], &own.1[kept]);
        if block.signature != deep.1[from].signature {
            continue;
        }
        let Some(unit) = units.iter().rfind(|unit| block.nodes.contains(&unit.node)) else { continue };
        let observed = unit.residual.map_or(unit.output, |(sum, _)| sum);
        let before = ancestors(deep.0, &[observed]);
        for (&node, &other) in block.nodes.iter().zip(&behind.nodes).filter(|(node, _)| !before.contains(node)) {
            for (a, b) in deep.0.node(node).inputs.iter().zip(&own.0.node(other).inputs) {
                if let (Some(a), Some(b)) = (*a, *b) {
                    take(a, b);
                }
            }
        }
    }
    Ok(editor.finish()?)
}

/// Where a layer's outputs are looked at, and what they should be there.
struct Target {
    unit: LinearUnit,
    /// The other summand, where the sum is fitted.
    other: Option<ValueId>,
    deep: ValueId,
}

/// A network on its way to what the deep one computes.
struct Fitting<'a> {
    own: Following<'a>,
    deep: Stream<'a>,
    targets: Vec<Target>,
    ridge: f64,
    rounds: usize,
}

impl<'a> Fitting<'a> {
    fn new(
        deep: Cut<'a>,
        left: Cut<'a>,
        pairs: &[(usize, usize)],
        walk: &Walk<'_>,
        (runner, ridge, rounds): Fitted<'a>,
    ) -> Result<Self, DepthError> {
        let failed = |source| RepairError::Runtime { model: 1, source };
        let own = Following::of(left.0, runner, 1)?;
        let of_deep = Stream::new(deep.0, runner).map_err(failed)?;
        Ok(Self { own, deep: of_deep, targets: targets(deep, left, pairs, walk), ridge, rounds })
    }

    fn run(&mut self, observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<(), DepthError> {
        let targets = std::mem::take(&mut self.targets);
        for (at, target) in targets.iter().enumerate() {
            let later: Vec<ValueId> = targets[at..].iter().map(|target| target.deep).collect();
            self.fit(target, &later)?;
            if observe(at + 1, targets.len()).is_break() {
                return Err(RepairError::from(FusionError::Cancelled).into());
            }
        }
        Ok(())
    }

    fn fit(&mut self, target: &Target, later: &[ValueId]) -> Result<(), DepthError> {
        let failed = |source| RepairError::Runtime { model: 1, source };
        let (unit, other) = (&target.unit, target.other);
        let start = unit.folded(&self.own.shape(unit.weight), &|id| self.own.values(id));
        let fitting = following::Fitting { unit, other, start, ridge: self.ridge, rounds: self.rounds };
        let activation = fitting.activation();
        self.own.fit(&fitting, &mut |batch| {
            let deep = self.deep.peek(batch, &[target.deep]).map_err(failed)?;
            let said = floats(deep, target.deep).map_err(failed)?;
            let sums = said.to_f32().unwrap_or_default();
            let behind = activation.map(|activation| sums.iter().map(|&value| activation.at(value)).collect());
            Ok::<_, RepairError>(following::Target { shape: said.shape().to_vec(), sums, behind })
        })?;
        // What later layers look at stays within reach.
        let passed = ancestors_of(&self.deep, later, target.deep);
        Ok(self.deep.advance(&passed).map_err(failed)?)
    }
}

/// What the deep network is to have computed: the value that was looked at, and those of later layers that stand before it.
fn ancestors_of(stream: &Stream<'_>, later: &[ValueId], value: ValueId) -> Vec<ValueId> {
    let graph = stream.graph();
    let before = ancestors(graph, &[value]);
    let producers = graph.producers();
    let is_before = |id: &ValueId| producers.get(id).is_some_and(|node| before.contains(node));
    let mut found: Vec<ValueId> = later.iter().copied().filter(is_before).collect();
    found.push(value);
    found
}

/// What each layer of the network is fitted to, from the first one on whose input differs from the deep network's.
fn targets(deep: Cut<'_>, left: Cut<'_>, pairs: &[(usize, usize)], walk: &Walk<'_>) -> Vec<Target> {
    let (units, of_deep) = (LinearUnit::with_turned(left.0), LinearUnit::with_turned(deep.0));
    let gaps = gaps(deep.1.len(), pairs);
    let Some(&first) = gaps.keys().min() else { return Vec::new() };
    let block_of =
        |blocks: &[Block], unit: &LinearUnit| blocks.iter().position(|block| block.nodes.contains(&unit.node));
    let last_of = |units: &[LinearUnit], block: &Block| units.iter().rposition(|unit| block.nodes.contains(&unit.node));
    let backwards: HashMap<_, _> = walk.nodes.iter().map(|(deep, own)| (*own, *deep)).collect();
    let mut found = Vec::new();
    for (at, unit) in units.iter().enumerate() {
        let Some(block) = block_of(left.1, unit).filter(|&block| block >= first) else { continue };
        let is_last = last_of(&units, &left.1[block]) == Some(at);
        if block == first && !is_last {
            continue;
        }
        let gap = gaps.get(&block).filter(|_| is_last);
        let partner = match gap {
            Some(&last) => last_of(&of_deep, &deep.1[last]).map(|at| &of_deep[at]),
            None => backwards.get(&unit.node).and_then(|node| of_deep.iter().find(|unit| unit.node == *node)),
        };
        let Some(partner) = partner else { continue };
        let residual = unit.residual.filter(|&(_, other)| {
            let before = ancestors(left.0, &[other]);
            units[at..].iter().all(|later| !before.contains(&later.node))
        });
        let target = match (residual, partner.residual) {
            (Some((_, other)), Some((sum, _))) => Target { unit: unit.clone(), other: Some(other), deep: sum },
            (None, _) if gap.is_none() => Target { unit: unit.clone(), other: None, deep: partner.output },
            (None, None) => Target { unit: unit.clone(), other: None, deep: partner.output },
            (Some((_, other)), None) if gap.is_some() => {
                Target { unit: unit.clone(), other: Some(other), deep: partner.output }
            }
            _ => continue,
        };
        found.push(target);
    }
    found
}
