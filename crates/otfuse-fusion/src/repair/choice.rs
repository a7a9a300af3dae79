//! Which repair, and the way through it.

use std::ops::ControlFlow;

use otfuse_graph::Graph;

use super::balance::balance;
use super::data_free::repair_without_data;
use super::refit::Refit;
use super::runner::{RunError, Runner};
use crate::error::FusionError;
use crate::fuse::Fusion;
use crate::networks::Networks;

/// How a fused network is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Repair {
    /// Not at all.
    #[default]
    None,
    /// The variance of every layer from the weights alone; see [`repair_without_data`].
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
    /// is as wide as the samples have classes, the last layer's target is the logarithm of the parents' mean probability.
    LeastSquares {
        /// How strongly weights are held at the averaged ones, relative to the mean variance of the layer's inputs.
        ridge: f64,
        /// The power of a neuron's importance that is its share among its partners in the target; 0 for averaging weights
        /// alone.
        importance: f64,
    },
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

/// Repairs a fused network, and [balances](balance) its neurons, which changes nothing that it computes but how it is
/// trained further; `observe` is told how many of how many layers are done,
/// and stops the work by answering `Break`.
///
/// Layers are visited from the inputs to the outputs; each is corrected given what the network with all earlier layers
/// corrected computes. No labels and no gradients are used.
///
/// With samples, every model runs over them once, layer by layer; the values at the cut between layers are held in memory
/// for all samples (of VGG11 on 32 x 32 images 64 kB a sample and model). Least squares takes `r d (d + m) + d^3 / 3`
/// operations for a layer of `d` inputs and `m` outputs, on `r` rows (samples times positions, at most 16 a weight of a
/// neuron or 65,536). The result does not depend on the number of threads.
///
/// # Errors
/// No samples where they are needed, a network that cannot be run on them, a singular system of equations;
/// [`FusionError::Cancelled`] within [`RepairError::Fusion`] if the observer stopped the work.
pub fn repair(
    networks: &Networks,
    fusion: &Fusion,
    repair: Repair,
    runner: Option<&dyn Runner>,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Graph, RepairError> {
    let repaired = match repair {
        Repair::None => return Ok(fusion.graph.clone()),
        Repair::DataFree => repair_without_data(networks, fusion)?,
        kind => {
            let runner = runner.filter(|runner| runner.samples() > 0).ok_or(RepairError::NoSamples)?;
            Refit::new(networks, fusion, kind, runner)?.run(observe)?
        }
    };
    Ok(balance(networks, repaired)?)
}
