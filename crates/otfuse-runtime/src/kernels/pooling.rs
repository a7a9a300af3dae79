//! Maxima over windows without padding.

use rayon::prelude::*;

use super::parallel;
use super::shape::SlidingAxis;

/// Input elements of a unit of work, roughly.
const UNIT: usize = 1 << 15;

/// The planes of a unit of work.
fn unit(axes: &[SlidingAxis; 2]) -> usize {
    (UNIT / (axes[0].input * axes[1].input).max(1)).max(1)
}

/// The larger of two numbers; NaN wins.
fn larger(best: f32, value: f32) -> f32 {
    if value > best || value.is_nan() { value } else { best }
}

/// The largest element of each window, plane by plane.
pub(super) fn max_pool(axes: &[SlidingAxis; 2], input: &[f32]) -> Vec<f32> {
    let [rows, columns] = axes;
    let (from, to) = (rows.input * columns.input, rows.output * columns.output);
    let mut result = vec![0.0; input.len() / from * to];
    let unit = unit(axes);
    parallel::for_each(result.par_chunks_mut(unit * to).zip(input.par_chunks(unit * from)), |(result, input)| {
        for (result, plane) in result.chunks_exact_mut(to).zip(input.chunks_exact(from)) {
            for (at, result) in result.chunks_exact_mut(columns.output).enumerate() {
                let lines = &plane[at * rows.stride * columns.input..];
                if axes.iter().all(|axis| (axis.kernel, axis.stride, axis.dilation) == (2, 2, 1)) {
                    max_of_pairs(lines, columns.input, result);
                } else {
                    max_of_taps(lines, axes, result);
                }
            }
        }
    });
    result
}

/// Windows of 2 x 2 elements, side by side.
fn max_of_pairs(lines: &[f32], width: usize, result: &mut [f32]) {
    let (upper, lower) = (lines[..width].as_chunks::<2>().0, lines[width..2 * width].as_chunks::<2>().0);
    for ((result, upper), lower) in result.iter_mut().zip(upper).zip(lower) {
        *result = larger(larger(upper[0], upper[1]), larger(lower[0], lower[1]));
    }
}

fn max_of_taps(lines: &[f32], [rows, columns]: &[SlidingAxis; 2], result: &mut [f32]) {
    result.fill(f32::NEG_INFINITY);
    for row in 0..rows.kernel {
        for column in 0..columns.kernel {
            let start = row * rows.dilation * columns.input + column * columns.dilation;
            let line = lines[start..].iter().step_by(columns.stride);
            result.iter_mut().zip(line).for_each(|(result, &value)| *result = larger(*result, value));
        }
    }
}

/// The gradient by the input: each window's gradient goes to its first largest element, or to its last NaN.
pub(super) fn max_pool_gradient(axes: &[SlidingAxis; 2], input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let [rows, columns] = axes;
    let (from, to) = (rows.input * columns.input, rows.output * columns.output);
    let row_offsets = (0..rows.kernel).map(|row| row * rows.dilation * columns.input);
    let offsets: Vec<usize> =
        row_offsets.flat_map(|row| (0..columns.kernel).map(move |column| row + column * columns.dilation)).collect();
    let mut result = vec![0.0; input.len()];
    let unit = unit(axes);
    let units = input.par_chunks(unit * from).zip(gradient.par_chunks(unit * to));
    parallel::for_each(result.par_chunks_mut(unit * from).zip(units), |(result, (input, gradient))| {
        let planes = input.chunks_exact(from).zip(gradient.chunks_exact(to));
        for (result, (input, gradient)) in result.chunks_exact_mut(from).zip(planes) {
            for (at, gradient) in gradient.iter().enumerate() {
                let (row, column) = (at / columns.output * rows.stride, at % columns.output * columns.stride);
                let start = row * columns.input + column;
                result[start + largest(&input[start..], &offsets)] += gradient;
            }
        }
    });
    result
}

/// The offset of the first largest number, or of the last NaN.
fn largest(values: &[f32], offsets: &[usize]) -> usize {
    let (mut best, mut at) = (f32::NEG_INFINITY, offsets.first().copied().unwrap_or(0));
    for &offset in offsets {
        let value = values[offset];
        if value > best || value.is_nan() {
            (best, at) = (value, offset);
        }
    }
    at
}
