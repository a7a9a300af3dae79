//! The only way to change a graph.

use std::collections::{HashMap, HashSet};

use crate::error::GraphError;
use crate::graph::{Declared, Graph, Names, Node, Value};
use crate::{NodeId, Operator, Tensor, ValueId};

/// Builds a graph or changes one. Between the calls the graph may be inconsistent; [`finish`](Self::finish) removes
/// what was marked as removed, brings the nodes into topological order and checks every invariant.
#[derive(Clone, Debug, Default)]
pub struct GraphEditor {
    graph: Graph,
    removed: HashSet<NodeId>,
    names: HashMap<String, ValueId>,
    /// The last number behind each name that was wanted again.
    numbers: HashMap<String, usize>,
}

impl GraphEditor {
    /// Starts from an empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { graph: Graph { name: name.into(), ..Graph::default() }, ..Self::default() }
    }

    /// Starts from a graph. Ids of its values and nodes stay valid until [`finish`](Self::finish).
    pub fn edit(graph: Graph) -> Self {
        let names = graph.values().map(|(id, value)| (value.name.clone(), id)).collect();
        Self { graph, names, ..Self::default() }
    }

    /// The graph as it stands.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The value of that name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Adds a value. If the name is taken, the second value gets a name with a number behind it.
    pub fn add_value(&mut self, name: impl Into<String>, declared: Option<Declared>) -> ValueId {
        let wanted = name.into();
        let mut name = wanted.clone();
        if self.names.contains_key(&name) {
            let number = self.numbers.entry(wanted.clone()).or_default();
            while self.names.contains_key(&name) {
                *number += 1;
                name = format!("{wanted}_{number}");
            }
        }
        let id = ValueId::new(self.graph.values.len());
        self.names.insert(name.clone(), id);
        self.graph.values.push(Value { name, declared });
        self.graph.names = Names::default();
        id
    }

    /// Declares the type and shape of a value.
    pub fn declare(&mut self, value: ValueId, declared: Option<Declared>) {
        self.graph.values[value.index()].declared = declared;
    }

    /// Makes a value an input of the network.
    pub fn add_input(&mut self, value: ValueId) {
        self.graph.inputs.push(value);
    }

    /// Makes a value an output of the network.
    pub fn add_output(&mut self, value: ValueId) {
        self.graph.outputs.push(value);
    }

    /// Adds a constant tensor as a value of its own.
    pub fn add_initializer(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let value = self.add_value(name, None);
        self.set_tensor(value, tensor);
        value
    }

    /// Adds a constant tensor that is part of the architecture, not learned (rotary frequencies, scale factors): the
    /// order of its axes is fixed, and a fused network takes it from the anchor.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let value = self.add_initializer(name, tensor);
        self.graph.fixed.insert(value);
        value
    }

    /// Gives a value a constant tensor, or replaces the one that it has.
    pub fn set_tensor(&mut self, value: ValueId, tensor: Tensor) {
        self.graph.initializers.insert(value, tensor);
    }

    /// Takes a constant tensor away from a value.
    pub fn remove_tensor(&mut self, value: ValueId) -> Option<Tensor> {
        self.graph.initializers.remove(&value)
    }

    /// Adds a node; the order in which nodes are added does not matter.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        operator: Operator,
        inputs: Vec<Option<ValueId>>,
        outputs: Vec<Option<ValueId>>,
    ) -> NodeId {
        let id = NodeId::new(self.graph.nodes.len());
        self.graph.nodes.push(Node { name: name.into(), operator, inputs, outputs });
        id
    }

    /// Replaces what a node computes.
    pub fn set_operator(&mut self, node: NodeId, operator: Operator) {
        self.graph.nodes[node.index()].operator = operator;
    }

    /// Replaces an input of a node, adding left-out inputs before it as needed.
    pub fn set_input(&mut self, node: NodeId, position: usize, value: Option<ValueId>) {
        let inputs = &mut self.graph.nodes[node.index()].inputs;
        if inputs.len() <= position {
            inputs.resize(position + 1, None);
        }
        inputs[position] = value;
    }

    /// Marks a node as removed. Its outputs need another source, or no readers, before [`finish`](Self::finish).
    pub fn remove_node(&mut self, node: NodeId) {
        self.removed.insert(node);
    }

    /// Says that a constant tensor is part of the architecture; see [`add_constant`](Self::add_constant).
    pub fn fix(&mut self, value: ValueId) {
        self.graph.fixed.insert(value);
    }

    /// Lets everything that reads `value`, the network's outputs too, read `other` instead.
    pub fn replace(&mut self, value: ValueId, other: ValueId) {
        let of_nodes = self.graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().flatten());
        of_nodes.chain(&mut self.graph.outputs).filter(|input| **input == value).for_each(|input| *input = other);
    }

    /// Removes the nodes and constant tensors that no output of the network depends on. `O(values + edges)`.
    pub fn remove_unread(&mut self) {
        let mut producers: HashMap<ValueId, &Node> = HashMap::new();
        for (_, node) in self.graph.nodes().filter(|(id, _)| !self.removed.contains(id)) {
            producers.extend(node.outputs.iter().flatten().map(|&output| (output, node)));
        }
        let mut live: HashSet<ValueId> = HashSet::new();
        let mut open: Vec<ValueId> = self.graph.outputs.clone();
        while let Some(value) = open.pop() {
            if live.insert(value)
                && self.graph.initializer(value).is_none()
                && let Some(node) = producers.get(&value)
            {
                open.extend(node.inputs.iter().flatten());
            }
        }
        for (index, node) in self.graph.nodes.iter().enumerate() {
            if !node.outputs.iter().flatten().any(|output| live.contains(output)) {
                self.removed.insert(NodeId::new(index));
            }
        }
        self.graph.initializers.retain(|value, _| live.contains(value));
    }

    /// The graph, its invariants checked. Values that nothing reads or writes are dropped, so ids may change.
    pub fn finish(self) -> Result<Graph, GraphError> {
        let Self { mut graph, removed, .. } = self;
        let mut index = 0;
        graph.nodes.retain(|_| {
            index += 1;
            !removed.contains(&NodeId::new(index - 1))
        });
        sort_topologically(&mut graph)?;
        drop_unused_values(&mut graph);
        graph.verify()?;
        Ok(graph)
    }
}

