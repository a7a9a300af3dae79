//! Problems that sorting solves: costs of points on a line under a convex function of their distance, products of a factor of the row and
//! one of the column, and whatever else has G. Monge's property after its rows and columns are put in order.
//!
//! If `c_ij + c_kl <= c_il + c_kj` for all rows `i < k` and columns `j < l`, the north-west corner rule gives an optimal
//! plan for any masses (A. Hoffman, "On simple linear programming problems", 1963), and the potentials of its staircase are
//! feasible. The orders come from differences of two rows and of two columns, which ascend where the property holds. They are a
//! guess: what is returned was proved by its potentials.

use crate::certificate::feasible_rows;
use crate::cost::CostMatrix;
use crate::error::TransportError;
use crate::masses::Masses;
use crate::permutation::Permutation;
use crate::plan::{SparsePlan, TransportPlan};
use crate::problem::Problem;
use crate::solution::{Potentials, Solution, Termination};
use crate::support::Support;
use crate::value::CostValue;

/// Rows and columns of the part that is looked at first.
const SAMPLE: usize = 16;

/// What sorting gives.
pub(crate) enum Sorted {
    /// An optimal plan.
    Solved(Solution),
    /// Prices of the columns that are optimal but for rounding: costs that were stored in few digits have the property
    /// only nearly.
    Nearly(Vec<f64>),
    /// Nothing.
    Nothing,
}

/// An optimal plan or nearly optimal prices, where sorting gives them.
pub(crate) fn solve<T: CostValue>(problem: &Problem<T>) -> Result<Sorted, TransportError> {
    let cost = problem.cost();
    let (n, m) = cost.shape();
    let sample = |len: usize| (0..len.min(SAMPLE)).map(|at| at * len / len.min(SAMPLE)).collect::<Vec<_>>();
    if !has_property(cost, &Order::new(cost, &sample(n), &sample(m))) {
        return Ok(Sorted::Nothing);
    }
    let support = Support::new(problem);
    let kept = &support.cost;
    let (rows, columns) = kept.shape();
    let order = Order::new(kept, &(0..rows).collect::<Vec<_>>(), &(0..columns).collect::<Vec<_>>());
    let masses = Masses::new(problem, &support);
    let (arcs, f, g) = staircase(kept, &order, &masses.a, &masses.b);
    let plan = if problem.is_assignment() {
        let mut targets = vec![0; n];
        order.rows.iter().zip(&order.columns).for_each(|(&row, &column)| targets[row] = column);
        TransportPlan::Permutation(Permutation::new(targets)?)
    } else {
        let entries = arcs.into_iter().filter_map(|(row, column, flow)| masses.entry(&support, row, column, flow));
        TransportPlan::Sparse(SparsePlan::new(n, m, entries.collect())?)
    };
    let g = support.extend_columns(cost, &f, &g);
    let f = feasible_rows(cost, &g);
    let largest = f.iter().chain(&g).fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let solution = Solution::exact(problem, plan, Potentials { f, g }, Termination::Optimal)?;
    // The potentials of the staircase are sums of as many costs as it has steps.
    let sums = largest * (64.0 + (n + m) as f64 / 4.0);
    Ok(if solution.gap <= f64::EPSILON * sums {
        Sorted::Solved(solution)
    } else if solution.gap <= T::EPSILON * sums {
        Sorted::Nearly(solution.potentials.g)
    } else {
        Sorted::Nothing
    })
}

/// Rows and columns in the order in which costs may have the property.
struct Order {
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Order {
    /// Two rows that are far apart order the columns; the first and the last of these order the rows.
    fn new<T: CostValue>(cost: &CostMatrix<T>, rows: &[usize], columns: &[usize]) -> Self {
        let step = columns.len().div_ceil(SAMPLE);
        let first = largest(rows, |row| cost.get(row, columns[0]));
        let last = largest(rows, |row| {
            let differences =
                columns.iter().step_by(step).map(|&column| cost.get(first, column) - cost.get(row, column));
            let (low, high) =
                differences.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
            high - low
        });
        let columns = ascending(columns, |column| cost.get(first, column) - cost.get(last, column));
        let (left, right) = (columns[0], columns[columns.len() - 1]);
        Self { rows: ascending(rows, |row| cost.get(row, left) - cost.get(row, right)), columns }
    }
}

/// The first of the largest.
fn largest(items: &[usize], value: impl Fn(usize) -> f64) -> usize {
    let mut best = (items[0], f64::NEG_INFINITY);
    for &item in items {
        let value = value(item);
        if value > best.1 {
            best = (item, value);
        }
    }
    best.0
}

/// By value, equal ones in their order.
fn ascending(items: &[usize], value: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut keys: Vec<(f64, usize)> = items.iter().map(|&item| (value(item), item)).collect();
    keys.sort_by(|x, y| x.0.total_cmp(&y.0));
    keys.into_iter().map(|(_, item)| item).collect()
}

/// Whether neighbours in an order have the property, and so all.
fn has_property<T: CostValue>(cost: &CostMatrix<T>, order: &Order) -> bool {
    order.rows.windows(2).all(|rows| {
        order.columns.windows(2).all(|columns| {
            let at = |row: usize, column: usize| cost.get(rows[row], columns[column]);
            let (along, across) = ((at(0, 0), at(1, 1)), (at(0, 1), at(1, 0)));
            let rounding = 4.0 * T::EPSILON * (along.0.abs() + along.1.abs() + across.0.abs() + across.1.abs());
            along.0 + along.1 - across.0 - across.1 <= rounding
        })
    })
}

/// The north-west corner rule: arcs `(row, column, flow)` and the potentials that make their reduced costs zero.
#[expect(clippy::type_complexity)]
fn staircase<T: CostValue>(
    cost: &CostMatrix<T>,
    order: &Order,
    a: &[f64],
    b: &[f64],
) -> (Vec<(usize, usize, f64)>, Vec<f64>, Vec<f64>) {
    let (n, m) = cost.shape();
    let (mut f, mut g) = (vec![0.0; n], vec![0.0; m]);
    let mut arcs = Vec::with_capacity(n + m - 1);
    let (mut i, mut j) = (0, 0);
    let (mut row, mut column) = (order.rows[0], order.columns[0]);
    let (mut here, mut there) = (a[row], b[column]);
    g[column] = cost.get(row, column);
    loop {
        let flow = here.min(there);
        arcs.push((row, column, flow));
        (here, there) = (here - flow, there - flow);
        if i + 1 < n && (here <= there || j + 1 == m) {
            i += 1;
            row = order.rows[i];
            here = a[row];
            f[row] = cost.get(row, column) - g[column];
        } else if j + 1 < m {
            j += 1;
            column = order.columns[j];
            there = b[column];
            g[column] = cost.get(row, column) - f[row];
        } else {
            return (arcs, f, g);
        }
    }
}
