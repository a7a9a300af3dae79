//! Entropic optimal transport.
//!
//! Sinkhorn's algorithm (M. Cuturi, "Sinkhorn distances", NeurIPS 2013) as stabilised by B. Schmitzer, "Stabilized sparse
//! scaling algorithms for entropy regularized transport problems", SIAM J. Sci. Comput. 41 (2019): the potentials live
//! in the log domain; scalings are taken relative to them, as plain matrix-vector products, and absorbed into them
//! before they could overflow. Absorption is itself an iteration in the log domain (log-sum-exp), so that no epsilon is
//! too small to represent. A small epsilon is reached in stages, each started from the
//! potentials of the one before, and the iteration is accelerated after Anderson, which pays where epsilon is small.
//!
//! Marginals may be kept by a Kullback-Leibler penalty instead of exactly (L. Chizat et al., "Scaling algorithms for
//! unbalanced optimal transport problems", Math. Comp. 87, 2018).

mod anderson;
mod scaling;
mod side;

use crate::certificate::feasible_rows;
use crate::cost::CostMatrix;
use crate::error::TransportError;
use crate::plan::{DensePlan, TransportPlan};
use crate::problem::Problem;
use crate::rounding::round;
use crate::solution::{Potentials, Solution, Termination};
use crate::support::Support;
use crate::value::CostValue;
use scaling::Scaling;
use side::Side;

/// The strength of the entropy, in the unit of the costs. Smaller is closer to the exact plan, and slower.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Epsilon {
    /// This value.
    Absolute(f64),
    /// This multiple of the mean absolute cost.
    RelativeToMean(f64),
    /// This multiple of the largest absolute cost.
    RelativeToMax(f64),
}

impl Epsilon {
    /// The value for `cost`. Where all costs are zero, every epsilon gives the same plan, and a relative one is taken as
    /// it stands.
    pub fn resolve<T: CostValue>(self, cost: &CostMatrix<T>) -> f64 {
        let times = |factor: f64, scale: f64| if scale > 0.0 { factor * scale } else { factor };
        match self {
            Self::Absolute(value) => value,
            Self::RelativeToMean(factor) => times(factor, cost.mean_abs()),
            Self::RelativeToMax(factor) => times(factor, cost.max_abs()),
        }
    }
}

/// Settings of Sinkhorn's algorithm.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkhornSettings {
    /// The strength of the entropy; positive. Default: 0.05 of the mean cost.
    pub epsilon: Epsilon,
    /// What epsilon is multiplied with from stage to stage, from a 64th of the range of the costs down to its target; more than 0
    /// and at most 1, where 1 starts at the target at once. Default: 0.25.
    pub epsilon_factor: f64,
    /// The L1 distance between the plan's marginals and the problem's (or, under a penalty, those that the potentials
    /// ask for) at which to stop; positive. Default: 1e-9.
    pub tolerance: f64,
    /// Iterations, over all stages, at which to stop in any case; at least 1. Default: 10 000.
    pub max_iterations: usize,
    /// Whether to move the plan onto its marginals at the end ([`round_to_feasible`](crate::round_to_feasible)).
    /// Has no effect where a penalty is finite. Default: true.
    pub round: bool,
    /// `rho` of `rho KL(T 1 | a)` in the objective, in the unit of the costs; positive. Infinite, the default, keeps the
    /// rows' marginal exactly; a smaller one lets mass that is expensive to move vanish, or more of it appear where
    /// it is cheap.
    pub row_penalty: f64,
    /// The same for `rho KL(T' 1 | b)` and the columns' marginal.
    pub column_penalty: f64,
}

impl Default for SinkhornSettings {
    fn default() -> Self {
        Self {
            epsilon: Epsilon::RelativeToMean(0.05),
            epsilon_factor: 0.25,
            tolerance: 1e-9,
            max_iterations: 10_000,
            round: true,
            row_penalty: f64::INFINITY,
            column_penalty: f64::INFINITY,
        }
    }
}

impl SinkhornSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), TransportError> {
        let check = |name, found: f64, fits: bool, expected| {
            if fits { Ok(()) } else { Err(TransportError::Setting { name, expected, found }) }
        };
        let (Epsilon::Absolute(epsilon) | Epsilon::RelativeToMean(epsilon) | Epsilon::RelativeToMax(epsilon)) =
            self.epsilon;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let factor = self.epsilon_factor;
        check("epsilon", epsilon, positive(epsilon), "a positive number")?;
        check("epsilon_factor", factor, positive(factor) && factor <= 1.0, "more than 0 and at most 1")?;
        check("tolerance", self.tolerance, positive(self.tolerance), "a positive number")?;
        check("row_penalty", self.row_penalty, self.row_penalty > 0.0, "a positive number or infinity")?;
        check("column_penalty", self.column_penalty, self.column_penalty > 0.0, "a positive number or infinity")?;
        check("max_iterations", self.max_iterations as f64, self.max_iterations > 0, "at least 1")
    }
}

/// The range of the costs over the first stage's epsilon: what single stages manage as well as several.
const STAGED_RANGE: f64 = 64.0;
/// Error at which a stage before the last is good enough.
const STAGE_TOLERANCE: f64 = 1e-2;
/// Iterations after which a stage before the last is given up.
const STAGE_ITERATIONS: usize = 100;

