//! The cost of moving one unit of mass from a row to a column.

use crate::error::{TransportError, check_length, check_shape};

/// The largest magnitude of a cost: sums of differences of such costs along any path stay finite.
const LARGEST: f64 = 1e300;

/// A dense `n x m` matrix of costs between `-1e300` and `1e300`, row-major, in double precision.
///
/// Costs may be negative. Both solvers read rows, so rows are contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct CostMatrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl CostMatrix {
    /// Takes `data` as a row-major `rows x columns` matrix.
    ///
    /// # Errors
    /// An empty shape, a buffer of another length, an entry that is NaN, infinite or beyond 1e300 in magnitude.
    ///
    /// ```
    /// use otfuse_transport::CostMatrix;
    /// let cost = CostMatrix::new(2, 3, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?;
    /// assert_eq!(cost.get(1, 2), 5.0);
    /// assert!(CostMatrix::new(1, 1, vec![f64::NAN]).is_err());
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn new(rows: usize, columns: usize, data: Vec<f64>) -> Result<Self, TransportError> {
        check_length("cost matrix", check_shape("cost matrix", rows, columns)?, data.len())?;
        match data.iter().position(|value| value.is_nan() || value.abs() > LARGEST) {
            None => Ok(Self { rows, columns, data }),
            Some(at) => Err(TransportError::NotFinite {
                what: "cost matrix",
                row: at / columns,
                column: at % columns,
                value: data[at],
            }),
        }
    }

    /// Number of rows `n`, the sources.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns `m`, the targets.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `(n, m)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The cost of moving a unit of mass from `row` to `column`.
    ///
    /// # Panics
    /// Where `row` or `column` is out of range, as indexing a slice does.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        self.row(row)[column]
    }

    /// The costs of one row, `m` long.
    ///
    /// # Panics
    /// Where `row` is out of range.
    #[inline]
    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.columns..(row + 1) * self.columns]
    }

    /// All costs, row-major.
    pub fn as_slice(&self) -> &[f64] {
        &self.data
    }

    /// The buffer of all costs, row-major.
    pub fn into_vec(self) -> Vec<f64> {
        self.data
    }

    /// Mean of all entries.
    pub fn mean(&self) -> f64 {
        // Row means first: a sum over all entries of huge costs could overflow where their mean does not.
        let columns = self.columns as f64;
        let rows = self.rows as f64;
        self.data.chunks_exact(self.columns).map(|row| row.iter().map(|c| c / columns).sum::<f64>() / rows).sum()
    }

    /// Largest entry.
    pub fn max(&self) -> f64 {
        self.data.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Largest absolute entry.
    pub fn max_abs(&self) -> f64 {
        self.data.iter().fold(0.0, |largest, c| c.abs().max(largest))
    }

    /// The `m x n` transpose, as a copy.
    #[must_use]
    pub fn transpose(&self) -> Self {
        let mut data = Vec::with_capacity(self.data.len());
        for column in 0..self.columns {
            data.extend(self.data[column..].iter().step_by(self.columns));
        }
        Self { rows: self.columns, columns: self.rows, data }
    }

    /// The costs of the given rows and columns, as a copy. Indices must be in range.
    pub(crate) fn select(&self, rows: &[usize], columns: &[usize]) -> Self {
        let mut data = Vec::with_capacity(rows.len() * columns.len());
        for &row in rows {
            let costs = self.row(row);
            data.extend(columns.iter().map(|&column| costs[column]));
        }
        Self { rows: rows.len(), columns: columns.len(), data }
    }
}
