//! From axis rules to neuron groups.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::symmetry::group::{AxisLayout, GroupId, Member, NeuronGroup, NeuronGroups, Observation, PinnedGroup, Role};
use crate::symmetry::layout::{BlockId, Blocks, Layout};
use crate::symmetry::rules::Packed;
use crate::symmetry::{Mutation, PinReason, nesting, rules};
use crate::{Dim, Facts, Graph, InferenceError, Node, NodeId, Operator, ValueId};

/// Where the axes of a value come from, if it is a weight or a rearranged weight.
type Origin = (ValueId, Vec<Option<usize>>);

/// The state of the analysis that axis rules work on.
pub(crate) struct Analysis<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) facts: &'a Facts,
    pub(crate) blocks: Blocks,
    axes: HashMap<ValueId, Vec<Layout>>,
    origins: HashMap<ValueId, Origin>,
    /// Axes of weights that are summed over.
    consumed: HashSet<(ValueId, usize)>,
    /// Axes of weights whose index reaches an output.
    produced: HashSet<(ValueId, usize)>,
    /// Values whose elements are all equal: they ask for no order.
    uniform: HashSet<ValueId>,
    first_reader: HashMap<ValueId, NodeId>,
    node: Option<NodeId>,
    /// Values whose first few indices of an axis are told apart by all readers.
    pub(crate) packed: HashMap<ValueId, Packed>,
}

impl NeuronGroups {
    /// Finds the neuron groups of a graph: each operator states how its axes map, union-find over these statements
    /// yields the groups. Axes of the network's inputs and outputs are pinned, and so is what an operator without a
    /// rule touches. About linear in the size of the graph.
    pub fn of(graph: &Graph) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, true, None))
    }

    /// As [`of`](Self::of), with the axes of the network's outputs free. Reordering such a group reorders the outputs.
    pub fn with_free_outputs(graph: &Graph) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, false, None))
    }

    /// As [`of`](Self::of) with a wrong rule, for tests of what proves the rules.
    #[doc(hidden)]
    pub fn mutated(graph: &Graph, mutation: &Mutation) -> Result<Self, InferenceError> {
        Ok(Self::analyse(graph, &Facts::of(graph)?, true, Some(mutation)))
    }

    fn analyse(graph: &Graph, facts: &Facts, pin_outputs: bool, mutation: Option<&Mutation>) -> Self {
        let mut analysis = Analysis {
            graph,
            facts,
            blocks: Blocks::default(),
            axes: HashMap::new(),
            origins: HashMap::new(),
            consumed: HashSet::new(),
            produced: HashSet::new(),
            uniform: HashSet::new(),
            first_reader: HashMap::new(),
            node: None,
            packed: HashMap::new(),
        };
        analysis.enter_sources();
        for (id, node) in graph.nodes() {
            analysis.node = Some(id);
            for &input in node.inputs.iter().flatten() {
                analysis.first_reader.entry(input).or_insert(id);
                if let Some((weight, _)) = analysis.origins.get(&input) {
                    analysis.first_reader.entry(*weight).or_insert(id);
                }
            }
            match mutation.filter(|mutation| mutation.operator == node.operator.name()) {
                Some(mutation) => mutation.apply(&mut analysis, node),
                None => rules::apply(&mut analysis, node),
            }
            analysis.note_uniform(node);
        }
        if pin_outputs {
            analysis.pin_outputs();
        }
        analysis.collect()
    }
}

