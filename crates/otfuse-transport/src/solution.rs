//! What a solver returns.

use crate::error::{TransportError, check_length};
use crate::plan::TransportPlan;
use crate::problem::Problem;
use crate::value::CostValue;

/// A plan, what it costs, and how good it is known to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The plan. Its marginals are the problem's within rounding, except from unrounded or unbalanced Sinkhorn.
    pub plan: TransportPlan,
    /// `sum_ij T_ij c_ij` of the plan, without any entropy.
    pub cost: f64,
    /// Dual variables. From the exact solver: feasible and optimal for the linear programme. From Sinkhorn: those of
    /// the entropic problem.
    pub potentials: Potentials,
    /// An upper bound on how far `cost` is from optimal: the cost minus the value of a feasible dual point. Zero but
    /// for rounding from the exact solver, and never negative there. (A Sinkhorn plan that was not rounded misses its
    /// marginals and may cost less than the optimum; only then can this be negative.) Where a marginal is kept by a
    /// penalty, the bound is on the objective with entropy and penalties instead.
    pub gap: f64,
    /// How the solver ended.
    pub termination: Termination,
}

impl Solution {
    /// Completes an exact solution: its cost and the gap to its (feasible) potentials.
    pub(crate) fn exact<T: CostValue>(
        problem: &Problem<T>,
        plan: TransportPlan,
        potentials: Potentials,
        termination: Termination,
    ) -> Result<Self, TransportError> {
        let cost = plan.cost(problem.cost())?;
        let gap = (cost - potentials.value(problem.a().as_slice(), problem.b().as_slice())).max(0.0);
        Ok(Self { plan, cost, potentials, gap, termination })
    }
}

/// Dual variables `f` of the rows and `g` of the columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Potentials {
    /// One for every row.
    pub f: Vec<f64>,
    /// One for every column.
    pub g: Vec<f64>,
}

impl Potentials {
    /// `sum_i a_i f_i + sum_j b_j g_j`, a lower bound on every plan's cost where the potentials are feasible. Masses
    /// and potentials are paired until the shorter ends.
    pub fn value(&self, a: &[f64], b: &[f64]) -> f64 {
        let side = |potential: &[f64], mass: &[f64]| potential.iter().zip(mass).map(|(p, w)| p * w).sum::<f64>();
        side(&self.f, a) + side(&self.g, b)
    }

    /// Potentials of `columns` columns to start a solver from, for costs of at most `scale` in magnitude. Those of a
    /// solution differ by no more than twice that, and a constant more or less in all of them means nothing.
    pub(crate) fn prices(&self, columns: usize, scale: f64) -> Result<Vec<f64>, TransportError> {
        check_length("potentials of the columns", columns, self.g.len())?;
        if let Some(column) = self.g.iter().position(|g| !g.is_finite()) {
            let value = self.g[column];
            return Err(TransportError::NotFinite { what: "potentials of the columns", row: 0, column, value });
        }
        let highest = self.g.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(self.g.iter().map(|g| (g - highest).max(-2.0 * scale)).collect())
    }
}

/// How a solver ended. Not converging is a result, not an error.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Termination {
    /// The plan is optimal, up to [`Solution::gap`].
    Optimal,
    /// An iterative solver met its tolerance.
    Converged {
        /// Iterations over all stages.
        iterations: usize,
        /// L1 distance between the marginals of the unrounded plan and the problem's.
        marginal_error: f64,
    },
    /// A solver reached its limit of iterations first; the plan is the best it had.
    MaxIterations {
        /// Iterations over all stages.
        iterations: usize,
        /// L1 distance between the marginals of the unrounded plan and the problem's.
        marginal_error: f64,
    },
}

impl Termination {
    /// Whether the solver did what it set out to do.
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::MaxIterations { .. })
    }
}
