//! Prices from an iteration or two of Sinkhorn's algorithm.
//!
//! M. Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", NeurIPS 2013. At a temperature at which a
//! row weighs about ten columns, the prices of the entropic problem are close to those of the assignment. Columns of little
//! weight are passed over, so that an iteration takes little more than reading.

use rayon::prelude::*;

use super::Readers;
use crate::certificate::in_parallel;
use crate::rows::Rows;
use crate::value::CostValue;

/// Where the iterations start, and how cold they are.
pub(super) struct Soft {
    /// Prices of the columns.
    pub(super) prices: Vec<f64>,
    /// In units of the costs.
    pub(super) temperature: f64,
    /// The prices are rough: a warmer iteration over a part of the rows comes first.
    pub(super) rough: bool,
}

/// The masses of the rows and of the columns, each side of mean one; none where they are uniform.
pub(super) struct Wanted<'a> {
    pub(super) rows: Option<&'a [f64]>,
    pub(super) columns: Option<&'a [f64]>,
}

/// Weights below `exp(-CUT)` of a row's largest do not count.
const CUT: f64 = 8.0;
/// Rows whose weights are added one after the other: fixed, so that sums do not depend on the number of threads.
const BLOCKS: usize = 16;
/// How much warmer the first of two iterations is.
const WARMER: f64 = 3.0;
/// One of so many rows is part of the first of two iterations.
const PART: usize = 4;

/// Prices of the columns, none of them positive.
pub(super) fn prices<R: Rows>(costs: &R, start: Soft, wanted: &Wanted<'_>) -> Vec<f64> {
    let Soft { mut prices, temperature, rough } = start;
    // Rows that are computed are too dear for two iterations.
    if rough && costs.is_stored() {
        iterate(costs, &mut prices, WARMER * temperature, PART, wanted);
    }
    iterate(costs, &mut prices, temperature, 1, wanted);
    let highest = prices.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    prices.iter_mut().for_each(|price| *price -= highest);
    prices
}

/// An iteration over one of every `step` rows.
fn iterate<R: Rows>(costs: &R, prices: &mut [f64], temperature: f64, step: usize, wanted: &Wanted<'_>) {
    let (n, m) = costs.shape();
    let mut all = Weights::new(m);
    let mut scratch = Vec::new();
    for first in (0..n).step_by(costs.tile()) {
        let rows = first..(first + costs.tile()).min(n);
        let tile = costs.rows(rows, &mut scratch);
        let size = n.div_ceil(BLOCKS);
        let block = |(at, part): (usize, &[R::Value])| {
            weigh(part, prices, temperature, step, wanted.rows.map(|rows| &rows[first + at * size..]))
        };
        let parts: Vec<Weights> = if in_parallel(tile.len()) {
            tile.par_chunks(size * m).enumerate().map(block).collect()
        } else {
            tile.chunks(size * m).enumerate().map(block).collect()
        };
        for part in parts {
            all.sums.iter_mut().zip(part.sums).for_each(|(sum, weight)| *sum += weight);
            all.nearest.iter_mut().zip(part.nearest).for_each(|(nearest, other)| *nearest = nearest.min(other));
        }
    }
    let share = (step * m) as f64 / n as f64;
    for (column, (price, (weight, nearest))) in prices.iter_mut().zip(all.sums.iter().zip(&all.nearest)).enumerate() {
        let mass = wanted.columns.map_or(1.0, |columns| columns[column]);
        // A column that nobody wants becomes as dear as it can be before somebody does: prices only fall afterwards.
        *price += if *weight > 0.0 { -temperature * (weight * share / mass).ln() } else { *nearest };
    }
}

/// What rows give to columns.
struct Weights {
    /// Sums of the weights.
    sums: Vec<f64>,
    /// The least by which a column costs more than the cheapest of a row.
    nearest: Vec<f64>,
}

impl Weights {
    fn new(n: usize) -> Self {
        Self { sums: vec![0.0; n], nearest: vec![f64::INFINITY; n] }
    }
}

/// What one of every `step` rows gives the columns.
fn weigh<T: CostValue>(rows: &[T], prices: &[f64], temperature: f64, step: usize, masses: Option<&[f64]>) -> Weights {
    let n = prices.len();
    let mut readers = Readers::new();
    let mut all = Weights::new(n);
    let mut weights = Vec::new();
    for (row, costs) in rows.chunks_exact(n).enumerate().step_by(step) {
        let Readers { kernels, reduced, columns, .. } = &mut readers;
        kernels.difference(costs, prices, reduced);
        let lowest = kernels.lowest(reduced);
        kernels.lower_by(reduced, lowest, &mut all.nearest);
        columns.clear();
        kernels.positions_up_to(reduced, lowest + CUT * temperature, n, columns);
        weights.clear();
        weights.extend(columns.iter().map(|&column| (lowest - reduced[column as usize]) / temperature));
        let share = masses.map_or(1.0, |masses| masses[row]) / kernels.exponentiate(&mut weights);
        for (&column, weight) in columns.iter().zip(&weights) {
            all.sums[column as usize] += weight * share;
        }
    }
    all
}
