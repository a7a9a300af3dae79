//! Networks of fewer neurons.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::symmetry::{AxisLayout, GroupId, NeuronGroups};
use crate::{
    Conv, Dim, Facts, Graph, GraphEditor, GraphError, InferenceError, Node, NodeId, Operator, PadMode, Tensor, ValueId,
};

/// Why some neurons cannot be taken out of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// What is left is no valid graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What is left does not fit together.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// A value has not the length that follows from the neurons that are left: a node has a length of its own.
    #[error("'{value}': expected length {expected} of axis {axis}, found {found}")]
    Length {
        /// The value.
        value: String,
        /// Its axis.
        axis: usize,
        /// The neurons that are left on it.
        expected: Dim,
        /// The length that the network computes.
        found: Dim,
    },
}

/// The network with some neurons of every free group: neuron `i` of group `g` in the result is neuron `chosen[g][i]` of
/// `graph`. Without some neurons it computes what it would if these gave zeros to whatever reads them (but for
/// normalisations over the neurons themselves, whose mean and variance are those of what is left).
///
/// `chosen` lists, for each free group, the neurons that stay, ascending. Lengths that follow from the number of neurons
/// (groups of convolutions, targets of reshapes, bounds of slices, splits and pads) are adapted, and the shapes of all
/// values are checked against what is left. Takes time and space proportional to the weights.
///
/// # Errors
/// [`SelectError`] where a length that is fixed otherwise contradicts the choice.
pub fn select(graph: &Graph, groups: &NeuronGroups, chosen: &[Vec<usize>]) -> Result<Graph, SelectError> {
    let selection = Selection::new(graph, groups, chosen)?;
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers() {
        let Some(layouts) = groups.layouts(id) else { continue };
        let mut smaller = tensor.clone();
        for (axis, layout) in layouts.iter().enumerate().filter(|(_, layout)| !layout.is_fixed()) {
            smaller = gather(&smaller, axis, &selection.kept(layout))?;
        }
        if smaller.shape() != tensor.shape() {
            editor.set_tensor(id, smaller);
        }
    }
    for (id, node) in graph.nodes() {
        if let Some(operator) = selection.operator(&editor, node) {
            editor.set_operator(id, operator);
        }
    }
    selection.replace_constants(&mut editor);
    for (id, value) in graph.values() {
        let is_end = graph.inputs().contains(&id) || graph.outputs().contains(&id);
        if value.declared.is_some() && !is_end {
            editor.declare(id, None);
        }
    }
    let result = editor.finish()?;
    selection.check(&result)?;
    Ok(result)
}

struct Selection<'a> {
    graph: &'a Graph,
    groups: &'a NeuronGroups,
    chosen: &'a [Vec<usize>],
    /// Axes of computed values on which there are neurons.
    observed: HashMap<(ValueId, usize), &'a AxisLayout>,
    facts: Facts,
}

impl<'a> Selection<'a> {
    fn new(graph: &'a Graph, groups: &'a NeuronGroups, chosen: &'a [Vec<usize>]) -> Result<Self, InferenceError> {
        let observations = groups.iter().flat_map(|(_, group)| &group.observations);
        let observed = observations.map(|found| ((found.value, found.axis), &*found.layout)).collect();
        Ok(Self { graph, groups, chosen, observed, facts: Facts::of(graph)? })
    }

    /// The indices of an axis that stay, ascending.
    fn kept(&self, layout: &AxisLayout) -> Vec<usize> {
        let size = |group: GroupId| self.groups.group(group).size;
        layout.reindexed(&size, &|group| self.chosen[group.index()].as_slice())
    }

    /// The indices that stay of an axis of a value; `None` if there are no neurons on it, so that all do.
    fn kept_on(&self, value: Option<ValueId>, axis: usize) -> Option<Vec<usize>> {
        let value = value?;
        let layout = self.observed.get(&(value, axis)).copied();
        let layout = layout.or_else(|| self.groups.layouts(value)?.get(axis))?;
        Some(self.kept(layout))
    }

