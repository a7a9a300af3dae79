//! Products of strided matrices, on one thread.

use gemm::{Parallelism, gemm};

/// A matrix within a slice: element (i, j) at `i * row_step + j * column_step`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) row_step: usize,
    pub(super) column_step: usize,
}

/// `into = left right`, or `into += left right` if `accumulate`, where `left` is `rows x depth` and `right`
/// `depth x columns`. The rows of `into` lie one behind the other, its columns `column_step` apart.
pub(super) fn product(
    into: &mut [f32],
    column_step: usize,
    [rows, depth, columns]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    accumulate: bool,
) {
    let reaches = |length: usize, rows: usize, row_step: usize, columns: usize, column_step: usize| {
        rows == 0 || columns == 0 || (rows - 1) * row_step + (columns - 1) * column_step < length
    };
    assert!(column_step >= rows || columns <= 1);
    assert!(reaches(into.len(), rows, 1, columns, column_step));
    assert!(reaches(left.data.len(), rows, left.row_step, depth, left.column_step));
    assert!(reaches(right.data.len(), depth, right.row_step, columns, right.column_step));
    // SAFETY: by the assertions the strides address elements within the slices, and the elements of `into`, which is
    // borrowed exclusively, are distinct.
    unsafe {
        gemm(
            rows,
            columns,
            depth,
            into.as_mut_ptr(),
            column_step as isize,
            1,
            accumulate,
            left.data.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.data.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
