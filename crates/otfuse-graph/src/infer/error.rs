//! What shape inference can find wrong with a network.

use crate::{Dim, Shape};

/// A node whose inputs do not fit its operator or each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node '{node}' ({operator}): {}{mismatch}", of_value(value.as_deref()))]
pub struct InferenceError {
    /// The node's name.
    pub node: String,
    /// The operator's ONNX name.
    pub operator: String,
    /// The name of the value that does not fit, where it is one.
    pub value: Option<String>,
    /// What was expected and found.
    pub mismatch: Box<Mismatch>,
}

fn of_value(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!("'{value}': "))
}

/// What was expected and found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Mismatch {
    /// Too few or too many axes.
    #[error("expected {expected} axes, found shape {found:?}")]
    Rank { expected: String, found: Shape },
    /// An axis of the wrong length.
    #[error("expected length {expected} of axis {axis}, found {found}")]
    Length { axis: usize, expected: Dim, found: Dim },
    /// A length that must be divided into equal parts cannot be.
    #[error("expected a length of axis {axis} divisible by {parts}, found {found}")]
    Indivisible { axis: usize, parts: usize, found: Dim },
    /// Shapes that cannot be broadcast together.
    #[error("the shapes {left:?} and {right:?} cannot be broadcast together")]
    Broadcast { left: Shape, right: Shape },
    /// A shape that must be stretched to another cannot be.
    #[error("expected a shape that can be broadcast to {expected:?}, found {found:?}")]
    BroadcastTo { expected: Shape, found: Shape },
    /// A reshape changes the number of elements.
    #[error("expected as many elements as shape {input:?} has, found {target:?}")]
    Size { input: Shape, target: Vec<String> },
    /// A window does not fit into its padded input even once.
    #[error("a window spanning {extent} elements does not fit into axis {axis} of length {length} padded by {padding}")]
    Window { axis: usize, extent: usize, length: usize, padding: usize },
    /// An axis that the tensor does not have.
    #[error("the axis {axis} is out of range for rank {rank}")]
    Axis { axis: i64, rank: usize },
    /// An axis named twice, or an order of axes that is none.
    #[error("expected distinct axes below {rank}, found {found:?}")]
    Axes { rank: usize, found: Vec<i64> },
    /// An index beyond an axis.
    #[error("the index {index} is out of range for length {length}")]
    Index { index: i64, length: usize },
    /// An argument (attribute or constant input) that the operator does not allow.
    #[error("expected {expected} as {argument}, found {found}")]
    Argument { argument: &'static str, expected: String, found: String },
    /// A length or rank beyond what can be represented.
    #[error("{what} is too large: {found}")]
    TooLarge { what: &'static str, found: String },
    /// The file declares another shape than follows from the operator.
    #[error("the file declares shape {declared:?}, the operator gives {inferred:?}")]
    Declared { declared: Shape, inferred: Shape },
}
