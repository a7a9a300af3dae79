//! What in a graph is the flow of features, and what only prepares shapes, masks and weights.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{Binary, Facts, Graph, Node, NodeId, Operator, ValueId, Variadic};

/// The most values that are looked at to find the weights that one value is made of.
const MOST_SOURCES: usize = 64;

/// The most inputs of a node in what is written out in elementary operators.
const MOST_INPUTS: usize = 16;

/// The flow of features through a graph.
pub(super) struct Flow<'g> {
    pub graph: &'g Graph,
    /// Values that depend on the inputs by floating-point numbers, or are looked up in a table of weights.
    features: HashSet<ValueId>,
    /// Weights, and what is made of them alone.
    parameters: HashSet<ValueId>,
    /// The nodes that compute features, in order.
    pub nodes: Vec<NodeId>,
    pub producers: HashMap<ValueId, NodeId>,
    /// The nodes that read each feature.
    readers: HashMap<ValueId, Vec<NodeId>>,
    outputs: HashSet<ValueId>,
}

impl<'g> Flow<'g> {
    pub fn of(graph: &'g Graph, facts: &Facts) -> Self {
        let is_float = |id: ValueId| facts.data_type(id).is_none_or(otfuse_graph::DataType::is_float);
        let mut features: HashSet<ValueId> = graph.inputs().iter().copied().filter(|&id| is_float(id)).collect();
        let weights = graph.initializers().map(|(id, _)| id).filter(|&id| graph.is_weight(id));
        let mut parameters: HashSet<ValueId> = weights.collect();
        let mut nodes = Vec::new();
        for (id, node) in graph.nodes() {
            let mut inputs = node.inputs.iter().flatten();
            let looked_up = matches!(node.operator, Operator::Gather { .. })
                && node.input(0).is_some_and(|table| parameters.contains(&table))
                && node.input(1).is_some_and(|index| graph.initializer(index).is_none());
            let is_feature = looked_up || inputs.clone().any(|input| features.contains(input));
            let is_parameter = !is_feature && inputs.any(|input| parameters.contains(input));
            for &output in node.outputs.iter().flatten().filter(|&&output| is_float(output)) {
                if is_feature {
                    features.insert(output);
                } else if is_parameter {
                    parameters.insert(output);
                }
            }
            if is_feature && node.outputs.iter().flatten().any(|output| features.contains(output)) {
                nodes.push(id);
            }
        }
        let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
        for &id in &nodes {
            let mut read: Vec<ValueId> = graph.node(id).inputs.iter().flatten().copied().collect();
            read.retain(|value| features.contains(value));
            read.sort_unstable();
            read.dedup();
            for value in read {
                readers.entry(value).or_default().push(id);
            }
        }
        let outputs = graph.outputs().iter().copied().collect();
        Self { graph, features, parameters, nodes, producers: graph.producers(), readers, outputs }
    }

