//! Which repair, and why there is none.

use super::runner::RunError;
use crate::error::FusionError;

/// How a fused network is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Repair {
    /// Not at all.
    #[default]
    None,
    /// The variance of every layer from the weights alone; see [`repair_without_data`](super::repair_without_data).
    DataFree,
    /// The running statistics of batch normalisations from samples.
    BatchNorm,
    /// Mean and standard deviation of every neuron set to the mean of its parents' (K. Jordan et al., "REPAIR:
    /// REnormalizing Permuted Activations for Interpolation Repair", ICLR 2023), folded into weights and biases. Layers
    /// without bias and normalisation keep their mean.
    Renormalize,
    /// As `Renormalize`, the standard deviation only ("RESCALE" there).
    Rescale,
    /// Every layer fitted by least squares to the mean of its parents' sums, on its own inputs. In the mean a parent's
    /// neuron counts by a power of its importance (deviation times the norm of its outgoing weights); where the output
    /// is as wide as the samples have classes, the last layer's target is an [`Answer`].
    LeastSquares {
        /// How strongly weights are held at the averaged ones, relative to the mean variance of the layer's inputs.
        ridge: f64,
        /// The power of a neuron's importance that is its share among its partners in the target; 0 for averaging weights
        /// alone.
        importance: f64,
        /// What a classifier's last layer is fitted to.
        answer: Answer,
        /// How often the layers in front of an activation function are fitted again, to the mean of what comes out behind
        /// it: a rectifier of the mean of two sums is not the mean of what two rectifiers let through.
        rounds: usize,
    },
}

/// What the last layer of a classifier is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Answer {
    /// The logarithm of the parents' mean probability.
    #[default]
    Ensemble,
    /// For every class the mean of the parents' scores, each parent with its share in the class: its averaging weight times
    /// its mean probability of the class over the samples. Who hardly ever answers with a class has little say in it, so
    /// that parents that have seen different classes each decide on their own.
    ClassShares,
}

/// Why a fused network could not be repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A repair that needs samples, without any.
    #[error("this repair needs samples, found none")]
    NoSamples,
    /// A layer whose system of equations is singular.
    #[error("the inputs of '{layer}' do not determine its weights; a larger ridge does")]
    Singular {
        /// The layer's weight.
        layer: String,
    },
    /// A network cannot be run on the samples.
    #[error("model {model}: {source}")]
    Runtime {
        /// The model, or the number of models for the fused network.
        model: usize,
        /// What went wrong.
        source: RunError,
    },
    /// The result is no valid network.
    #[error(transparent)]
    Fusion(#[from] FusionError),
}
