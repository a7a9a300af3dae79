//! Choosing and running a solver.

use crate::assignment::assign;
use crate::certificate::feasible_rows;
use crate::cost::CostValue;
use crate::error::TransportError;
use crate::permutation::Permutation;
use crate::plan::TransportPlan;
use crate::problem::Problem;
use crate::simplex;
use crate::sinkhorn::{self, SinkhornSettings};
use crate::solution::{Potentials, Solution, Termination};

/// How to solve a [`Problem`].
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Solver {
    /// An optimal plan of the linear programme, with a certificate: shortest augmenting paths where the problem is an
    /// assignment (as many rows as columns, uniform marginals), the network simplex method otherwise.
    #[default]
    Exact,
    /// The entropic problem, by Sinkhorn's algorithm.
    Sinkhorn(SinkhornSettings),
}

impl Solver {
    /// Solves `problem`. The result is the same whatever the number of threads.
    ///
    /// # Errors
    /// Settings out of range. A solver that does not converge returns what it has, and says so in
    /// [`Solution::termination`].
    ///
    /// ```
    /// use otfuse_transport::{CostMatrix, Problem, Solver, Termination, TransportPlan};
    /// let problem = Problem::uniform(CostMatrix::new(2, 2, vec![9.0, 1.0, 2.0, 9.0])?)?;
    /// let solution = Solver::Exact.solve(&problem)?;
    /// assert!(matches!(&solution.plan, TransportPlan::Permutation(p) if p.as_slice() == [1, 0]));
    /// assert_eq!((solution.cost, solution.termination), (1.5, Termination::Optimal));
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn solve<T: CostValue>(&self, problem: &Problem<T>) -> Result<Solution, TransportError> {
        match self {
            Self::Exact if problem.is_assignment() => solve_assignment(problem),
            Self::Exact => simplex::solve(problem),
            Self::Sinkhorn(settings) => sinkhorn::solve(problem, settings),
        }
    }
}

fn solve_assignment<T: CostValue>(problem: &Problem<T>) -> Result<Solution, TransportError> {
    let cost = problem.cost();
    let assignment = assign(cost);
    let plan = TransportPlan::Permutation(Permutation::new(assignment.columns)?);
    let f = feasible_rows(cost, &assignment.prices);
    finish(problem, plan, Potentials { f, g: assignment.prices }, Termination::Optimal)
}

/// Completes an exact solution: its cost and the gap to its (feasible) potentials.
pub(crate) fn finish<T: CostValue>(
    problem: &Problem<T>,
    plan: TransportPlan,
    potentials: Potentials,
    termination: Termination,
) -> Result<Solution, TransportError> {
    let cost = plan.cost(problem.cost())?;
    let gap = (cost - potentials.value(problem.a().as_slice(), problem.b().as_slice())).max(0.0);
    Ok(Solution { plan, cost, potentials, gap, termination })
}