    pub fn node(&self, id: NodeId) -> &'g Node {
        self.graph.node(id)
    }

    /// The features that a node reads, each once, in order.
    pub fn operands(&self, id: NodeId) -> Vec<ValueId> {
        let mut found: Vec<ValueId> = Vec::new();
        let mut seen = HashSet::new();
        for &input in self.node(id).inputs.iter().flatten() {
            if self.features.contains(&input) && seen.insert(input) {
                found.push(input);
            }
        }
        found
    }

    /// The weights that a node reads, directly or in another form.
    pub fn parameters(&self, id: NodeId) -> Vec<ValueId> {
        self.node(id).inputs.iter().flatten().copied().filter(|input| self.parameters.contains(input)).collect()
    }

    /// The weights that a value is made of.
    pub fn sources(&self, value: ValueId) -> Vec<ValueId> {
        let (mut waiting, mut found, mut seen) = (vec![value], Vec::new(), HashSet::new());
        while let Some(value) = waiting.pop().filter(|_| seen.len() < MOST_SOURCES) {
            if !seen.insert(value) {
                continue;
            }
            if self.graph.is_weight(value) {
                found.push(value);
            } else if let Some(&producer) = self.producers.get(&value) {
                let inputs = self.node(producer).inputs.iter().flatten().filter(|it| self.parameters.contains(it));
                waiting.extend(inputs.take(MOST_SOURCES));
            }
        }
        found
    }

    /// Whether a node sums over inputs by a weight, or looks vectors up.
    pub fn is_layer(&self, id: NodeId) -> bool {
        let weighted = !self.parameters(id).is_empty();
        match self.node(id).operator {
            Operator::Gemm(_)
            | Operator::MatMul
            | Operator::Conv(_)
            | Operator::ConvTranspose(_)
            | Operator::DeformConv(_)
            | Operator::Recurrent(_)
            | Operator::Gather { .. }
            | Operator::Attention(_) => weighted,
            _ => false,
        }
    }

    /// Whether a node multiplies two features, as attention does.
    pub fn is_product(&self, id: NodeId) -> bool {
        matches!(self.node(id).operator, Operator::MatMul) && self.operands(id).len() == 2
    }

    /// Whether a value is an output of the network.
    fn is_output(&self, value: ValueId) -> bool {
        self.outputs.contains(&value)
    }

    /// The nodes that read a node's features; `None` if some of these are an output of the network.
    pub fn reading(&self, id: NodeId) -> Option<Vec<NodeId>> {
        let mut found: Vec<NodeId> = Vec::new();
        for output in self.node(id).outputs.iter().flatten().filter(|output| self.features.contains(output)) {
            if self.is_output(*output) {
                return None;
            }
            found.extend(self.readers.get(output).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    /// The nodes that read a node's features, some of them several times.
    pub fn all_reading(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let features = self.node(id).outputs.iter().flatten().filter(|output| self.features.contains(output));
        features.flat_map(|output| self.readers.get(output).into_iter().flatten().copied())
    }

    /// The only node that reads a node's features.
    pub fn only_reader(&self, id: NodeId) -> Option<NodeId> {
        self.reading(id).filter(|found| found.len() == 1).map(|found| found[0])
    }

    /// The nodes behind `id` down to the only feature that all of them depend on; `None` if there are more than `most`
    /// or a layer is among them.
    pub fn region(&self, id: NodeId, most: usize) -> Option<Vec<NodeId>> {
        let mut region = vec![id];
        loop {
            if region.iter().any(|&node| self.node(node).inputs.len() > MOST_INPUTS) {
                return None;
            }
            let mut outside: Vec<ValueId> = region.iter().flat_map(|&node| self.operands(node)).collect();
            outside.retain(|value| self.producers.get(value).is_none_or(|producer| !region.contains(producer)));
            outside.sort_unstable();
            outside.dedup();
            if outside.len() == 1 {
                return Some(region);
            }
            // The last of them cannot lead to the others' ends without being passed itself.
            let last = outside.iter().filter_map(|value| self.producers.get(value)).max().copied()?;
            if region.len() >= most || self.is_layer(last) {
                return None;
            }
            region.push(last);
        }
    }
}

/// Whether an operator only moves elements. Looking rows up in a table is a step of its own.
pub(super) fn is_moving(operator: &Operator) -> bool {
    operator.copies_elements() && !matches!(operator, Operator::Gather { .. }) || matches!(operator, Operator::Pad(_))
}

/// Whether an operator joins features.
pub(super) fn joins(operator: &Operator) -> Option<&'static str> {
    match operator {
        Operator::Binary(Binary::Add) | Operator::Variadic(Variadic::Sum) => Some("+"),
        Operator::Binary(Binary::Mul) => Some("\u{d7}"),
        Operator::Binary(Binary::Sub) => Some("\u{2212}"),
        Operator::Binary(Binary::Div) => Some("\u{f7}"),
        Operator::Concat { .. } => Some("concatenate"),
        _ => None,
    }
}