/// An entropic plan; started from the given potentials of the columns, if there are any, at the target epsilon.
pub(crate) fn solve<T: CostValue>(
    problem: &Problem<T>,
    settings: &SinkhornSettings,
    start: Option<&[f64]>,
) -> Result<Solution, TransportError> {
    settings.validate()?;
    let cost = problem.cost();
    let target = settings.epsilon.resolve(cost);
    if !(target.is_finite() && target >= f64::MIN_POSITIVE) {
        return Err(TransportError::Setting { name: "epsilon", expected: "representable", found: target });
    }
    let support = Support::new(problem);
    let (rows, columns) = (Side::new(settings.row_penalty), Side::new(settings.column_penalty));
    let g = start.map_or(vec![0.0; support.b.len()], |start| support.columns.iter().map(|&at| start[at]).collect());
    let mut scaling = Scaling::new(&support.cost, (&support.a, rows), (&support.b, columns), g);
    let staged = start.is_none() && settings.epsilon_factor < 1.0;
    let range = support.cost.max() - support.cost.min();
    let mut epsilon = if staged { (range / STAGED_RANGE).max(target) } else { target };
    let mut iterations = 0;
    let (converged, marginal_error) = loop {
        let last = epsilon <= target;
        let left = settings.max_iterations - iterations;
        let (tolerance, limit) = if last {
            (settings.tolerance, left)
        } else {
            (settings.tolerance.max(STAGE_TOLERANCE), left.min(STAGE_ITERATIONS))
        };
        let stage = scaling.run(epsilon, tolerance, limit, problem.stop());
        if problem.stop().is_given() {
            return Err(TransportError::Cancelled);
        }
        iterations += stage.iterations;
        if last || iterations >= settings.max_iterations {
            break (last && stage.error <= tolerance, stage.error);
        }
        epsilon = (epsilon * settings.epsilon_factor).max(target);
    };
    let termination = if converged {
        Termination::Converged { iterations, marginal_error }
    } else {
        Termination::MaxIterations { iterations, marginal_error }
    };
    let entropic = scaling.finish();
    if rows.is_balanced() && columns.is_balanced() {
        finish_balanced(problem, &support, settings.round, termination, entropic)
    } else {
        finish_unbalanced(problem, &support, (rows, columns), termination, entropic)
    }
}

/// Potentials of rows and columns and the masses, between the rows and columns kept.
type Entropic = (Vec<f64>, Vec<f64>, Vec<f64>);

/// The masses of the whole problem.
fn spread<T: CostValue>(support: &Support<'_, T>, (rows, columns): (usize, usize), kept: Vec<f64>) -> Vec<f64> {
    if kept.len() == rows * columns {
        return kept;
    }
    let mut masses = vec![0.0; rows * columns];
    for (&row, kept) in support.rows.iter().zip(kept.chunks_exact(support.columns.len())) {
        support.columns.iter().zip(kept).for_each(|(&column, mass)| masses[row * columns + column] = *mass);
    }
    masses
}

/// A solution with its bound on the distance from the optimum of the linear programme.
fn finish_balanced<T: CostValue>(
    problem: &Problem<T>,
    support: &Support<'_, T>,
    rounded: bool,
    termination: Termination,
    (f, g, kept): Entropic,
) -> Result<Solution, TransportError> {
    let cost = problem.cost();
    let (rows, columns) = cost.shape();
    let (a, b) = (problem.a().as_slice(), problem.b().as_slice());
    let mut masses = spread(support, cost.shape(), kept);
    if rounded {
        round(&mut masses, a, b);
    }
    let plan = TransportPlan::Dense(DensePlan::new(rows, columns, masses)?);
    let g = support.extend_columns(cost, &f, &g);
    let feasible = feasible_rows(cost, &g);
    let value = plan.cost(cost)?;
    let mut potentials = Potentials { f: feasible, g };
    let gap = value - potentials.value(a, b);
    support.rows.iter().zip(f).for_each(|(&row, f)| potentials.f[row] = f);
    Ok(Solution { plan, cost: value, potentials, gap: if rounded { gap.max(0.0) } else { gap }, termination })
}

/// A solution with its bound on the distance from the optimum of the regularised problem, whose value at a plan of the
/// form `a_i b_j exp((f_i + g_j - c_ij) / epsilon)` differs from the dual's only by what the marginals tell.
fn finish_unbalanced<T: CostValue>(
    problem: &Problem<T>,
    support: &Support<'_, T>,
    (row_side, column_side): (Side, Side),
    termination: Termination,
    (f, g, kept): Entropic,
) -> Result<Solution, TransportError> {
    let cost = problem.cost();
    let (rows, columns) = cost.shape();
    let m = support.b.len();
    let found_rows: Vec<f64> = kept.chunks_exact(m).map(|row| row.iter().sum()).collect();
    let mut found_columns = vec![0.0; m];
    for row in kept.chunks_exact(m) {
        found_columns.iter_mut().zip(row).for_each(|(sum, mass)| *sum += mass);
    }
    let excess = |side: Side, potentials: &[f64], found: &[f64], masses: &[f64]| {
        let moved: f64 = potentials.iter().zip(found).map(|(potential, mass)| potential * mass).sum();
        moved + side.divergence(found, masses) + side.conjugate(masses, potentials)
    };
    let gap = excess(row_side, &f, &found_rows, &support.a) + excess(column_side, &g, &found_columns, &support.b);
    let plan = TransportPlan::Dense(DensePlan::new(rows, columns, spread(support, cost.shape(), kept))?);
    let mut potentials = Potentials { f: vec![0.0; rows], g: vec![0.0; columns] };
    support.rows.iter().zip(f).for_each(|(&row, f)| potentials.f[row] = f);
    support.columns.iter().zip(g).for_each(|(&column, g)| potentials.g[column] = g);
    Ok(Solution { cost: plan.cost(cost)?, plan, potentials, gap: gap.max(0.0), termination })
}
