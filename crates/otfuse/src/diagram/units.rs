//! Which nodes a unit is made of.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use otfuse_graph::{Binary, Facts, Graph, GroupId, NeuronGroups, NodeId, Operator, Role, Unary, ValueId};

use super::flow::{Flow, is_moving};
use super::labels::Labels;
use super::{Unit, UnitKind};

/// The most nodes of a normalisation or a nonlinearity that is written out, and of an attention.
const MOST_WRITTEN_OUT: usize = 14;
const MOST_OF_ATTENTION: usize = 100;

/// Nodes beyond which nothing is put together: nobody looks at such a drawing.
const MOST_NODES: usize = 20_000;

/// The units of a graph, each behind all that it reads.
pub(super) fn of(graph: &Graph, facts: &Facts, groups: &NeuronGroups) -> Vec<Unit> {
    let flow = Flow::of(graph, facts);
    let merged = Merging::new(&flow).merged();
    // Whatever was put together must not stand both before and behind something else.
    let merged = merged.filter(|merging| merging.ordered().is_some()).unwrap_or_else(|| Merging::new(&flow));
    merged.units(facts, groups)
}

/// Nodes on their way to units.
struct Merging<'f, 'g> {
    flow: &'f Flow<'g>,
    /// The unit of each node, by the first of its nodes.
    of: BTreeMap<NodeId, NodeId>,
    /// The nodes of each unit.
    members: HashMap<NodeId, BTreeSet<NodeId>>,
    attentions: Vec<NodeId>,
}

impl<'f, 'g> Merging<'f, 'g> {
    fn new(flow: &'f Flow<'g>) -> Self {
        let members = flow.nodes.iter().map(|&id| (id, BTreeSet::from([id]))).collect();
        Self { flow, of: flow.nodes.iter().map(|&id| (id, id)).collect(), members, attentions: Vec::new() }
    }

    fn unit(&self, id: NodeId) -> NodeId {
        self.of.get(&id).copied().unwrap_or(id)
    }

    fn join(&mut self, nodes: &[NodeId]) {
        let units: Vec<NodeId> = nodes.iter().map(|&id| self.unit(id)).collect();
        let Some(&first) = units.iter().min() else { return };
        for unit in units.into_iter().filter(|&unit| unit != first) {
            let moved = self.members.remove(&unit).unwrap_or_default();
            for &node in &moved {
                self.of.insert(node, first);
            }
            self.members.entry(first).or_default().extend(moved);
        }
    }

    fn merged(mut self) -> Option<Self> {
        if self.flow.nodes.len() > MOST_NODES {
            return None;
        }
        for &id in &self.flow.nodes {
            self.written_out(id);
        }
        for &id in &self.flow.nodes {
            if matches!(self.flow.node(id).operator, Operator::Softmax { .. })
                && let Some(nodes) = self.attention(id)
            {
                self.join(&nodes);
                self.attentions.push(nodes[0]);
            }
        }
        for &id in &self.flow.nodes {
            if self.follows(id)
                && let [operand] = self.flow.operands(id)[..]
                && let Some(&producer) = self.flow.producers.get(&operand)
                && self.of.contains_key(&producer)
                && self.is_read_by_unit(producer, id)
            {
                self.join(&[producer, id]);
            }
        }
        if !self.attentions.is_empty() {
            for &id in &self.flow.nodes {
                self.perceptron(id);
            }
        }
        Some(self)
    }

    /// Whether a node's features are read by the unit of another node alone.
    fn is_read_by_unit(&self, producer: NodeId, reader: NodeId) -> bool {
        let unit = self.unit(reader);
        self.flow.reading(producer).is_some_and(|readers| readers.iter().all(|&it| self.unit(it) == unit))
    }

