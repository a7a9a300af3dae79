//! Neuron groups: the result of the analysis.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::id;
use crate::symmetry::PinReason;
use crate::{NodeId, ValueId};

id!(
    /// A neuron group of a [`NeuronGroups`].
    GroupId,
    "g"
);

/// How the indices of one axis map to neurons: the index map of flatten, concat, reshape and split.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisLayout {
    /// Index i is neuron i of the group.
    Group(GroupId),
    /// Indices whose order is fixed, so many of them.
    Fixed(usize),
    /// Parts behind one another (concat).
    Sequence(Vec<AxisLayout>),
    /// Row-major product, the first factor being the slowest (flatten: channel times position).
    Product(Vec<AxisLayout>),
}

/// What an axis of a weight does with the neurons of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The index is a neuron as an output: rows of a linear weight, biases, normalisation parameters.
    Producer,
    /// The index is a neuron as an input that is summed over: columns of the next weight.
    Consumer,
}

/// One weight axis that carries the neurons of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The weight.
    pub initializer: ValueId,
    /// The axis of the weight.
    pub axis: usize,
    /// What the axis does with the neurons.
    pub role: Role,
    /// The first node that reads the weight.
    pub node: NodeId,
}

/// One axis of a computed value on which the neurons of a group can be observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The value.
    pub value: ValueId,
    /// Its axis.
    pub axis: usize,
    /// How the indices of the axis map to neurons; shared by the groups on the axis.
    pub layout: Arc<AxisLayout>,
    /// The node that computes it.
    pub node: NodeId,
}

/// Neurons whose order is free: permuting them in all members leaves the network's function as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct NeuronGroup {
    /// The number of neurons; within another group, of those in one of its neurons.
    pub size: usize,
    /// The group that these neurons are inside of: each of its neurons may have its own order of them, as each attention
    /// head has of its channels.
    pub within: Option<GroupId>,
    /// All weight axes that carry them, in the order of the nodes that read them.
    pub members: Vec<Member>,
    /// All computed values that carry them, in the order of the nodes.
    pub observations: Vec<Observation>,
}

impl NeuronGroup {
    /// The members of a role.
    pub fn members_as(&self, role: Role) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.role == role)
    }
}

/// Neurons whose order is fixed although a weight carries them.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedGroup {
    /// The number of neurons.
    pub size: usize,
    /// All weight axes that carry them.
    pub members: Vec<Member>,
    /// Why the order is fixed.
    pub reason: PinReason,
}

/// All neuron groups of a graph, in topological order of their first producers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct NeuronGroups {
    pub(crate) groups: Vec<NeuronGroup>,
    pub(crate) pinned: Vec<PinnedGroup>,
    pub(crate) layouts: BTreeMap<ValueId, Vec<AxisLayout>>,
}

impl NeuronGroups {
    /// The number of free groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether no order is free.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The free groups.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (GroupId, &NeuronGroup)> {
        self.groups.iter().enumerate().map(|(index, group)| (GroupId::new(index), group))
    }

    /// A free group. Panics if the id is of another analysis.
    pub fn group(&self, id: GroupId) -> &NeuronGroup {
        &self.groups[id.index()]
    }

    /// The groups within a group.
    pub fn inside(&self, outer: GroupId) -> impl Iterator<Item = GroupId> {
        self.iter().filter(move |(_, group)| group.within == Some(outer)).map(|(id, _)| id)
    }

    /// What is not free, and why.
    pub fn pinned(&self) -> &[PinnedGroup] {
        &self.pinned
    }

    /// The index maps of all axes of a weight.
    pub fn layouts(&self, value: ValueId) -> Option<&[AxisLayout]> {
        self.layouts.get(&value).map(Vec::as_slice)
    }
}

impl AxisLayout {
    /// Whether any neuron of a free group is on the axis.
    pub fn is_fixed(&self) -> bool {
        match self {
            Self::Group(_) => false,
            Self::Fixed(_) => true,
            Self::Sequence(parts) | Self::Product(parts) => parts.iter().all(Self::is_fixed),
        }
    }

    /// The groups on the axis, in order, as often as they occur.
    pub fn groups(&self) -> Vec<GroupId> {
        match self {
            Self::Group(group) => vec![*group],
            Self::Fixed(_) => Vec::new(),
            Self::Sequence(parts) | Self::Product(parts) => parts.iter().flat_map(Self::groups).collect(),
        }
    }

