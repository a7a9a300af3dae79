//! What can go wrong between networks.

use otfuse_transport::TransportError;

/// Why networks cannot be fused. Models are counted from 0 in the order given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum FusionError {
    /// Fewer than two models.
    #[error("fusing takes at least two models, found {found}")]
    TooFewModels { found: usize },
    /// A model number out of range.
    #[error("the anchor is model {anchor}, but there are models 0 to {last} only")]
    Anchor { anchor: usize, last: usize },
    /// Not one averaging weight per model, or one that is no number from 0 on.
    #[error("expected {expected} averaging weights that are not negative and not all zero, found {found:?}")]
    Weights { expected: usize, found: Vec<f64> },
    /// Models or weights that a way of merging cannot work with.
    #[error("{method} takes {expected}, found {found}")]
    Merge { method: &'static str, expected: String, found: String },
    /// The work was stopped by its observer.
    #[error("the work was cancelled")]
    Cancelled,
    /// The graphs differ.
    #[error("model {model} is another architecture than the anchor, model {anchor}: {difference}")]
    Architecture { model: usize, anchor: usize, difference: String },
    /// A part without freedom has other sizes.
    #[error(
        "'{tensor}' has shape {found:?} in model {model} but {expected:?} in the anchor, and axis {axis} cannot be \
         adapted: {reason}"
    )]
    PinnedSize { model: usize, tensor: String, axis: usize, expected: Vec<usize>, found: Vec<usize>, reason: String },
    /// Averaging without alignment needs equal shapes.
    #[error(
        "'{tensor}' has shape {found:?} in model {model} but {expected:?} in the anchor; a plain average needs equal shapes"
    )]
    Shape { model: usize, tensor: String, expected: Vec<usize>, found: Vec<usize> },
    /// A weight that is NaN or infinite.
    #[error("'{tensor}' of model {model} has the value {value} at index {index}; weights must be finite")]
    NotFinite { model: usize, tensor: String, index: usize, value: f32 },
    /// A weight of the result that is NaN, infinite or too large for its type, while all parents are finite.
    #[error("'{tensor}' of the result has the value {value} at index {index} as {data_type}; the parents are finite")]
    ResultNotFinite { tensor: String, index: usize, value: f32, data_type: String },
    /// Activation mode without activations that fit.
    #[error("model {model}: {problem}")]
    Activations { model: usize, problem: String },
    /// A saved alignment of other networks.
    #[error("the alignment does not fit{}: {problem}", of_group(.group))]
    Alignment { group: String, problem: String },
    /// The analysis of a graph failed.
    #[error("model {model}: {source}")]
    Analysis { model: usize, source: otfuse_graph::InferenceError },
    /// The result is no valid graph.
    #[error("the fused network is not valid")]
    Graph(#[from] otfuse_graph::GraphError),
    /// Partial fusion of other than two models of equal widths, or to other than one to two times their width.
    #[error(
        "partial fusion takes two models of equal widths and a budget from 1 to 2, found {models} models and {budget}"
    )]
    WidthBudget { budget: f64, models: usize },
    /// A network that cannot be widened.
    #[error("the network cannot be widened: {0}")]
    Widened(#[from] otfuse_graph::SelectError),
    /// A transport problem without a solution.
    #[error("model {model}, group {group} ('{member}'): {source}")]
    Transport { model: usize, group: usize, member: String, source: TransportError },
}

fn of_group(group: &str) -> String {
    if group.is_empty() { String::new() } else { format!(" group '{group}'") }
}
