//! The cost of moving one unit of mass from a row to a column.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::{TransportError, check_length, check_shape};
use crate::kernels::Kernels;
use crate::value::CostValue;

/// The largest magnitude of a cost: sums of differences of such costs along any path stay finite.
const LARGEST: f64 = 1e300;

/// A dense `n x m` matrix of costs between `-1e300` and `1e300`, row-major, in double or single precision.
///
/// Costs may be negative. All solvers read rows, so rows are contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct CostMatrix<T = f64> {
    rows: usize,
    columns: usize,
    data: Entries<T>,
}

/// Who holds costs in place of a matrix, and keeps them as they are while it lives: an array of another language, say.
pub type Lender<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// The entries of a matrix.
#[derive(Clone)]
enum Entries<T> {
    Own(Vec<T>),
    Lent(Lender<T>),
}

impl<T> Deref for Entries<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Own(entries) => entries,
            Self::Lent(lender) => (**lender).as_ref(),
        }
    }
}

impl<T: PartialEq> PartialEq for Entries<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: fmt::Debug> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
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
        Self::checked(rows, columns, data)
    }
}

impl CostMatrix<f32> {
    /// [`CostMatrix::new`] in single precision: half the memory.
    ///
    /// # Errors
    /// As [`CostMatrix::new`].
    ///
    /// ```
    /// use otfuse_transport::{CostMatrix, Problem, Solver};
    /// let cost = CostMatrix::from_f32(2, 2, vec![9.0, 1.0, 2.0, 9.0])?;
    /// assert_eq!(Solver::Exact.solve(&Problem::uniform(cost)?)?.cost, 1.5);
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn from_f32(rows: usize, columns: usize, data: Vec<f32>) -> Result<Self, TransportError> {
        Self::checked(rows, columns, data)
    }
}

impl<T: CostValue> CostMatrix<T> {
    /// [`CostMatrix::new`] over costs that someone else holds, without a copy.
    ///
    /// # Errors
    /// As [`CostMatrix::new`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use otfuse_transport::{CostMatrix, Problem, Solver};
    /// let cost = CostMatrix::lent(2, 2, Arc::new([9.0, 1.0, 2.0, 9.0]))?;
    /// assert_eq!(Solver::Exact.solve(&Problem::uniform(cost)?)?.cost, 1.5);
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn lent(rows: usize, columns: usize, data: Lender<T>) -> Result<Self, TransportError> {
        Self::of(rows, columns, Entries::Lent(data))
    }

    fn checked(rows: usize, columns: usize, data: Vec<T>) -> Result<Self, TransportError> {
        Self::of(rows, columns, Entries::Own(data))
    }

    fn of(rows: usize, columns: usize, data: Entries<T>) -> Result<Self, TransportError> {
        check_length("cost matrix", check_shape("cost matrix", rows, columns)?, data.len())?;
        let refused = |value: f64| value.is_nan() || value.abs() > LARGEST;
        match data.iter().position(|&value| refused(value.into())) {
            None => Ok(Self { rows, columns, data }),
            Some(at) => Err(TransportError::NotFinite {
                what: "cost matrix",
                row: at / columns,
                column: at % columns,
                value: data[at].into(),
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
        self.row(row)[column].into()
    }

    /// The costs of one row, `m` long.
    ///
    /// # Panics
    /// Where `row` is out of range.
    #[inline]
    pub fn row(&self, row: usize) -> &[T] {
        &self.data[row * self.columns..(row + 1) * self.columns]
    }

    /// All costs, row-major.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// The buffer of all costs, row-major; a copy of lent ones.
    pub fn into_vec(self) -> Vec<T> {
        match self.data {
            Entries::Own(data) => data,
            Entries::Lent(lender) => (*lender).as_ref().to_vec(),
        }
    }

    /// Mean of all entries.
    pub fn mean(&self) -> f64 {
        // Row means first: a sum over all entries of huge costs could overflow where their mean does not.
        let columns = self.columns as f64;
        let rows = self.rows as f64;
        let mean = |row: &[T]| row.iter().map(|&c| c.into() / columns).sum::<f64>();
        self.data.chunks_exact(self.columns).map(|row| mean(row) / rows).sum()
    }

    /// The smallest entry, the largest, and the mean of all absolute values.
    fn summary(&self) -> (f64, f64, f64) {
        Kernels::new().summary(&self.data, 1.0 / self.data.len() as f64)
    }

    /// Mean of all absolute entries.
    pub(crate) fn mean_abs(&self) -> f64 {
        self.summary().2
    }

    /// Smallest entry.
    pub(crate) fn min(&self) -> f64 {
        self.summary().0
    }

    /// Largest entry.
    pub fn max(&self) -> f64 {
        self.summary().1
    }

    /// Largest absolute entry.
    pub fn max_abs(&self) -> f64 {
        let (low, high, _) = self.summary();
        high.max(-low)
    }

    /// The `m x n` transpose, as a copy.
    #[must_use]
    pub fn transpose(&self) -> Self {
        let mut data = Vec::with_capacity(self.data.len());
        for column in 0..self.columns {
            data.extend(self.data[column..].iter().step_by(self.columns));
        }
        Self { rows: self.columns, columns: self.rows, data: Entries::Own(data) }
    }

    /// The costs of the given rows and columns, as a copy. Indices must be in range.
    pub(crate) fn select(&self, rows: &[usize], columns: &[usize]) -> Self {
        let mut data = Vec::with_capacity(rows.len() * columns.len());
        for &row in rows {
            let costs = self.row(row);
            data.extend(columns.iter().map(|&column| costs[column]));
        }
        Self { rows: rows.len(), columns: columns.len(), data: Entries::Own(data) }
    }
}