    /// A normalisation or nonlinearity that is written out in elementary operators.
    fn written_out(&mut self, id: NodeId) {
        let flow = self.flow;
        let is_last = matches!(flow.node(id).operator, Operator::Binary(Binary::Div | Binary::Mul));
        if !is_last || flow.operands(id).len() != 2 {
            return;
        }
        let Some(region) = flow.region(id, MOST_WRITTEN_OUT) else { return };
        let has = |wanted: &dyn Fn(&Operator) -> bool| region.iter().any(|&node| wanted(&flow.node(node).operator));
        let is_norm =
            has(&|it| matches!(it, Operator::Unary(Unary::Sqrt))) && has(&|it| matches!(it, Operator::Reduce(_)));
        let is_gate = has(
            &|it| matches!(it, Operator::Unary(unary) if !matches!(unary, Unary::Sqrt | Unary::Neg | Unary::Cos | Unary::Sin)),
        ) && !has(&|it| {
            matches!(it, Operator::Reduce(_) | Operator::Concat { .. } | Operator::GlobalPool(_))
        });
        if is_norm || is_gate {
            self.join(&region);
        }
    }

    /// All of an attention around its softmax: from the projections to the output layer.
    fn attention(&self, softmax: NodeId) -> Option<Vec<NodeId>> {
        let flow = self.flow;
        let mut mix = flow.only_reader(softmax)?;
        let mut steps = 0;
        while !flow.is_product(mix) && steps < 4 {
            mix = flow.only_reader(mix)?;
            steps += 1;
        }
        if !flow.is_product(mix) {
            return None;
        }
        let (mut found, mut waiting) = (vec![mix], vec![mix]);
        while let Some(id) = waiting.pop() {
            // What stands before the projections is not part of it.
            if id != mix && flow.is_layer(id) {
                continue;
            }
            for operand in flow.operands(id) {
                let producer = *flow.producers.get(&operand)?;
                let is_table =
                    matches!(flow.node(producer).operator, Operator::Gather { .. }) && flow.is_layer(producer);
                if !found.contains(&producer) && !is_table {
                    found.push(producer);
                    waiting.push(producer);
                }
                if found.len() > MOST_OF_ATTENTION {
                    return None;
                }
            }
        }
        if found.iter().filter(|&&id| flow.is_product(id)).count() != 2 {
            return None;
        }
        let mut last = mix;
        while let Some(next) = flow.only_reader(last) {
            let is_layer = flow.is_layer(next);
            if !is_layer && !is_moving(&flow.node(next).operator) {
                break;
            }
            found.push(next);
            last = next;
            if is_layer {
                break;
            }
        }
        Some(found)
    }

    /// Whether a node is shown with what it follows: a bias, a scale, a nonlinearity, a change of shape.
    fn follows(&self, id: NodeId) -> bool {
        let flow = self.flow;
        // The end of a nonlinearity that is written out.
        let unit = self.members.get(&self.unit(id)).filter(|nodes| nodes.len() > 1);
        // A unit that has taken in what follows it ends with none of its first nodes.
        if unit.is_some_and(|nodes| nodes.first() != Some(&id)) {
            return false;
        }
        if let Some(nodes) = unit {
            let is_norm = nodes.iter().any(|&node| matches!(flow.node(node).operator, Operator::Reduce(_)));
            return !is_norm && nodes.iter().all(|&node| !flow.is_layer(node));
        }
        match &flow.node(id).operator {
            Operator::Unary(_)
            | Operator::BatchNormalization { .. }
            | Operator::BatchNormalizationInTraining { .. }
            | Operator::PRelu
            | Operator::Clip
            | Operator::Softmax { .. }
            | Operator::LogSoftmax { .. }
            | Operator::Binary(_)
            | Operator::Variadic(_) => flow.operands(id).len() == 1,
            operator => is_moving(operator),
        }
    }