    /// What a node computes now, where that is another operator.
    fn operator(&self, editor: &GraphEditor, node: &Node) -> Option<Operator> {
        let weight = editor.graph().initializer(node.input(1)?).map(Tensor::shape);
        match &node.operator {
            Operator::Conv(conv) if conv.groups > 1 => {
                let channels = self.kept_on(node.input(0), 1)?.len();
                let groups = channels / weight?.get(1).copied().filter(|&length| length > 0)?;
                (groups != conv.groups).then(|| Operator::Conv(Conv { groups, ..conv.clone() }))
            }
            Operator::ConvTranspose(conv) if conv.groups > 1 => {
                let channels = self.kept_on(node.output(0), 1)?.len();
                let mut conv = conv.clone();
                let groups = channels / weight?.get(1).copied().filter(|&length| length > 0)?;
                let changed = groups != std::mem::replace(&mut conv.groups, groups);
                changed.then_some(Operator::ConvTranspose(conv))
            }
            _ => None,
        }
    }

    /// Gives nodes the integers that follow from what is left. A constant that only some of its readers need otherwise
    /// gets a twin.
    fn replace_constants(&self, editor: &mut GraphEditor) {
        let mut wanted: BTreeMap<ValueId, Vec<(NodeId, usize, Vec<i64>)>> = BTreeMap::new();
        for (id, node) in self.graph.nodes() {
            for (position, values) in self.integers(node).unwrap_or_default() {
                if let Some(value) = node.input(position) {
                    wanted.entry(value).or_default().push((id, position, values));
                }
            }
        }
        let readers = self.graph.consumers();
        for (value, uses) in wanted {
            let Some(tensor) = self.graph.initializer(value) else { continue };
            let all = readers.get(&value).map_or(0, Vec::len) == uses.len();
            let first = uses.first().map(|(_, _, values)| values.clone()).unwrap_or_default();
            if all && uses.iter().all(|(_, _, values)| *values == first) {
                editor.set_tensor(value, Tensor::from_i64(tensor.shape(), first));
                continue;
            }
            for (node, position, values) in uses {
                let twin = Tensor::from_i64(tensor.shape(), values);
                let twin = editor.add_initializer(self.graph.value(value).name.as_str(), twin);
                editor.set_input(node, position, Some(twin));
            }
        }
    }

    /// The integers of an input that is a constant.
    fn constant(&self, node: &Node, position: usize) -> Option<Vec<i64>> {
        self.graph.initializer(node.input(position)?)?.to_i64()
    }

    /// Constant inputs of a node, by their positions, with what they have to be.
    fn integers(&self, node: &Node) -> Option<Vec<(usize, Vec<i64>)>> {
        match &node.operator {
            Operator::Reshape { .. } | Operator::Expand => {
                let mut target = self.constant(node, 1)?;
                for (axis, length) in target.iter_mut().enumerate().filter(|(_, length)| **length > 1) {
                    *length = self.kept_on(node.output(0), axis).map_or(*length, |kept| kept.len() as i64);
                }
                Some(vec![(1, target)])
            }
            Operator::Split { axis } => {
                let lengths = self.constant(node, 1)?;
                let rank = self.rank(node.output(0)?)?;
                let kept = self.kept_on(node.input(0), position(*axis, rank)?)?;
                let mut start = 0;
                let parts = lengths.iter().map(|&length| {
                    let before = start;
                    start += length;
                    below(&kept, start) - below(&kept, before)
                });
                Some(vec![(1, parts.collect())])
            }
            Operator::Slice => self.slice(node),
            Operator::Pad(PadMode::Constant) => self.pad(node),
            _ => None,
        }
    }

    fn slice(&self, node: &Node) -> Option<Vec<(usize, Vec<i64>)>> {
        let (mut starts, mut ends) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let axes = self.axes(node, 3, starts.len())?;
        let steps = if node.input(4).is_some() { self.constant(node, 4)? } else { vec![1; starts.len()] };
        for (index, axis) in axes.into_iter().enumerate() {
            let Some((kept, length)) = self.kept_on(node.input(0), axis).zip(self.length(node.input(0)?, axis)) else {
                continue;
            };
            if steps.get(index) != Some(&1) {
                continue;
            }
            for bounds in [&mut starts, &mut ends] {
                let bound = bounds.get_mut(index)?;
                if *bound < length {
                    *bound = below(&kept, if *bound < 0 { (*bound).saturating_add(length) } else { *bound });
                }
            }
        }
        Some(vec![(1, starts), (2, ends)])
    }

