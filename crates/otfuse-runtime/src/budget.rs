//! What running a network may take where nobody says: bytes alive, nodes executed, operations.
//!
//! A file names sizes that no machine has in a few bytes. So what a network may take follows from what is really there: its
//! constants, the inputs that it is given, and the machine.

use std::sync::atomic::{AtomicU64, Ordering};

use otfuse_formats::memory_limit;
use otfuse_graph::{Graph, Tensor};

/// What any network may hold.
const BASE_BYTES: u64 = 960 << 20;
/// Bytes for each byte of a constant, and of an input.
const BYTES_PER_BYTE: (u64, u64) = (16, 256);
/// Nodes that any network may execute, for each of its nodes, and for each element of an input; bodies of loops are executed
/// anew in each round.
const STEPS: (u64, u64, u64) = (1 << 16, 1 << 10, 16);
/// Beyond these no network comes but by its own size.
const MOST_STEPS: u64 = 1 << 20;
/// Operations of any network, for each element of a constant, and of an input. Networks of convolutions over large images
/// take 100,000 multiplications for each of their weights.
const OPERATIONS: (u64, u64, u64) = (12_000_000_000, 200_000, 20_000);
/// Elements of a constant that count whatever they are.
const FEW: usize = 1 << 12;
/// Several runs that prove one thing together take as much as this many.
const RUNS_TOGETHER: u64 = 4;

/// What a network may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) bytes: u64,
    pub(crate) steps: u64,
    pub(crate) operations: u64,
}

/// The size of a network, on which its allowance depends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    nodes: u64,
    constants: u64,
}

impl Size {
    /// Counts the bodies of control flow as well.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut size = Self { nodes: graph.nodes().len() as u64, constants: 0 };
        for (_, tensor) in graph.initializers() {
            size.constants = size.constants.saturating_add(counted(tensor));
        }
        for body in graph.nodes().flat_map(|(_, node)| node.operator.bodies()) {
            let inner = Self::of(&body.graph);
            size.nodes = size.nodes.saturating_add(inner.nodes);
            size.constants = size.constants.saturating_add(inner.constants);
        }
        size
    }

    /// What a network of this size may take in one run on inputs of so many elements, or in several that belong `together`.
    pub(crate) fn allowance(self, inputs: u64, together: bool) -> Allowance {
        let runs = if together { RUNS_TOGETHER } else { 1 };
        let sum = |base: u64, terms: [(u64, u64); 2]| {
            terms.iter().fold(base, |sum, &(factor, count)| sum.saturating_add(factor.saturating_mul(count)))
        };
        let bytes = [(4 * BYTES_PER_BYTE.0, self.constants), (4 * BYTES_PER_BYTE.1, inputs)];
        let steps = sum(STEPS.0, [(STEPS.1, self.nodes), (STEPS.2, inputs)]);
        let operations = sum(OPERATIONS.0, [(OPERATIONS.1, self.constants), (OPERATIONS.2, inputs)]);
        Allowance {
            bytes: sum(BASE_BYTES, bytes).min(memory_limit()),
            steps: steps.min(MOST_STEPS.max(16 * self.nodes)).saturating_mul(runs),
            operations: operations.saturating_mul(runs),
        }
    }
}

/// Elements of a constant that give an allowance. One number many times over takes no place in a file, and is not what any
/// training leaves.
fn counted(tensor: &Tensor) -> u64 {
    if tensor.len() > FEW && tensor.is_uniform() { FEW as u64 } else { tensor.len() as u64 }
}

/// What has been taken of an allowance.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    steps: AtomicU64,
    operations: AtomicU64,
}

impl Taken {
    /// Takes a step; `Err` has the number of steps that would be too many.
    pub(crate) fn step(&self, allowed: u64) -> Result<(), u64> {
        Self::add(&self.steps, 1, allowed)
    }

    /// Takes operations.
    pub(crate) fn operate(&self, operations: u64, allowed: u64) -> Result<(), u64> {
        Self::add(&self.operations, operations, allowed)
    }

    /// Never beyond what is allowed, so that the count cannot run over.
    fn add(count: &AtomicU64, more: u64, allowed: u64) -> Result<(), u64> {
        let next = |taken: u64| taken.checked_add(more).filter(|&sum| sum <= allowed);
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(taken) => Err(taken.saturating_add(more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_with_what_is_there_and_never_run_over() {
        let (small, large) = (Size { nodes: 3, constants: 100 }, Size { nodes: 5000, constants: 300 << 20 });
        let (few, many) = (small.allowance(10, false), large.allowance(10, false));
        assert!(few.steps < many.steps && few.operations < many.operations && few.bytes <= many.bytes);
        assert_eq!(small.allowance(10, true).operations, 4 * few.operations);
        let most = Size { nodes: u64::MAX / 16, constants: u64::MAX }.allowance(u64::MAX, true);
        assert_eq!(most.operations, u64::MAX);
    }

    #[test]
    fn what_is_taken_is_counted_once() {
        let taken = Taken::default();
        assert_eq!((taken.step(2), taken.step(2), taken.step(2)), (Ok(()), Ok(()), Err(3)));
        assert_eq!(taken.operate(5, 10), Ok(()));
        assert_eq!((taken.operate(u64::MAX, 10), taken.operate(5, 10)), (Err(u64::MAX), Ok(())));
    }
}