    /// Two layers of a transformer with a nonlinearity between them, or a gate.
    fn perceptron(&mut self, down: NodeId) {
        let flow = self.flow;
        let is_linear =
            |id: NodeId| flow.is_layer(id) && matches!(flow.node(id).operator, Operator::MatMul | Operator::Gemm(_));
        if !is_linear(down) || self.is_attention(down) {
            return;
        }
        let Some(before) = self.producing_unit(down) else { return };
        let mut nodes = vec![down, before];
        let mut layers: Vec<NodeId> = self.nodes(before).into_iter().filter(|&id| is_linear(id)).collect();
        if layers.is_empty() {
            // A product of two layers of the same input.
            let sources = self.sources(before);
            layers = sources.iter().flat_map(|&unit| self.nodes(unit)).filter(|&id| is_linear(id)).collect();
            let reads: Vec<Vec<ValueId>> = layers.iter().map(|&id| flow.operands(id)).collect();
            if sources.len() != 2 || layers.len() != 2 || reads[0] != reads[1] {
                return;
            }
            nodes.extend(sources);
        }
        let is_bent =
            self.nodes(before).iter().chain(&layers).any(|&id| {
                !is_linear(id) && matches!(flow.node(id).operator, Operator::Unary(_) | Operator::Binary(_))
            });
        let ends = self.nodes(before).into_iter().chain(layers.iter().copied());
        let is_attention = ends.chain(nodes.iter().copied()).any(|id| self.is_attention(id));
        if layers.len() <= 2 && is_bent && !is_attention && self.is_only_read_by(&nodes[1..], &nodes) {
            self.join(&nodes);
        }
    }

    fn is_attention(&self, id: NodeId) -> bool {
        self.attentions.iter().any(|&attention| self.unit(attention) == self.unit(id))
    }

    fn nodes(&self, unit: NodeId) -> Vec<NodeId> {
        let unit = self.unit(unit);
        self.members.get(&unit).into_iter().flatten().copied().collect()
    }

    /// The units that a unit reads.
    fn sources(&self, unit: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        for id in self.nodes(unit) {
            for operand in self.flow.operands(id) {
                let producer = self.flow.producers.get(&operand).filter(|it| self.of.contains_key(it));
                if let Some(source) = producer.map(|&producer| self.unit(producer))
                    && source != self.unit(unit)
                    && !found.contains(&source)
                {
                    found.push(source);
                }
            }
        }
        found
    }

    /// The unit that a node reads, if it reads one alone.
    fn producing_unit(&self, id: NodeId) -> Option<NodeId> {
        match self.flow.operands(id)[..] {
            [operand] => {
                self.flow.producers.get(&operand).filter(|it| self.of.contains_key(it)).map(|&it| self.unit(it))
            }
            _ => None,
        }
    }

    fn is_only_read_by(&self, units: &[NodeId], by: &[NodeId]) -> bool {
        let inside: Vec<NodeId> = by.iter().map(|&unit| self.unit(unit)).collect();
        let nodes = units.iter().flat_map(|&unit| self.nodes(unit));
        nodes.flat_map(|id| self.flow.all_reading(id)).all(|reader| inside.contains(&self.unit(reader)))
    }

