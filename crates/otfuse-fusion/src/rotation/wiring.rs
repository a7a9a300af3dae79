//! Who reads what in a graph, seen through what only moves or converts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use otfuse_graph::{AxisLayout, Binary, Graph, GroupId, NeuronGroups, Node, NodeId, Operator, ValueId};

/// A graph with its neuron groups, to be walked in both directions.
pub(super) struct Wiring<'a> {
    pub graph: &'a Graph,
    pub groups: &'a NeuronGroups,
    readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
    producers: HashMap<ValueId, NodeId>,
    /// The axes of computed values that carry neurons.
    axes: BTreeMap<ValueId, Vec<Axis>>,
}

/// An axis of a value.
struct Axis {
    at: usize,
    layout: Arc<AxisLayout>,
    /// The groups on it, in their order.
    groups: Vec<GroupId>,
}

impl Axis {
    fn new(at: usize, layout: Arc<AxisLayout>) -> Self {
        let mut groups = layout.groups();
        groups.sort_unstable();
        groups.dedup();
        Self { at, layout, groups }
    }
}

/// A matrix that something is multiplied with from the left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Linear {
    pub weight: ValueId,
    /// The axis of the weight that is summed over.
    pub inputs: usize,
    /// The other one.
    pub outputs: usize,
    pub bias: Option<ValueId>,
}

impl<'a> Wiring<'a> {
    pub fn new(graph: &'a Graph, groups: &'a NeuronGroups) -> Self {
        let mut axes: BTreeMap<ValueId, Vec<Axis>> = BTreeMap::new();
        for (_, group) in groups.iter() {
            for seen in &group.observations {
                let known = axes.entry(seen.value).or_default();
                if !known.iter().any(|axis| axis.at == seen.axis) {
                    known.push(Axis::new(seen.axis, Arc::clone(&seen.layout)));
                }
            }
        }
        for (id, _) in graph.initializers() {
            let layouts = groups.layouts(id).into_iter().flatten().enumerate();
            let found: Vec<_> = layouts
                .filter(|(_, layout)| !layout.is_fixed())
                .map(|(at, layout)| Axis::new(at, Arc::new(layout.clone())))
                .collect();
            if !found.is_empty() {
                axes.insert(id, found);
            }
        }
        Self { graph, groups, readers: graph.consumers(), producers: graph.producers(), axes }
    }

    pub fn size(&self, group: GroupId) -> usize {
        self.groups.group(group).size
    }

    /// The axes of a value that carry a group.
    pub fn axes_of(&self, value: ValueId, group: GroupId) -> Vec<usize> {
        let axes = self.axes.get(&value).into_iter().flatten();
        axes.filter(|axis| axis.groups.binary_search(&group).is_ok()).map(|axis| axis.at).collect()
    }

    pub fn carries(&self, value: ValueId, group: GroupId) -> bool {
        !self.axes_of(value, group).is_empty()
    }

    /// The group that one axis of a value is, where no other axis carries neurons of it.
    pub fn only_group(&self, value: ValueId, axis: usize) -> Option<GroupId> {
        let found = self.axes.get(&value)?.iter().find(|found| found.at == axis)?;
        match *found.layout {
            AxisLayout::Group(group) if self.axes_of(value, group).len() == 1 => Some(group),
            _ => None,
        }
    }

    pub fn readers(&self, value: ValueId) -> &[(NodeId, usize)] {
        self.readers.get(&value).map_or(&[], Vec::as_slice)
    }

    pub fn producer(&self, value: ValueId) -> Option<(NodeId, &'a Node)> {
        self.producers.get(&value).map(|&id| (id, self.graph.node(id)))
    }

    pub fn is_output(&self, value: ValueId) -> bool {
        self.graph.outputs().contains(&value)
    }

    /// The only reader of a value that is no output.
    pub fn only_reader(&self, value: ValueId) -> Option<(NodeId, usize)> {
        match self.readers(value) {
            &[reader] if !self.is_output(value) => Some(reader),
            _ => None,
        }
    }

    /// The weight that a value is, converted or turned, and whether it is turned.
    pub fn weight(&self, mut value: ValueId) -> Option<(ValueId, bool)> {
        let mut is_turned = false;
        loop {
            if let Some(tensor) = self.graph.initializer(value) {
                return (self.graph.is_weight(value) && tensor.data_type().is_float()).then_some((value, is_turned));
            }
            let (_, node) = self.producer(value)?;
            let input = node.input(0)?;
            match &node.operator {
                Operator::Cast { .. } | Operator::Identity => {}
                Operator::Transpose { permutation } if permutation.as_deref().is_none_or(|order| order == [1, 0]) => {
                    is_turned = !is_turned;
                }
                _ => return None,
            }
            value = input;
        }
    }

    /// Whether a weight is read in one place alone.
    pub fn is_read_once(&self, weight: ValueId) -> bool {
        let mut value = weight;
        loop {
            let Some((node, _)) = self.only_reader(value) else { return false };
            let node = self.graph.node(node);
            let moves =
                matches!(node.operator, Operator::Cast { .. } | Operator::Identity | Operator::Transpose { .. });
            match node.output(0).filter(|_| moves) {
                Some(output) => value = output,
                None => return true,
            }
        }
    }

    /// A vector of weights of its own place.
    pub fn vector(&self, value: ValueId) -> Option<ValueId> {
        let (weight, _) = self.weight(value)?;
        let rank = self.graph.initializer(weight)?.shape().len();
        (rank == 1 && self.is_read_once(weight)).then_some(weight)
    }

    /// The layer that a node is: a product with a weight matrix, and the bias that is added right behind it.
    pub fn linear(&self, id: NodeId) -> Option<Linear> {
        let node = self.graph.node(id);
        let (weight, is_turned) = self.weight(node.input(1)?)?;
        if self.weight(node.input(0)?).is_some() || self.graph.initializer(weight)?.shape().len() != 2 {
            return None;
        }
        let (is_turned, bias) = match &node.operator {
            Operator::MatMul => (is_turned, self.bias_behind(node)),
            Operator::Gemm(gemm) if gemm.alpha == 1.0 && gemm.beta == 1.0 && !gemm.transpose_a => {
                (is_turned != gemm.transpose_b, node.input(2).and_then(|bias| self.vector(bias)))
            }
            _ => return None,
        };
        Some(Linear { weight, inputs: usize::from(is_turned), outputs: usize::from(!is_turned), bias })
    }

    fn bias_behind(&self, node: &Node) -> Option<ValueId> {
        let (next, position) = self.only_reader(node.output(0)?)?;
        let next = self.graph.node(next);
        if next.operator != Operator::Binary(Binary::Add) || position > 1 {
            return None;
        }
        self.vector(next.input(1 - position)?)
    }

    /// Whether a value is one constant number.
    pub fn is_number(&self, value: ValueId) -> bool {
        self.graph.initializer(value).is_some_and(|tensor| tensor.len() == 1)
    }
}
