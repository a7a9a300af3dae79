//! Samples that networks make themselves: inputs found by gradient descent, and text that language models write.
//!
//! - [`descend`] changes inputs until all networks put them into the classes that are wanted, while they stay smooth and, where
//!   there are batch normalisations, have the statistics that the training samples had (H. Yin et al., "Dreaming to distill:
//!   data-free knowledge transfer via DeepInversion", CVPR 2020, equations 2 to 5).
//! - [`write()`] draws tokens one after the other from the mean of the networks' next-token distributions.

mod chains;
mod descent;
mod gradient;
mod plane;
mod statistics;

pub use chains::{Chains, is_causal, write};
pub use descent::{Descending, DescentSettings, descend};

#[cfg(test)]
mod tests;
