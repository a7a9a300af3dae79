//! A first feasible tree.

use crate::cost::CostMatrix;
use crate::kernels::Kernels;
use crate::value::CostValue;

/// An arc of the tree: row, column, flow in perturbed units.
pub(super) type Arc = (usize, usize, i64);

/// The row minimum rule on costs reduced by the prices of the columns: row after row, those first that lose most by their
/// second choice, sends its mass to its cheapest columns that still want some. Sums of `rows` and `columns` must be equal, and no proper part of the rows may have
/// the sum of a part of the columns; the `n + m - 1` arcs then form a spanning tree with positive flows.
/// `O((n + m) m)` time.
pub(super) fn greedy<T: CostValue>(
    cost: &CostMatrix<T>,
    mut price: Vec<f64>,
    rows: &[i64],
    columns: &[i64],
) -> Vec<Arc> {
    let kernels = Kernels::new();
    let mut wanted = columns.to_vec();
    let mut arcs = Vec::with_capacity(rows.len() + columns.len() - 1);
    for row in by_regret(cost, kernels, &price) {
        let mut left = rows[row];
        while left > 0 {
            let costs = cost.row(row);
            let lowest = kernels.minimum(costs, &price);
            let Some(column) = kernels.position_of_difference(costs, &price, 0, lowest) else {
                break;
            };
            let flow = left.min(wanted[column]);
            arcs.push((row, column, flow));
            left -= flow;
            wanted[column] -= flow;
            if wanted[column] == 0 {
                price[column] = f64::NEG_INFINITY;
            }
        }
    }
    arcs
}

/// Rows that lose most by their second choice come first.
fn by_regret<T: CostValue>(cost: &CostMatrix<T>, kernels: Kernels, price: &[f64]) -> Vec<usize> {
    let regret = |row| {
        let (lowest, next) = kernels.two_smallest(cost.row(row), price);
        next - lowest
    };
    let regrets: Vec<f64> = (0..cost.rows()).map(regret).collect();
    let mut order: Vec<usize> = (0..cost.rows()).collect();
    order.sort_by(|&x, &y| regrets[y].total_cmp(&regrets[x]));
    order
}
