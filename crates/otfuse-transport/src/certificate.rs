//! Checking a solution against its problem, without trust in the solver.

use rayon::prelude::*;

use crate::cost::CostMatrix;
use crate::error::{TransportError, check_length};
use crate::kernels::Kernels;
use crate::problem::Problem;
use crate::solution::{Potentials, Solution};
use crate::value::CostValue;

/// How far a solution is from satisfying the optimality conditions of the linear programme. All zero (but for rounding)
/// proves that the plan is optimal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// `max_ij (f_i + g_j - c_ij)`; the potentials are feasible where it is not positive.
    pub dual_infeasibility: f64,
    /// `max_i |sum_j T_ij - a_i|`.
    pub row_error: f64,
    /// `max_j |sum_i T_ij - b_j|`.
    pub column_error: f64,
    /// Cost of the plan, summed anew.
    pub primal: f64,
    /// `sum_i a_i f_i + sum_j b_j g_j`.
    pub dual: f64,
}

impl Certificate {
    /// `primal - dual`.
    pub fn gap(&self) -> f64 {
        self.primal - self.dual
    }
}

/// Evaluates the optimality conditions of `solution`. `O(n m)` time.
///
/// # Errors
/// The plan or the potentials have another shape than the problem.
///
/// ```
/// use otfuse_transport::{CostMatrix, Problem, Solver, certificate};
/// let problem = Problem::uniform(CostMatrix::new(2, 2, vec![1.0, 3.0, 2.0, 5.0])?)?;
/// let certificate = certificate(&problem, &Solver::Exact.solve(&problem)?)?;
/// assert!(certificate.dual_infeasibility <= 0.0 && certificate.gap().abs() < 1e-15);
/// # Ok::<(), otfuse_transport::TransportError>(())
/// ```
pub fn certificate<T: CostValue>(problem: &Problem<T>, solution: &Solution) -> Result<Certificate, TransportError> {
    let (cost, Potentials { f, g }) = (problem.cost(), &solution.potentials);
    check_length("potentials of the rows", cost.rows(), f.len())?;
    check_length("potentials of the columns", cost.columns(), g.len())?;
    let primal = solution.plan.cost(cost)?;
    let infeasible = |row: usize| {
        let pairs = cost.row(row).iter().zip(g);
        pairs.fold(f64::NEG_INFINITY, |worst, (c, g)| worst.max(f[row] + g - (*c).into()))
    };
    let largest = |found: Vec<f64>, expected: &[f64]| {
        found.iter().zip(expected).fold(0.0_f64, |worst, (x, y)| worst.max((x - y).abs()))
    };
    Ok(Certificate {
        dual_infeasibility: (0..cost.rows()).map(infeasible).fold(f64::NEG_INFINITY, f64::max),
        row_error: largest(solution.plan.row_marginals(), problem.a().as_slice()),
        column_error: largest(solution.plan.column_marginals(), problem.b().as_slice()),
        primal,
        dual: solution.potentials.value(problem.a().as_slice(), problem.b().as_slice()),
    })
}

/// So many costs are read faster than other threads wake up.
const SMALL: usize = 1 << 14;

/// Whether to read so many costs on several threads.
pub(crate) fn in_parallel(costs: usize) -> bool {
    costs >= SMALL && rayon::current_num_threads() > 1
}

/// The largest feasible `f` for given `g`.
pub(crate) fn feasible_rows<T: CostValue>(cost: &CostMatrix<T>, g: &[f64]) -> Vec<f64> {
    let kernels = Kernels::new();
    let feasible = |row| feasible_row(kernels, cost.row(row), g);
    if in_parallel(cost.rows() * cost.columns()) {
        return (0..cost.rows()).into_par_iter().map(feasible).collect();
    }
    (0..cost.rows()).map(feasible).collect()
}

/// The largest feasible potential of one row: `min_j (c_j - g_j)`, lowered by units in the last place until
/// `f + g_j <= c_j` holds in floating point too.
pub(crate) fn feasible_row<T: CostValue>(kernels: Kernels, costs: &[T], g: &[f64]) -> f64 {
    let mut f = kernels.minimum(costs, g);
    while !kernels.feasible(costs, g, f) {
        f = f.next_down();
    }
    f
}
