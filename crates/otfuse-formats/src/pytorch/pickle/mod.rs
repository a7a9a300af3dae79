//! An interpreter for Python pickles that executes nothing.
//!
//! A pickle is a program for a small stack machine whose instructions may name any Python callable. Here a callable
//! is only ever a name: a short list of names that PyTorch uses to rebuild tensors and containers is understood
//! ([`reduce`]), and every other one becomes an inert [`value::Object`] that keeps its arguments and state as data.
//!
//! Values live in an [`Arena`] and refer to each other by index, so sharing and cycles cost nothing, and neither
//! dropping nor walking a deeply nested value can exhaust the stack. Every instruction adds at most one value and
//! moves those it takes, and copies are budgeted, so memory is bounded by the length of the pickle.

mod interpreter;
mod reduce;
mod text;
mod value;

pub(super) use interpreter::{PersistentIds, unpickle};
pub(super) use reduce::is_foreign_tensor;
pub(super) use value::{Arena, StorageReference, TensorReference, Value, ValueId};

/// A pickle breaks the rules, at a byte of it.
#[derive(Debug)]
pub(super) struct PickleError {
    pub(super) position: usize,
    pub(super) expected: String,
    pub(super) found: String,
}
