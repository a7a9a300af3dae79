//! Networks fused into one: the product's main job, from options to a result that is proved, repaired and measured.

mod comparison;
mod coverage;
#[cfg(feature = "training")]
mod distilled;
mod fuse;
mod fused;
mod group;
mod idle;
mod order;
pub(crate) mod plan;
mod prepared;
mod ready;
mod refusal;
mod rehearsal;
mod report;
mod rotation;
mod sources;
mod vocabulary;
mod ways;

pub use comparison::{Comparison, Parent};
pub use coverage::{Coverage, NotAligned};
#[cfg(feature = "training")]
pub use distilled::DistilledNetwork;
pub use fuse::Fuse;
pub use fused::Fused;
pub(crate) use group::Group;
pub(crate) use prepared::Prepared;
pub use ready::FusePlan;
pub use rehearsal::Rehearsal;
pub use report::{FuseReport, FuseSamples, FuseSeconds, FuseSettings, FusedGroup, FusedModel, Sweeps};
pub(crate) use rotation::Turned;
pub use sources::names_file;
pub use ways::TriedWay;
