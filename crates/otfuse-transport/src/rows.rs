//! Costs that are read row by row: stored, or computed again from features whenever they are wanted.

use std::ops::Range;

use crate::cost::CostMatrix;
use crate::error::TransportError;
use crate::features::Features;
use crate::ground::costs;
use crate::metric::GroundCost;
use crate::value::CostValue;

/// Costs of which some rows at a time can be had.
pub(crate) trait Rows: Sync {
    /// How a cost is stored.
    type Value: CostValue;

    /// `(n, m)`.
    fn shape(&self) -> (usize, usize);

    /// Rows that are best asked for at once.
    fn tile(&self) -> usize;

    /// Whether a row can be had for the time that reading it takes.
    fn is_stored(&self) -> bool;

    /// Columns of a row that are best remembered, so that it need not be read again.
    fn shortlist(&self) -> usize;

    /// The costs of some rows, row-major; in `scratch` where they are not stored.
    fn rows<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<Self::Value>) -> &'a [Self::Value];

    /// The costs of one row.
    fn row<'a>(&'a self, row: usize, scratch: &'a mut Vec<Self::Value>) -> &'a [Self::Value] {
        self.rows(row..row + 1, scratch)
    }
}

impl<T: CostValue> Rows for CostMatrix<T> {
    type Value = T;

    fn shape(&self) -> (usize, usize) {
        self.shape()
    }

    fn tile(&self) -> usize {
        self.rows()
    }

    fn is_stored(&self) -> bool {
        true
    }

    fn shortlist(&self) -> usize {
        32
    }

    fn rows<'a>(&'a self, rows: Range<usize>, _: &'a mut Vec<T>) -> &'a [T] {
        &self.as_slice()[rows.start * self.columns()..rows.end * self.columns()]
    }
}

/// Costs between features, computed when they are asked for.
pub(crate) struct ComputedCosts<'a> {
    ground: GroundCost,
    left: &'a Features<'a>,
    right: &'a Features<'a>,
}

/// Rows computed at once: enough for the matrix product to outweigh what it takes to prepare the other side.
const TILE: usize = 256;

impl<'a> ComputedCosts<'a> {
    /// Fails where the two tables have different numbers of features.
    pub(crate) fn new(
        ground: GroundCost,
        left: &'a Features<'a>,
        right: &'a Features<'a>,
    ) -> Result<Self, TransportError> {
        if left.dimension() != right.dimension() {
            return Err(TransportError::Dimension { left: left.dimension(), right: right.dimension() });
        }
        Ok(Self { ground, left, right })
    }
}

impl Rows for ComputedCosts<'_> {
    type Value = f64;

    fn shape(&self) -> (usize, usize) {
        (self.left.rows(), self.right.rows())
    }

    fn tile(&self) -> usize {
        TILE
    }

    fn is_stored(&self) -> bool {
        false
    }

    fn shortlist(&self) -> usize {
        256
    }

    fn rows<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f64>) -> &'a [f64] {
        *scratch = costs(self.ground, &self.left.slice(rows), self.right);
        scratch
    }
}
