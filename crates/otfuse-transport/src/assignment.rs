//! The linear assignment problem by shortest augmenting paths.
//!
//! R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems",
//! Computing 38 (1987): column reduction, reduction transfer, two rounds of augmenting row reduction, then Dijkstra's
//! algorithm from every row that is still free. `O(n^3)` time at worst, `O(n)` memory beside the costs.
//!
//! Two things differ from the published procedure. Columns are not kept in a list partitioned by state: rows are always
//! read in full and in order, which vectorises, and a column that is done takes part no more because its working price
//! is `-inf`. And rounding cannot make the row reduction loop: a price that is too large to be lowered by the difference
//! counts as a tie.

use crate::cost::{CostMatrix, CostValue};
use crate::kernels::Kernels;

/// No row or column.
const FREE: usize = usize::MAX;

/// An optimal assignment of rows to columns and the columns' prices.
pub(crate) struct Assignment {
    /// Column of every row.
    pub(crate) columns: Vec<usize>,
    /// Dual variables of the columns; the rows' follow from them.
    pub(crate) prices: Vec<f64>,
}

/// Solves the assignment problem of a square matrix. Where the identity is optimal, it is the answer.
pub(crate) fn assign<T: CostValue>(cost: &CostMatrix<T>) -> Assignment {
    let mut state = State::new(cost);
    let mut free = state.reduce_columns();
    for _ in 0..2 {
        free = state.reduce_rows(free);
    }
    state.augment(&free);
    let columns = prefer_identity(cost, state.column_of);
    Assignment { columns, prices: state.price }
}

struct State<'a, T> {
    cost: &'a CostMatrix<T>,
    kernels: Kernels,
    price: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
}

impl<'a, T: CostValue> State<'a, T> {
    fn new(cost: &'a CostMatrix<T>) -> Self {
        let n = cost.rows();
        Self {
            cost,
            kernels: Kernels::new(),
            price: vec![f64::INFINITY; n],
            column_of: vec![FREE; n],
            row_of: vec![FREE; n],
        }
    }

    fn link(&mut self, row: usize, column: usize) {
        self.column_of[row] = column;
        self.row_of[column] = row;
    }

    /// Column reduction and reduction transfer; returns the rows left free, ascending.
    fn reduce_columns(&mut self) -> Vec<usize> {
        let n = self.cost.rows();
        let mut cheapest = vec![0.0; n];
        for row in 0..n {
            self.kernels.lower(self.cost.row(row), row as f64, &mut self.price, &mut cheapest);
        }
        let mut claims = vec![0_usize; n];
        for (column, &row) in cheapest.iter().enumerate() {
            let row = row as usize;
            claims[row] += 1;
            if self.column_of[row] == FREE {
                self.link(row, column);
            }
        }
        for row in (0..n).filter(|&row| claims[row] == 1) {
            let column = self.column_of[row];
            let own = std::mem::replace(&mut self.price[column], f64::NEG_INFINITY);
            let slack = self.kernels.minimum(self.cost.row(row), &self.price);
            self.price[column] = if slack.is_finite() { own - slack.max(0.0) } else { own };
        }
        (0..n).filter(|&row| claims[row] == 0).collect()
    }

    /// Augmenting row reduction: every free row takes its cheapest column and lowers that column's price until its
    /// second choice is as good; a row that loses its column goes on at once if a price fell, else waits.
    fn reduce_rows(&mut self, rows: Vec<usize>) -> Vec<usize> {
        let n = self.cost.rows();
        let mut waiting = Vec::new();
        // Prices fall with every step, but possibly by little: beyond this many steps Dijkstra is the better tool.
        let mut budget = 4 * n + 16 * rows.len();
        for start in rows {
            let mut row = start;
            loop {
                if budget == 0 {
                    waiting.push(row);
                    break;
                }
                budget -= 1;
                let costs = self.cost.row(row);
                let (lowest, next) = self.kernels.two_smallest(costs, &self.price);
                let Some(mut column) = self.kernels.position_of_difference(costs, &self.price, 0, lowest) else {
                    waiting.push(row);
                    break;
                };
                let lowered = if next.is_finite() { self.price[column] - (next - lowest) } else { self.price[column] };
                let fell = lowered < self.price[column];
                if fell {
                    self.price[column] = lowered;
                } else if self.row_of[column] != FREE
                    && let Some(other) = self.kernels.position_of_difference(costs, &self.price, column + 1, lowest)
                {
                    column = other;
                }
                let loser = self.row_of[column];
                self.link(row, column);
                if loser == FREE {
                    break;
                }
                self.column_of[loser] = FREE;
                if !fell {
                    waiting.push(loser);
                    break;
                }
                row = loser;
            }
        }
        waiting.sort_unstable();
        waiting
    }

    /// Shortest augmenting paths from every free row.
    fn augment(&mut self, rows: &[usize]) {
        let n = self.cost.rows();
        let mut free_columns: Vec<usize> = (0..n).filter(|&column| self.row_of[column] == FREE).collect();
        let mut working = self.price.clone();
        let mut distance = vec![0.0; n];
        let mut via = vec![0.0; n];
        let mut done: Vec<(usize, f64)> = Vec::new();
        for &start in rows {
            distance.fill(f64::INFINITY);
            done.clear();
            let (mut row, mut shift) = (start, 0.0);
            let (end, length) = loop {
                let costs = self.cost.row(row);
                let nearest = self.kernels.relax(costs, &working, shift, row as f64, &mut distance, &mut via);
                // A free column among the nearest ends the search; there are few, so they are looked at one by one.
                let free = free_columns
                    .iter()
                    .copied()
                    .reduce(|best, column| if distance[column] < distance[best] { column } else { best });
                if let Some(column) = free
                    && distance[column] <= nearest
                {
                    break (column, distance[column]);
                }
                let Some(column) = self.kernels.position(&distance, nearest) else {
                    // Unreachable with finite distances: a free row implies a free column at a finite distance.
                    break (FREE, 0.0);
                };
                done.push((column, nearest));
                distance[column] = f64::INFINITY;
                working[column] = f64::NEG_INFINITY;
                row = self.row_of[column];
                shift = self.cost.get(row, column) - self.price[column] - nearest;
            };
            for &(column, at) in &done {
                self.price[column] += at - length;
                working[column] = self.price[column];
            }
            let mut column = end;
            while column != FREE {
                let row = via[column] as usize;
                let next = self.column_of[row];
                self.link(row, column);
                column = if row == start { FREE } else { next };
            }
            free_columns.retain(|&column| column != end);
        }
    }
}

/// The identity if it costs no more than `columns`, so that things that are alike stay where they are.
fn prefer_identity<T: CostValue>(cost: &CostMatrix<T>, columns: Vec<usize>) -> Vec<usize> {
    // Summing differences row by row keeps the comparison exact where all costs are alike.
    let excess: f64 = columns.iter().enumerate().map(|(row, &column)| cost.get(row, row) - cost.get(row, column)).sum();
    if excess <= 0.0 { (0..columns.len()).collect() } else { columns }
}
