//! Converged matching: sweeps over all groups until no map changes.
//!
//! A sweep visits the groups one after the other; each is matched anew, given the maps of all others, on all weights that
//! carry its neurons: the rows of the layers that produce them, the columns of those that consume them. With squared
//! Euclidean costs and equal widths every step lowers one objective,
//!
//! ```text
//! sum over all weights of |weight of the anchor - mapped weight of the model|^2                         (objective)
//! ```
//!
//! so that the sweeps end after finitely many steps (S. Ainsworth, J. Hayase, S. Srinivasa, "Git Re-Basin", ICLR 2023,
//! algorithm 1, which visits the groups in a random order). The forward sweep of algorithm 1 of the optimal transport
//! paper is the usual start. Recorded activations can enter as further tensors beside the weights.

mod converge;
mod nested;
mod order;
mod realign;
mod views;

pub(crate) use converge::{Converged, Start, converge};
pub(crate) use nested::{Nested, identity_map};
pub(crate) use order::orders;
pub(crate) use realign::realign;
pub(crate) use views::Views;
