//! Ranks and element types as far as single steps tell them: what the forms of old operators depend on.

use std::collections::HashMap;

use otfuse_graph::{DataType, Graph, NodeId, Operator, ValueId};

/// Ranks and element types of values, filled while nodes are read in the file's order. Shape inference proper runs on
/// the finished graph; this serves the few conversions without which there is no graph yet.
#[derive(Debug, Default)]
pub(super) struct Hints {
    ranks: HashMap<ValueId, usize>,
    types: HashMap<ValueId, DataType>,
}

impl Hints {
    /// The number of axes of a value, if it is known.
    pub(super) fn rank(&self, graph: &Graph, value: ValueId) -> Option<usize> {
        let declared = || graph.value(value).declared.as_ref()?.shape.as_ref().map(Vec::len);
        let constant = || graph.initializer(value).map(|tensor| tensor.shape().len());
        self.ranks.get(&value).copied().or_else(constant).or_else(declared)
    }

    /// The element type of a value, if it is known.
    pub(super) fn data_type(&self, graph: &Graph, value: ValueId) -> Option<DataType> {
        let declared = || graph.value(value).declared.as_ref().map(|declared| declared.data_type);
        let constant = || graph.initializer(value).map(|tensor| tensor.data_type());
        self.types.get(&value).copied().or_else(constant).or_else(declared)
    }

    /// Takes note of what a node says of its outputs.
    pub(super) fn observe(&mut self, graph: &Graph, node: NodeId) {
        let node = graph.node(node);
        let rank_of = |position: usize| node.input(position).and_then(|input| self.rank(graph, input));
        let type_of = |position: usize| node.input(position).and_then(|input| self.data_type(graph, input));
        let largest = || node.inputs.iter().flatten().map(|&input| self.rank(graph, input)).max().flatten();
        let values = |position: usize| node.input(position).and_then(|input| graph.initializer(input)?.to_i64());
        let rank = match &node.operator {
            Operator::Opaque { .. } => return,
            Operator::Gemm(_) | Operator::Flatten { .. } => Some(2),
            Operator::Reshape { .. } => values(1).map(|shape| shape.len()),
            Operator::Unsqueeze => rank_of(0).zip(values(1)).map(|(rank, axes)| rank + axes.len()),
            Operator::Squeeze => rank_of(0).zip(values(1)).and_then(|(rank, axes)| rank.checked_sub(axes.len())),
            Operator::Gather { .. } => rank_of(0).zip(rank_of(1)).and_then(|(x, indices)| (x + indices).checked_sub(1)),
            Operator::Reduce(reduce) if !reduce.keep_dims => match (rank_of(0), values(1)) {
                (Some(rank), Some(axes)) if !axes.is_empty() => rank.checked_sub(axes.len()),
                _ => None,
            },
            Operator::ArgExtremum { keep_dims, .. } => {
                rank_of(0).and_then(|rank| rank.checked_sub(usize::from(!keep_dims)))
            }
            Operator::Binary(_) | Operator::Variadic(_) | Operator::Where | Operator::MatMul => {
                let known = node.inputs.iter().flatten().all(|&input| self.rank(graph, input).is_some());
                let vector = node.operator == Operator::MatMul && (rank_of(0) < Some(2) || rank_of(1) < Some(2));
                if known && !vector { largest() } else { None }
            }
            Operator::Expand | Operator::ConstantOfShape { .. } | Operator::Range => None,
            Operator::Einsum(einsum) => Some(einsum.output.len()),
            Operator::Shape { .. } => Some(1),
            Operator::Size => Some(0),
            Operator::NonZero => Some(2),
            Operator::GatherElements { .. } => rank_of(1),
            Operator::OneHot { .. } => rank_of(0).map(|rank| rank + 1),
            Operator::GatherNd { .. } | Operator::Col2Im(_) | Operator::Random(_) => None,
            Operator::Recurrent(_) | Operator::Attention(_) | Operator::TopK { .. } => {
                let kept = type_of(0);
                for (position, &output) in node.outputs.iter().enumerate() {
                    let is_index = matches!(node.operator, Operator::TopK { .. }) && position == 1;
                    if let (Some(output), Some(kept)) = (output, kept) {
                        self.types.insert(output, if is_index { DataType::I64 } else { kept });
                    }
                }
                return;
            }
            Operator::If { .. } | Operator::Loop { .. } | Operator::Scan(_) => return,
            _ => rank_of(0),
        };
        let data_type = match &node.operator {
            Operator::Cast { to } => Some(*to),
            Operator::Shape { .. } | Operator::ArgExtremum { .. } => Some(DataType::I64),
            Operator::Binary(binary) if binary.is_comparison() => Some(DataType::Bool),
            Operator::ConstantOfShape { value } => Some(value.data_type()),
            Operator::Where => type_of(1),
            Operator::Unary(unary) if unary.is_test() => Some(DataType::Bool),
            Operator::Size | Operator::NonZero => Some(DataType::I64),
            Operator::OneHot { .. } => type_of(2),
            Operator::DequantizeLinear { .. } => type_of(1),
            Operator::MatMulInteger => Some(DataType::I32),
            Operator::QuantizeLinear { data_type, .. } => type_of(2).or(*data_type).or(Some(DataType::U8)),
            Operator::QLinearConv(_) => type_of(7),
            Operator::EyeLike { data_type, .. } => data_type.or(type_of(0)),
            Operator::Random(_) => None,
            _ => type_of(0),
        };
        for &output in node.outputs.iter().flatten() {
            if let Some(rank) = rank {
                self.ranks.insert(output, rank);
            }
            if let Some(data_type) = data_type {
                self.types.insert(output, data_type);
            }
        }
    }
}
