//! What can be wrong with an ONNX model.

use std::path::PathBuf;

use otfuse_graph::{FoldError, GraphError, InferenceError};

use super::FormatError;

/// An ONNX model could not be read or written. The fields name the node or tensor, what was expected and what found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum OnnxError {
    /// The bytes are no serialised `ModelProto`.
    #[error("expected an ONNX model (a serialised ModelProto), found {found} bytes that are none: {source}")]
    Decode { found: usize, source: prost::DecodeError },
    /// The file holds more messages than a network of its length has.
    #[error("the messages of the model take {asked} bytes or more, of which a file of its length may take {allowed}")]
    Messages { asked: u64, allowed: u64 },
    /// A part that every model has is not there.
    #[error("the model has no {expected}")]
    Missing { expected: &'static str },
    /// A name is empty, or given twice where it must be unique.
    #[error("expected one {kind} named '{name}', found {found}")]
    Name { kind: &'static str, name: String, found: usize },
    /// An attribute of a node is missing or breaks the operator's rules.
    #[error("node '{node}' ({operator}), attribute '{attribute}': expected {expected}, found {found}")]
    Attribute { node: String, operator: String, attribute: String, expected: String, found: String },
    /// The node may be sound but does something that has no counterpart here.
    #[error("node '{node}' ({operator}): {construct} is not supported")]
    UnsupportedNode { node: String, operator: String, construct: String },
    /// A constant tensor breaks the rules of the format.
    #[error("tensor '{tensor}': expected {expected}, found {found}")]
    Tensor { tensor: String, expected: String, found: String },
    /// A tensor without a counterpart here is read by an operator that would have to compute with it.
    #[error("tensor '{tensor}' holds {found}, which node '{node}' ({operator}) cannot read here")]
    UnsupportedTensor { tensor: String, found: String, node: String, operator: String },
    /// A tensor lies in another file, whose name is not one inside the model's folder.
    #[error("tensor '{tensor}': expected the name of a file in the model's folder, found '{found}'")]
    ExternalLocation { tensor: String, found: String },
    /// The file that a tensor lies in cannot be opened.
    #[error("tensor '{tensor}' lies in {}, which cannot be read: {source}", path.display())]
    ExternalFile { tensor: String, path: PathBuf, source: Box<FormatError> },
    /// The file that a tensor lies in is too short.
    #[error("tensor '{tensor}' takes bytes {offset} to {expected} of {}, found {found} bytes", path.display())]
    ExternalTruncated { tensor: String, path: PathBuf, offset: u64, expected: u64, found: u64 },
    /// The nodes and values do not form a network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The shapes do not fit.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The network is no longer the one that the template was read with.
    #[error("{place}: expected {expected}, found {found}")]
    Template { place: String, expected: String, found: String },
    /// The model is too large for one file and has to be written with external data.
    #[error("the model takes {found} bytes in one file; expected at most {expected}")]
    TooLarge { expected: usize, found: usize },
}

impl OnnxError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Decode { .. } => "check that the file is an ONNX model and was copied or downloaded completely",
            Self::Messages { .. } => {
                "nearly all of them are empty: the file is damaged, or was made to fill the memory"
            }
            Self::Missing { .. } | Self::Name { .. } | Self::Graph(_) | Self::Inference(_) => {
                "check the model with onnx.checker.check_model"
            }
            Self::Attribute { .. } | Self::Tensor { .. } => {
                "the model is damaged or was written by a faulty program: export it again"
            }
            Self::UnsupportedNode { .. } => {
                "bring the model to a newer opset with onnx.version_converter, or export it again"
            }
            Self::UnsupportedTensor { .. } => "export the model with float32, float16 or bfloat16 weights",
            Self::ExternalLocation { .. } => "keep the data beside the model and refer to it by its name alone",
            Self::ExternalFile { .. } => "copy the data file beside the model",
            Self::ExternalTruncated { .. } => "the data file was cut short: copy or download it again",
            Self::Template { .. } => "write the network as a model of its own instead of into the original one",
            Self::TooLarge { .. } => "write the tensors into a file of their own (external data)",
        }
    }
}

impl From<FoldError> for OnnxError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Inference(error) => Self::Inference(error),
            FoldError::Graph(error) => Self::Graph(error),
        }
    }
}
