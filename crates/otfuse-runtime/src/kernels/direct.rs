//! Convolutions whose groups have one input channel (depthwise): too little for products of matrices.

use super::shape::ConvolutionShape;
use super::tile::Tile;

/// Output channels of a group from which on a product of matrices is faster.
const MOST_OUTPUTS: usize = 4;
/// Partial sums of a scalar product.
const LANES: usize = 16;

/// Whether the functions of this module are the faster ones.
pub(super) fn pays(shape: &ConvolutionShape) -> bool {
    shape.group_inputs() == 1 && shape.group_outputs() < MOST_OUTPUTS
}

/// Adds the correlation of a padded channel with a kernel to a row of output positions.
pub(super) fn correlate(tile: &Tile, padded: &[f32], kernel: &[f32], row: &mut [f32]) {
    for (tap, &weight) in kernel.iter().enumerate() {
        tile.runs(tap, |from, to, length, step| {
            let target = &mut row[to..to + length];
            if step == 1 {
                let source = &padded[from..from + length];
                target.iter_mut().zip(source).for_each(|(to, &from)| *to += weight * from);
            } else {
                let source = padded[from..].iter().step_by(step);
                target.iter_mut().zip(source).for_each(|(to, &from)| *to += weight * from);
            }
        });
    }
}

/// The reverse: adds a kernel times the gradients of output positions to a padded channel.
pub(super) fn spread(tile: &Tile, row: &[f32], kernel: &[f32], padded: &mut [f32]) {
    for (tap, &weight) in kernel.iter().enumerate() {
        tile.runs(tap, |to, from, length, step| {
            let source = &row[from..from + length];
            if step == 1 {
                padded[to..to + length].iter_mut().zip(source).for_each(|(to, &from)| *to += weight * from);
            } else {
                let target = padded[to..].iter_mut().step_by(step);
                target.zip(source).for_each(|(to, &from)| *to += weight * from);
            }
        });
    }
}

/// Adds the gradient by a kernel.
pub(super) fn kernel_gradient(tile: &Tile, padded: &[f32], row: &[f32], gradient: &mut [f32]) {
    for (tap, gradient) in gradient.iter_mut().enumerate() {
        tile.runs(tap, |from, at, length, step| {
            let row = &row[at..at + length];
            *gradient += if step == 1 {
                dot(row, &padded[from..from + length])
            } else {
                row.iter().zip(padded[from..].iter().step_by(step)).map(|(x, y)| x * y).sum()
            };
        });
    }
}

/// A scalar product in partial sums, whose order depends on the length only.
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

/// A sum in partial sums, whose order depends on the length only.
pub(super) fn sum(x: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, &x)| *sum += x);
    }
    sums.iter().chain(rest).sum()
}
