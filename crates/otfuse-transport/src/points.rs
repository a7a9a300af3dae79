//! Assignments that are too large for their costs to be stored.

use rayon::prelude::*;

use crate::assignment::assign;
use crate::certificate::feasible_row;
use crate::error::{TransportError, check_length, check_shape};
use crate::features::Features;
use crate::kernels::Kernels;
use crate::metric::GroundCost;
use crate::permutation::Permutation;
use crate::plan::TransportPlan;
use crate::rows::{ComputedCosts, Rows};
use crate::solution::{Potentials, Solution, Termination};
use crate::stop::Stop;

/// An optimal assignment of the rows of `left` to those of `right` (uniform marginals), without a matrix of costs: for
/// more points than fit one. The solution is exact and certified, as [`Solver::Exact`](crate::Solver::Exact)'s is, for
/// costs that are rounded anew whenever they are computed (its `gap` includes that, some `1e-15` of the largest cost).
///
/// Three passes over the costs, `O(n^2 d)` time each in a matrix product on rayon's threads, for the prices to start
/// from, for a list of candidates of every row and for the proof; between them, a row is computed again only where its
/// candidates do not suffice. Memory: `O(n (d + 100))`. Rows with very many columns at the same lowest cost (equal
/// features) have no list of candidates and are computed again at every step, `O(n d)` each.
///
/// # Errors
/// Different numbers of rows or features; start potentials of another size, NaN or infinite.
///
/// ```
/// use otfuse_transport::{Features, GroundMetric, assign_features};
/// let left = Features::new(3, 1, &[0.0, 1.0, 5.0])?;
/// let right = Features::new(3, 1, &[5.5, 0.1, 1.0])?;
/// let solution = assign_features(GroundMetric::Euclidean, &left, &right, None)?;
/// assert_eq!(solution.plan.to_permutation().as_deref(), Some([1, 2, 0].as_slice()));
/// # Ok::<(), otfuse_transport::TransportError>(())
/// ```
pub fn assign_features(
    ground: impl Into<GroundCost>,
    left: &Features<'_>,
    right: &Features<'_>,
    start: Option<&Potentials>,
) -> Result<Solution, TransportError> {
    let n = left.rows();
    check_length("rows of the right features", n, right.rows())?;
    check_shape("assignment", n, 1)?;
    let costs = ComputedCosts::new(ground.into(), left, right)?;
    let start = start.map(|start| start.prices(n, f64::MAX / 4.0)).transpose()?;
    let assignment = assign(&costs, start.as_deref(), f64::INFINITY, &Stop::default());
    let columns = assignment.columns.unwrap_or_default();
    let (proof, excess) = prove(&costs, &columns, &assignment.prices);
    // Things that are alike stay where they are.
    let columns = if excess <= 0.0 { (0..n).collect() } else { columns };
    let cost = if excess <= 0.0 { proof.identity } else { proof.assigned } / n as f64;
    let potentials = Potentials { f: proof.f, g: assignment.prices };
    let dual = (potentials.f.iter().sum::<f64>() + potentials.g.iter().sum::<f64>()) / n as f64;
    Ok(Solution {
        plan: TransportPlan::Permutation(Permutation::new(columns)?),
        cost,
        potentials,
        gap: (cost - dual).max(0.0),
        termination: Termination::Optimal,
    })
}

/// What a pass over all costs tells of an assignment.
struct Proof {
    /// The largest feasible potentials of the rows.
    f: Vec<f64>,
    /// Sum of the costs assigned.
    assigned: f64,
    /// Sum of the costs of the identity.
    identity: f64,
}

/// The proof, and by how much the identity costs more.
fn prove(costs: &ComputedCosts<'_>, columns: &[usize], prices: &[f64]) -> (Proof, f64) {
    let n = columns.len();
    let kernels = Kernels::new();
    let mut proof = Proof { f: Vec::with_capacity(n), assigned: 0.0, identity: 0.0 };
    let mut excess = 0.0;
    let mut scratch = Vec::new();
    for start in (0..n).step_by(costs.tile()) {
        let tile = costs.rows(start..(start + costs.tile()).min(n), &mut scratch);
        for (row, costs) in (start..).zip(tile.chunks_exact(n)) {
            let (assigned, identity) = (costs[columns[row]], costs[row]);
            proof.assigned += assigned;
            proof.identity += identity;
            excess += identity - assigned;
        }
        proof.f.par_extend(tile.par_chunks_exact(n).map(|costs| feasible_row(kernels, costs, prices)));
    }
    (proof, excess)
}
