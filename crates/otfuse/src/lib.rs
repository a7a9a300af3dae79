//! Fuses independently trained neural networks into one network of the same cost, by optimal transport.
//!
//! This crate is the library's face: it re-exports what the other crates of the workspace offer and adds what needs
//! several of them. The command line (`otfuse`) stands on it.
//!
//! ```
//! use otfuse::{Networks, Settings, fuse};
//! use otfuse::runtime::mlp;
//!
//! let (a, b) = (mlp(&[4, 8, 3], 1)?, mlp(&[4, 8, 3], 2)?);
//! let networks = Networks::new(&[&a, &b], 1)?;
//! let fusion = fuse(&networks, &Settings::default(), None, &|_| {})?;
//! assert_eq!(fusion.alignments[0].groups[0].size, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activations;
mod architecture;
#[doc(hidden)]
pub mod cli;
pub mod diagram;
mod layers;
mod repair;
mod verify;

pub use activations::{RecordError, record_activations};
pub use architecture::{ArchitectureError, architecture, architecture_for};
pub use layers::{Layer, Recorded, layers, record_layers};
pub use otfuse_formats as formats;
pub use otfuse_fusion::{
    ActivationPoint, ActivationStatistic, Activations, Aligned, Consensus, FeatureSource, Fusion, FusionError, Gram,
    GroupAlignment, Importance, MarginalKind, Matching, Members, Method, ModelAlignment, Networks, Progress,
    PruneError, PruneSettings, PrunedGroup, Pruning, Residual, SavedPlan, Settings, SweepOrder, SweepStart, align_all,
    balance, fuse, fuse_partially, prune,
};
pub use otfuse_graph as graph;
pub use otfuse_runtime as runtime;
pub use otfuse_transport as transport;
pub use repair::{Repair, RepairError, repair};
#[doc(hidden)]
pub use verify::verify_groups;
pub use verify::{TOLERANCE, Verification, VerifyError, random_inputs, random_orders, verify};
