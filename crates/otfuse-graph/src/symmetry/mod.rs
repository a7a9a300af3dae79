//! The symmetry analysis: which axes of which weights share neurons.
//!
//! Every operator states how its axes map (`rules`), unification of axis layouts (`layout`) yields [`NeuronGroups`],
//! and [`permute`] reorders a network accordingly.

mod analysis;
mod collect;
mod group;
mod layout;
mod mutation;
mod nesting;
mod permute;
mod reason;
mod rules;
mod select;

pub use group::{AxisLayout, GroupId, Member, NeuronGroup, NeuronGroups, Observation, PinnedGroup, Role};
pub use mutation::{Change, Mutation};
pub use permute::{permute, permuted};
pub use reason::PinReason;
pub use rules::AxisRule;
pub use select::{SelectError, select};
