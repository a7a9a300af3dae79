//! Matrices in double precision, and what orthogonal maps need of them.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, MatRef, Par};
use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

/// Rows of a product that one task computes, whatever the number of threads.
const ROWS: usize = 64;

/// A row-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    pub rows: usize,
    pub columns: usize,
    pub data: Vec<f64>,
}

/// `left diag(values) right^t` with orthonormal columns on both sides, the largest values first.
pub(crate) struct Decomposed {
    pub left: Dense,
    pub values: Vec<f64>,
    pub right: Dense,
}

impl Dense {
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, data: vec![0.0; rows * columns] }
    }

    pub fn identity(size: usize) -> Self {
        let mut result = Self::zeros(size, size);
        (0..size).for_each(|at| result.data[at * size + at] = 1.0);
        result
    }

    /// The matrix whose column `j` is column `order[j]` of the identity: `x` times it takes column `order[j]` of `x`.
    pub fn permutation(order: &[usize]) -> Self {
        let mut result = Self::zeros(order.len(), order.len());
        order.iter().enumerate().for_each(|(to, &from)| result.data[from * order.len() + to] = 1.0);
        result
    }

    pub fn get(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.columns + column]
    }

    fn view(&self) -> Matrix<'_, f64> {
        Matrix::row_major(&self.data, self.columns)
    }

    pub fn transposed(&self) -> Self {
        let value = |at: usize| self.get(at % self.rows.max(1), at / self.rows.max(1));
        Self { rows: self.columns, columns: self.rows, data: (0..self.data.len()).map(value).collect() }
    }

    /// The product. `O(rows depth columns)`.
    pub fn times(&self, other: &Self) -> Self {
        let mut result = Self::zeros(self.rows, other.columns);
        if result.data.is_empty() {
            return result;
        }
        result.data.par_chunks_mut(ROWS * other.columns).enumerate().for_each(|(part, into)| {
            let rows = into.len() / other.columns;
            let left = Matrix::row_major(&self.data[part * ROWS * self.columns..], self.columns);
            let shape = [rows, self.columns, other.columns];
            product(into, other.columns, shape, left, other.view(), Update::Replace);
        });
        result
    }

    /// Adds `left^t right`. `O(rows columns^2)`.
    pub fn add_products(&mut self, left: &Self, right: &Self) {
        if self.data.is_empty() || left.rows == 0 {
            return;
        }
        let columns = self.columns;
        self.data.par_chunks_mut(ROWS * columns).enumerate().for_each(|(part, into)| {
            let rows = into.len() / columns;
            let left = Matrix { data: &left.data[part * ROWS..], row_step: 1, column_step: left.columns };
            product(into, columns, [rows, right.rows, columns], left, right.view(), Update::Add);
        });
    }

    /// Rows `rows` and columns `columns` alone.
    pub fn block(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Self {
        let data = rows.clone().flat_map(|row| self.data[row * self.columns..][columns.clone()].iter().copied());
        Self { rows: rows.len(), columns: columns.len(), data: data.collect() }
    }

    /// Matrices of as many rows side by side.
    pub fn beside(parts: &[Self]) -> Self {
        let rows = parts.first().map_or(0, |part| part.rows);
        let columns = parts.iter().map(|part| part.columns).sum();
        let row = |row: usize| {
            parts.iter().flat_map(move |part| part.data[row * part.columns..(row + 1) * part.columns].iter().copied())
        };
        Self { rows, columns, data: (0..rows).flat_map(row).collect() }
    }

    /// Every column multiplied with a number.
    pub fn scaled(mut self, factor: impl Fn(usize) -> f64) -> Self {
        let columns = self.columns.max(1);
        self.data.iter_mut().enumerate().for_each(|(at, value)| *value *= factor(at % columns));
        self
    }

    /// The singular value decomposition with as many values as the shorter side is long. `O(rows columns min)` on one
    /// thread. `None` if a number is not finite.
    pub fn decomposed(&self) -> Option<Decomposed> {
        let count = self.rows.min(self.columns);
        if !self.data.iter().all(|value| value.is_finite()) {
            return None;
        }
        let mut left = Mat::<f64>::zeros(self.rows, count);
        let mut right = Mat::<f64>::zeros(self.columns, count);
        let mut values = faer::Col::<f64>::zeros(count);
        if count > 0 {
            let thin = ComputeSvdVectors::Thin;
            let scratch = svd_scratch::<f64>(self.rows, self.columns, thin, thin, Par::Seq, Default::default());
            let mut memory = MemBuffer::new(scratch);
            let matrix = MatRef::from_row_major_slice(&self.data, self.rows, self.columns);
            let stack = MemStack::new(&mut memory);
            let (left, right) = (left.as_mut(), right.as_mut());
            let values = values.as_diagonal_mut();
            svd(matrix, values, Some(left), Some(right), Par::Seq, stack, Default::default()).ok()?;
        }
        Some(Decomposed {
            left: Self::of(&left),
            values: (0..count).map(|at| values[at]).collect(),
            right: Self::of(&right),
        })
    }

    fn of(matrix: &Mat<f64>) -> Self {
        let (rows, columns) = (matrix.nrows(), matrix.ncols());
        let data = (0..rows).flat_map(|row| (0..columns).map(move |column| matrix[(row, column)]));
        Self { rows, columns, data: data.collect() }
    }

    /// The sum of the singular values.
    pub fn nuclear_norm(&self) -> f64 {
        self.decomposed().map_or(0.0, |found| found.values.iter().sum())
    }

    /// The orthogonal matrix `O` with the largest `tr(O^t R)` for this square `R` (P. Schönemann, "A generalized solution
    /// of the orthogonal Procrustes problem", Psychometrika 1966).
    pub fn nearest_orthogonal(&self) -> Self {
        match self.decomposed() {
            Some(found) => found.left.times(&found.right.transposed()),
            None => Self::identity(self.rows),
        }
    }

    /// The same among those that keep the vector of ones.
    pub fn nearest_keeping_ones(&self) -> Self {
        let size = self.rows;
        let mut centred = self.centred().transposed().centred().transposed();
        // The direction of the ones is matched with itself, beyond doubt.
        let pull = (10.0 * self.nuclear_norm()).max(1.0) / size.max(1) as f64;
        centred.data.iter_mut().for_each(|value| *value += pull);
        centred.nearest_orthogonal()
    }

    /// Every row less its mean.
    pub fn centred(&self) -> Self {
        let mut result = self.clone();
        for row in result.data.chunks_exact_mut(self.columns.max(1)) {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.iter_mut().for_each(|value| *value -= mean);
        }
        result
    }
}

