//! Optimal transport between discrete measures with dense costs: exact, with a certificate, or entropic.
//!
//! Given costs `c` (`n x m`) and two probability vectors `a` (`n`) and `b` (`m`), find the plan `T` that solves
//!
//! ```text
//! minimise    <T, c> = sum_ij T_ij c_ij
//! subject to  T 1 = a,   T' 1 = b,   T >= 0                                       (primal)
//!
//! maximise    <f, a> + <g, b>
//! subject to  f_i + g_j <= c_ij                                                   (dual)
//! ```
//!
//! Both have the same value, and `T_ij > 0` only where `f_i + g_j = c_ij`; a plan with feasible potentials of the
//! same value is therefore proved optimal, which [`certificate`] checks. The entropic problem adds
//! `epsilon sum_ij T_ij (log(T_ij / (a_i b_j)) - 1)` to the primal objective; its solution is
//! `T_ij = a_i b_j exp((f_i + g_j - c_ij) / epsilon)`.
//!
//! The way through the crate: [`Features`] and a [`GroundCost`] give a [`CostMatrix`] ([`cost_matrix`]); with two
//! [`Marginals`] it makes a [`Problem`]; a [`Solver`] turns that into a [`Solution`], which is a [`TransportPlan`],
//! its cost, [`Potentials`], a bound on the distance from the optimum and a [`Termination`].
//!
//! ```
//! use otfuse_transport::{Features, GroundMetric, Problem, Solver, cost_matrix};
//!
//! let left = Features::new(3, 1, &[0.0, 1.0, 5.0])?;
//! let right = Features::new(3, 1, &[5.5, 0.1, 1.0])?;
//! let problem = Problem::uniform(cost_matrix(GroundMetric::Euclidean, &left, &right)?)?;
//! let solution = Solver::Exact.solve(&problem)?;
//! assert_eq!(solution.plan.to_permutation().as_deref(), Some([1, 2, 0].as_slice()));
//! assert!(solution.gap < 1e-12);
//! # Ok::<(), otfuse_transport::TransportError>(())
//! ```
//!
//! Costs are stored in double or in single precision ([`CostMatrix::from_f32`]) and never copied; where even one copy is
//! too much, [`assign_features`] solves the assignment of features without storing their costs. Solvers can start from
//! the potentials of a similar problem ([`Solver::solve_from`]), and Sinkhorn's algorithm can let marginals go at a price
//! ([`SinkhornSettings::row_penalty`]).
//!
//! | problem | algorithm | time | memory beside the costs |
//! |---|---|---|---|
//! | costs with Monge's property after sorting | north-west corner rule (Hoffman 1963), proved by its potentials | `O(n m)` | `O(n + m)` |
//! | `n = m`, uniform | shortest augmenting paths (Jonker and Volgenant 1987) over short lists of candidates with a bound on the rest | `O(n^3)` at worst, in practice little more than `O(n^2)` | `O(n)`, about 1 kB a row |
//! | any other, exact | network simplex (Dantzig 1951; block pricing as in LEMON, Bonneel et al. 2011) | finite; in practice a small multiple of `n + m` pivots | `O(n + m)` |
//! | entropic | stabilised scaling with an epsilon schedule (Cuturi 2013; Schmitzer 2019) | `O(n m)` an iteration | `O(n m)` |
//! | rounding to the marginals | Altschuler, Weed and Rigollet 2017, algorithm 2 | `O(n m)` | `O(n + m)` |
//!
//! Every result is the same whatever the number of threads. Of several optimal assignments the identity is returned where it is one.

mod assignment;
mod certificate;
mod cost;
mod error;
mod features;
mod ground;
mod kernels;
mod marginals;
mod masses;
pub mod matrix;
mod metric;
mod monge;
mod permutation;
mod plan;
mod points;
mod problem;
mod rounding;
mod rows;
mod simplex;
mod sinkhorn;
mod solution;
mod solver;
mod stop;
mod support;
mod value;

pub use certificate::{Certificate, certificate};
pub use cost::{CostMatrix, Lender};
pub use error::TransportError;
pub use features::Features;
pub use ground::cost_matrix;
pub use marginals::Marginals;
pub use metric::{GroundCost, GroundMetric};
pub use permutation::Permutation;
pub use plan::{DensePlan, SparsePlan, TransportPlan};
pub use points::assign_features;
pub use problem::Problem;
pub use rounding::round_to_feasible;
pub use sinkhorn::{Epsilon, SinkhornSettings};
pub use solution::{Potentials, Solution, Termination};
pub use solver::Solver;
pub use value::CostValue;
