//! What can go wrong in training.

use otfuse_graph::GraphError;

use crate::RuntimeError;

/// A network cannot be trained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrainError {
    /// A setting is out of range.
    #[error("the setting {setting}: expected {expected}, found {found}")]
    Setting { setting: &'static str, expected: &'static str, found: f64 },
    /// The data set has no samples, or fewer than the batch that the network fixes.
    #[error("there are not enough samples for one batch")]
    NoSamples,
    /// Samples with other targets than are asked for.
    #[error("the samples' targets: expected {expected}, found {found}")]
    Targets { expected: &'static str, found: &'static str },
    /// Samples that cannot be mixed as was asked.
    #[error("the samples: expected {expected}, found {found}")]
    Samples { expected: &'static str, found: &'static str },
    /// The network has no weights to train.
    #[error("the network has no trainable weights")]
    NoParameters,
    /// An operator that no gradients pass.
    #[error(
        "the node '{node}' uses the operator {operator}, which no gradients pass: what stands before it cannot be trained"
    )]
    NoGradient { node: String, operator: String },
    /// The loss is no longer a number.
    #[error("the loss became {loss} in step {step}; a smaller learning rate may help")]
    Diverged { step: usize, loss: f32 },
    /// A saved state cannot be used.
    #[error("the saved state: expected {expected}, found {found}")]
    State { expected: String, found: String },
    /// The state could not be saved.
    #[error("the state of training could not be saved: {0}")]
    Save(String),
    /// The network cannot be executed on the samples.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The trained graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Fails unless a setting is in its range.
pub(super) fn check(setting: &'static str, expected: &'static str, found: f64, holds: bool) -> Result<(), TrainError> {
    if holds { Ok(()) } else { Err(TrainError::Setting { setting, expected, found }) }
}