    /// The length of the axis, given the size of each group.
    pub fn length(&self, size: &impl Fn(GroupId) -> usize) -> usize {
        match self {
            Self::Group(group) => size(*group),
            Self::Fixed(length) => *length,
            Self::Sequence(parts) => parts.iter().map(|part| part.length(size)).sum(),
            Self::Product(factors) => factors.iter().map(|factor| factor.length(size)).product(),
        }
    }

    /// The neuron of `group` that each index of the axis belongs to; `None` for indices of other groups. (Where a group
    /// is in two factors of a product, the first counts.)
    pub fn neurons(&self, group: GroupId, size: &impl Fn(GroupId) -> usize) -> Vec<Option<usize>> {
        match self {
            Self::Group(found) if *found == group => (0..size(group)).map(Some).collect(),
            Self::Group(_) | Self::Fixed(_) => vec![None; self.length(size)],
            Self::Sequence(parts) => parts.iter().flat_map(|part| part.neurons(group, size)).collect(),
            Self::Product(factors) => factors.iter().fold(vec![None], |outer, factor| {
                let inner = factor.neurons(group, size);
                let pairs = outer.iter().flat_map(|&slow| inner.iter().map(move |&fast| slow.or(fast)));
                pairs.collect()
            }),
        }
    }

    /// The neuron of each group that an index of the axis belongs to.
    pub fn neurons_at(&self, index: usize, size: &impl Fn(GroupId) -> usize) -> Vec<(GroupId, usize)> {
        match self {
            Self::Group(group) => vec![(*group, index)],
            Self::Fixed(_) => Vec::new(),
            Self::Sequence(parts) => {
                let mut rest = index;
                for part in parts {
                    let length = part.length(size);
                    if rest < length {
                        return part.neurons_at(rest, size);
                    }
                    rest -= length;
                }
                Vec::new()
            }
            Self::Product(factors) => {
                let mut rest = index;
                let mut digits = Vec::with_capacity(factors.len());
                for factor in factors.iter().rev() {
                    let length = factor.length(size).max(1);
                    digits.push(factor.neurons_at(rest % length, size));
                    rest /= length;
                }
                digits.into_iter().rev().flatten().collect()
            }
        }
    }

    /// The index that `index` becomes if the neuron `i` of each group becomes `chosen(group, i)`; sizes stay.
    pub fn moved(
        &self,
        index: usize,
        size: &impl Fn(GroupId) -> usize,
        chosen: &impl Fn(GroupId, usize) -> usize,
    ) -> usize {
        match self {
            Self::Group(group) => chosen(*group, index),
            Self::Fixed(_) => index,
            Self::Sequence(parts) => {
                let mut offset = 0;
                for part in parts {
                    let length = part.length(size);
                    if index < offset + length {
                        return offset + part.moved(index - offset, size, chosen);
                    }
                    offset += length;
                }
                index
            }
            Self::Product(factors) => {
                let (mut rest, mut stride, mut result) = (index, 1, 0);
                for factor in factors.iter().rev() {
                    let length = factor.length(size).max(1);
                    result += stride * factor.moved(rest % length, size, chosen);
                    rest /= length;
                    stride *= length;
                }
                result
            }
        }
    }

    /// The axis with the neurons of each group chosen anew: index `i` of the new axis is index `result[i]` of the old
    /// one. `chosen` lists the old neurons that the new ones are (a permutation, or a choice with omissions and
    /// repetitions); `size` is the old number of neurons. Takes time proportional to the new axis.
    pub fn reindexed<'a>(
        &self,
        size: &impl Fn(GroupId) -> usize,
        chosen: &impl Fn(GroupId) -> &'a [usize],
    ) -> Vec<usize> {
        match self {
            Self::Group(group) => chosen(*group).to_vec(),
            Self::Fixed(length) => (0..*length).collect(),
            Self::Sequence(parts) => {
                let (mut result, mut offset) = (Vec::new(), 0);
                for part in parts {
                    result.extend(part.reindexed(size, chosen).into_iter().map(|index| offset + index));
                    offset += part.length(size);
                }
                result
            }
            Self::Product(factors) => factors.iter().fold(vec![0], |outer, factor| {
                let (inner, length) = (factor.reindexed(size, chosen), factor.length(size));
                let pairs = outer.iter().flat_map(|&slow| inner.iter().map(move |&fast| slow * length + fast));
                pairs.collect()
            }),
        }
    }
}
