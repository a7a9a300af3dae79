//! The transportation problem by the network simplex method on the complete bipartite graph.
//!
//! The method of G. B. Dantzig (1951) with a spanning tree kept as a list of its nodes in preorder. As in LEMON, on which
//! N. Bonneel et al., "Displacement interpolation using Lagrangian mass transport", SIGGRAPH Asia 2011, rest, the
//! entering arc is the best of a block of arcs; a block here is a whole row, which vectorises. A pivot takes `O(n + m)` time at
//! worst and touches the smaller part of the tree; pricing a row takes `O(m)`. The start is the row minimum rule under the prices
//! that an assignment starts from.
//!
//! Degeneracy, the rule rather than the exception for uniform marginals, is removed instead of being managed: masses
//! become integers and every row gets one more unit than its share, the root the sum of these (A. Orden's perturbation,
//! 1956). No subtree can then be balanced, every tree arc carries flow, every pivot moves some and the method is
//! finite without any rule for ties. The final tree is optimal for the unperturbed masses too, and their flows are
//! computed from it in double precision.

mod start;
mod tree;

use crate::assignment::prices;
use crate::certificate::feasible_rows;
use crate::cost::CostMatrix;
use crate::error::TransportError;
use crate::kernels::Kernels;
use crate::masses::Masses;
use crate::plan::{SparsePlan, TransportPlan};
use crate::problem::Problem;
use crate::solution::{Potentials, Solution, Termination};
use crate::stop::Stop;
use crate::support::Support;
use crate::value::CostValue;
use tree::Tree;

/// Reduced costs count as negative below this many units in the last place of the numbers that they come from.
const TOLERANCE: f64 = 64.0 * f64::EPSILON;

/// An optimal plan for any marginals, started from prices of the columns if there are any.
pub(crate) fn solve<T: CostValue>(problem: &Problem<T>, start: Option<&[f64]>) -> Result<Solution, TransportError> {
    let support = Support::new(problem);
    let masses = Masses::new(problem, &support);
    let prices = match start {
        Some(prices) => support.columns.iter().map(|&column| prices[column]).collect(),
        None => prices(&*support.cost, &masses.a, &masses.b),
    };
    let (row_units, column_units) = masses.perturbed(tree::ROOT_COLUMN);
    let arcs = start::greedy(&support.cost, prices, &row_units, &column_units);
    let mut tree = Tree::new(&support.cost, &arcs);
    let termination = optimise(&support.cost, &mut tree, problem.stop())?;
    let (rows, columns) = problem.cost().shape();
    let mut entries = Vec::with_capacity(arcs.len());
    for (row, column, flow) in tree.flows(&masses.a, &masses.b) {
        entries.extend(masses.entry(&support, row, column, flow));
    }
    let plan = TransportPlan::Sparse(SparsePlan::new(rows, columns, entries)?);
    let (f, g) = tree.potentials();
    let g = support.extend_columns(problem.cost(), f, g);
    let f = feasible_rows(problem.cost(), &g);
    Solution::exact(problem, plan, Potentials { f, g }, termination)
}

/// Pivots until no arc has a negative reduced cost.
fn optimise<T: CostValue>(cost: &CostMatrix<T>, tree: &mut Tree, stop: &Stop) -> Result<Termination, TransportError> {
    let (n, m) = cost.shape();
    let mut pricing = Pricing { kernels: Kernels::new(), next: 0 };
    // Far beyond what any problem was seen to need; it stops a run that only rounding drives.
    let limit = 1_000 * (n + m) + n * m;
    let mut pivots = 0;
    loop {
        let before = pivots;
        while let Some((row, column, reduced)) = pricing.entering(cost, tree) {
            tree.pivot(row, column, reduced);
            pivots += 1;
            if stop.is_given() {
                return Err(TransportError::Cancelled);
            }
            if pivots >= limit {
                tree.refresh_potentials(cost);
                return Ok(Termination::MaxIterations { iterations: pivots, marginal_error: 0.0 });
            }
        }
        if pivots == before {
            return Ok(Termination::Optimal);
        }
        // Potentials drift by a rounding a pivot: the last word is had with fresh ones.
        tree.refresh_potentials(cost);
    }
}

/// The search for an arc that improves the plan.
struct Pricing {
    kernels: Kernels,
    next: usize,
}

impl Pricing {
    /// The best arc of the next row that has one with a negative reduced cost: `(row, column, reduced cost)`. More rows
    /// would give fewer pivots, each of which costs more.
    fn entering<T: CostValue>(&mut self, cost: &CostMatrix<T>, tree: &Tree) -> Option<(usize, usize, f64)> {
        let (rows, g) = tree.potentials();
        for _ in 0..cost.rows() {
            let row = self.next;
            self.next = if row + 1 == cost.rows() { 0 } else { row + 1 };
            let (costs, f) = (cost.row(row), rows[row]);
            let lowest = self.kernels.minimum(costs, g);
            if lowest - f < 0.0
                && let Some(column) = self.kernels.position_of_difference(costs, g, 0, lowest)
                && lowest - f < -TOLERANCE * (costs[column].into().abs() + g[column].abs() + f.abs())
            {
                return Some((row, column, lowest - f));
            }
        }
        None
    }
}
