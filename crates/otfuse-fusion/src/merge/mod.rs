//! How aligned tensors become one. A method is one file here, named below; nothing else knows of it.

mod mean;
mod slerp;

pub use mean::Mean;
pub use slerp::Slerp;

use crate::error::FusionError;

/// A way to make one tensor of several that are aligned.
pub trait Merge: Send + Sync + std::fmt::Debug {
    /// The method's name, in the words of messages and files.
    fn name(&self) -> &'static str;

    /// Refuses weights, one for each model, that the method cannot work with.
    ///
    /// # Errors
    /// [`FusionError::Merge`] with what is expected and what was found.
    fn check(&self, weights: &[f64]) -> Result<(), FusionError>;

    /// Whether parts of a tensor can be merged by themselves, so that large ones need little memory. Where not,
    /// [`tensor`](Self::tensor) gets whole tensors.
    fn works_in_pieces(&self) -> bool;

    /// One tensor of `length` elements, or a piece of it, in double precision.
    ///
    /// `weights` has one entry for each model and passed [`check`](Self::check); `aligned` gives a model's values, `length`
    /// of them, each time that it is asked: models that do not count need not be asked for.
    ///
    /// # Errors
    /// Those of `aligned`, handed on.
    fn tensor(&self, length: usize, weights: &[f64], aligned: Source<'_>) -> Result<Vec<f64>, FusionError>;
}

/// Gives a model's aligned values.
pub type Source<'a> = &'a dyn Fn(usize) -> Result<Vec<f32>, FusionError>;
