//! What can go wrong when a graph is executed.

/// A graph cannot be executed on the inputs given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum RuntimeError {
    /// An operator that is not executed.
    #[error("the node '{node}' uses the operator {operator}, which cannot be executed: {reason}")]
    Unsupported { node: String, operator: String, reason: String },
    /// A node's input or setting does not fit its operator.
    #[error("the node '{node}' ({operator}): {subject}: expected {expected}, found {found}")]
    Operand { node: String, operator: String, subject: String, expected: String, found: String },
    /// The tensor library failed.
    #[error("the node '{node}' ({operator}) failed: {message}")]
    Backend { node: String, operator: String, message: String },
    /// A value that the network needs was not given.
    #[error("the input '{input}' is missing")]
    MissingInput { input: String },
    /// A value was given that the network has no input for.
    #[error("the network has no input '{input}'; its inputs are {}", expected.join(", "))]
    UnknownInput { input: String, expected: Vec<String> },
    /// An input has another type or shape than the network declares.
    #[error("the input '{input}': expected {expected}, found {found}")]
    Input { input: String, expected: String, found: String },
    /// A value was asked for that the graph does not compute.
    #[error("the value '{value}' is not computed by the graph")]
    NotComputed { value: String },
    /// A constant of the graph cannot be used.
    #[error("the constant '{value}': expected {expected}, found {found}")]
    Constant { value: String, expected: String, found: String },
    /// The computation was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A limit of the host was reached: the node would be one step too many, or more bytes are alive behind it.
    #[error("the node '{node}' takes {asked} {resource}, of which {allowed} are allowed")]
    Budget { node: String, resource: &'static str, asked: u64, allowed: u64 },
    /// The samples of a data set do not fit the network's input.
    #[error("samples of shape {found:?} do not fit the input '{input}', which takes {expected}")]
    Samples { input: String, expected: String, found: Vec<usize> },
    /// A data set has no array for an input.
    #[error("{data} has no array '{input}': expected arrays called as the network's inputs ({}), found {found}", inputs.join(", "))]
    NoArray { data: String, input: String, inputs: Vec<String>, found: String },
    /// A data set says nothing that a network could be measured by.
    #[error("{data} has no labels: {purpose} needs to know what a network should say of each sample")]
    NoTargets { data: String, purpose: &'static str },
    /// The network is not a classifier of the data set.
    #[error("the output '{output}': expected {expected}, found {found}")]
    Output { output: String, expected: String, found: String },
}
