//! A network as a person would draw it.
//!
//! Nodes of the graph become *units*: a layer with its bias, normalisation and nonlinearity, an attention with its
//! projections, a perceptron, a join of branches (`units`). Units that repeat become *blocks* (`blocks`). What only
//! prepares shapes, masks and positions is not drawn (`flow`). `text`, `dot` and `svg` show the result; the bytes depend
//! on the network alone.

mod blocks;
mod dot;
mod flow;
mod labels;
mod layout;
mod svg;
mod text;
mod units;

use otfuse_graph::{Facts, Graph, GroupId, NeuronGroups};

pub use blocks::Block;

/// A network as a person would draw it.
#[derive(Clone, Debug)]
pub struct Diagram {
    /// The units, each behind all that it reads.
    pub units: Vec<Unit>,
    /// What repeats; the units of the first copy are drawn, those of the others are left out.
    pub blocks: Vec<Block>,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// An input of the network.
    Input,
    /// An output of the network.
    Output,
    /// A layer with weights, with what directly follows it.
    Layer,
    /// Attention with its projections.
    Attention,
    /// A sum, a product or a concatenation of several units.
    Join,
    /// Anything else.
    Other,
}

/// One box of a drawing.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is.
    pub kind: UnitKind,
    /// What it does, with its sizes.
    pub label: String,
    /// The units that it reads, in the order of its operands.
    pub inputs: Vec<usize>,
    /// The neuron groups on its result, the largest first.
    pub carries: Vec<GroupId>,
    /// The neuron groups inside it, each with its size and the group that it is within.
    pub inside: Vec<(GroupId, usize, Option<GroupId>)>,
    /// What the names of its weights have in common.
    pub weights: String,
}

impl Diagram {
    /// The drawing of a network. Linear in the number of nodes, but for repeated blocks (quadratic in the number of
    /// units).
    pub fn of(graph: &Graph, facts: &Facts, groups: &NeuronGroups) -> Self {
        let units = units::of(graph, facts, groups);
        let blocks = blocks::of(&units);
        Self { units, blocks }
    }

    /// The units that are drawn, and for each of them all that it reads among these.
    pub(crate) fn drawn(&self) -> Vec<(usize, Vec<usize>)> {
        // A unit of a later copy is drawn as that of the first.
        let shown = |unit: usize| {
            let block = self.blocks.iter().find(|block| block.contains(unit));
            block.map_or(unit, |block| block.start + (unit - block.start) % block.length)
        };
        let mut drawn = Vec::new();
        for (index, unit) in self.units.iter().enumerate() {
            if shown(index) == index {
                let mut inputs: Vec<usize> = unit.inputs.iter().map(|&input| shown(input)).collect();
                inputs.retain(|&input| input < index);
                inputs.dedup();
                drawn.push((index, inputs));
            }
        }
        drawn
    }

    /// The block that a drawn unit belongs to.
    pub(crate) fn block_of(&self, unit: usize) -> Option<usize> {
        self.blocks.iter().position(|block| block.contains(unit))
    }
}