/// Factors `x`, `y` of `rank` columns with the product `sum_k x_k y_k^t`, or what is nearest to it, in balance:
/// `x^t x = y^t y`. `O(n r^2)` for `n` rows and `r` columns of all `x_k` together.
pub(crate) fn balanced(xs: &[Dense], ys: &[Dense], rank: usize) -> Option<(Dense, Dense)> {
    let [x, y] = [Dense::beside(xs).decomposed()?, Dense::beside(ys).decomposed()?];
    let core = x.right.clone().transposed().times(&y.right);
    let core = core.scaled(|column| y.values[column]).transposed().scaled(|column| x.values[column]).transposed();
    let core = core.decomposed()?;
    let kept = rank.min(core.values.len());
    let side = |outer: &Dense, inner: &Dense| {
        let chosen = inner.block(0..inner.rows, 0..kept).scaled(|column| core.values[column].max(0.0).sqrt());
        let found = outer.times(&chosen);
        Dense::beside(&[found, Dense::zeros(outer.rows, rank - kept)])
    };
    Some((side(&x.left, &core.left), side(&y.left, &core.right)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: usize, columns: usize) -> Dense {
        let value =
            |at: usize| ((at * 37 + 11) % 29) as f64 / 29.0 - 0.4 + if at.is_multiple_of(7) { 0.3 } else { 0.0 };
        Dense { rows, columns, data: (0..rows * columns).map(value).collect() }
    }

    fn distance(a: &Dense, b: &Dense) -> f64 {
        a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn a_rotation_is_found_again_with_ones_kept_or_not() {
        let rotation = sample(6, 6).nearest_orthogonal();
        assert!(distance(&rotation.transposed().times(&rotation), &Dense::identity(6)) < 1e-12);
        let table = sample(40, 6);
        let mut products = Dense::zeros(6, 6);
        products.add_products(&table, &table.times(&rotation));
        assert!(distance(&products.nearest_orthogonal(), &rotation) < 1e-9);
        let keeping = sample(6, 6).nearest_keeping_ones();
        let ones = Dense { rows: 1, columns: 6, data: vec![1.0; 6] };
        assert!(distance(&ones.times(&keeping), &ones) < 1e-12);
    }

    #[test]
    fn balancing_keeps_the_product() {
        let (x, y) = (sample(9, 3), sample(7, 3).scaled(|column| 10.0 + column as f64));
        let (a, b) = balanced(std::slice::from_ref(&x), std::slice::from_ref(&y), 3).unwrap();
        assert!(distance(&a.times(&b.transposed()), &x.times(&y.transposed())) < 1e-9);
        let (mut left, mut right) = (Dense::zeros(3, 3), Dense::zeros(3, 3));
        left.add_products(&a, &a);
        right.add_products(&b, &b);
        assert!(distance(&left, &right) < 1e-9);
    }
}
