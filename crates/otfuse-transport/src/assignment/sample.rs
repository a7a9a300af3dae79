//! What a few rows tell of all.

use super::soft::Soft;
use crate::kernels::Kernels;
use crate::rows::Rows;

/// Problems below this size are solved before a sample tells anything.
const SMALL: usize = 32;
/// Rows that are looked at, at most.
const ROWS: usize = 32;
/// One of so many rows is looked at, at most, but for a few.
const PART: usize = 16;
/// The lowest costs of a row that are compared.
const LOWEST: usize = 8;
/// Parts of a row whose minima are taken for its lowest costs.
const PARTS: usize = 64;

/// Prices are better than none where rows so agree less on their cheapest columns, by this factor.
const CLEARLY: f64 = 0.8;

/// Where to start from.
pub(super) enum Start {
    /// Nearly every row has a column that is far cheaper than all others.
    Outliers,
    /// Many columns are the cheapest of a row.
    Flat,
    /// Prices that are known already.
    Given(Vec<f64>),
    /// None of these: prices from an iteration of Sinkhorn's algorithm.
    Soft(Soft),
}

/// Reads some rows; of outliers, only where they would be an assignment's.
pub(super) fn look<R: Rows>(costs: &R, is_assignment: bool) -> Start {
    let (n, m) = costs.shape();
    if n.min(m) < SMALL {
        return Start::Flat;
    }
    let kernels = Kernels::new();
    let mut scratch = Vec::new();
    let looked_at = (n / PART).clamp(LOWEST, ROWS);
    let rows = || (0..looked_at).map(|at| (2 * at + 1) * n / (2 * looked_at));
    let nothing = vec![0.0; m];
    let mut reduced = Vec::new();
    let (mut outliers, mut ties) = (0, 0);
    for row in rows() {
        let lowest = lowest(kernels, costs.row(row, &mut scratch), &nothing, &mut reduced);
        outliers += usize::from(lowest[1] - lowest[0] > 2.0 * (lowest[LOWEST - 1] - lowest[1]));
        ties += usize::from(lowest[1] == lowest[0]);
    }
    if is_assignment && 4 * outliers >= 3 * looked_at {
        return Start::Outliers;
    }
    if 4 * ties >= looked_at {
        return Start::Flat;
    }
    let mut means = vec![0.0; m];
    let mut plain = Crowd::new(m);
    for row in rows() {
        let lowest = lowest(kernels, costs.row(row, &mut scratch), &nothing, &mut reduced);
        plain.add(kernels, &lowest, &reduced);
        kernels.add_excess(&reduced, kernels.sum(&reduced) / m as f64, &mut means);
    }
    let count = looked_at as f64;
    means.iter_mut().for_each(|mean| *mean /= count);
    let mut relative = Crowd::new(m);
    for row in rows() {
        let lowest = lowest(kernels, costs.row(row, &mut scratch), &means, &mut reduced);
        relative.add(kernels, &lowest, &reduced);
    }
    let rough = relative.meetings() < CLEARLY * plain.meetings();
    let (prices, excess) = if rough { (means, relative.excess) } else { (nothing, plain.excess) };
    let temperature = if rough { 0.25 } else { 0.5 } * excess / count;
    if temperature.is_normal() && (1.0 / temperature).is_normal() {
        Start::Soft(Soft { prices, temperature, rough })
    } else {
        Start::Flat
    }
}

/// How the cheapest columns of some rows come together.
struct Crowd {
    /// How often every column is among them.
    counts: Vec<u32>,
    /// By how much more they cost than the cheapest of a row, in the mean; the sum over the rows.
    excess: f64,
    columns: Vec<u32>,
}

impl Crowd {
    fn new(m: usize) -> Self {
        Self { counts: vec![0; m], excess: 0.0, columns: Vec::new() }
    }

    fn add(&mut self, kernels: Kernels, lowest: &[f64; LOWEST], reduced: &[f64]) {
        self.excess += lowest.iter().map(|value| value - lowest[0]).sum::<f64>() / LOWEST as f64;
        self.columns.clear();
        kernels.positions_up_to(reduced, lowest[LOWEST - 1], 4 * LOWEST, &mut self.columns);
        self.columns.iter().for_each(|&column| self.counts[column as usize] += 1);
    }

    /// The part of the pairs of choices in which both are the same column, but for a factor.
    fn meetings(&self) -> f64 {
        let all: u32 = self.counts.iter().sum();
        let pairs: u32 = self.counts.iter().map(|&count| count * count.saturating_sub(1)).sum();
        f64::from(pairs) / (f64::from(all) * f64::from(all))
    }
}

/// About the lowest reduced costs, ascending: the lowest is; leaves all of them in `reduced`.
fn lowest<T: crate::value::CostValue>(
    kernels: Kernels,
    costs: &[T],
    prices: &[f64],
    reduced: &mut Vec<f64>,
) -> [f64; LOWEST] {
    kernels.difference(costs, prices, reduced);
    let mut minima = [f64::INFINITY; PARTS];
    kernels.interleaved_minima(reduced, &mut minima);
    for (low, &value) in minima.iter_mut().zip(reduced.chunks_exact(PARTS).remainder()) {
        *low = low.min(value);
    }
    minima.select_nth_unstable_by(LOWEST, f64::total_cmp);
    let mut found = [0.0; LOWEST];
    found.copy_from_slice(&minima[..LOWEST]);
    found.sort_unstable_by(f64::total_cmp);
    found
}
