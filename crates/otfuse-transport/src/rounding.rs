//! Making a nearly feasible plan feasible.

use crate::error::{TransportError, check_length};
use crate::kernels::Kernels;
use crate::marginals::Marginals;
use crate::plan::{DensePlan, TransportPlan};

/// Moves `plan` onto the marginals `a` and `b`: rows, then columns that carry too much are scaled down, and what is
/// missing is added as one outer product. The plan changes by at most twice its marginal error in L1. `O(n m)` time.
///
/// J. Altschuler, J. Weed and P. Rigollet, "Near-linear time approximation algorithms for optimal transport via
/// Sinkhorn iteration", NeurIPS 2017, algorithm 2.
///
/// # Errors
/// Marginals of another size than the plan.
///
/// ```
/// use otfuse_transport::{DensePlan, Marginals, round_to_feasible};
/// let half = Marginals::uniform(2)?;
/// let plan = DensePlan::new(2, 2, vec![0.4, 0.2, 0.1, 0.2])?;
/// let plan = round_to_feasible(plan, &half, &half)?;
/// assert!((plan.row(0).iter().sum::<f64>() - 0.5).abs() < 1e-15);
/// # Ok::<(), otfuse_transport::TransportError>(())
/// ```
pub fn round_to_feasible(plan: DensePlan, a: &Marginals, b: &Marginals) -> Result<DensePlan, TransportError> {
    let plan = TransportPlan::Dense(plan);
    let (rows, columns) = plan.shape();
    check_length("row marginals", rows, a.len())?;
    check_length("column marginals", columns, b.len())?;
    let mut masses = plan.to_dense();
    round(&mut masses, a.as_slice(), b.as_slice());
    DensePlan::new(rows, columns, masses)
}

/// [`round_to_feasible`] on a row-major buffer.
pub(crate) fn round(masses: &mut [f64], a: &[f64], b: &[f64]) {
    let (m, kernels) = (b.len(), Kernels::new());
    let down = |wanted: f64, found: f64| if found > wanted { wanted / found } else { 1.0 };
    let mut columns = vec![0.0; m];
    for (row, &wanted) in masses.chunks_exact_mut(m).zip(a) {
        kernels.scale(down(wanted, kernels.sum(row)), row);
        kernels.add_scaled(1.0, row, &mut columns);
    }
    let factors: Vec<f64> = columns.iter().zip(b).map(|(&found, &wanted)| down(wanted, found)).collect();
    let mut missing_rows = Vec::with_capacity(a.len());
    let mut found = vec![0.0; m];
    for (row, &wanted) in masses.chunks_exact_mut(m).zip(a) {
        kernels.multiply(&factors, row);
        kernels.add_scaled(1.0, row, &mut found);
        missing_rows.push((wanted - kernels.sum(row)).max(0.0));
    }
    let missing_columns: Vec<f64> = b.iter().zip(&found).map(|(wanted, found)| (wanted - found).max(0.0)).collect();
    let total: f64 = missing_rows.iter().sum();
    if total > 0.0 {
        for (row, missing) in masses.chunks_exact_mut(m).zip(&missing_rows) {
            kernels.add_scaled(missing / total, &missing_columns, row);
        }
    }
}
