//! The linear assignment problem by shortest augmenting paths.
//!
//! R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems",
//! Computing 38 (1987): two rounds of augmenting row reduction, then Dijkstra's algorithm from every row that is still free.
//!
//! What differs from the published procedure:
//!
//! - Prices to start from are neither zero nor the lowest costs of the columns but, where a [`sample`] of the rows says
//!   that it pays, those of one iteration of Sinkhorn's algorithm at a low temperature ([`soft`]): nearly
//!   optimal prices leave few rows without a column, and short paths.
//! - Rows are read in full only once, as a rule: a [`Shortlist`](shortlist::Shortlist) keeps the
//!   columns of a row that had the lowest reduced costs then, in that order, with a bound on the others. Because prices only
//!   fall, order and bound stay true as lower bounds: bids and searches look at the first few columns of a list, and a
//!   step that could involve a column beyond the list extends it first; nothing is approximate. The costs need not even be
//!   stored.
//! - The potentials of the rows come from the same lists ([`proof`]).
//!
//! `O(n^3)` time at worst; `O(n^2)` with a small constant on most problems; `O(n)` memory beside the costs.

mod augment;
mod bids;
mod proof;
mod sample;
mod shortlist;
mod soft;

use rayon::prelude::*;

use crate::certificate::in_parallel;
use crate::kernels::Kernels;
use crate::rows::Rows;
use crate::stop::Stop;
use sample::Start;
use shortlist::Shortlist;
use soft::Wanted;

/// Columns on a list, at least.
const SHORTEST: usize = 8;
/// No row or column.
const FREE: usize = usize::MAX;

/// An assignment of rows to columns and its dual variables.
pub(crate) struct Assignment {
    /// Column of every row; `None` where the search for it was given up.
    pub(crate) columns: Option<Vec<usize>>,
    /// The largest feasible dual variables of the rows, where there is an assignment and costs are stored.
    pub(crate) rows: Vec<f64>,
    /// Dual variables of the columns; the rows' follow from them.
    pub(crate) prices: Vec<f64>,
}

/// Solves the assignment problem of a square matrix, starting from the given prices of the columns if there are any: any
/// will do, and those of a similar problem save most of the work. Given up where paths would take more than `most`
/// columns in all, so that another method can go on from the prices, or when told to stop.
pub(crate) fn assign<R: Rows>(costs: &R, start: Option<&[f64]>, most: f64, stop: &Stop) -> Assignment {
    let mut state = State::new(costs);
    let whole = match start.map_or_else(|| sample::look(costs, true), |prices| Start::Given(prices.to_vec())) {
        Start::Outliers => !costs.is_stored(),
        Start::Flat => true,
        Start::Given(prices) => {
            state.price = prices;
            true
        }
        Start::Soft(start) => {
            state.price = soft::prices(costs, start, &Wanted { rows: None, columns: None });
            true
        }
    };
    state.make_lists(whole);
    let mut free = state.take_cheapest();
    for _ in 0..2 {
        free = state.reduce_rows(free);
    }
    let solved = state.augment(&free, most, stop);
    let rows = if solved && costs.is_stored() { state.row_potentials() } else { Vec::new() };
    Assignment { columns: solved.then_some(state.column_of), rows, prices: state.price }
}

/// Prices for masses of any size to start from, all positive.
pub(crate) fn prices<R: Rows>(costs: &R, rows: &[f64], columns: &[f64]) -> Vec<f64> {
    // Of mean one, where they are not all equal.
    let relative = |masses: &[f64]| {
        let mean = masses.iter().sum::<f64>() / masses.len() as f64;
        let uniform = masses.iter().all(|&mass| mass == masses[0]);
        (!uniform).then(|| masses.iter().map(|mass| mass / mean).collect::<Vec<_>>())
    };
    let (rows, columns) = (relative(rows), relative(columns));
    match sample::look(costs, false) {
        Start::Soft(start) => {
            soft::prices(costs, start, &Wanted { rows: rows.as_deref(), columns: columns.as_deref() })
        }
        _ => vec![0.0; costs.shape().1],
    }
}

/// The loops that read rows, and the memory that they use.
struct Readers {
    kernels: Kernels,
    reduced: Vec<f64>,
    minima: Vec<f64>,
    columns: Vec<u32>,
    keys: Vec<u128>,
}

impl Readers {
    fn new() -> Self {
        Self { kernels: Kernels::new(), reduced: Vec::new(), minima: Vec::new(), columns: Vec::new(), keys: Vec::new() }
    }
}

struct State<'a, R: Rows> {
    source: &'a R,
    readers: Readers,
    price: Vec<f64>,
    column_of: Vec<usize>,
    /// The cost of every row's column.
    cost_of: Vec<f64>,
    row_of: Vec<usize>,
    lists: Vec<Shortlist>,
    scratch: Vec<R::Value>,
}

impl<'a, R: Rows> State<'a, R> {
    fn new(source: &'a R) -> Self {
        let (n, m) = source.shape();
        Self {
            source,
            readers: Readers::new(),
            price: vec![0.0; m],
            column_of: vec![FREE; n],
            cost_of: vec![0.0; n],
            row_of: vec![FREE; m],
            lists: Vec::with_capacity(n),
            scratch: Vec::new(),
        }
    }

    fn link(&mut self, row: usize, column: usize, cost: f64) {
        self.column_of[row] = column;
        self.cost_of[row] = cost;
        self.row_of[column] = row;
    }

    /// Reads every row once, on all threads; without their `whole` lists, rows have their best column only.
    fn make_lists(&mut self, whole: bool) {
        let (n, m) = self.source.shape();
        // Of a short row, a short list: sorting one takes as long as reading a long row.
        let wanted = self.source.shortlist().min(m / 16).max(SHORTEST);
        let prices = &self.price;
        for start in (0..n).step_by(self.source.tile()) {
            let rows = start..(start + self.source.tile()).min(n);
            let costs = self.source.rows(rows, &mut self.scratch);
            let list = |readers: &mut Readers, (at, costs): (usize, &[R::Value])| {
                if whole {
                    Shortlist::new(start + at, costs, prices, wanted, readers)
                } else {
                    Shortlist::of_one(costs, prices, wanted, readers)
                }
            };
            if in_parallel(costs.len()) {
                self.lists.par_extend(costs.par_chunks_exact(m).enumerate().map_init(Readers::new, list));
            } else {
                self.lists.extend(costs.chunks_exact(m).enumerate().map(|row| list(&mut self.readers, row)));
            }
        }
    }

    /// Reads a row in full, for a longer list.
    fn extend_list(&mut self, row: usize) {
        let costs = self.source.row(row, &mut self.scratch);
        self.lists[row] = self.lists[row].extended(row, costs, &self.price, &mut self.readers);
    }
}
