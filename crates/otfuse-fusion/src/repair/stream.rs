//! Samples on their way through a network, layer by layer.

use std::collections::{BTreeMap, HashMap, HashSet};

use otfuse_graph::{Graph, NodeId, Tensor, ValueId};

use super::runner::{Loaded, RunError, Runner};
use super::unit::LinearUnit;

/// A network that stands still between two layers, with the values of all samples at the cut.
pub(crate) struct Stream<'a> {
    graph: &'a Graph,
    loaded: Box<dyn Loaded + 'a>,
    /// The nodes that have run.
    done: HashSet<NodeId>,
    /// Per batch the values that nodes still to run read.
    batches: Vec<BTreeMap<ValueId, Tensor>>,
}

impl<'a> Stream<'a> {
    /// All samples in front of the first layer.
    pub fn new(graph: &'a Graph, runner: &'a dyn Runner) -> Result<Self, RunError> {
        let loaded = runner.load(graph)?;
        let batches = loaded.inputs()?;
        Ok(Self { graph, loaded, done: HashSet::new(), batches })
    }

    /// The network.
    pub fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Replaces a weight of a layer that has not run yet.
    pub fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RunError> {
        self.loaded.replace(id, tensor)
    }

    /// Computes values of one batch from the cut, which stays where it is.
    pub fn peek(&self, batch: usize, wanted: &[ValueId]) -> Result<BTreeMap<ValueId, Tensor>, RunError> {
        let known: Vec<(ValueId, Tensor)> =
            self.batches[batch].iter().map(|(id, tensor)| (*id, tensor.clone())).collect();
        self.loaded.run_from(&known, wanted)
    }

    /// Moves the cut behind everything that `wanted` needs.
    pub fn advance(&mut self, wanted: &[ValueId]) -> Result<(), RunError> {
        let graph = self.graph;
        let before = self.done.len();
        self.done.extend(ancestors(graph, wanted));
        if self.done.len() == before {
            return Ok(());
        }
        let mut cut: Vec<ValueId> = Vec::new();
        for (_, node) in graph.nodes().filter(|(id, _)| self.done.contains(id)) {
            cut.extend(node.outputs.iter().flatten());
        }
        cut.extend(graph.inputs());
        let pending: HashSet<ValueId> = graph
            .nodes()
            .filter(|(id, _)| !self.done.contains(id))
            .flat_map(|(_, node)| node.inputs.iter().flatten().copied())
            .chain(graph.outputs().iter().copied())
            .collect();
        cut.retain(|value| pending.contains(value) || wanted.contains(value));
        for batch in 0..self.batches.len() {
            self.batches[batch] = self.peek(batch, &cut)?;
        }
        Ok(())
    }
}

/// The nodes that some values need.
pub(crate) fn ancestors(graph: &Graph, wanted: &[ValueId]) -> HashSet<NodeId> {
    let producers: HashMap<ValueId, NodeId> = graph.producers();
    let mut found = HashSet::new();
    let mut waiting: Vec<ValueId> = wanted.to_vec();
    while let Some(value) = waiting.pop() {
        if let Some(&node) = producers.get(&value)
            && found.insert(node)
        {
            waiting.extend(graph.node(node).inputs.iter().flatten());
        }
    }
    found
}

/// Where the output of the first of some layers, all that are still to be fitted, is added to another value that none of them
/// changes any more: the sum and the other value.
pub(crate) fn open_residual(graph: &Graph, layers: &[LinearUnit]) -> Option<(ValueId, ValueId)> {
    layers.first()?.residual.filter(|&(_, other)| {
        let before = ancestors(graph, &[other]);
        layers.iter().all(|layer| !before.contains(&layer.node))
    })
}

/// A value that was computed.
pub(crate) fn floats(mut values: BTreeMap<ValueId, Tensor>, id: ValueId) -> Result<Tensor, RunError> {
    let tensor = values.remove(&id).ok_or_else(|| format!("the value {id:?} is not computed"))?;
    if tensor.data_type().is_float() {
        Ok(tensor)
    } else {
        Err(format!("the value {id:?} is computed as {}, not as floats", tensor.data_type()).into())
    }
}
