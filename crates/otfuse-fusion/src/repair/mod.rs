//! What averaging breaks, repaired.
//!
//! Averaged neurons lose variance, layer upon layer, since their parents agree in part only (K. Jordan, H. Sedghi, O.
//! Saukh, R. Entezari, B. Neyshabur, "REPAIR: REnormalizing Permuted Activations for Interpolation Repair", ICLR 2023).
//! [`LinearUnit`] finds the layers of a network, [`repair_without_data`] restores their variance in closed form,
//! [`NormalEquations`] fits a layer to given outputs. [`balance`] gives the neurons of the result the scale
//! that training expects. [`repair`] goes through the layers with samples, the fused network and its parents side by side
//! (`stream`); networks are run by whatever implements [`Runner`].

pub(crate) mod activation;
mod balance;
mod carry;
mod choice;
pub(crate) mod cholesky;
mod data_free;
mod ensemble;
pub(crate) mod following;
mod importance;
pub(crate) mod layer;
mod moments;
pub(crate) mod normal_equations;
mod patches;
mod recall;
mod refit;
mod runner;
pub(crate) mod second_moments;
mod shares;
pub(crate) mod stream;
pub(crate) mod unit;

use std::ops::ControlFlow;

use otfuse_graph::Graph;

use crate::average::rounded;
use crate::fuse::Fusion;
use crate::networks::Networks;
use refit::Refit;

pub use balance::balance;
pub use carry::{Carried, Carry, carry};
pub use choice::{Answer, Repair, RepairError};
pub use data_free::repair_without_data;
pub use normal_equations::{Fit, NormalEquations};
pub use recall::{Answering, ClassMoments, Known, Recall, Recalled, SeenInputs, recall};
pub use runner::{Loaded, RunError, Runner};
pub use unit::{LinearUnit, Normalization};

/// Repairs a fused network, and [balances](balance) its neurons, which changes nothing that it computes but how it is
/// trained further; `observe` is told how many of how many layers are done,
/// and stops the work by answering `Break`.
///
/// Layers are visited from the inputs to the outputs; each is corrected given what the network with all earlier layers
/// corrected computes. No labels and no gradients are used. Weights of 16 bits are single precision on the way, and
/// rounded once at the end.
///
/// With samples, every model runs over them once, layer by layer; the values at the cut between layers are held in memory
/// for all samples (of VGG11 on 32 x 32 images 64 kB a sample and model). Least squares takes `r d (d + m) + d^3 / 3`
/// operations for a layer of `d` inputs and `m` outputs, on `r` rows (samples times positions, at most 16 a weight of a
/// neuron or 65,536). The result does not depend on the number of threads.
///
/// # Errors
/// No samples where they are needed, a network that cannot be run on them, a singular system of equations;
/// [`FusionError::Cancelled`](crate::FusionError::Cancelled) within [`RepairError::Fusion`] if the observer stopped the work.
pub fn repair(
    networks: &Networks,
    fusion: &Fusion,
    repair: Repair,
    runner: Option<&dyn Runner>,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Graph, RepairError> {
    let repaired = match repair {
        Repair::None => return Ok(fusion.rounded(networks)?),
        Repair::DataFree => repair_without_data(networks, fusion)?,
        kind => {
            let runner = runner.filter(|runner| runner.samples() > 0).ok_or(RepairError::NoSamples)?;
            Refit::new(networks, fusion, kind, runner)?.run(observe)?
        }
    };
    Ok(rounded(networks, balance(networks, repaired)?)?)
}
