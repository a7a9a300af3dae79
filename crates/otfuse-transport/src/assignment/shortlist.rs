//! The few columns of a row that matter.

use crate::kernels::Kernels;
use crate::value::CostValue;

/// A list of more than this many times what was wanted is no list: the row is read in full.
const CROWDED: usize = 4;

/// The columns of a row with the lowest reduced costs, ascending, and a bound on all others. Prices only fall, so reduced
/// costs only rise and the bound stays true.
pub(super) struct Shortlist<T> {
    pub(super) columns: Vec<u32>,
    pub(super) costs: Vec<T>,
    /// No column that is left out has a lower reduced cost; infinite where none is left out.
    pub(super) bound: f64,
    /// Too many columns are alike for a list.
    pub(super) crowded: bool,
    wanted: usize,
}

impl<T: CostValue> Shortlist<T> {
    /// The best columns of a row of costs, up to a bound: of the minima of `wanted` interleaved parts of the row, the third
    /// quartile, which leaves about 1.4 times `wanted` columns below it. `O(n)` time.
    pub(super) fn new(kernels: Kernels, costs: &[T], prices: &[f64], wanted: usize, reduced: &mut Vec<f64>) -> Self {
        let mut list = Self { columns: Vec::new(), costs: Vec::new(), bound: f64::INFINITY, crowded: false, wanted };
        if costs.len() <= 2 * wanted {
            list.columns.extend(0..costs.len() as u32);
            list.costs.extend_from_slice(costs);
            return list;
        }
        kernels.difference(costs, prices, reduced);
        let mut minima = vec![f64::INFINITY; wanted];
        kernels.interleaved_minima(reduced, &mut minima);
        let (_, bound, _) = minima.select_nth_unstable_by(wanted * 3 / 4, f64::total_cmp);
        list.bound = *bound;
        list.crowded = !kernels.positions_up_to(reduced, list.bound, CROWDED * wanted, &mut list.columns);
        if list.crowded {
            list.columns = Vec::new();
        } else {
            list.costs.extend(list.columns.iter().map(|&column| costs[column as usize]));
        }
        list
    }

    /// A longer list of the same row.
    pub(super) fn extended(&self, kernels: Kernels, costs: &[T], prices: &[f64], reduced: &mut Vec<f64>) -> Self {
        Self::new(kernels, costs, prices, 2 * self.wanted, reduced)
    }
}
