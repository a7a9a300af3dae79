//! Linear layers: products of matrices, divided among threads.

use rayon::prelude::*;

use super::parallel;
use super::product::{Matrix, product};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows of the input and of the output.
    pub rows: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Columns of the output.
    pub outputs: usize,
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

    /// How many of `count` rows or columns of the result make a unit of work; the number of threads has no part in it, so
    /// that results do not depend on them.
    fn part(&self, count: usize) -> usize {
        let units = (self.work() / UNIT).clamp(1, UNITS);
        count.div_ceil(units).next_multiple_of(LANES)
    }
}

/// `x W^t + b`, row-major.
pub(super) fn forward(shape: &LinearShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let &LinearShape { rows, inputs, outputs } = shape;
    let mut result = vec![0.0; rows * outputs];
    if rows >= outputs {
        // Parts of the rows.
        let part = shape.part(rows);
        parallel::for_each(result.par_chunks_mut((part * outputs).max(1)).enumerate(), |(at, result)| {
            if let Some(bias) = bias {
                result.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias));
            }
            product(
                result,
                outputs,
                [outputs, inputs, result.len() / outputs],
                Matrix { data: weight, row_step: inputs, column_step: 1 },
                Matrix { data: &x[at * part * inputs..], row_step: 1, column_step: inputs },
                bias.is_some(),
            );
        });
        return result;
    }
    // Parts of the columns, which lie apart in the result: it is made in columns, then transposed.
    let part = shape.part(outputs);
    let mut columns = vec![0.0; rows * outputs];
    parallel::for_each(columns.par_chunks_mut((part * rows).max(1)).enumerate(), |(at, columns)| {
        let count = columns.len() / rows;
        product(
            columns,
            rows,
            [rows, inputs, count],
            Matrix { data: x, row_step: inputs, column_step: 1 },
            Matrix { data: &weight[at * part * inputs..], row_step: 1, column_step: inputs },
            false,
        );
    });
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
    let part = shape.part(rows);
    let mut result = vec![0.0; rows * inputs];
    parallel::for_each(result.par_chunks_mut((part * inputs).max(1)).enumerate(), |(at, result)| {
        product(
            result,
            inputs,
            [inputs, outputs, result.len() / inputs],
            Matrix { data: weight, row_step: 1, column_step: inputs },
            Matrix { data: &gradient[at * part * outputs..], row_step: 1, column_step: outputs },
            false,
        );
    });
    result
}

/// The gradient by the weights, `gradient^t x`.
pub(super) fn weight_gradient(shape: &LinearShape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let &LinearShape { rows, inputs, outputs } = shape;
    let part = shape.part(outputs);
    let mut result = vec![0.0; outputs * inputs];
    parallel::for_each(result.par_chunks_mut((part * inputs).max(1)).enumerate(), |(at, result)| {
        product(
            result,
            inputs,
            [inputs, rows, result.len() / inputs],
            Matrix { data: x, row_step: 1, column_step: inputs },
            Matrix { data: &gradient[at * part..], row_step: outputs, column_step: 1 },
            false,
        );
    });
    result
}
