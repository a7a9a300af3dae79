//! Fuses networks: aligns the neurons of each to those of an anchor by optimal transport, then averages the weights.
//!
//! The method is that of S. P. Singh and M. Jaggi, "Model Fusion via Optimal Transport", NeurIPS 2020
//! (arXiv:1910.05653), on neuron groups instead of layers, so that it holds for every network that
//! [`NeuronGroups`](otfuse_graph::NeuronGroups) can analyse. For a group of `n` neurons in the model and `m` in the
//! anchor, with marginals `a` and `b` and the optimal plan `T` between the neurons' features (section 4 of the paper):
//!
//! ```text
//! producers  (rows, biases, normalisation):   W <- diag(1/b) T' W
//! consumers  (columns of the next weight):    W <- W T diag(1/a)
//! ```
//!
//! The way through the crate: [`Networks::new`] matches the graphs of all models, [`fuse`] aligns and merges them
//! under [`Settings`] and returns a [`Fusion`]. In activation mode, record the values that
//! [`Networks::observed`] names and hand them over as [`Activations`].

mod activations;
mod align;
mod alignment;
mod apply;
mod average;
mod axis;
mod cka;
mod consensus;
mod depth;
mod error;
mod family;
mod features;
mod frechet;
mod fuse;
mod importance;
mod latent;
mod low_rank;
mod map;
mod matching;
mod measure;
pub mod merge;
mod networks;
mod normalization;
mod observer;
mod pairing;
mod partial;
mod prune;
mod repair;
mod residual;
mod rotation;
mod scores;
mod settings;
mod split_mix;
mod sweep;
mod transform;
mod vector;

pub use activations::Activations;
pub use alignment::{GroupAlignment, InputAlignment, ModelAlignment, SavedPlan};
pub use cka::Gram;
pub use depth::{Alike, Cut, Deepened, DepthError, deepen, likeness_of_weights, pair_blocks, shorten, split_weights};
pub use error::FusionError;
pub use frechet::frechet_distance;
pub use fuse::{Aligned, Fusion, align_all, fuse};
pub use importance::Deviations;
pub use latent::{FirstOrder, LatentAxis, LatentError, NoiseSymmetry, match_noise};
pub use low_rank::{LowRank, Truncation, low_rank};
pub use merge::Merging;
pub use networks::Networks;
pub use observer::Progress;
pub use partial::{Apart, Resized, fuse_partially};
pub use prune::{Importance, PruneError, PruneSettings, PrunedGroup, Pruning, prune};
pub use repair::{
    Answer, Answering, Carried, Carry, ClassMoments, Fit, Known, LinearUnit, Loaded, NormalEquations, Normalization,
    Recall, Recalled, Repair, RepairError, RunError, Runner, SeenInputs, balance, carry, recall, repair,
    repair_without_data,
};
pub use residual::Residual;
pub use rotation::{NotRotated, Rotated, RotationCounts, Rotations, rotated};
pub use settings::{
    ActivationPoint, ActivationStatistic, Alignment, Consensus, FeatureSource, MarginalKind, Matching, Members,
    Settings, SweepOrder, SweepStart,
};
