//! Linear layers: products of matrices, divided among threads.

use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

use super::parallel;
use super::transpose::{BLOCK, transpose};

/// Multiplications of a unit of work; fewer are not worth another thread.
const UNIT: usize = 1 << 21;
/// Units of work, at most: each packs one of the two matrices anew.
const UNITS: usize = 4;
/// Multiplications up to which parts that are packed one by one are ahead of Burn's products on all threads.
const MOST: usize = 1 << 25;
/// Copied numbers that are worth another thread.
const COPIES: usize = 1 << 18;
/// Parts are multiples of so many rows or columns, for whole vectors of numbers.
const LANES: usize = 16;
/// Rows below which the kernels do not pay.
const FEWEST_ROWS: usize = 8;
/// Rows up to which an output is made without packing the weights, which pays for weights of any size.
const FEW_ROWS: usize = 32;

/// A linear layer, `x W^t + b`, with x of `rows x inputs` and W of `outputs x inputs`.
#[derive(Clone, Copy)]
pub(super) struct LinearShape {
    /// Rows of the input and of the output.
    pub(super) rows: usize,
    /// Columns of the input.
    pub(super) inputs: usize,
    /// Columns of the output.
    pub(super) outputs: usize,
}

impl LinearShape {
    fn work(&self) -> usize {
        self.rows * self.inputs * self.outputs
    }

    /// Whether the gradients here are ahead of Burn's products.
    pub(super) fn pays(&self) -> bool {
        self.rows >= FEWEST_ROWS && (1..=MOST).contains(&self.work())
    }

    /// Whether the output here is ahead of Burn's.
    pub(super) fn forward_pays(&self) -> bool {
        self.pays() || (FEWEST_ROWS..=FEW_ROWS).contains(&self.rows) && self.work() > 0
    }
}

/// `left right`, row-major, where `left` is `height x depth` and `right` `depth x width`; to each row, `first` is added.
/// Parts of the rows are computed on all threads. The number of threads has no part in how many they are, so that results
/// do not depend on it.
fn divided(
    [height, depth, width]: [usize; 3],
    left: Matrix<'_, f32>,
    right: Matrix<'_, f32>,
    first: Option<&[f32]>,
) -> Vec<f32> {
    let units = (height * depth * width / UNIT).clamp(1, UNITS);
    let part = height.div_ceil(units).next_multiple_of(LANES);
    let mut result = vec![0.0; height * width];
    parallel::for_each(result.par_chunks_mut(part * width).enumerate(), |(at, result)| {
        if let Some(first) = first {
            result.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(first));
        }
        let left = Matrix { data: &left.data[at * part * left.row_step..], ..left };
        let update = if first.is_some() { Update::Add } else { Update::Replace };
        product(result, width, [result.len() / width, depth, width], left, right, update);
    });
    result
}

/// `x W^t + b`, row-major.
pub(super) fn forward(shape: &LinearShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let &LinearShape { rows, inputs, outputs } = shape;
    if rows >= outputs {
        let (left, right) = (Matrix::row_major(x, inputs), Matrix::row_major(weight, inputs).transposed());
        return divided([rows, inputs, outputs], left, right, bias);
    }
    // Parts of the outputs, which lie apart in the result: its transpose is computed.
    let (left, right) = (Matrix::row_major(weight, inputs), Matrix::row_major(x, inputs).transposed());
    let columns = divided([outputs, inputs, rows], left, right, None);
    let mut result = vec![0.0; rows * outputs];
    let part = if rows * outputs < COPIES { rows } else { BLOCK };
    parallel::for_each(result.par_chunks_mut(part * outputs).enumerate(), |(at, result)| {
        let (columns, size) = (&columns[at * part..], [outputs, result.len() / outputs]);
        match bias {
            Some(bias) => {
                result.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
                transpose(columns, rows, result, outputs, size, |to, from| *to += from);
            }
            None => transpose(columns, rows, result, outputs, size, |to, from| *to = from),
        }
    });
    result
}

/// The gradient by the input, `gradient W`.
pub(super) fn input_gradient(shape: &LinearShape, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let &LinearShape { rows, inputs, outputs } = shape;
    divided([rows, outputs, inputs], Matrix::row_major(gradient, outputs), Matrix::row_major(weight, inputs), None)
}

/// The gradient by the weights, `gradient^t x`.
pub(super) fn weight_gradient(shape: &LinearShape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let &LinearShape { rows, inputs, outputs } = shape;
    let (left, right) = (Matrix::row_major(gradient, outputs).transposed(), Matrix::row_major(x, inputs));
    divided([outputs, rows, inputs], left, right, None)
}
