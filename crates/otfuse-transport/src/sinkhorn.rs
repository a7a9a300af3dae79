//! Entropic optimal transport.
//!
//! Sinkhorn's algorithm (M. Cuturi, "Sinkhorn distances", NeurIPS 2013) as stabilised by B. Schmitzer, "Stabilized sparse
//! scaling algorithms for entropy regularized transport problems", SIAM J. Sci. Comput. 41 (2019): the potentials live
//! in the log domain; scalings are taken relative to them, as plain matrix-vector products, and absorbed into them
//! before they could overflow. Absorption is itself an iteration in the log domain (log-sum-exp), so that no epsilon is
//! too small to represent. Epsilon falls from the range of the costs to its target in stages, each started from the
//! potentials of the one before.

mod scaling;

use crate::certificate::feasible_rows;
use crate::cost::{CostMatrix, CostValue};
use crate::error::TransportError;
use crate::plan::{DensePlan, TransportPlan};
use crate::problem::Problem;
use crate::rounding::round;
use crate::solution::{Potentials, Solution, Termination};
use crate::support::Support;
use scaling::Scaling;

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
    /// What epsilon is multiplied with from stage to stage, from the range of the costs down to its target; more than 0
    /// and at most 1, where 1 starts at the target at once. Default: 0.25.
    pub epsilon_factor: f64,
    /// The L1 distance between the plan's marginals and the problem's at which to stop; positive. Default: 1e-9.
    pub tolerance: f64,
    /// Iterations, over all stages, at which to stop in any case; at least 1. Default: 10 000.
    pub max_iterations: usize,
    /// Whether to move the plan onto its marginals at the end ([`round_to_feasible`](crate::round_to_feasible)).
    /// Default: true.
    pub round: bool,
}

impl Default for SinkhornSettings {
    fn default() -> Self {
        Self {
            epsilon: Epsilon::RelativeToMean(0.05),
            epsilon_factor: 0.25,
            tolerance: 1e-9,
            max_iterations: 10_000,
            round: true,
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
        check("max_iterations", self.max_iterations as f64, self.max_iterations > 0, "at least 1")
    }
}

/// Error at which a stage before the last is good enough.
const STAGE_TOLERANCE: f64 = 1e-2;
/// Iterations after which a stage before the last is given up.
const STAGE_ITERATIONS: usize = 100;

/// An entropic plan.
pub(crate) fn solve<T: CostValue>(
    problem: &Problem<T>,
    settings: &SinkhornSettings,
) -> Result<Solution, TransportError> {
    settings.validate()?;
    let cost = problem.cost();
    let target = settings.epsilon.resolve(cost);
    if !(target.is_finite() && target >= f64::MIN_POSITIVE) {
        return Err(TransportError::Setting { name: "epsilon", expected: "representable", found: target });
    }
    let support = Support::new(problem);
    let mut scaling = Scaling::new(&support.cost, &support.a, &support.b);
    let lowest = support.cost.min();
    let mut epsilon = if settings.epsilon_factor < 1.0 { (support.cost.max() - lowest).max(target) } else { target };
    let mut iterations = 0;
    let (converged, marginal_error) = loop {
        let last = epsilon <= target;
        let left = settings.max_iterations - iterations;
        let (tolerance, limit) = if last {
            (settings.tolerance, left)
        } else {
            (settings.tolerance.max(STAGE_TOLERANCE), left.min(STAGE_ITERATIONS))
        };
        let stage = scaling.run(epsilon, tolerance, limit);
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
    let (f, g, kept) = scaling.finish();
    finish(problem, &support, settings.round, termination, (&f, &g, kept))
}

/// Puts potentials and masses of the rows and columns kept back into the whole problem.
fn finish<T: CostValue>(
    problem: &Problem<T>,
    support: &Support<'_, T>,
    rounded: bool,
    termination: Termination,
    (f, g, kept): (&[f64], &[f64], Vec<f64>),
) -> Result<Solution, TransportError> {
    let cost = problem.cost();
    let (rows, columns) = cost.shape();
    let (a, b) = (problem.a().as_slice(), problem.b().as_slice());
    let mut masses = if kept.len() == rows * columns {
        kept
    } else {
        let mut masses = vec![0.0; rows * columns];
        for (&row, kept) in support.rows.iter().zip(kept.chunks_exact(support.columns.len())) {
            support.columns.iter().zip(kept).for_each(|(&column, mass)| masses[row * columns + column] = *mass);
        }
        masses
    };
    if rounded {
        round(&mut masses, a, b);
    }
    let plan = TransportPlan::Dense(DensePlan::new(rows, columns, masses)?);
    let g = support.extend_columns(cost, f, g);
    let feasible = feasible_rows(cost, &g);
    let value = plan.cost(cost)?;
    let mut feasible = Potentials { f: feasible, g };
    let gap = value - feasible.value(a, b);
    support.rows.iter().zip(f).for_each(|(&row, &f)| feasible.f[row] = f);
    Ok(Solution { plan, cost: value, potentials: feasible, gap: if rounded { gap.max(0.0) } else { gap }, termination })
}
