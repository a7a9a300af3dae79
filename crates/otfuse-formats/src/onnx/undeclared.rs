//! Axes of inputs whose shapes a file does not declare, as their readers tell them.

use std::collections::HashMap;

use otfuse_graph::{Declared, Dim, Graph, GraphEditor, GraphError, NodeId, Operator, ValueId};

/// Operators that are gone through, at most, to the one that knows.
const FAR: usize = 32;

/// The graph in which inputs without a declared shape have the axes that the first reader with a say asks for: a convolution,
/// a matrix product with a bias, a transposition. Lengths that it does not fix are open. Others stay as they are.
pub(super) fn declare(graph: Graph) -> Result<Graph, GraphError> {
    let is_open =
        |&&input: &&ValueId| graph.value(input).declared.as_ref().is_some_and(|declared| declared.shape.is_none());
    let open: Vec<ValueId> = graph.inputs().iter().filter(is_open).copied().collect();
    if open.is_empty() {
        return Ok(graph);
    }
    let readers = Readers { graph: &graph, consumers: graph.consumers() };
    let found: Vec<(ValueId, Vec<Option<usize>>)> =
        open.into_iter().filter_map(|input| Some((input, readers.axes(input, FAR)?))).collect();
    let mut editor = GraphEditor::edit(graph.clone());
    for (input, axes) in found {
        let value = graph.value(input);
        let length = |(axis, length): (usize, Option<usize>)| match length {
            Some(length) => Dim::known(length),
            None => Dim::symbol(format!("{}.{axis}", value.name)),
        };
        let shape = Some(axes.into_iter().enumerate().map(length).collect());
        editor.declare(input, value.declared.clone().map(|declared| Declared { shape, ..declared }));
    }
    editor.finish()
}

struct Readers<'a> {
    graph: &'a Graph,
    consumers: HashMap<ValueId, Vec<(NodeId, usize)>>,
}

impl Readers<'_> {
    /// The axes of a value, with the lengths that are fixed.
    fn axes(&self, value: ValueId, far: usize) -> Option<Vec<Option<usize>>> {
        let readers = self.consumers.get(&value)?;
        readers.iter().find_map(|&(node, position)| self.told(node, position, far.checked_sub(1)?))
    }

    /// What one reader says of what it reads at a position.
    fn told(&self, node: NodeId, position: usize, far: usize) -> Option<Vec<Option<usize>>> {
        let node = self.graph.node(node);
        let constant = |position: usize| Some(self.graph.initializer(node.input(position)?)?.shape());
        let behind = || self.axes(node.output(0)?, far);
        let spatial = |channels: Option<usize>, rank: usize| {
            [None, channels].into_iter().chain(std::iter::repeat_n(None, rank.saturating_sub(2))).collect()
        };
        match &node.operator {
            Operator::Conv(conv) if position == 0 => {
                let weight = constant(1)?;
                Some(spatial(weight.get(1)?.checked_mul(conv.groups), weight.len()))
            }
            Operator::ConvTranspose(_) if position == 0 => {
                let weight = constant(1)?;
                Some(spatial(weight.first().copied(), weight.len()))
            }
            Operator::Gemm(gemm) if position == 0 => {
                let width = constant(1).and_then(|weight| weight.get(usize::from(gemm.transpose_b)).copied());
                Some(if gemm.transpose_a { vec![width, None] } else { vec![None, width] })
            }
            Operator::Transpose { permutation: Some(permutation) } => {
                let behind = behind().filter(|axes| axes.len() == permutation.len());
                let mut axes = vec![None; permutation.len()];
                for (axis, length) in permutation.iter().zip(behind.into_iter().flatten()) {
                    *axes.get_mut(*axis)? = length;
                }
                Some(axes)
            }
            Operator::MatMul if position == 0 => {
                let width = *constant(1)?.first()?;
                let mut axes = behind().filter(|_| constant(1).is_some_and(|weight| weight.len() == 2))?;
                *axes.last_mut()? = Some(width);
                Some(axes)
            }
            Operator::Binary(_) => {
                let other = constant(1 - position.min(1))?;
                let axes = behind()?;
                (other.len() <= axes.len()).then_some(axes)
            }
            Operator::BatchNormalization { .. } | Operator::InstanceNormalization { .. } if position == 0 => behind(),
            Operator::Unary(_) | Operator::Clip | Operator::Identity | Operator::Cast { .. } if position == 0 => {
                behind()
            }
            _ => None,
        }
    }
}
