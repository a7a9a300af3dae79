//! What a new block is made after.

use std::collections::{BTreeMap, HashMap};

use otfuse_graph::{Block, Facts, Graph, GroupId, NeuronGroups, NodeId, Operator, Shape, Tensor, ValueId};

use super::nothing::{Goal, Part, Parts};
use super::range::range;
use crate::split_mix::SplitMix;

/// A network and what is known of it.
pub(super) struct Known<'g> {
    pub graph: &'g Graph,
    pub blocks: &'g [Block],
    pub facts: Facts,
    pub groups: NeuronGroups,
    pub producers: HashMap<ValueId, NodeId>,
    pub readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
}

impl<'g> Known<'g> {
    pub fn of(graph: &'g Graph, blocks: &'g [Block]) -> Result<Self, otfuse_graph::InferenceError> {
        Ok(Self {
            graph,
            blocks,
            facts: Facts::of(graph)?,
            groups: NeuronGroups::of(graph)?,
            producers: graph.producers(),
            readers: graph.consumers(),
        })
    }

    /// Whether a value comes right out of a normalisation over its last axis.
    pub fn is_normalised(&self, value: ValueId) -> bool {
        let node = self.producers.get(&value).map(|node| &self.graph.node(*node).operator);
        matches!(node, Some(Operator::LayerNormalization { axis: -1, .. }))
    }
}

/// A block that a new one is made after, what its weights have to be for it to change nothing, and their shapes.
pub(super) struct Template<'k, 'g> {
    pub known: &'k Known<'g>,
    pub block: &'g Block,
    pub parts: Parts,
    pub shapes: BTreeMap<ValueId, Vec<usize>>,
    /// Convolutions whose channels are groups of their own, with their number.
    pub groups: HashMap<NodeId, usize>,
}

