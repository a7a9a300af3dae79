//! Which nodes have to be run for some values.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use otfuse_graph::{Graph, NodeId, ValueId};

use crate::RuntimeError;

/// Plans that are kept: passes over a network ask for few different things in turn.
const MOST_PLANS: usize = 8;

/// The nodes that some values need, where others are given.
pub(super) struct Plan {
    /// In the order of the graph.
    pub(super) steps: Vec<NodeId>,
    /// How often each value is read, being wanted included.
    pub(super) reads: Vec<usize>,
    pub(super) given: HashSet<ValueId>,
}

/// The plans of a graph made last, by the values wanted and those given.
#[derive(Default)]
pub(super) struct Plans(Mutex<VecDeque<Kept>>);

struct Kept {
    wanted: Vec<ValueId>,
    given: Vec<ValueId>,
    plan: Arc<Plan>,
}

impl Plans {
    /// The plan for `wanted` from `given`; always of the same graph. Made in `O(nodes)` time the first time.
    ///
    /// # Errors
    /// A value that is not one of the graph's.
    pub(super) fn of(
        &self,
        graph: &Graph,
        wanted: &[ValueId],
        given: impl Iterator<Item = ValueId> + Clone,
    ) -> Result<Arc<Plan>, RuntimeError> {
        let is_same = |kept: &&Kept| kept.wanted == wanted && kept.given.iter().copied().eq(given.clone());
        // A plan is put in whole, so that what a panic elsewhere leaves is sound.
        if let Some(kept) = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find(is_same) {
            return Ok(Arc::clone(&kept.plan));
        }
        let plan = Arc::new(Plan::new(graph, wanted, given.clone().collect())?);
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.truncate(MOST_PLANS - 1);
        plans.push_front(Kept { wanted: wanted.to_vec(), given: given.collect(), plan: Arc::clone(&plan) });
        Ok(plan)
    }
}

impl Plan {
    fn new(graph: &Graph, wanted: &[ValueId], given: HashSet<ValueId>) -> Result<Self, RuntimeError> {
        let mut reads = vec![0; graph.values().len()];
        for &id in wanted {
            *reads.get_mut(id.index()).ok_or_else(|| RuntimeError::NotComputed { value: format!("{id:?}") })? += 1;
        }
        let mut steps = Vec::new();
        let nodes: Vec<_> = graph.nodes().collect();
        for (id, node) in nodes.into_iter().rev() {
            let is_needed = |output: &ValueId| reads[output.index()] > 0 && !given.contains(output);
            if node.outputs.iter().flatten().any(is_needed) {
                steps.push(id);
                for input in node.inputs.iter().flatten() {
                    reads[input.index()] += 1;
                }
            }
        }
        steps.reverse();
        Ok(Self { steps, reads, given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otfuse_graph::GraphBuilder;

    #[test]
    fn plans_are_kept_by_what_is_wanted_and_given() {
        let mut b = GraphBuilder::new("chain");
        let x = b.input("x", &[None]);
        let y = b.relu(x);
        let z = b.relu(y);
        b.output(z);
        let graph = b.finish().unwrap();
        let plans = Plans::default();
        let of = |wanted: &[ValueId], given: &[ValueId]| plans.of(&graph, wanted, given.iter().copied()).unwrap();
        let whole = of(&[z], &[x]);
        assert_eq!(whole.steps.len(), 2);
        assert!(Arc::ptr_eq(&whole, &of(&[z], &[x])));
        assert_eq!((of(&[z], &[y]).steps.len(), of(&[y], &[x]).steps.len()), (1, 1));
        assert!(Arc::ptr_eq(&whole, &of(&[z], &[x])));
        // As many others as are kept drive it out.
        (0..MOST_PLANS).for_each(|count| drop(of(&vec![z; count + 2], &[x])));
        assert!(!Arc::ptr_eq(&whole, &of(&[z], &[x])));
        assert_eq!(plans.0.lock().unwrap().len(), MOST_PLANS);
    }
}
