//! What can be wrong with a graph.

use crate::{NodeId, ValueId};

/// A broken invariant of a [`Graph`](crate::Graph).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum GraphError {
    /// A tensor that was made anew has not the bytes that its shape asks for.
    #[error(transparent)]
    Size(#[from] crate::TensorSizeError),
    /// Two values have one name.
    #[error("two values are named '{name}'")]
    DuplicateName { name: String },
    /// An id of another graph.
    #[error("the value {id:?} is not part of the graph")]
    UnknownValue { id: ValueId },
    /// An id of another graph.
    #[error("the node {id:?} is not part of the graph")]
    UnknownNode { id: NodeId },
    /// A value is given twice.
    #[error("the value '{value}' has several sources; expected one input, initializer or node")]
    SeveralSources { value: String },
    /// A value is read that nothing computes before.
    #[error("{reader} reads the value '{value}', which nothing computes before it")]
    NotComputed { value: String, reader: String },
    /// An operator has too few or too many inputs.
    #[error("the node '{node}' ({operator}) has {found} inputs; expected {}", range(*.least, *.most))]
    Arity { node: String, operator: String, least: usize, most: usize, found: usize },
    /// The nodes cannot be ordered.
    #[error("the nodes form a cycle through '{node}'")]
    Cycle { node: String },
}

fn range(least: usize, most: usize) -> String {
    match most {
        usize::MAX => format!("at least {least}"),
        most if most == least => least.to_string(),
        most => format!("{least} to {most}"),
    }
}
