//! Prices from one iteration of Sinkhorn's algorithm.
//!
//! M. Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", NeurIPS 2013. At a temperature at which a
//! row weighs about ten columns, the prices of the entropic problem are close to those of the assignment. Columns whose weight
//! is nothing in double precision of a single one are passed over, so that an iteration takes little more than reading.

use rayon::prelude::*;

use super::Readers;
use crate::certificate::SMALL;
use crate::rows::Rows;

/// Prices of the columns to start from, and the temperature, in units of the costs.
pub(super) struct Soft {
    pub(super) prices: Vec<f64>,
    pub(super) temperature: f64,
}

/// Weights below `exp(-CUT)` of a row's largest do not count.
const CUT: f64 = 12.0;
/// Rows whose weights are added one after the other: fixed, so that sums do not depend on the number of threads.
const BLOCKS: usize = 16;

/// Prices of the columns, none of them positive.
pub(super) fn prices<R: Rows>(costs: &R, start: Soft) -> Vec<f64> {
    let Soft { mut prices, temperature } = start;
    let n = prices.len();
    let mut weights = vec![0.0; n];
    let mut scratch = Vec::new();
    for first in (0..n).step_by(costs.tile()) {
        let rows = first..(first + costs.tile()).min(n);
        let tile = costs.rows(rows, &mut scratch);
        let block = |part: &[R::Value]| weigh(part, &prices, temperature);
        let size = n.div_ceil(BLOCKS) * n;
        let parts: Vec<Vec<f64>> = if tile.len() < SMALL || rayon::current_num_threads() == 1 {
            tile.chunks(size).map(block).collect()
        } else {
            tile.par_chunks(size).map(block).collect()
        };
        for part in parts {
            weights.iter_mut().zip(part).for_each(|(sum, weight)| *sum += weight);
        }
    }
    for (price, weight) in prices.iter_mut().zip(&weights) {
        // Nobody wants the column: it keeps its price.
        if *weight > 0.0 {
            *price -= temperature * weight.max(1e-30).ln();
        }
    }
    let highest = prices.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    prices.iter_mut().for_each(|price| *price -= highest);
    prices
}

/// The sums of the weights that some rows, each of weight one, give the columns.
fn weigh<T: crate::value::CostValue>(rows: &[T], prices: &[f64], temperature: f64) -> Vec<f64> {
    let n = prices.len();
    let mut readers = Readers::new();
    let mut sums = vec![0.0; n];
    let mut weights = Vec::new();
    for costs in rows.chunks_exact(n) {
        let Readers { kernels, reduced, columns, .. } = &mut readers;
        kernels.difference(costs, prices, reduced);
        let lowest = kernels.lowest(reduced);
        columns.clear();
        kernels.positions_up_to(reduced, lowest + CUT * temperature, n, columns);
        weights.clear();
        weights.extend(columns.iter().map(|&column| (lowest - reduced[column as usize]) / temperature));
        let total = kernels.exponentiate(&mut weights);
        for (&column, weight) in columns.iter().zip(&weights) {
            sums[column as usize] += weight / total;
        }
    }
    sums
}
