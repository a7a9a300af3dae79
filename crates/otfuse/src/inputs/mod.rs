//! Inputs that a network is proved on: lengths where it leaves them open, and random contents.

mod contents;
mod lengths;
mod shapes;

use std::collections::BTreeMap;

use otfuse_graph::{Facts, Graph, Tensor};
use rand_chacha::ChaCha8Rng;

pub(crate) use contents::vocabulary;
pub(crate) use contents::{Filling, below, normal};
use lengths::Lengths;
pub(crate) use lengths::{Search, Tried};
pub use shapes::InputShapes;

use crate::VerifyError;

/// Inputs by name.
pub(crate) type Inputs = BTreeMap<String, Tensor>;

/// Inputs for a network: standard normal numbers, or integers that stay inside the tables that they index.
///
/// # Errors
/// [`VerifyError::Inputs`] where the network declares larger ones than anything is proved on.
pub fn random_inputs(
    graph: &Graph,
    facts: &Facts,
    random: &mut ChaCha8Rng,
) -> Result<BTreeMap<String, Tensor>, VerifyError> {
    inputs_at(graph, facts, &InputShapes::default(), random)
}

/// The same, at these lengths where they are given.
pub(crate) fn inputs_at(
    graph: &Graph,
    facts: &Facts,
    shapes: &InputShapes,
    random: &mut ChaCha8Rng,
) -> Result<Inputs, VerifyError> {
    Lengths::first(graph, facts, shapes).inputs(graph, facts, shapes, Filling::FIRST, random)
}
