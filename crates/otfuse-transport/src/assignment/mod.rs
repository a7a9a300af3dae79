//! The linear assignment problem by shortest augmenting paths.
//!
//! R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems",
//! Computing 38 (1987): column reduction, reduction transfer, two rounds of augmenting row reduction, then Dijkstra's
//! algorithm from every row that is still free.
//!
//! What differs from the published procedure is that rows are read in full only once, as a rule: a [`Shortlist`] keeps the
//! columns of a row that had the lowest reduced costs then, with a bound on the others. Because prices only fall, the
//! bound stays true, and a step that could involve a column beyond it extends the list first; nothing is approximate.
//! Most steps so take time for a hundred columns instead of `n`, whatever the size of the problem, and the costs need
//! not even be stored.
//!
//! `O(n^3)` time at worst; `O(n^2)` with a small constant on most problems; `O(n)` memory beside the costs.

mod augment;
mod shortlist;

use rayon::prelude::*;

use crate::certificate::SMALL;
use crate::kernels::Kernels;
use crate::rows::Rows;
use crate::stop::Stop;
use shortlist::Shortlist;

/// No row or column.
const FREE: usize = usize::MAX;

/// An assignment of rows to columns and the columns' prices.
pub(crate) struct Assignment {
    /// Column of every row; `None` where the search for it was given up.
    pub(crate) columns: Option<Vec<usize>>,
    /// Dual variables of the columns; the rows' follow from them.
    pub(crate) prices: Vec<f64>,
}

/// Solves the assignment problem of a square matrix, starting from the given prices of the columns if there are any: any
/// will do, and those of a similar problem save most of the work. Given up where paths would take more than `most`
/// columns in all, so that another method can go on from the prices, or when told to stop.
pub(crate) fn assign<R: Rows>(costs: &R, start: Option<&[f64]>, most: f64, stop: &Stop) -> Assignment {
    let mut state = State::new(costs);
    let mut free = if let Some(prices) = start {
        state.price.copy_from_slice(prices);
        state.make_lists();
        (0..state.price.len()).collect()
    } else {
        let cheapest = state.reduce_columns();
        state.make_lists();
        state.link_cheapest(&cheapest)
    };
    for _ in 0..2 {
        free = state.reduce_rows(free);
    }
    let solved = state.augment(&free, most, stop);
    Assignment { columns: solved.then_some(state.column_of), prices: state.price }
}

struct State<'a, R: Rows> {
    source: &'a R,
    kernels: Kernels,
    price: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    lists: Vec<Shortlist<R::Value>>,
    scratch: Vec<R::Value>,
    reduced: Vec<f64>,
}

/// The two columns of a row with the lowest reduced costs.
struct Choice {
    column: usize,
    lowest: f64,
    /// The reduced cost of the second choice; infinite where there is none.
    next: f64,
    /// A second choice that is as good as the first.
    tie: Option<usize>,
}

impl<'a, R: Rows> State<'a, R> {
    fn new(source: &'a R) -> Self {
        let n = source.shape().0;
        Self {
            source,
            kernels: Kernels::new(),
            price: vec![f64::INFINITY; n],
            column_of: vec![FREE; n],
            row_of: vec![FREE; n],
            lists: Vec::with_capacity(n),
            scratch: Vec::new(),
            reduced: Vec::new(),
        }
    }

    fn link(&mut self, row: usize, column: usize) {
        self.column_of[row] = column;
        self.row_of[column] = row;
    }

    /// Column reduction: the price of a column is its lowest cost. Returns the rows that have it.
    fn reduce_columns(&mut self) -> Vec<usize> {
        let n = self.price.len();
        let mut cheapest = vec![0.0; n];
        for start in (0..n).step_by(self.source.tile()) {
            let rows = start..(start + self.source.tile()).min(n);
            let costs = self.source.rows(rows, &mut self.scratch);
            for (at, costs) in costs.chunks_exact(n).enumerate() {
                self.kernels.lower(costs, (start + at) as f64, &mut self.price, &mut cheapest);
            }
        }
        cheapest.into_iter().map(|row| row as usize).collect()
    }

