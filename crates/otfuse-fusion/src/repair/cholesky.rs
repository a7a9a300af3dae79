//! Symmetric positive definite systems in double precision.

use gemm::{Parallelism, gemm};
use rayon::prelude::*;

/// Columns that are eliminated at once.
const BLOCK: usize = 96;

/// Replaces the lower triangle of a row-major symmetric `n x n` matrix by its Cholesky factor. `None` if the matrix is not
/// positive definite. `n^3 / 3` operations, most of them in matrix products.
pub(super) fn factorize(matrix: &mut [f64], n: usize) -> Option<()> {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let width = end - start;
        for row in start..end {
            for column in start..=row {
                let (a, b) =
                    (&matrix[row * n + start..row * n + column], &matrix[column * n + start..column * n + column]);
                let value = matrix[row * n + column] - a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                matrix[row * n + column] = if row == column {
                    if !(value > 0.0 && value.is_finite()) {
                        return None;
                    }
                    value.sqrt()
                } else {
                    value / matrix[column * n + column]
                };
            }
        }
        let (above, below) = matrix.split_at_mut(end * n);
        below.par_chunks_exact_mut(n).for_each(|row| {
            for column in start..end {
                let factor = &above[column * n..(column + 1) * n];
                let sum: f64 = row[start..column].iter().zip(&factor[start..column]).map(|(a, b)| a * b).sum();
                row[column] = (row[column] - sum) / factor[column];
            }
        });
        // What is eliminated is subtracted from the rest, in panels of rows that own their memory.
        let panel: Vec<f64> = below.chunks_exact(n).flat_map(|row| row[start..end].iter().copied()).collect();
        below.par_chunks_mut(BLOCK * n).enumerate().for_each(|(index, rows)| {
            let first = index * BLOCK;
            let count = rows.len() / n;
            let columns = first + count;
            let left = &panel[first * width..columns * width];
            let product = Product { rows: count, columns, inner: width };
            product.subtract((&mut rows[end..], n), (left, width, 1), (&panel[..columns * width], 1, width));
        });
    }
    Some(())
}

/// Solves `L L' x = b` for each of the `m` columns of the row-major `n x m` matrix `b`, in place.
pub(super) fn solve(factor: &[f64], n: usize, b: &mut [f64], m: usize) {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        for row in start..end {
            for column in start..row {
                subtract_row(b, m, row, column, factor[row * n + column]);
            }
            let pivot = factor[row * n + row];
            b[row * m..(row + 1) * m].iter_mut().for_each(|value| *value /= pivot);
        }
        let (done, rest) = b.split_at_mut(end * m);
        rest.par_chunks_mut(BLOCK * m).enumerate().for_each(|(index, rows)| {
            let left = &factor[(end + index * BLOCK) * n + start..];
            let product = Product { rows: rows.len() / m, columns: m, inner: end - start };
            product.subtract((rows, m), (left, n, 1), (&done[start * m..], m, 1));
        });
    }
    for start in (0..n).step_by(BLOCK).collect::<Vec<_>>().into_iter().rev() {
        let end = (start + BLOCK).min(n);
        for row in (start..end).rev() {
            for column in row + 1..end {
                subtract_row(b, m, row, column, factor[column * n + row]);
            }
            let pivot = factor[row * n + row];
            b[row * m..(row + 1) * m].iter_mut().for_each(|value| *value /= pivot);
        }
        let (rest, done) = b.split_at_mut(start * m);
        rest.par_chunks_mut(BLOCK * m).enumerate().for_each(|(index, rows)| {
            let left = &factor[start * n + index * BLOCK..];
            let product = Product { rows: rows.len() / m, columns: m, inner: end - start };
            product.subtract((rows, m), (left, 1, n), (&done[..(end - start) * m], m, 1));
        });
    }
}

fn subtract_row(b: &mut [f64], m: usize, row: usize, other: usize, factor: f64) {
    let (low, high) = (row.min(other), row.max(other));
    let (before, behind) = b.split_at_mut(high * m);
    let (low, high) = (&mut before[low * m..(low + 1) * m], &mut behind[..m]);
    let (to, from) = if row < other { (low, high) } else { (high, low) };
    to.iter_mut().zip(from.iter()).for_each(|(to, from)| *to -= factor * from);
}

/// The shape of a product of two matrices.
struct Product {
    rows: usize,
    columns: usize,
    inner: usize,
}

impl Product {
    /// `to -= left * right`; matrices with their row and column strides (`to`: columns side by side).
    fn subtract(
        &self,
        (to, stride): (&mut [f64], usize),
        (left, left_row, left_column): (&[f64], usize, usize),
        (right, right_row, right_column): (&[f64], usize, usize),
    ) {
        if self.rows == 0 || self.columns == 0 || self.inner == 0 {
            return;
        }
        let last = |row: usize, rows: usize, column: usize, columns: usize| (rows - 1) * row + (columns - 1) * column;
        assert!(to.len() > last(stride, self.rows, 1, self.columns), "a matrix as large as its shape");
        assert!(left.len() > last(left_row, self.rows, left_column, self.inner), "a matrix as large as its shape");
        assert!(
            right.len() > last(right_row, self.inner, right_column, self.columns),
            "a matrix as large as its shape"
        );
        // SAFETY: the largest index of each matrix at its strides is within its slice, checked above; `to` is borrowed
        // mutably and overlaps neither side.
        unsafe {
            gemm(
                self.rows,
                self.columns,
                self.inner,
                to.as_mut_ptr(),
                1,
                stride as isize,
                true,
                left.as_ptr(),
                left_column as isize,
                left_row as isize,
                right.as_ptr(),
                right_column as isize,
                right_row as isize,
                1.0,
                -1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_of_all_sizes_are_solved() {
        for n in [1, 5, 95, 96, 97, 250] {
            let entry = |i: usize, j: usize| ((i * 31 + j * 17) % 23) as f64 / 23.0 - 0.5;
            let mut matrix = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| entry(i, k) * entry(j, k)).sum();
                    matrix[i * n + j] = dot + if i == j { 1.0 } else { 0.0 };
                }
            }
            let expected: Vec<f64> = (0..n * 3).map(|index| entry(index, 7)).collect();
            let mut b = vec![0.0; n * 3];
            for i in 0..n {
                for c in 0..3 {
                    b[i * 3 + c] = (0..n).map(|j| matrix[i * n + j] * expected[j * 3 + c]).sum();
                }
            }
            factorize(&mut matrix, n).unwrap();
            solve(&matrix, n, &mut b, 3);
            assert!(b.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-8), "n = {n}");
        }
        assert!(factorize(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
