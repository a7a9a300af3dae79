//! What can be wrong with an input.

use thiserror::Error;

/// Input that no solver can work on. Non-convergence is not an error: see [`Termination`](crate::Termination).
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The sign to end was given: see [`Problem::until`](crate::Problem::until).
    #[error("the problem was given up before it was solved, as asked")]
    Cancelled,
    /// A matrix, feature table or vector without entries.
    #[error("{what} is empty")]
    Empty {
        /// What was empty.
        what: &'static str,
    },
    /// A buffer or vector whose length does not fit its declared shape.
    #[error("{what}: expected {expected} entries, found {found}")]
    Length {
        /// What was measured.
        what: &'static str,
        /// The length that the shape asks for.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A shape whose entries do not fit the address space, or the memory that the system gives.
    #[error("{what}: a shape of {rows} x {columns} is too large for the memory")]
    TooLarge {
        /// What has that shape.
        what: &'static str,
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
    },
    /// Feature tables with different numbers of features.
    #[error("features do not match: {left} features a row on the left, {right} on the right")]
    Dimension {
        /// Features a row of the left table.
        left: usize,
        /// Features a row of the right table.
        right: usize,
    },
    /// An entry that is NaN, infinite, or so large that sums of such entries would be.
    #[error("{what}: entry ({row}, {column}) is {value}, expected a finite number of at most 1e300")]
    NotFinite {
        /// What the entry belongs to.
        what: &'static str,
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// A mass that is negative, NaN or infinite.
    #[error("marginals: mass {index} is {value}, expected a finite number that is not negative")]
    Mass {
        /// Index of the mass.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// Masses whose sum is not what it must be: zero, infinite, or not 1 where probabilities are expected.
    #[error("marginals: the masses sum to {total}, expected {expected}")]
    TotalMass {
        /// What the sum should be, in words.
        expected: &'static str,
        /// The sum found.
        total: f64,
    },
    /// A list of columns that is not a permutation.
    #[error("not a permutation: row {row} goes to column {column}, which is taken or beyond {len} columns")]
    NotAPermutation {
        /// First offending row.
        row: usize,
        /// The column that it names.
        column: usize,
        /// Number of rows and columns.
        len: usize,
    },
    /// A plan entry that lies outside the plan's shape or carries a negative or non-finite mass.
    #[error("plan entry ({row}, {column}) with mass {mass} does not fit a plan of {rows} x {columns}")]
    Entry {
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        column: usize,
        /// Mass of the entry.
        mass: f64,
        /// Rows of the plan.
        rows: usize,
        /// Columns of the plan.
        columns: usize,
    },
    /// A setting outside its range.
    #[error("setting `{name}` is {found}, expected {expected}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// Its range, in words.
        expected: &'static str,
        /// The value found.
        found: f64,
    },
}

/// Fails unless `found` equals `expected`.
pub(crate) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), TransportError> {
    if expected == found { Ok(()) } else { Err(TransportError::Length { what, expected, found }) }
}

/// Number of entries of a `rows x columns` table that is neither empty nor too large.
pub(crate) fn check_shape(what: &'static str, rows: usize, columns: usize) -> Result<usize, TransportError> {
    if rows == 0 || columns == 0 {
        return Err(TransportError::Empty { what });
    }
    rows.checked_mul(columns)
        .filter(|entries| entries.checked_mul(size_of::<f64>()).is_some_and(|bytes| bytes <= isize::MAX as usize))
        .ok_or(TransportError::TooLarge { what, rows, columns })
}
