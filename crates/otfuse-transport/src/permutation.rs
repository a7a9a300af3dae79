//! A one-to-one map of rows to columns.

use std::ops::Deref;

use crate::error::{TransportError, check_shape};

/// A permutation of `0..n`: entry `i` is the column that row `i` goes to. Reads like the slice of its entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permutation(Vec<usize>);

impl Permutation {
    /// Checks that every column occurs once.
    ///
    /// # Errors
    /// An empty list, a column out of range or taken twice.
    ///
    /// ```
    /// use otfuse_transport::Permutation;
    /// let permutation = Permutation::new(vec![2, 0, 1])?;
    /// assert_eq!(permutation[0], 2);
    /// assert_eq!(*permutation.inverse(), [1, 2, 0]);
    /// assert!(Permutation::new(vec![0, 0]).is_err());
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn new(columns: Vec<usize>) -> Result<Self, TransportError> {
        let len = columns.len();
        check_shape("permutation", len, 1)?;
        let mut taken = vec![false; len];
        for (row, &column) in columns.iter().enumerate() {
            match taken.get_mut(column) {
                Some(slot) if !*slot => *slot = true,
                _ => return Err(TransportError::NotAPermutation { row, column, len }),
            }
        }
        Ok(Self(columns))
    }

    /// The identity of `0..n`.
    ///
    /// # Errors
    /// `n` is zero.
    pub fn identity(n: usize) -> Result<Self, TransportError> {
        check_shape("permutation", n, 1)?;
        Ok(Self((0..n).collect()))
    }

    /// The columns of rows `0, 1, ...`.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// The columns of rows `0, 1, ...`.
    pub fn into_vec(self) -> Vec<usize> {
        self.0
    }

    /// The map from columns back to rows.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let mut rows = vec![0; self.0.len()];
        self.0.iter().enumerate().for_each(|(row, &column)| rows[column] = row);
        Self(rows)
    }

    /// Whether every row stays where it is.
    pub fn is_identity(&self) -> bool {
        self.0.iter().enumerate().all(|(row, &column)| row == column)
    }
}

impl Deref for Permutation {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl TryFrom<Vec<usize>> for Permutation {
    type Error = TransportError;

    fn try_from(columns: Vec<usize>) -> Result<Self, TransportError> {
        Self::new(columns)
    }
}