    fn pad(&self, node: &Node) -> Option<Vec<(usize, Vec<i64>)>> {
        let mut pads = self.constant(node, 1)?;
        let count = pads.len() / 2;
        for (index, axis) in self.axes(node, 3, count)?.into_iter().enumerate() {
            let (begin, end) = (*pads.get(index)?, *pads.get(count + index)?);
            let found = self.kept_on(node.output(0), axis).zip(self.length(node.output(0)?, axis));
            let Some((kept, length)) = found.filter(|_| begin >= 0 && end >= 0) else { continue };
            *pads.get_mut(index)? = below(&kept, begin);
            *pads.get_mut(count + index)? = kept.len() as i64 - below(&kept, length - end);
        }
        Some(vec![(1, pads)])
    }

    /// The axes that a node's input lists, or the first `count`.
    fn axes(&self, node: &Node, input: usize, count: usize) -> Option<Vec<usize>> {
        if node.input(input).is_none() {
            return Some((0..count).collect());
        }
        let rank = self.rank(node.output(0)?)?;
        self.constant(node, input)?.into_iter().map(|axis| position(axis, rank)).collect()
    }

    fn rank(&self, value: ValueId) -> Option<usize> {
        self.facts.shape(value).map(|shape| shape.len())
    }

    /// The length of an axis with neurons, before any is taken out.
    fn length(&self, value: ValueId, axis: usize) -> Option<i64> {
        let layout = self.observed.get(&(value, axis)).copied();
        let layout = layout.or_else(|| self.groups.layouts(value)?.get(axis))?;
        Some(layout.length(&|group| self.groups.group(group).size) as i64)
    }

    /// Every axis with neurons must be as long as neurons are left, and the ends of the network as they were.
    fn check(&self, result: &Graph) -> Result<(), SelectError> {
        let after = Facts::of(result)?;
        let found = |value: ValueId, axis: usize| -> Option<Dim> {
            let same = result.find_value(&self.graph.value(value).name)?;
            after.shape(same)?.get(axis).cloned()
        };
        let lengths =
            self.observed.iter().map(|(&(value, axis), layout)| (value, axis, Dim::known(self.kept(layout).len())));
        let outputs = self.graph.outputs().iter().flat_map(|&output| {
            let shape = self.facts.shape(output).cloned().unwrap_or_default();
            shape.into_iter().enumerate().map(move |(axis, dim)| (output, axis, dim))
        });
        let wrong = lengths.chain(outputs).filter_map(|(value, axis, expected)| {
            let found = found(value, axis).filter(|found| *found != expected)?;
            Some((value, axis, expected, found))
        });
        match wrong.min_by_key(|&(value, axis, ..)| (value, axis)) {
            None => Ok(()),
            Some((value, axis, expected, found)) => {
                Err(SelectError::Length { value: self.graph.value(value).name.clone(), axis, expected, found })
            }
        }
    }
}

/// How many of the indices that stay are below a bound.
fn below(kept: &[usize], bound: i64) -> i64 {
    kept.iter().filter(|&&index| (index as i64) < bound).count() as i64
}

/// An axis that may be counted from the end.
fn position(axis: i64, rank: usize) -> Option<usize> {
    usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()
}

/// The slices of a tensor along an axis that `indices` name, in their order.
fn gather(tensor: &Tensor, axis: usize, indices: &[usize]) -> Result<Tensor, GraphError> {
    let shape = tensor.shape();
    let inner: usize = shape[axis + 1..].iter().product::<usize>() * tensor.data_type().size();
    let slice = inner * shape[axis];
    let mut data = Vec::with_capacity(tensor.bytes().len());
    if slice > 0 {
        for outer in tensor.bytes().chunks_exact(slice) {
            for &index in indices {
                data.extend_from_slice(&outer[index * inner..(index + 1) * inner]);
            }
        }
    }
    let mut shape = shape.to_vec();
    shape[axis] = indices.len();
    Ok(Tensor::new(tensor.data_type(), shape, Bytes::from(data))?)
}
