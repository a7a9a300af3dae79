//! What is known of the axes of every value while the rules are applied.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use crate::symmetry::PinReason;
use crate::symmetry::group::Role;
use crate::symmetry::layout::{Blocks, Layout};
use crate::symmetry::reason::brief_name;
use crate::{Dim, Facts, Graph, Node, NodeId, Operator, ValueId};

/// Where the axes of a value come from, if it is a weight or a rearranged weight.
type Origin = (ValueId, Vec<Option<usize>>);

/// A value whose axis `axis` counts things with axes of their own.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) axis: usize,
    /// For each thing the layouts of all axes but `axis`.
    pub(crate) things: Vec<Vec<Layout>>,
}

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
    readers: OnceCell<HashMap<ValueId, Vec<(NodeId, usize)>>>,
    /// Values whose first few indices of an axis are told apart by all readers.
    pub(crate) packed: HashMap<ValueId, Packed>,
}

impl<'a> Analysis<'a> {
    /// The axes of inputs and initializers; rules give those of all else.
    pub(crate) fn of_sources(graph: &'a Graph, facts: &'a Facts, free: &[ValueId]) -> Self {
        let mut analysis = Self {
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
            readers: OnceCell::new(),
            packed: HashMap::new(),
        };
        analysis.enter_sources(free);
        analysis
    }

    /// Makes a node the current one: what is pinned from now on is pinned by it.
    pub(crate) fn begin(&mut self, id: NodeId, node: &Node) {
        self.node = Some(id);
        for &input in node.inputs.iter().flatten() {
            self.first_reader.entry(input).or_insert(id);
            if let Some((weight, _)) = self.origins.get(&input) {
                self.first_reader.entry(*weight).or_insert(id);
            }
        }
    }

    /// The nodes that read each value, and at which place.
    pub(crate) fn readers(&self) -> &HashMap<ValueId, Vec<(NodeId, usize)>> {
        self.readers.get_or_init(|| self.graph.consumers())
    }

    /// The first node that reads a value, or what is a rearrangement of it.
    pub(crate) fn first_reader(&self, value: ValueId) -> Option<NodeId> {
        self.first_reader.get(&value).copied()
    }

    /// The layouts of a value's axes as its own operator gave them; none if its rank is unknown.
    pub(crate) fn own_axes(&self, value: ValueId) -> &[Layout] {
        self.axes.get(&value).map_or(&[], Vec::as_slice)
    }

    fn enter_sources(&mut self, free: &[ValueId]) {
        for &input in self.graph.inputs() {
            let Some(shape) = self.facts.shape(input) else { continue };
            let name = brief_name(&self.graph.value(input).name);
            let reason = |axis| PinReason::NetworkInput { name: name.clone(), axis };
            let layouts = shape.iter().enumerate().map(|(axis, dim)| {
                let is_free = axis > 0 && dim.as_known().is_some() && free.contains(&input);
                if is_free { self.blocks.fresh(dim.clone()) } else { self.blocks.pinned(dim.clone(), reason(axis)) }
            });
            self.axes.insert(input, layouts.collect());
        }
        for (id, tensor) in self.graph.initializers() {
            let is_weight = self.graph.is_weight(id);
            let name = brief_name(&self.graph.value(id).name);
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

    /// Pins the axes of the network's outputs.
    pub(crate) fn pin_outputs(&mut self) {
        for &output in self.graph.outputs() {
            let name = brief_name(&self.graph.value(output).name);
            for (axis, layout) in self.axes.get(&output).cloned().unwrap_or_default().iter().enumerate() {
                self.blocks.pin(layout, &PinReason::NetworkOutput { name: name.clone(), axis });
            }
        }
    }

    /// Pins what lies on an axis of a constant whose make-up has an unknown length: it could not be reordered there.
    pub(crate) fn pin_unknown(&mut self) {
        for (id, _) in self.graph.initializers() {
            for layout in self.axes.get(&id).cloned().unwrap_or_default() {
                let sizes = self.blocks.leaves(&layout).into_iter().map(|leaf| self.blocks.size(&Layout::Block(leaf)));
                if sizes.into_iter().any(|size| size.as_known().is_none()) {
                    self.blocks.pin(&layout, &PinReason::Position);
                }
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

    /// Follows values whose elements are all equal: constants of a shape, copies of one number, and what is computed from
    /// them element by element. What weights happen to hold is no matter: networks of one architecture have one structure.
    pub(crate) fn note_uniform(&mut self, node: &Node) {
        let one = |input: ValueId| self.facts.shape(input).is_some_and(|shape| shape.iter().all(Dim::is_one));
        let is_uniform = |input: ValueId| self.uniform.contains(&input) || one(input);
        let follows = match &node.operator {
            Operator::ConstantOfShape { .. } => true,
            Operator::Unary(_)
            | Operator::Binary(_)
            | Operator::Variadic(_)
            | Operator::Clip
            | Operator::Where
            | Operator::Cast { .. }
            | Operator::Identity => node.inputs.iter().flatten().all(|&input| is_uniform(input)),
            operator => operator.copies_elements() && node.input(0).is_some_and(is_uniform),
        };
        if follows {
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
        let node = brief_name(&node.name);
        PinReason::Operator { node, operator, explanation: explanation.to_owned() }
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

    /// Whether an axis of a weight makes neurons or reads them.
    pub(crate) fn role(&self, weight: ValueId, axis: usize) -> Role {
        let consumed = self.consumed.contains(&(weight, axis));
        if consumed && !self.produced.contains(&(weight, axis)) { Role::Consumer } else { Role::Producer }
    }
}
