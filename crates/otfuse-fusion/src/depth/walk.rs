//! Which nodes of two networks correspond, given the pairs of their blocks.

use std::collections::HashMap;

use otfuse_graph::{Block, Graph, NodeId, Operator, ValueId};

use super::error::DepthError;

/// For nodes of one network those of another.
pub(super) struct Walk<'g> {
    pub deep: &'g Graph,
    pub own: &'g Graph,
    deep_producers: HashMap<ValueId, NodeId>,
    own_producers: HashMap<ValueId, NodeId>,
    pub nodes: HashMap<NodeId, NodeId>,
}

impl<'g> Walk<'g> {
    /// Nodes of paired blocks, and of what they share with others.
    pub fn of(
        (deep, deep_blocks): (&'g Graph, &[Block]),
        (own, own_blocks): (&'g Graph, &[Block]),
        pairs: &[(usize, usize)],
    ) -> Result<Self, DepthError> {
        let (deep_producers, own_producers) = (deep.producers(), own.producers());
        let mut walk = Self { deep, own, deep_producers, own_producers, nodes: HashMap::new() };
        for &(a, b) in pairs {
            walk.nodes.extend(deep_blocks[a].nodes.iter().copied().zip(own_blocks[b].nodes.iter().copied()));
        }
        for &(a, b) in pairs {
            for (&a, &b) in deep_blocks[a].shared.iter().zip(&own_blocks[b].shared) {
                walk.follow(a, b)?;
            }
        }
        Ok(walk)
    }

    /// Pairs what computes two values, back to the inputs.
    pub fn follow(&mut self, deep: ValueId, own: ValueId) -> Result<(), DepthError> {
        let mut waiting = vec![(deep, own)];
        while let Some((a, b)) = waiting.pop() {
            let (node, other) = match (self.deep_producers.get(&a), self.own_producers.get(&b)) {
                (Some(&node), Some(&other)) => (node, other),
                (None, None) => continue,
                _ => return Err(self.unlike(a, b, "only one of them is computed")),
            };
            match self.nodes.get(&node) {
                Some(known) if *known == other => continue,
                Some(_) => return Err(self.unlike(a, b, "they are wired otherwise")),
                None => {}
            }
            let (of_deep, of_own) = (self.deep.node(node), self.own.node(other));
            if !same_kind(&of_deep.operator, &of_own.operator) || of_deep.inputs.len() != of_own.inputs.len() {
                return Err(self.unlike(a, b, "they are computed otherwise"));
            }
            self.nodes.insert(node, other);
            waiting.extend(of_deep.inputs.iter().zip(&of_own.inputs).filter_map(|(a, b)| Some(((*a)?, (*b)?))));
        }
        Ok(())
    }

    fn unlike(&self, deep: ValueId, own: ValueId, reason: &str) -> DepthError {
        let name = |graph: &Graph, value: ValueId| graph.value(value).name.clone();
        DepthError::Unlike { deeper: name(self.deep, deep), other: name(self.own, own), reason: reason.into() }
    }

    /// The constant of the other network that stands where a node of the deeper one reads one.
    pub fn constant(&self, node: NodeId, position: usize) -> Option<ValueId> {
        let other = self.own.node(*self.nodes.get(&node)?).input(position)?;
        self.own.initializer(other).map(|_| other)
    }
}

fn same_kind(a: &Operator, b: &Operator) -> bool {
    match (a, b) {
        (Operator::Conv(a), Operator::Conv(b)) => a.window == b.window && (a.groups == 1) == (b.groups == 1),
        (a, b) => a == b,
    }
}
