//! Which weights are those of linear layers, read off the graph.

use std::collections::{HashMap, HashSet};

use otfuse_graph::{Graph, NodeId, Operator, ValueId};

/// How a layer keeps its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `outputs x inputs`.
    Linear,
    /// `inputs x outputs`, as `Conv1D` of transformers does.
    Turned,
    /// `outputs x inputs x height x width`, of one group.
    Convolution,
}

/// What a graph does with its weights.
pub(super) struct Layers {
    forms: HashMap<String, Form>,
    /// Weights that more than one place reads.
    shared: HashSet<String>,
}

impl Layers {
    /// Follows each weight through casts and turns to what reads it. Linear in the size of the graph.
    pub fn of(graph: &Graph) -> Self {
        let consumers = graph.consumers();
        let mut layers = Self { forms: HashMap::new(), shared: HashSet::new() };
        for (id, tensor) in graph.initializers().filter(|(id, _)| graph.is_weight(*id)) {
            let name = &graph.value(id).name;
            let mut uses = Vec::new();
            follow(graph, &consumers, id, tensor.shape().len(), false, &mut uses);
            if uses.len() > 1 {
                layers.shared.insert(name.clone());
            }
            if let Some(Some(first)) = uses.first()
                && uses.iter().all(|form| *form == Some(*first))
            {
                layers.forms.insert(name.clone(), *first);
            }
        }
        layers
    }

    /// How the layer of a weight keeps it; nothing if it is not the weight of linear layers alone.
    pub fn form(&self, name: &str) -> Option<Form> {
        self.forms.get(name).copied()
    }

    /// Whether more than one place reads a weight.
    pub fn is_shared(&self, name: &str) -> bool {
        self.shared.contains(name)
    }
}

/// The forms in which nodes read a weight of so many axes.
fn follow(
    graph: &Graph,
    consumers: &HashMap<ValueId, Vec<(NodeId, usize)>>,
    value: ValueId,
    rank: usize,
    is_turned: bool,
    uses: &mut Vec<Option<Form>>,
) {
    if graph.outputs().contains(&value) {
        uses.push(None);
    }
    for &(reader, position) in consumers.get(&value).into_iter().flatten() {
        let node = graph.node(reader);
        let turns = match &node.operator {
            Operator::Cast { .. } | Operator::Identity => Some(false),
            Operator::Transpose { permutation } if rank == 2 => {
                Some(permutation.as_deref().is_none_or(|order| order == [1, 0]))
            }
            _ => None,
        };
        if let (Some(turns), Some(output)) = (turns, node.output(0)) {
            follow(graph, consumers, output, rank, is_turned != turns, uses);
            continue;
        }
        // Whether the node multiplies with `inputs x outputs`.
        let is_straight = match &node.operator {
            Operator::MatMul => true,
            Operator::Gemm(gemm) => !gemm.transpose_b,
            _ => false,
        };
        uses.push(match &node.operator {
            Operator::MatMul | Operator::Gemm(_) if position == 1 && rank == 2 => {
                Some(if is_straight == is_turned { Form::Linear } else { Form::Turned })
            }
            Operator::Conv(conv) if position == 1 && rank == 4 && conv.groups == 1 => Some(Form::Convolution),
            _ => None,
        });
    }
}