impl Analysis<'_> {
    fn enter_sources(&mut self) {
        for &input in self.graph.inputs() {
            let Some(shape) = self.facts.shape(input) else { continue };
            let name = &self.graph.value(input).name;
            let reason = |axis| PinReason::NetworkInput { name: name.clone(), axis };
            let layouts = shape.iter().enumerate().map(|(axis, dim)| self.blocks.pinned(dim.clone(), reason(axis)));
            self.axes.insert(input, layouts.collect());
        }
        for (id, tensor) in self.graph.initializers() {
            let is_weight = self.graph.is_weight(id);
            let name = &self.graph.value(id).name;
            let layouts = tensor.shape().iter().map(|&length| match is_weight {
                true => self.blocks.fresh(Dim::known(length)),
                false => self.blocks.pinned(Dim::known(length), PinReason::Constant { name: name.clone() }),
            });
            self.axes.insert(id, layouts.collect());
            if is_weight {
                self.origins.insert(id, (id, (0..tensor.shape().len()).map(Some).collect()));
            }
        }
    }

    fn pin_outputs(&mut self) {
        for &output in self.graph.outputs() {
            let name = self.graph.value(output).name.clone();
            for (axis, layout) in self.axes.get(&output).cloned().unwrap_or_default().iter().enumerate() {
                self.blocks.pin(layout, &PinReason::NetworkOutput { name: name.clone(), axis });
            }
        }
    }

    /// The layouts of a value's axes, if its rank is known. Those of a uniform value are other ones at each reading.
    pub(crate) fn axes(&mut self, value: ValueId) -> Option<Vec<Layout>> {
        if self.uniform.contains(&value) {
            let shape = self.shape(value)?;
            return Some(shape.into_iter().map(|length| self.blocks.fresh(length)).collect());
        }
        self.axes.get(&value).cloned()
    }

    /// Follows values whose elements are all equal through what only moves elements.
    fn note_uniform(&mut self, node: &Node) {
        let reads_uniform = || node.input(0).is_some_and(|input| self.uniform.contains(&input));
        let is_constant = matches!(node.operator, Operator::ConstantOfShape { .. });
        if is_constant || node.operator.copies_elements() && reads_uniform() {
            self.uniform.extend(node.outputs.iter().flatten());
        }
    }

    /// All values whose axes are known.
    pub(crate) fn known_axes(&self) -> impl Iterator<Item = (ValueId, &[Layout])> {
        self.axes.iter().map(|(&value, axes)| (value, axes.as_slice()))
    }

    /// The lengths of a value's axes, if its rank is known.
    pub(crate) fn shape(&self, value: ValueId) -> Option<Vec<Dim>> {
        self.facts.shape(value).cloned()
    }

    pub(crate) fn set_axes(&mut self, output: Option<ValueId>, layouts: Vec<Layout>) {
        if let Some(output) = output {
            self.axes.insert(output, layouts);
        }
    }

    /// The reason for what the current operator pins.
    pub(crate) fn reason(&self, explanation: &str) -> PinReason {
        let Some(node) = self.node.map(|id| self.graph.node(id)) else {
            return PinReason::Position;
        };
        let operator = node.operator.name().to_owned();
        PinReason::Operator { node: node.name.clone(), operator, explanation: explanation.to_owned() }
    }

    pub(crate) fn unify(&mut self, a: &Layout, b: &Layout) {
        let reason = self.reason("joins axes whose parts do not match");
        self.blocks.unify(a, b, &reason);
    }

    pub(crate) fn pin(&mut self, layout: &Layout, explanation: &str) {
        let reason = self.reason(explanation);
        self.blocks.pin(layout, &reason);
    }

    /// An axis of positions.
    pub(crate) fn position(&mut self, length: Dim) -> Layout {
        self.blocks.pinned(length, PinReason::Position)
    }

    /// Positions in place of an axis whose order the operator depends on.
    pub(crate) fn positions_from(&mut self, layout: &Layout, length: Dim, explanation: &str) -> Layout {
        if self.blocks.is_free(layout) {
            self.pin(layout, explanation);
        }
        self.position(length)
    }

    /// States that the output is the input with its axes rearranged: axis `i` of it is axis `axes[i]` of the input.
    pub(crate) fn rearranged(&mut self, input: ValueId, output: Option<ValueId>, axes: &[Option<usize>]) {
        let (Some((weight, from)), Some(output)) = (self.origins.get(&input), output) else {
            return;
        };
        let origin = axes.iter().map(|axis| axis.and_then(|axis| from.get(axis).copied().flatten())).collect();
        self.origins.insert(output, (*weight, origin));
    }

    /// States that an axis of a value is summed over against another one.
    pub(crate) fn consume(&mut self, value: ValueId, axis: usize) {
        if let Some(key) = self.origin(value, axis) {
            self.consumed.insert(key);
        }
    }

    /// States that the index of an axis of a value is an index of an output.
    pub(crate) fn produce(&mut self, value: ValueId, axis: usize) {
        if let Some(key) = self.origin(value, axis) {
            self.produced.insert(key);
        }
    }

    fn origin(&self, value: ValueId, axis: usize) -> Option<(ValueId, usize)> {
        let (weight, axes) = self.origins.get(&value)?;
        Some((*weight, axes.get(axis).copied().flatten()?))
    }

    /// Pins everything that a node touches; its outputs get pinned axes where their shapes are known.
    pub(crate) fn pin_node(&mut self, node: &Node, explanation: &str) {
        for &input in node.inputs.iter().flatten() {
            for layout in self.axes(input).unwrap_or_default() {
                self.pin(&layout, explanation);
            }
        }
        let reason = self.reason(explanation);
        for &output in node.outputs.iter().flatten() {
            if let Some(shape) = self.shape(output) {
                let layouts = shape.into_iter().map(|dim| self.blocks.pinned(dim, reason.clone())).collect();
                self.axes.insert(output, layouts);
            }
        }
    }

    fn role(&self, weight: ValueId, axis: usize) -> Role {
        let consumed = self.consumed.contains(&(weight, axis));
        if consumed && !self.produced.contains(&(weight, axis)) { Role::Consumer } else { Role::Producer }
    }

    fn collect(self) -> NeuronGroups {
        let mut members: BTreeMap<BlockId, Vec<Member>> = BTreeMap::new();
        let mut order: HashMap<BlockId, usize> = HashMap::new();
        for (id, _) in self.graph.initializers().filter(|(id, _)| self.graph.is_weight(*id)) {
            let Some(&node) = self.first_reader.get(&id) else {
                continue;
            };
            for (axis, layout) in self.axes.get(&id).into_iter().flatten().enumerate() {
                for block in self.blocks.leaves(layout) {
                    let rank = order.len();
                    order.entry(block).or_insert(rank);
                    let member = Member { initializer: id, axis, role: self.role(id, axis), node };
                    members.entry(block).or_default().push(member);
                }
            }
        }
        let (mut free, mut pinned) = (Vec::new(), Vec::new());
        for (block, mut members) in members {
            members.sort_by_key(|member| (member.node, member.initializer, member.axis));
            members.dedup();
            let Some(size) = self.blocks.size(&Layout::Block(block)).as_known() else {
                continue;
            };
            match self.blocks.pin_reason(block) {
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
        let ids: HashMap<BlockId, GroupId> =
            free.iter().enumerate().map(|(index, (block, _))| (*block, GroupId::new(index))).collect();
        let within = self.within(&ids);
        let mut groups: Vec<NeuronGroup> = free.into_iter().map(|(_, group)| group).collect();
        for (group, outer) in groups.iter_mut().zip(within) {
            group.within = outer;
        }

        let layouts = self
            .graph
            .initializers()
            .filter_map(|(id, _)| {
                let axes: Option<Vec<_>> = self.axes[&id].iter().map(|axis| self.axis_layout(axis, &ids)).collect();
                Some((id, axes?))
            })
            .collect();
        for (node, value) in
            self.graph.nodes().flat_map(|(id, node)| node.outputs.iter().flatten().map(move |v| (id, *v)))
        {
            for (axis, layout) in self.axes.get(&value).into_iter().flatten().enumerate() {
                let Some(layout) = self.axis_layout(layout, &ids) else {
                    continue;
                };
                for group in BTreeSet::from_iter(layout.groups()) {
                    let observation = Observation { value, axis, layout: layout.clone(), node };
                    groups[group.index()].observations.push(observation);
                }
            }
        }
        NeuronGroups { groups, pinned, layouts }
    }

    /// The group that each group is within, one level deep.
    fn within(&self, ids: &HashMap<BlockId, GroupId>) -> Vec<Option<GroupId>> {
        let free: BTreeSet<BlockId> = ids.keys().copied().collect();
        let candidates = nesting::candidates(self, &free);
        let mut by_group: Vec<(GroupId, BTreeSet<GroupId>)> = candidates
            .iter()
            .map(|(block, outer)| (ids[block], outer.iter().map(|outer| ids[outer]).collect()))
            .collect();
        by_group.sort();
        let mut within: Vec<Option<GroupId>> = vec![None; ids.len()];
        // Those that are within nothing first: they are what others can be within.
        let is_outermost = |group: GroupId| by_group.iter().any(|(found, outer)| *found == group && outer.is_empty());
        for (group, outer) in &by_group {
            within[group.index()] = outer.iter().copied().find(|&outer| is_outermost(outer));
        }
        within
    }

    /// The layout in terms of groups; `None` if a length is unknown.
    fn axis_layout(&self, layout: &Layout, ids: &HashMap<BlockId, GroupId>) -> Option<AxisLayout> {
        let resolved = self.blocks.resolve(layout);
        let length = self.blocks.size(&resolved).as_known();
        let parts = match &resolved {
            Layout::Block(block) => {
                return match ids.get(block) {
                    Some(&group) => Some(AxisLayout::Group(group)),
                    None => length.map(AxisLayout::Fixed),
                };
            }
            Layout::Sequence(parts) | Layout::Product(parts) => {
                parts.iter().map(|part| self.axis_layout(part, ids)).collect::<Option<Vec<_>>>()?
            }
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