    /// The units, each behind all that it reads; `None` if that cannot be.
    fn ordered(&self) -> Option<Vec<NodeId>> {
        let mut left: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for &id in &self.flow.nodes {
            let sources = left.entry(self.unit(id)).or_default();
            for operand in self.flow.operands(id) {
                let producer = self.flow.producers.get(&operand).filter(|it| self.of.contains_key(it));
                if let Some(source) = producer.map(|&producer| self.unit(producer)).filter(|&it| it != self.unit(id)) {
                    sources.push(source);
                }
            }
        }
        let mut readers: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for (unit, sources) in &mut left {
            sources.sort_unstable();
            sources.dedup();
            sources.iter().for_each(|source| readers.entry(*source).or_default().push(*unit));
        }
        let mut missing: BTreeMap<NodeId, usize> = left.iter().map(|(unit, sources)| (*unit, sources.len())).collect();
        let mut ready: BTreeSet<NodeId> =
            missing.iter().filter(|(_, count)| **count == 0).map(|(unit, _)| *unit).collect();
        let mut order = Vec::with_capacity(left.len());
        while let Some(unit) = ready.pop_first() {
            order.push(unit);
            for reader in readers.get(&unit).into_iter().flatten() {
                if let Some(count) = missing.get_mut(reader) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(*reader);
                    }
                }
            }
        }
        (order.len() == left.len()).then_some(order)
    }

    fn units(&self, facts: &Facts, groups: &NeuronGroups) -> Vec<Unit> {
        let (flow, graph) = (self.flow, self.flow.graph);
        let labels = Labels { flow, facts };
        let mut places: HashMap<ValueId, usize> = HashMap::new();
        let mut units: Vec<Unit> = Vec::new();
        for &input in graph.inputs() {
            places.insert(input, units.len());
            let (kind, label) = (UnitKind::Input, labels.port(input));
            units.push(Unit {
                kind,
                label,
                inputs: Vec::new(),
                carries: Vec::new(),
                inside: Vec::new(),
                weights: String::new(),
            });
        }
        let mut observed: HashMap<ValueId, Vec<GroupId>> = HashMap::new();
        let mut produced: HashMap<ValueId, Vec<GroupId>> = HashMap::new();
        for (id, group) in groups.iter() {
            for observation in group.observations.iter().filter(|_| group.within.is_none()) {
                observed.entry(observation.value).or_default().push(id);
            }
            group.members_as(Role::Producer).for_each(|it| produced.entry(it.initializer).or_default().push(id));
        }
        for unit in self.ordered().unwrap_or_default() {
            let nodes = self.nodes(unit);
            let weights: Vec<ValueId> = nodes.iter().flat_map(|&id| labels.weights(id)).collect();
            let (mut inputs, mut seen): (Vec<usize>, BTreeSet<usize>) = (Vec::new(), BTreeSet::new());
            let operands = nodes.iter().flat_map(|&id| flow.operands(id).into_iter().chain(labels.tokens(id)));
            for place in operands.filter_map(|value| places.get(&value).copied()) {
                if seen.insert(place) {
                    inputs.push(place);
                }
            }
            let result = nodes.last().and_then(|&id| graph.node(id).output(0));
            let mut carries = result.and_then(|result| observed.get(&result).cloned()).unwrap_or_default();
            carries.sort_by_key(|&id| (usize::MAX - groups.group(id).size, id));
            carries.dedup();
            let mut inside: Vec<GroupId> =
                weights.iter().filter_map(|it| produced.get(it)).flatten().copied().collect();
            inside.sort_unstable();
            inside.dedup();
            // A table that is read the other way round produces nothing.
            if !inside.is_empty() {
                let outside = inputs.iter().flat_map(|&at| &units[at].carries);
                let elsewhere: BTreeSet<GroupId> = outside.chain(&carries).copied().collect();
                inside.retain(|group| !elsewhere.contains(group));
            }
            let inside: Vec<_> =
                inside.into_iter().map(|id| (id, groups.group(id).size, groups.group(id).within)).collect();
            let is_attention = self.is_attention(unit);
            let kind = match () {
                () if is_attention => UnitKind::Attention,
                () if nodes.iter().any(|&id| flow.is_layer(id)) => UnitKind::Layer,
                () if inputs.len() > 1 => UnitKind::Join,
                () => UnitKind::Other,
            };
            let label = labels.unit(&nodes, is_attention, &inside);
            let weights = labels.common(&weights);
            for &output in nodes.iter().flat_map(|&id| graph.node(id).outputs.iter().flatten()) {
                places.insert(output, units.len());
            }
            units.push(Unit { kind, label, inputs, carries, inside, weights });
        }
        for &output in graph.outputs() {
            let inputs = places.get(&output).copied().into_iter().collect();
            let (kind, label) = (UnitKind::Output, labels.port(output));
            units.push(Unit { kind, label, inputs, carries: Vec::new(), inside: Vec::new(), weights: String::new() });
        }
        // Masks and the like lead to nothing that is drawn.
        retain_connected(units)
    }
}

/// Leaves out inputs that no unit reads, unless nothing else is there.
fn retain_connected(units: Vec<Unit>) -> Vec<Unit> {
    let read: BTreeSet<usize> = units.iter().flat_map(|unit| unit.inputs.iter().copied()).collect();
    let is_kept = |at: &usize| units[*at].kind != UnitKind::Input || read.contains(at);
    let kept: Vec<usize> = (0..units.len()).filter(is_kept).collect();
    let place: HashMap<usize, usize> = kept.iter().enumerate().map(|(to, &from)| (from, to)).collect();
    let moved = |unit: &Unit| {
        let inputs = unit.inputs.iter().filter_map(|input| place.get(input).copied()).collect();
        Unit { inputs, ..unit.clone() }
    };
    kept.iter().map(|&at| moved(&units[at])).collect()
}
