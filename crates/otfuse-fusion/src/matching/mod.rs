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

pub(crate) use converge::{Start, converge};
pub(crate) use nested::{Nested, identity_map};
pub(crate) use order::orders;
pub(crate) use realign::realign;
pub(crate) use views::Views;

use otfuse_graph::Role;

/// A smaller relative gain is no gain but rounding.
const NEGLIGIBLE: f64 = 1e-9;

fn squared_norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

/// The rows of `own` neurons on an axis of a tensor whose squared distances count `weight` times, as features. Neurons that
/// are merged send out the sum of what they sent.
fn weighed(mut rows: Vec<f32>, weight: f64, role: Role, (own, of_anchor): (usize, usize)) -> Vec<f32> {
    let merged = if role == Role::Consumer { own as f64 / of_anchor.max(1) as f64 } else { 1.0 };
    let factor = (weight.sqrt() * merged) as f32;
    if factor != 1.0 {
        rows.iter_mut().for_each(|value| *value *= factor);
    }
    rows
}

/// The squared distance of two tensors.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}
