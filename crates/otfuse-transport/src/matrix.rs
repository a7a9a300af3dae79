//! Products of matrices, in single and double precision.
//!
//! Each is computed on the thread that asks for it: who wants more threads divides the rows of the result among them, in
//! parts that do not depend on the number of threads, so that sums do not either.

use gemm::{Parallelism, gemm};

/// Numbers that matrices are made of: `f32` and `f64`.
pub trait Number: sealed::Number {}

impl Number for f32 {}
impl Number for f64 {}

mod sealed {
    pub trait Number: Copy + 'static {
        const ONE: Self;
        const MINUS_ONE: Self;
    }

    impl Number for f32 {
        const ONE: Self = 1.0;
        const MINUS_ONE: Self = -1.0;
    }

    impl Number for f64 {
        const ONE: Self = 1.0;
        const MINUS_ONE: Self = -1.0;
    }
}

/// A matrix within a slice: element (i, j) at `i * row_step + j * column_step`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    /// Where its elements are.
    pub data: &'a [T],
    /// From an element to the one below.
    pub row_step: usize,
    /// From an element to the one on its right.
    pub column_step: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of `width` elements one behind the other.
    pub fn row_major(data: &'a [T], width: usize) -> Self {
        Self { data, row_step: width, column_step: 1 }
    }

    /// Rows and columns exchanged, without moving an element.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { data: self.data, row_step: self.column_step, column_step: self.row_step }
    }
}

/// What becomes of the numbers that the result's place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// They are overwritten.
    Replace,
    /// The product is added to them.
    Add,
    /// The product is subtracted from them.
    Subtract,
}

/// `into = left right` (or `+=`, `-=`) with `left` of `rows x depth` and `right` of `depth x columns`, given as
/// `[rows, depth, columns]`. The rows of `into` begin `stride` elements apart, its columns lie side by side.
///
/// `O(rows depth columns)` time on one thread. A depth of 0 is a product of zeros.
///
/// # Panics
/// If a matrix does not fit its slice, or `stride` is less than `columns` where there are several rows.
///
/// ```
/// use otfuse_transport::matrix::{Matrix, Update, product};
/// let x = Matrix::row_major(&[1.0, 2.0, 3.0, 4.0], 2);
/// let mut gram = [0.0; 4];
/// product(&mut gram, 2, [2, 2, 2], x, x.transposed(), Update::Replace);
/// assert_eq!(gram, [5.0, 11.0, 11.0, 25.0]);
/// ```
pub fn product<T: Number>(
    into: &mut [T],
    stride: usize,
    [rows, depth, columns]: [usize; 3],
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    update: Update,
) {
    let into_matrix = Matrix { data: &*into, row_step: stride, column_step: 1 };
    assert!(stride >= columns || rows <= 1, "rows that do not overlap");
    for (matrix, rows, columns) in [(into_matrix, rows, columns), (left, rows, depth), (right, depth, columns)] {
        assert!(fits(&matrix, rows, columns), "a matrix as large as its shape");
    }
    if rows == 0 || columns == 0 {
        return;
    }
    let sign = if update == Update::Subtract { T::MINUS_ONE } else { T::ONE };
    // SAFETY: by the assertions the steps address elements within the slices, and the elements of `into`, which is
    // borrowed exclusively, are distinct.
    unsafe {
        gemm(
            rows,
            columns,
            depth,
            into.as_mut_ptr(),
            1,
            stride as isize,
            update != Update::Replace,
            left.data.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.data.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            T::ONE,
            sign,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Whether all elements of a shape are within the slice.
fn fits<T>(matrix: &Matrix<'_, T>, rows: usize, columns: usize) -> bool {
    if rows == 0 || columns == 0 {
        return true;
    }
    let down = (rows - 1).checked_mul(matrix.row_step);
    let right = (columns - 1).checked_mul(matrix.column_step);
    let last = down.zip(right).and_then(|(down, right)| down.checked_add(right));
    last.is_some_and(|last| last < matrix.data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_updates() {
        // (1 2 3; 4 5 6) times (1 0; 0 1; 1 1), the left side transposed, the rows of the result 3 apart.
        let left = Matrix::row_major(&[1.0_f32, 4.0, 2.0, 5.0, 3.0, 6.0], 2).transposed();
        let right = Matrix::row_major(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2);
        let mut into = [1.0; 6];
        product(&mut into, 3, [2, 3, 2], left, right, Update::Replace);
        assert_eq!(into, [4.0, 5.0, 1.0, 10.0, 11.0, 1.0]);
        product(&mut into, 3, [2, 3, 2], left, right, Update::Add);
        assert_eq!(into, [8.0, 10.0, 1.0, 20.0, 22.0, 1.0]);
        product(&mut into, 3, [2, 3, 2], left, right, Update::Subtract);
        assert_eq!(into, [4.0, 5.0, 1.0, 10.0, 11.0, 1.0]);
    }

    #[test]
    fn nothing_to_add_up() {
        let none = Matrix::row_major(&[] as &[f64], 0);
        let mut into = [1.0; 4];
        product(&mut into, 2, [2, 0, 2], none, none, Update::Add);
        assert_eq!(into, [1.0; 4]);
        product(&mut into, 2, [2, 0, 2], none, none, Update::Replace);
        assert_eq!(into, [0.0; 4]);
        product(&mut into[..0], 0, [0, 2, 0], none, none, Update::Replace);
    }

    #[test]
    #[should_panic(expected = "as large as its shape")]
    fn matrices_that_do_not_fit() {
        let x = Matrix::row_major(&[1.0, 2.0], 2);
        product(&mut [0.0; 4], 2, [2, 2, 2], x, x, Update::Replace);
    }
}
