//! Why networks of unequal depth do not go together.

use otfuse_graph::{GraphError, InferenceError};

/// Why networks of unequal depth do not go together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum DepthError {
    /// No way to pair the blocks in order.
    #[error("as networks of unequal depth their blocks cannot be paired in order: {reason}")]
    NoPairs { reason: String },
    /// A given pairing that is none.
    #[error("{problem}")]
    Pairs { problem: String },
    /// A block that cannot be made to change nothing.
    #[error(
        "no block like '{block}' of the deeper network can be put into the other one so that it changes nothing: {reason}"
    )]
    Insertion { block: String, reason: String },
    /// Places of the two networks that do not correspond.
    #[error("'{deeper}' of the deeper network does not correspond to '{other}' of the other one: {reason}")]
    Unlike { deeper: String, other: String, reason: String },
    /// The result is no valid graph.
    #[error("the deepened network is not valid")]
    Graph(#[from] GraphError),
    /// A network that cannot be run, or a layer that cannot be fitted.
    #[error(transparent)]
    Repair(#[from] crate::repair::RepairError),
    /// Shapes that contradict each other.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}
