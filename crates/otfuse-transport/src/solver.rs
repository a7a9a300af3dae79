//! Choosing and running a solver.

use crate::assignment::assign;
use crate::cost::CostMatrix;
use crate::error::{TransportError, check_length};
use crate::monge::{self, Sorted};
use crate::permutation::Permutation;
use crate::plan::TransportPlan;
use crate::problem::Problem;
use crate::simplex;
use crate::sinkhorn::{self, SinkhornSettings};
use crate::solution::{Potentials, Solution, Termination};
use crate::value::CostValue;

/// How to solve a [`Problem`].
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Solver {
    /// An optimal plan of the linear programme, with a certificate: by sorting where costs have Monge's property after it,
    /// shortest augmenting paths where the problem is an assignment (as many rows as columns, uniform marginals) whose
    /// paths are short, the network simplex method otherwise.
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
        self.run(problem, None)
    }

    /// Solves `problem` as [`Solver::solve`] does, starting from the potentials of a similar problem, which saves most of
    /// the work where the two have nearly the same solution: of an assignment most rows have their column at once, the
    /// network simplex method starts from a tree of nearly tight arcs, Sinkhorn's algorithm without stages. Any
    /// potentials will do; the solution is as exact as without, but where it is not unique, it may be another one.
    ///
    /// # Errors
    /// As [`Solver::solve`]; potentials of another size, NaN or infinite.
    ///
    /// ```
    /// use otfuse_transport::{CostMatrix, Problem, Solver};
    /// let problem = |c| Problem::uniform(CostMatrix::new(2, 2, vec![9.0, c, 2.0, 9.0])?);
    /// let first = Solver::Exact.solve(&problem(1.0)?)?;
    /// let second = Solver::Exact.solve_from(&problem(1.5)?, &first.potentials)?;
    /// assert_eq!(second.cost, 1.75);
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn solve_from<T: CostValue>(
        &self,
        problem: &Problem<T>,
        start: &Potentials,
    ) -> Result<Solution, TransportError> {
        let (rows, columns) = problem.cost().shape();
        check_length("potentials of the rows", rows, start.f.len())?;
        self.run(problem, Some(&start.prices(columns, problem.cost().max_abs())?))
    }

    fn run<T: CostValue>(&self, problem: &Problem<T>, start: Option<&[f64]>) -> Result<Solution, TransportError> {
        match self {
            Self::Exact => {
                let prices = match monge::solve(problem)? {
                    Sorted::Solved(solution) => return in_place(problem, solution),
                    Sorted::Nearly(prices) => Some(prices),
                    Sorted::Nothing => None,
                };
                let start = start.or(prices.as_deref());
                if problem.is_assignment() { solve_assignment(problem, start) } else { simplex::solve(problem, start) }
            }
            Self::Sinkhorn(settings) => sinkhorn::solve(problem, settings, start),
        }
    }
}

/// How many columns the paths of an assignment may take in all, for every row of the problem, before the network
/// simplex method is the better tool. Costs without structure take fewer than 3, points in a plane some 40 for 1 024 rows.
fn patience(rows: usize) -> f64 {
    64.0 + rows as f64 / 8.0
}

fn solve_assignment<T: CostValue>(problem: &Problem<T>, start: Option<&[f64]>) -> Result<Solution, TransportError> {
    let cost = problem.cost();
    let n = cost.rows();
    let assignment = assign(cost, start, patience(n) * n as f64, problem.stop());
    if problem.stop().is_given() {
        return Err(TransportError::Cancelled);
    }
    let solution = match assignment.columns {
        None => simplex::solve(problem, Some(&assignment.prices))?,
        Some(columns) => {
            let plan = TransportPlan::Permutation(Permutation::new(columns)?);
            let potentials = Potentials { f: assignment.rows, g: assignment.prices };
            Solution::exact(problem, plan, potentials, Termination::Optimal)?
        }
    };
    in_place(problem, solution)
}

/// The same solution, with a plan that is a permutation where the problem is an assignment: the one that leaves everything where
/// it is, if that costs no more.
fn in_place<T: CostValue>(problem: &Problem<T>, solution: Solution) -> Result<Solution, TransportError> {
    let permutation = if problem.is_assignment() { solution.plan.to_permutation() } else { None };
    let Some(permutation) = permutation else {
        return Ok(solution);
    };
    let plan = TransportPlan::Permutation(keep_in_place(problem.cost(), permutation)?);
    Solution::exact(problem, plan, solution.potentials, solution.termination)
}

/// The identity if it costs no more than `columns`, so that things that are alike stay where they are.
fn keep_in_place<T: CostValue>(cost: &CostMatrix<T>, columns: Permutation) -> Result<Permutation, TransportError> {
    // Summing differences row by row keeps the comparison exact where all costs are alike.
    let excess: f64 = columns.iter().enumerate().map(|(row, &column)| cost.get(row, row) - cost.get(row, column)).sum();
    if excess <= 0.0 { Permutation::identity(cost.rows()) } else { Ok(columns) }
}