/// Kahn's algorithm, stable: of the nodes that are ready, the one that stood first comes first.
fn sort_topologically(graph: &mut Graph) -> Result<(), GraphError> {
    let producers = graph.producers();
    let mut waiting: Vec<usize> = vec![0; graph.nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    for (id, node) in graph.nodes() {
        for producer in node.inputs.iter().flatten().filter_map(|input| producers.get(input)) {
            waiting[id.index()] += 1;
            readers[producer.index()].push(id.index());
        }
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..waiting.len()).filter(|&node| waiting[node] == 0).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for &reader in &readers[node] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.insert(reader);
            }
        }
    }
    if order.len() < waiting.len() {
        let stuck = waiting.iter().position(|&count| count > 0).unwrap_or(0);
        return Err(GraphError::Cycle { node: graph.nodes[stuck].name.clone() });
    }
    let mut nodes: Vec<Option<Node>> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.into_iter().filter_map(|node| nodes[node].take()).collect();
    Ok(())
}

fn drop_unused_values(graph: &mut Graph) {
    let mut used = vec![false; graph.values.len()];
    let ends = graph.inputs.iter().chain(&graph.outputs);
    let of_nodes = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs).flatten());
    for id in ends.chain(of_nodes).chain(graph.initializers.keys()) {
        if let Some(slot) = used.get_mut(id.index()) {
            *slot = true;
        }
    }
    let mut next = 0;
    let renumbered: Vec<Option<ValueId>> = used
        .iter()
        .map(|&used| {
            used.then(|| {
                next += 1;
                ValueId::new(next - 1)
            })
        })
        .collect();
    let rename = |id: &mut ValueId| {
        if let Some(Some(new)) = renumbered.get(id.index()) {
            *id = *new;
        }
    };
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(rename);
    for node in &mut graph.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).flatten().for_each(rename);
    }
    graph.initializers = std::mem::take(&mut graph.initializers)
        .into_iter()
        .map(|(mut id, tensor)| {
            rename(&mut id);
            (id, tensor)
        })
        .collect();
    graph.fixed = std::mem::take(&mut graph.fixed)
        .into_iter()
        .filter(|id| used.get(id.index()).copied().unwrap_or(false))
        .map(|mut id| {
            rename(&mut id);
            id
        })
        .collect();
    graph.names = Names::default();
    let mut index = 0;
    graph.values.retain(|_| {
        index += 1;
        used[index - 1]
    });
}
