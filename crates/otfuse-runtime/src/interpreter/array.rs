//! What the operators that only move elements need of a tensor, wherever it lives.

use super::fault::Outcome;

/// A tensor whose elements can be moved. Callers have checked shapes, axes and indices.
pub(crate) trait Array: Clone + Sized {
    fn shape(&self) -> &[usize];

    fn rank(&self) -> usize {
        self.shape().len()
    }

    /// The same elements under another shape of as many.
    fn reshaped(self, shape: &[usize]) -> Self;

    /// Axis i of the result is axis `permutation[i]`.
    fn permuted(self, permutation: &[usize]) -> Self;

    /// `length` elements along an axis.
    fn range(self, axis: usize, start: usize, length: usize) -> Self;

    /// The elements at `indices` along an axis.
    fn selected(self, axis: usize, indices: &[usize]) -> Self;

    /// At least one part; all shapes agree but for `axis`.
    fn concatenated(parts: Vec<Self>, axis: usize) -> Self;

    /// Repeats axes of length 1; leading axes are added.
    fn expanded(self, shape: &[usize]) -> Self;

    /// A tensor of the same kind filled with a value.
    fn filled_like(&self, shape: &[usize], value: f64) -> Outcome<Self>;
}
