//! From axis rules to neuron groups.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::symmetry::analysis::Analysis;
use crate::symmetry::group::{AxisLayout, GroupId, Member, NeuronGroup, NeuronGroups, Observation, PinnedGroup, Role};
use crate::symmetry::layout::{BlockId, Layout};
use crate::symmetry::{Mutation, PinReason, nesting, rules};
use crate::{Facts, Graph, InferenceError, Node, NodeId, ValueId};

impl NeuronGroups {
    /// Finds the neuron groups of a graph: each operator states how its axes map, union-find over these statements
    /// yields the groups. Axes of the network's inputs and outputs are pinned, and so is what an operator without a
    /// rule touches. About linear in the size of the graph.
    pub fn of(graph: &Graph) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, &Ends { pin_outputs: true, ..Ends::default() }))
    }

    /// As [`of`](Self::of), with the axes of the network's outputs free. Reordering such a group reorders the outputs.
    pub fn with_free_outputs(graph: &Graph) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, &Ends::default()))
    }

    /// As [`of`](Self::of), with all axes of known length of these inputs free but the first, which counts samples. Reordering
    /// such a group makes a network that takes its inputs in another order: the same network where they are noise. The
    /// [`layouts`](Self::layouts) of these inputs are known, too.
    pub fn with_free_inputs(graph: &Graph, inputs: &[ValueId]) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, &Ends { pin_outputs: true, inputs, mutation: None }))
    }

    /// As [`of`](Self::of) with a wrong rule, for tests of what proves the rules.
    #[doc(hidden)]
    pub fn mutated(graph: &Graph, mutation: &Mutation) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, &Ends { pin_outputs: true, inputs: &[], mutation: Some(mutation) }))
    }

    fn analyse(graph: &Graph, facts: &Facts, ends: &Ends) -> Self {
        let mut analysis = Analysis::of_sources(graph, facts, ends.inputs);
        for (id, node) in graph.nodes() {
            analysis.begin(id, node);
            match ends.mutation.filter(|mutation| mutation.operator == node.operator.name()) {
                Some(mutation) => mutation.apply(&mut analysis, node),
                None => rules::apply(&mut analysis, node),
            }
            analysis.note_uniform(node);
        }
        if ends.pin_outputs {
            analysis.pin_outputs();
        }
        analysis.pin_unknown();
        let collection = Collection { analysis: &analysis, inputs: ends.inputs };
        let groups = collection.groups();
        if analysis.blocks.is_exhausted() { collection.nothing_free() } else { groups }
    }
}

/// What is free at the ends of a network, and which rule is spoiled.
#[derive(Default)]
struct Ends<'a> {
    pin_outputs: bool,
    /// Inputs whose axes are free.
    inputs: &'a [ValueId],
    mutation: Option<&'a Mutation>,
}

/// Brings the axes of an analysis together in groups.
struct Collection<'a> {
    analysis: &'a Analysis<'a>,
    inputs: &'a [ValueId],
}

/// The group of each block that is free.
type Ids = HashMap<BlockId, GroupId>;

