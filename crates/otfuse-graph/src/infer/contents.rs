//! Moving the elements of small integer tensors.

use super::fact::{Element, Fact, MOST_ELEMENTS};

/// The number of elements of a tensor, `None` if its contents are not followed.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length)).filter(|&count| count <= MOST_ELEMENTS)
}

/// All indices of a small tensor in row-major order, `None` if its contents are not followed.
pub(super) fn indices(shape: &[usize]) -> Option<impl Iterator<Item = Vec<usize>>> {
    let count = count(shape)?;
    Some((0..count).map(|position| index_at(shape, position)))
}

fn index_at(shape: &[usize], mut position: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (slot, &length) in index.iter_mut().zip(shape).rev() {
        *slot = position % length;
        position /= length;
    }
    index
}

/// The row-major position of an index; a shape shorter than the index is broadcast to it.
pub(super) fn position(shape: &[usize], index: &[usize]) -> usize {
    let skipped = index.len().saturating_sub(shape.len());
    let pairs = shape.iter().zip(&index[skipped..]);
    pairs.fold(0, |position, (&length, &i)| position * length + if length == 1 { 0 } else { i })
}

/// The contents of a tensor of `shape` whose element at an index is the one of `source` at the index that `origin`
/// maps it to.
pub(super) fn moved(source: &Fact, shape: &[usize], origin: impl Fn(&[usize]) -> Vec<usize>) -> Option<Vec<Element>> {
    let source_shape = source.known_shape()?;
    let elements = source.elements.as_ref()?;
    indices(shape)?.map(|index| elements.get(position(&source_shape, &origin(&index))).cloned()).collect()
}
