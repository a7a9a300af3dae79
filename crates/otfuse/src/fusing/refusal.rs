//! Networks that cannot be fused, whatever their neurons.

use otfuse_graph::{DataType, Graph, Node, Operator, ValueId};

use crate::{Error, Model, Result};

/// Refuses networks whose weights are integers, and networks without weights.
///
/// # Errors
/// Such a network, with the node and the tensor.
pub(crate) fn check(model: &Model) -> Result<()> {
    let graph = model.graph()?;
    if let Some((node, tensor)) = integer_weights(graph) {
        let (node, operator) = (node.name.clone(), node.operator.name());
        let tensor = graph.value(tensor).name.clone();
        let data_type = graph.find_value(&tensor).and_then(|id| graph.initializer(id)).map(|tensor| tensor.data_type());
        let data_type = data_type.map_or_else(String::new, |data_type| format!(" of {data_type}"));
        let message = format!(
            "weights are integers: '{tensor}'{data_type}, which the node '{node}' ({operator}) reads; expected \
             floating-point numbers"
        );
        let error = Error::input(message).hint("fuse the float networks, then quantise the result");
        return Err(Error { node: Some(node), tensor: Some(tensor), ..error.of(model.path()) });
    }
    if graph.parameter_count() == 0 {
        let kept = graph.nodes().find(|(_, node)| matches!(node.operator, Operator::Opaque { .. }));
        let hint = match kept {
            Some((_, node)) => format!(
                "what {} (node '{}') has learned stands in its attributes, which have no neurons: use the networks side \
                 by side",
                node.operator.name(),
                node.name
            ),
            None => "all of it is computed from its inputs: there is nothing that could be averaged".to_owned(),
        };
        return Err(Error::input("no parameters to fuse: the network has no weights").hint(hint).of(model.path()));
    }
    Ok(())
}

/// The first node that computes with integers that were learned, and their tensor.
fn integer_weights(graph: &Graph) -> Option<(&Node, ValueId)> {
    let is_weight = |id: &ValueId| {
        let tensor = graph.initializer(*id);
        tensor.is_some_and(|tensor| matches!(tensor.data_type(), DataType::I8 | DataType::U8) && tensor.len() > 1)
    };
    graph.nodes().find_map(|(_, node)| {
        let read: Vec<ValueId> = match &node.operator {
            Operator::DequantizeLinear { .. } => node.input(0).into_iter().collect(),
            Operator::MatMulInteger => [0, 1].into_iter().filter_map(|position| node.input(position)).collect(),
            Operator::QLinearConv(_) => node.input(3).into_iter().collect(),
            Operator::Opaque { name, .. }
                if name.contains("Integer") || name.contains('Q') || name.contains("Quant") =>
            {
                let tables = |id: &&ValueId| graph.initializer(**id).is_some_and(|tensor| tensor.shape().len() > 1);
                node.inputs.iter().flatten().filter(tables).copied().collect()
            }
            _ => return None,
        };
        read.into_iter().find(is_weight).map(|tensor| (node, tensor))
    })
}