impl Collection<'_> {
    fn groups(&self) -> NeuronGroups {
        let (free, pinned) = self.blocks();
        let ids: Ids = free.iter().enumerate().map(|(index, (block, _))| (*block, GroupId::new(index))).collect();
        let within = self.within(&ids);
        if self.analysis.blocks.is_exhausted() {
            return NeuronGroups::default();
        }
        let mut groups: Vec<NeuronGroup> = free.into_iter().map(|(_, group)| group).collect();
        for (group, outer) in groups.iter_mut().zip(within) {
            group.within = outer;
        }
        let layouts = self.analysis.graph.initializers().map(|(id, tensor)| {
            let axes = self.analysis.own_axes(id).iter().zip(tensor.shape());
            let layout =
                |(axis, &length): (&Layout, &usize)| self.axis_layout(axis, &ids).unwrap_or(AxisLayout::Fixed(length));
            (id, axes.map(layout).collect::<Vec<_>>())
        });
        let of_inputs = self.inputs.iter().map(|&input| {
            let layout = |axis| self.axis_layout(axis, &ids).unwrap_or(AxisLayout::Fixed(1));
            (input, self.analysis.own_axes(input).iter().map(layout).collect())
        });
        let layouts = layouts.chain(of_inputs).collect();
        for observation in self.observations(&ids) {
            for group in BTreeSet::from_iter(observation.layout.groups()) {
                groups[group.index()].observations.push(observation.clone());
            }
        }
        NeuronGroups { groups, pinned, layouts }
    }

    /// No groups, since the axes have more parts than are followed.
    fn nothing_free(&self) -> NeuronGroups {
        let graph = self.analysis.graph;
        let mut pinned = Vec::new();
        let mut layouts = BTreeMap::new();
        for (id, tensor) in graph.initializers() {
            layouts.insert(id, tensor.shape().iter().map(|&length| AxisLayout::Fixed(length)).collect::<Vec<_>>());
            let Some(node) = self.analysis.first_reader(id).filter(|_| graph.is_weight(id)) else { continue };
            for (axis, &size) in tensor.shape().iter().enumerate().filter(|(_, size)| **size > 1) {
                let member = Member { initializer: id, axis, role: self.analysis.role(id, axis), node };
                pinned.push(PinnedGroup { size, members: vec![member], reason: PinReason::TooManyParts });
            }
        }
        for &input in self.inputs {
            let lengths = self.analysis.shape(input).unwrap_or_default();
            let fixed = lengths.iter().map(|length| AxisLayout::Fixed(length.as_known().unwrap_or(1)));
            layouts.insert(input, fixed.collect());
        }
        NeuronGroups { groups: Vec::new(), pinned, layouts }
    }

    /// The axes of weights by blocks, and how early each block comes.
    fn members(&self) -> (BTreeMap<BlockId, Vec<Member>>, HashMap<BlockId, usize>) {
        let analysis = self.analysis;
        let mut members: BTreeMap<BlockId, Vec<Member>> = BTreeMap::new();
        let mut order: HashMap<BlockId, usize> = HashMap::new();
        // What holds nothing may be of any length, and nothing can be reordered there.
        let weights =
            analysis.graph.initializers().filter(|(id, tensor)| analysis.graph.is_weight(*id) && !tensor.is_empty());
        for (id, _) in weights {
            let Some(node) = analysis.first_reader(id) else {
                continue;
            };
            for (axis, layout) in analysis.own_axes(id).iter().enumerate() {
                for block in analysis.blocks.leaves(layout) {
                    let rank = order.len();
                    order.entry(block).or_insert(rank);
                    let member = Member { initializer: id, axis, role: analysis.role(id, axis), node };
                    members.entry(block).or_default().push(member);
                }
            }
        }
        (members, order)
    }

    /// The blocks that are free, in the order of their producers, and those that are pinned.
    fn blocks(&self) -> (Vec<(BlockId, NeuronGroup)>, Vec<PinnedGroup>) {
        let blocks = &self.analysis.blocks;
        let (members, order) = self.members();
        let (mut free, mut pinned) = (Vec::new(), Vec::new());
        for (block, mut members) in members {
            members.sort_by_key(|member| (member.node, member.initializer, member.axis));
            members.dedup();
            let Some(size) = blocks.size(&Layout::Block(block)).as_known().filter(|&size| size > 0) else {
                continue;
            };
            match blocks.pin_reason(block) {
                None => free.push((block, NeuronGroup { size, within: None, members, observations: Vec::new() })),
                Some(PinReason::Position) => {}
                Some(reason) => pinned.push(PinnedGroup { size, members, reason: reason.clone() }),
            }
        }
        let first = |members: &[Member]| {
            let producer = members.iter().find(|member| member.role == Role::Producer);
            producer.or(members.first()).map(|member| (member.node, member.initializer, member.axis))
        };
        free.sort_by_key(|(block, group)| (first(&group.members), order[block]));
        pinned.sort_by_key(|group| first(&group.members));
        (free, pinned)
    }

    /// The axes of computed values whose lengths are known, in the order of the nodes.
    fn observations(&self, ids: &Ids) -> Vec<Observation> {
        let outputs =
            |(id, node): (NodeId, &Node)| node.outputs.iter().flatten().map(|&value| (id, value)).collect::<Vec<_>>();
        let axes = self.analysis.graph.nodes().flat_map(outputs).flat_map(|(node, value)| {
            self.analysis.own_axes(value).iter().enumerate().map(move |(axis, layout)| (node, value, axis, layout))
        });
        axes.filter_map(|(node, value, axis, layout)| {
            Some(Observation { value, axis, layout: Arc::new(self.axis_layout(layout, ids)?), node })
        })
        .collect()
    }

    /// The group that each group is within, one level deep.
    fn within(&self, ids: &Ids) -> Vec<Option<GroupId>> {
        let free: BTreeSet<BlockId> = ids.keys().copied().collect();
        let candidates = nesting::candidates(self.analysis, &free);
        let mut by_group: Vec<(GroupId, BTreeSet<GroupId>)> = candidates
            .iter()
            .map(|(block, outer)| (ids[block], outer.iter().map(|outer| ids[outer]).collect()))
            .collect();
        by_group.sort();
        let mut within: Vec<Option<GroupId>> = vec![None; ids.len()];
        // Those that are within nothing first: they are what others can be within.
        let outermost: HashSet<GroupId> =
            by_group.iter().filter(|(_, outer)| outer.is_empty()).map(|(group, _)| *group).collect();
        for (group, outer) in &by_group {
            within[group.index()] = outer.iter().copied().find(|outer| outermost.contains(outer));
        }
        within
    }

    fn axis_layouts(&self, parts: &[Layout], ids: &Ids) -> Option<Vec<AxisLayout>> {
        self.analysis.blocks.charge(KEPT * parts.len());
        parts.iter().map(|part| self.axis_layout(part, ids)).collect()
    }

    /// The layout in terms of groups; `None` if a length is unknown.
    fn axis_layout(&self, layout: &Layout, ids: &Ids) -> Option<AxisLayout> {
        let resolved = self.analysis.blocks.resolve(layout);
        let length = self.analysis.blocks.size(&resolved).as_known();
        let parts = match &resolved {
            Layout::Block(block) => {
                return match ids.get(block) {
                    Some(&group) => Some(AxisLayout::Group(group)),
                    None => length.map(AxisLayout::Fixed),
                };
            }
            Layout::Sequence(parts) => self.axis_layouts(parts, ids)?,
            Layout::Product(factors) => self.axis_layouts(factors, ids)?,
        };
        if parts.iter().all(AxisLayout::is_fixed) {
            return length.map(AxisLayout::Fixed);
        }
        Some(match resolved {
            Layout::Sequence(_) => AxisLayout::Sequence(join_fixed(parts, |a, b| a + b)),
            _ => AxisLayout::Product(join_fixed(parts, |a, b| a * b)),
        })
    }
}

/// What a part costs that is kept, in parts that are looked at.
const KEPT: usize = 4;

/// Neighbouring fixed parts made one.
fn join_fixed(parts: Vec<AxisLayout>, join: impl Fn(usize, usize) -> usize) -> Vec<AxisLayout> {
    let mut joined: Vec<AxisLayout> = Vec::with_capacity(parts.len());
    for part in parts {
        match (joined.last_mut(), &part) {
            (Some(AxisLayout::Fixed(before)), AxisLayout::Fixed(length)) => *before = join(*before, *length),
            _ => joined.push(part),
        }
    }
    joined
}
