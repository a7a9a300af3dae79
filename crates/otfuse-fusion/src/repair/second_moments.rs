//! Products of the inputs of a layer, rows streamed.

use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

/// Columns of products that one task computes.
pub(super) const BLOCK: usize = 256;

/// `X'X` of rows `X` (`rows x inputs`): `8 inputs^2` bytes whatever the number of rows.
#[derive(Clone, Debug)]
pub(crate) struct SecondMoments {
    inputs: usize,
    rows: usize,
    /// The upper triangle of blocks.
    sums: Vec<f64>,
}

impl SecondMoments {
    /// Without any rows yet.
    pub fn new(inputs: usize) -> Self {
        Self { inputs, rows: 0, sums: vec![0.0; inputs * inputs] }
    }

    /// Those whose mean over the rows is known, all of it row-major, as if of one row.
    pub fn of_mean(inputs: usize, mean: Vec<f64>) -> Self {
        Self { inputs, rows: 1, sums: mean }
    }

    /// The number of rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The sum over the rows of the products of two inputs.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        let (i, j) = if j >= i / BLOCK * BLOCK { (i, j) } else { (j, i) };
        self.sums[i * self.inputs + j]
    }

    /// Adds rows, row-major. `rows inputs^2` multiplications; the result does not depend on the number of threads.
    pub fn add(&mut self, x: &[f32]) {
        let d = self.inputs;
        let rows = x.len() / d.max(1);
        if rows == 0 {
            return;
        }
        self.rows += rows;
        self.sums.par_chunks_mut(BLOCK * d).enumerate().for_each(|(index, block)| {
            let first = index * BLOCK;
            let shape = (block.len() / d, d - first, rows);
            add_product(shape, (&mut block[first..], d), (&x[first..], d), (&x[first..], d));
        });
    }
}

/// `to += left' right` for a `rows x a` left and a `rows x b` right side in single precision, each with its row stride.
/// Sums run over so many rows in single precision as are given, then go on in double precision.
pub(super) fn add_product(
    (a, b, rows): (usize, usize, usize),
    (to, to_stride): (&mut [f64], usize),
    (left, left_stride): (&[f32], usize),
    (right, right_stride): (&[f32], usize),
) {
    const CHUNK: usize = 512;
    let mut sums = vec![0.0_f32; a * b];
    for start in (0..rows).step_by(CHUNK) {
        let count = CHUNK.min(rows - start);
        let (left, right) = (&left[start * left_stride..], &right[start * right_stride..]);
        let (left, right) = (Matrix::row_major(left, left_stride), Matrix::row_major(right, right_stride));
        product(&mut sums, b, [a, count, b], left.transposed(), right, Update::Replace);
        for (row, sums) in sums.chunks_exact(b).enumerate() {
            let to = &mut to[row * to_stride..row * to_stride + b];
            to.iter_mut().zip(sums).for_each(|(to, &sum)| *to += f64::from(sum));
        }
    }
}