impl<'k, 'g> Template<'k, 'g> {
    /// For a new block like block `at` of the deeper network behind block `place` of the other one; the error says why there is
    /// none. The nearest block of the other network that has this form is taken; if it has none, the deeper network's.
    pub fn find(deep: &'k Known<'g>, own: &'k Known<'g>, at: usize, place: usize) -> Result<Self, String> {
        let wanted = &deep.blocks[at];
        if wanted.input.is_none() {
            return Err("it is the first one".into());
        }
        if !wanted.keeps_shape {
            return Err("what flows out has another form than what flows in".into());
        }
        let mut near: Vec<usize> =
            (0..own.blocks.len()).filter(|&other| own.blocks[other].signature == wanted.signature).collect();
        near.sort_by_key(|&other| (other.abs_diff(place), other));
        let own_blocks = near.into_iter().map(|other| (own, &own.blocks[other]));
        let waist = own.blocks[place].output;
        let Some(shape) = own.facts.shape(waist) else { return Err("the form of its input is not known".into()) };
        let mut reason = String::new();
        // First those of the same widths.
        let mut candidates: Vec<(&'k Known<'g>, &'g Block)> = own_blocks.chain([(deep, wanted)]).collect();
        let is_alike = |(known, block): &(&'k Known<'g>, &'g Block)| {
            let of = |value: ValueId| known.facts.shape(value).is_some_and(|found| widths(found) == widths(shape));
            block.input.is_some_and(of) && of(block.output)
        };
        candidates.sort_by_key(|candidate| !is_alike(candidate));
        for (known, block) in candidates {
            match Self::of(known, block, own, waist, shape) {
                Ok(found) => return Ok(found),
                Err(found) => reason = found,
            }
        }
        Err(reason)
    }

    fn of(
        known: &'k Known<'g>,
        block: &'g Block,
        own: &Known<'_>,
        waist: ValueId,
        shape: &Shape,
    ) -> Result<Self, String> {
        let input = block.input.ok_or("it is the first one")?;
        let goal = Goal {
            graph: known.graph,
            producers: &known.producers,
            readers: &known.readers,
            nodes: block.nodes.iter().copied().collect(),
            input,
            output: block.output,
            range: range(own.graph, &own.producers, waist),
            is_normalised: own.is_normalised(waist),
        };
        let parts = goal.parts().ok_or_else(|| {
            let low = goal.range.0;
            let negative = if low >= 0.0 { "" } else { ", and what flows in may be negative" };
            format!("no weights let '{}' pass everything{negative}", block.name)
        })?;
        let sizes = Sizes::of(known, block, input, shape)?;
        let (mut shapes, mut groups) = (BTreeMap::new(), HashMap::new());
        for &node in &block.nodes {
            for &id in known.graph.node(node).inputs.iter().flatten() {
                if let Some(tensor) = known.graph.initializer(id) {
                    shapes.insert(id, sizes.shape(known, id, tensor));
                }
            }
            if let Operator::Conv(conv) = &known.graph.node(node).operator
                && conv.groups > 1
                && let Some(weight) = known.graph.node(node).input(1)
                && let (Some(old), Some(new)) = (known.graph.initializer(weight), shapes.get(&weight))
                && old.shape()[0] == conv.groups
            {
                groups.insert(node, new[0]);
            }
        }
        let found = Self { known, block, parts, shapes, groups };
        found.check()?;
        Ok(found)
    }

    /// Whether identities are square, and what is not learned keeps its shape.
    fn check(&self) -> Result<(), String> {
        for (id, shape) in &self.shapes {
            let tensor = self.known.graph.initializer(*id).ok_or("a constant is missing")?;
            if !self.known.graph.is_weight(*id) && tensor.shape() != shape.as_slice() {
                return Err(format!("'{}' has a fixed form", self.known.graph.value(*id).name));
            }
            if matches!(self.parts.get(id), Some(Part::Same { .. })) && shape[0] != shape[1] {
                return Err(format!("'{}' does not give out as many numbers as it takes", self.block.name));
            }
        }
        Ok(())
    }

    /// The tensor of a weight of the new block: what it has to be, or else numbers as large as the template's.
    pub fn tensor(&self, id: ValueId, random: &mut SplitMix) -> Option<Tensor> {
        let old = self.known.graph.initializer(id)?;
        let shape = self.shapes.get(&id)?;
        if !self.known.graph.is_weight(id) {
            return Some(old.clone());
        }
        let values = match self.parts.get(&id) {
            Some(Part::Zero | Part::ShiftInFront) => vec![0.0; shape.iter().product()],
            Some(Part::One | Part::ScaleInFront) => vec![1.0; shape.iter().product()],
            Some(Part::UndoneBy { epsilon }) => vec![(1.0 + epsilon).sqrt(); shape.iter().product()],
            Some(Part::Same { .. }) => identity(shape, false),
            Some(Part::SameDepthwise) => identity(shape, true),
            None => drawn(shape, &old.to_f32()?, random),
        };
        Some(Tensor::from_f32_as(old.data_type(), shape, values))
    }
}

/// The lengths of a value's axes, but for those that stay open.
fn widths(shape: &Shape) -> Vec<Option<usize>> {
    shape.iter().map(otfuse_graph::Dim::as_known).collect()
}

/// The matrix, or the middle of the windows, that leaves everything as it is.
fn identity(shape: &[usize], is_depthwise: bool) -> Vec<f32> {
    let inner: usize = shape[2..].iter().product();
    // The middle of each axis of the kernel.
    let middle = shape[2..].iter().fold(0, |at, &length| at * length + length / 2);
    let mut values = vec![0.0; shape.iter().product()];
    for at in 0..shape[0] {
        let column = if is_depthwise { 0 } else { at };
        values[(at * shape[1] + column) * inner + middle] = 1.0;
    }
    values
}

/// Numbers like others: normal ones of the same size for matrices and windows, for the rest their mean.
fn drawn(shape: &[usize], like: &[f32], random: &mut SplitMix) -> Vec<f32> {
    let count = like.len().max(1) as f64;
    let length = shape.iter().product();
    if shape.len() < 2 {
        let mean = like.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        return vec![mean as f32; length];
    }
    let size = (like.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / count).sqrt();
    let normal = |random: &mut SplitMix| {
        let (radius, angle) = ((-2.0 * random.unit().ln()).sqrt(), std::f64::consts::TAU * random.unit());
        (size * radius * angle.cos()) as f32
    };
    (0..length).map(|_| normal(random)).collect()
}

/// Whether neurons of a value are on another axis: of positions there may be any number.
fn is_position(known: &Known<'_>, value: ValueId, axis: usize) -> bool {
    let mut seen = known.groups.iter().flat_map(|(_, group)| &group.observations);
    seen.any(|seen| seen.value == value && seen.axis != axis)
}

/// How many neurons the groups of a template have in the new block, where that is another number.
struct Sizes {
    of_ends: BTreeMap<GroupId, usize>,
    /// New over old width, for groups inside of the block.
    factor: f64,
}

impl Sizes {
    fn of(known: &Known<'_>, block: &Block, input: ValueId, shape: &Shape) -> Result<Self, String> {
        let mut of_ends = BTreeMap::new();
        let (mut factor, mut differs) = (1.0, false);
        for value in [input, block.output] {
            let old = known.facts.shape(value).ok_or("the form of its values is not known")?;
            if old.len() != shape.len() {
                return Err("what flows in has another number of axes".into());
            }
            for (axis, (old, new)) in old.iter().zip(shape).enumerate() {
                let (Some(old), Some(new)) = (old.as_known(), new.as_known()) else { continue };
                let group = known.groups.iter().find(|(_, group)| {
                    group.observations.iter().any(|seen| {
                        (seen.value, seen.axis) == (value, axis)
                            && matches!(*seen.layout, otfuse_graph::AxisLayout::Group(_))
                    })
                });
                match group {
                    Some((group, _)) => {
                        of_ends.insert(group, new);
                        differs |= old != new;
                        if value == block.output {
                            factor = new as f64 / old as f64;
                        }
                    }
                    None if old == new || is_position(known, value, axis) => {}
                    None => return Err(format!("the width {old} cannot become {new}")),
                }
            }
        }
        if !differs {
            of_ends.clear();
        }
        Ok(Self { of_ends, factor })
    }

    fn shape(&self, known: &Known<'_>, id: ValueId, tensor: &Tensor) -> Vec<usize> {
        let Some(layouts) = known.groups.layouts(id).filter(|_| !self.of_ends.is_empty()) else {
            return tensor.shape().to_vec();
        };
        let size = |group: GroupId| {
            let old = known.groups.group(group).size;
            let scaled = ((old as f64 * self.factor).round() as usize).max(1);
            self.of_ends.get(&group).copied().unwrap_or(scaled)
        };
        let of = |(axis, layout): (usize, &otfuse_graph::AxisLayout)| match layout.is_fixed() {
            true => tensor.shape()[axis],
            false => layout.length(&size),
        };
        layouts.iter().enumerate().map(of).collect()
    }
}
