//! Which neuron groups may be rotated: the operators that treat all orthogonal maps of an axis alike.

use std::collections::HashSet;

use otfuse_graph::{Binary, GroupId, Node, Operator, ReduceKind, Unary, ValueId, Variadic};

use super::wiring::Wiring;

/// What a group allows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Freedom {
    /// Any orthogonal map; with `keeps_ones` those alone that keep the vector of ones.
    Rotation { keeps_ones: bool },
    /// Permutations alone, and why: a node and its operator.
    Order(String),
}

/// What a group allows, once the vectors in `scales` are all ones.
pub(super) fn freedom(wiring: &Wiring<'_>, group: GroupId, scales: &HashSet<ValueId>) -> Freedom {
    let mut keeps_ones = false;
    for (_, node) in wiring.graph.nodes() {
        let carriers: Vec<usize> = (0..node.inputs.len())
            .filter(|&at| node.input(at).is_some_and(|input| wiring.carries(input, group)))
            .collect();
        if carriers.is_empty() && !node.outputs.iter().flatten().any(|&output| wiring.carries(output, group)) {
            continue;
        }
        let rule = Rule { wiring, group, node, carriers, scales };
        match rule.check() {
            Some(needs_ones) => keeps_ones |= needs_ones,
            None => {
                let name = if node.name.is_empty() { String::new() } else { format!(" '{}'", node.name) };
                return Freedom::Order(format!("node{name} ({})", node.operator.name()));
            }
        }
    }
    Freedom::Rotation { keeps_ones }
}

struct Rule<'a> {
    wiring: &'a Wiring<'a>,
    group: GroupId,
    node: &'a Node,
    /// The inputs that carry the group.
    carriers: Vec<usize>,
    scales: &'a HashSet<ValueId>,
}

impl Rule<'_> {
    /// Whether the node commutes with orthogonal maps of the group; `Some(true)` if with those that keep ones alone.
    fn check(&self) -> Option<bool> {
        let node = self.node;
        match &node.operator {
            // As many copies of one number.
            Operator::Expand if self.carriers.is_empty() => self.wiring.is_number(node.input(0)?).then_some(true),
            Operator::Shape { .. } => Some(false),
            Operator::Unary(Unary::Neg) | Operator::Cast { .. } | Operator::Identity => Some(false),
            Operator::Binary(Binary::Add | Binary::Sub) | Operator::Variadic(Variadic::Sum | Variadic::Mean) => {
                Some(self.carriers.len() < node.inputs.iter().flatten().count())
            }
            Operator::Binary(Binary::Mul) => self.product(),
            Operator::Binary(Binary::Div) => (self.carriers == [0]).then_some(false),
            Operator::Binary(Binary::Pow) => {
                let is_two = node.input(1).and_then(|id| self.wiring.graph.initializer(id)).is_some_and(|tensor| {
                    tensor.to_f32().or_else(|| Some(tensor.to_i64()?.iter().map(|&value| value as f32).collect()))
                        == Some(vec![2.0; tensor.len()])
                });
                (is_two && self.is_summed()).then_some(false)
            }
            Operator::Reduce(reduce) => match (reduce.kind, self.is_reduced()) {
                (ReduceKind::Mean | ReduceKind::Sum, reduced) => Some(reduced),
                (ReduceKind::SumSquare | ReduceKind::L2, true) => Some(false),
                _ => None,
            },
            Operator::LayerNormalization { .. } => {
                let input = node.input(0)?;
                let is_last = self.wiring.axes_of(input, self.group).len() == 1 && self.carriers.first() == Some(&0);
                let is_plain = match self.wiring.vector(node.input(1)?) {
                    Some(scale) => self.scales.contains(&scale),
                    None => {
                        let (_, made) = self.wiring.producer(node.input(1)?)?;
                        matches!(made.operator, Operator::Expand) && self.wiring.is_number(made.input(0)?)
                    }
                };
                (is_last && is_plain).then_some(true)
            }
            Operator::MatMul => self.matrix_product(),
            Operator::Gemm(_) => Some(false),
            Operator::Conv(conv) if conv.groups == 1 => Some(false),
            Operator::Attention(_) => (self.carriers.iter().all(|&at| at < 3)).then_some(false),
            // Several things in one axis are told apart by index: what they carry is known of each alone.
            operator if operator.copies_elements() => {
                (self.carriers.is_empty() || self.carriers == [0]).then_some(false)
            }
            Operator::Concat { .. } => (self.carriers.len() == node.inputs.len() || self.is_apart()).then_some(false),
            _ => None,
        }
    }

    /// Every part of a concatenation along another axis carries the group, or the axis is put together of parts.
    fn is_apart(&self) -> bool {
        let Operator::Concat { axis } = self.node.operator else { return false };
        let Some(output) = self.node.output(0) else { return false };
        let on = self.wiring.axes_of(output, self.group);
        axis >= 0 && on == [axis as usize]
    }

    /// Times a number for all neurons; a vector of ones; the square, if all squares are summed.
    fn product(&self) -> Option<bool> {
        let inputs = [self.node.input(0)?, self.node.input(1)?];
        if self.carriers.len() == 1 {
            return Some(false);
        }
        if inputs.iter().any(|&input| self.wiring.vector(input).is_some_and(|input| self.scales.contains(&input))) {
            return Some(false);
        }
        (inputs[0] == inputs[1] && self.is_summed()).then_some(false)
    }

    /// Whether all that reads the output is the sum or the mean over the group.
    fn is_summed(&self) -> bool {
        let Some(output) = self.node.output(0).filter(|&output| !self.wiring.is_output(output)) else { return false };
        let readers = self.wiring.readers(output);
        let sums = |id| {
            let node = self.wiring.graph.node(id);
            let is_sum = matches!(&node.operator, Operator::Reduce(reduce)
                if matches!(reduce.kind, ReduceKind::Mean | ReduceKind::Sum));
            is_sum && node.output(0).is_some_and(|output| !self.wiring.carries(output, self.group))
        };
        !readers.is_empty() && readers.iter().all(|&(id, _)| sums(id))
    }

    /// Whether the group is gone in the output.
    fn is_reduced(&self) -> bool {
        self.node.output(0).is_some_and(|output| !self.wiring.carries(output, self.group))
    }

    /// The group is summed over on both sides, or passes on one.
    fn matrix_product(&self) -> Option<bool> {
        let output = self.node.output(0)?;
        match (self.carriers.len(), self.wiring.carries(output, self.group)) {
            (2, false) | (1, true) => Some(false),
            _ => None,
        }
    }
}
