//! What can be executed, and trained through.

use otfuse_graph::{Binary, Operator, ScatterReduction};

/// Why an operator is not executed; `None` if it is.
pub fn refusal(operator: &Operator) -> Option<&str> {
    match operator {
        Operator::Random(_) => Some("it draws random numbers, and a network's function is fixed"),
        // In inference it is read as an identity.
        Operator::Opaque { name, .. } if name == "Dropout" => Some("in training mode it draws random numbers"),
        Operator::Opaque { reason, .. } if reason.is_empty() => Some("its meaning is not known here"),
        Operator::Opaque { reason, .. } => Some(reason),
        _ => None,
    }
}

/// Whether gradients pass an operator wherever it has any. Those computed on the host let none pass, which is right for
/// comparisons, indices and roundings, whose gradient is 0 anyway.
pub fn passes_gradients(operator: &Operator) -> bool {
    match operator {
        Operator::Binary(Binary::Mod { .. })
        | Operator::GridSample(_)
        | Operator::DeformConv(_)
        | Operator::Col2Im(_) => false,
        Operator::ScatterElements { reduction, .. } | Operator::ScatterNd { reduction } => {
            *reduction == ScatterReduction::None
        }
        operator => refusal(operator).is_none(),
    }
}
