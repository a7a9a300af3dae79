//! What is to be solved.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cost::CostMatrix;
use crate::error::{TransportError, check_length};
use crate::marginals::Marginals;
use crate::stop::Stop;
use crate::value::CostValue;

/// A transport problem: costs and the two marginals, of matching sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem<T = f64> {
    cost: CostMatrix<T>,
    a: Marginals,
    b: Marginals,
    stop: Stop,
}

impl<T: CostValue> Problem<T> {
    /// The problem of moving the masses `a` of the rows to the masses `b` of the columns.
    ///
    /// # Errors
    /// `a` is not as long as the matrix has rows, or `b` not as long as it has columns.
    pub fn new(cost: CostMatrix<T>, a: Marginals, b: Marginals) -> Result<Self, TransportError> {
        check_length("row marginals", cost.rows(), a.len())?;
        check_length("column marginals", cost.columns(), b.len())?;
        Ok(Self { cost, a, b, stop: Stop::default() })
    }

    /// The problem with uniform marginals.
    ///
    /// # Errors
    /// None in practice: a cost matrix is never empty.
    pub fn uniform(cost: CostMatrix<T>) -> Result<Self, TransportError> {
        let (a, b) = (Marginals::uniform(cost.rows())?, Marginals::uniform(cost.columns())?);
        Self::new(cost, a, b)
    }

    /// The same problem, whose solvers end with [`TransportError::Cancelled`] soon after `sign` has become true.
    #[must_use]
    pub fn until(self, sign: Arc<AtomicBool>) -> Self {
        Self { stop: Stop::new(sign), ..self }
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The costs.
    pub fn cost(&self) -> &CostMatrix<T> {
        &self.cost
    }

    /// Masses of the rows.
    pub fn a(&self) -> &Marginals {
        &self.a
    }

    /// Masses of the columns.
    pub fn b(&self) -> &Marginals {
        &self.b
    }

    /// Takes the problem apart: costs, masses of the rows, masses of the columns.
    pub fn into_parts(self) -> (CostMatrix<T>, Marginals, Marginals) {
        (self.cost, self.a, self.b)
    }

    /// Whether this is an assignment problem: as many rows as columns, uniform marginals.
    pub fn is_assignment(&self) -> bool {
        self.cost.rows() == self.cost.columns() && self.a.is_uniform() && self.b.is_uniform()
    }
}