    /// Reads every row once, on all threads.
    fn make_lists(&mut self) {
        let n = self.price.len();
        let (kernels, prices, wanted) = (self.kernels, &self.price, self.source.shortlist());
        for start in (0..n).step_by(self.source.tile()) {
            let rows = start..(start + self.source.tile()).min(n);
            let costs = self.source.rows(rows, &mut self.scratch);
            let list = |reduced: &mut Vec<_>, costs| Shortlist::new(kernels, costs, prices, wanted, reduced);
            if costs.len() < SMALL {
                let mut reduced = Vec::new();
                self.lists.extend(costs.chunks_exact(n).map(|costs| list(&mut reduced, costs)));
            } else {
                self.lists.par_extend(costs.par_chunks_exact(n).map_init(Vec::new, list));
            }
        }
    }

    /// Gives every row a column that is cheapest there, and moves the slack of rows with one such column to its price
    /// (reduction transfer); returns the rows left free, ascending.
    fn link_cheapest(&mut self, cheapest: &[usize]) -> Vec<usize> {
        let n = cheapest.len();
        let mut claims = vec![0_usize; n];
        for (column, &row) in cheapest.iter().enumerate() {
            claims[row] += 1;
            if self.column_of[row] == FREE {
                self.link(row, column);
            }
        }
        for row in (0..n).filter(|&row| claims[row] == 1) {
            let column = self.column_of[row];
            let choice = self.choose(row);
            // The lowest reduced cost among the other columns.
            let slack = if choice.column == column { choice.next } else { choice.lowest };
            if slack.is_finite() {
                self.price[column] -= slack.max(0.0);
            }
        }
        (0..n).filter(|&row| claims[row] == 0).collect()
    }

    /// Reads a row in full, for a longer list.
    fn extend_list(&mut self, row: usize) {
        let costs = self.source.row(row, &mut self.scratch);
        self.lists[row] = self.lists[row].extended(self.kernels, costs, &self.price, &mut self.reduced);
    }

    /// The best columns of a row at the present prices.
    fn choose(&mut self, row: usize) -> Choice {
        loop {
            let list = &self.lists[row];
            if list.crowded {
                return self.choose_of_all(row);
            }
            let (mut column, mut lowest, mut tie, mut next) = (FREE, f64::INFINITY, None, f64::INFINITY);
            for (&at, &cost) in list.columns.iter().zip(&list.costs) {
                let value = cost.into() - self.price[at as usize];
                if value < next {
                    if value < lowest {
                        (next, lowest, column) = (lowest, value, at as usize);
                        tie = None;
                    } else {
                        next = value;
                        tie = (value == lowest).then_some(at as usize);
                    }
                }
            }
            if next <= list.bound {
                return Choice { column, lowest, next, tie };
            }
            self.extend_list(row);
        }
    }

    fn choose_of_all(&mut self, row: usize) -> Choice {
        let costs = self.source.row(row, &mut self.scratch);
        let (lowest, next) = self.kernels.two_smallest(costs, &self.price);
        let position = |start| self.kernels.position_of_difference(costs, &self.price, start, lowest);
        let column = position(0).unwrap_or(0);
        let tie = if next == lowest { position(column + 1) } else { None };
        Choice { column, lowest, next, tie }
    }

    /// Augmenting row reduction: every free row takes its cheapest column and lowers that column's price until its
    /// second choice is as good; a row that loses its column goes on at once if a price fell, else waits.
    fn reduce_rows(&mut self, rows: Vec<usize>) -> Vec<usize> {
        let n = self.price.len();
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
                let Choice { mut column, lowest, next, tie } = self.choose(row);
                let lowered = if next.is_finite() { self.price[column] - (next - lowest) } else { self.price[column] };
                // Rounding cannot make this loop: a price too large to be lowered by the difference counts as a tie.
                let fell = lowered < self.price[column];
                if fell {
                    self.price[column] = lowered;
                } else if self.row_of[column] != FREE
                    && let Some(other) = tie
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
}
