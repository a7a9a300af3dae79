//! Samples on their way through a network, layer by layer.

use std::collections::{BTreeMap, HashMap, HashSet};

use otfuse_graph::{Graph, NodeId, Tensor, ValueId};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::{Device, Executable, RuntimeError, SampleLayout, fixed_batch_size};

/// Samples at once where the network leaves the choice.
const BATCH: usize = 100;

/// A network that stands still between two layers, with the values of all samples at the cut.
pub struct Stream {
    executable: Executable,
    /// The nodes that have run.
    done: HashSet<NodeId>,
    /// Per batch the values that nodes still to run read.
    batches: Vec<BTreeMap<ValueId, Tensor>>,
}

impl Stream {
    /// All samples in front of the first layer. Samples that do not fill a batch of a fixed size are left out.
    pub fn new(graph: &Graph, samples: &Dataset) -> Result<Self, RuntimeError> {
        let executable = Executable::new(graph, &Device::default())?;
        let layout = SampleLayout::of(graph, samples)?;
        let fixed = fixed_batch_size(graph);
        let size = fixed.unwrap_or(BATCH).max(1);
        let mut batches = Vec::new();
        for start in (0..samples.len()).step_by(size) {
            let end = samples.len().min(start + size);
            if fixed.is_some() && end - start < size && start > 0 {
                break;
            }
            let fed = if fixed.is_some() { size } else { end - start };
            let values = samples.samples((start..start + fed).map(|index| index.min(end - 1)));
            batches.push(layout.batch(values, fed).into_iter().collect());
        }
        Ok(Self { executable, done: HashSet::new(), batches })
    }

    /// The number of batches.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Replaces a weight of a layer that has not run yet.
    pub fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RuntimeError> {
        self.executable.replace(id, tensor)
    }

    /// Computes values of one batch from the cut, which stays where it is.
    pub fn peek(&self, batch: usize, wanted: &[ValueId]) -> Result<BTreeMap<ValueId, Tensor>, RuntimeError> {
        let known: Vec<(ValueId, Tensor)> =
            self.batches[batch].iter().map(|(id, tensor)| (*id, tensor.clone())).collect();
        self.executable.run_from(&known, wanted)
    }

    /// Moves the cut behind everything that `wanted` needs.
    pub fn advance(&mut self, wanted: &[ValueId]) -> Result<(), RuntimeError> {
        let graph = self.executable.graph();
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
pub fn ancestors(graph: &Graph, wanted: &[ValueId]) -> HashSet<NodeId> {
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
