//! Functions of single elements, on all threads where there are many.

use rayon::prelude::*;

use super::parallel;

/// Elements of a unit of work; fewer are not worth another thread.
const UNIT: usize = 1 << 15;

/// `values[i] = function(values[i], other[i])`.
pub(super) fn combine(values: &mut [f32], other: &[f32], function: impl Fn(f32, f32) -> f32 + Sync) {
    let work = |(values, other): (&mut [f32], &[f32])| {
        values.iter_mut().zip(other).for_each(|(value, &other)| *value = function(*value, other));
    };
    parallel::for_each(values.par_chunks_mut(UNIT).zip(other.par_chunks(UNIT)), work);
}

/// `values[i] = function(values[i])`.
pub(super) fn change(values: &mut [f32], function: impl Fn(f32) -> f32 + Sync) {
    change_parts(values, |values| values.iter_mut().for_each(|value| *value = function(*value)));
}

/// The same for a function that changes all elements of a part.
pub(super) fn change_parts(values: &mut [f32], function: impl Fn(&mut [f32]) + Send + Sync) {
    parallel::for_each(values.par_chunks_mut(UNIT), function);
}

/// The same for a function of whole rows of so many elements.
pub(super) fn change_rows(values: &mut [f32], length: usize, function: impl Fn(&mut [f32]) + Send + Sync) {
    let rows = UNIT.div_ceil(length.max(1));
    parallel::for_each(values.par_chunks_mut(rows * length.max(1)), function);
}

/// `max(x, 0)`; NaN stays.
pub(super) fn rectified(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

/// The gradient by the input of [`rectified`], where the output is given.
pub(super) fn rectified_gradient(gradient: f32, output: f32) -> f32 {
    if output <= 0.0 { 0.0 } else { gradient }
}
