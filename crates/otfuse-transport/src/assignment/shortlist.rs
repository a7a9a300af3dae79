//! The few columns of a row that matter.

use super::Readers;
use crate::value::CostValue;

/// A list that would take more than this part of a row is no list: the row is read in full.
const CROWDED: usize = 4;

/// A column on a list.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The reduced cost when the list was made. Prices only fall, so it has not become lower.
    pub(super) base: f64,
    pub(super) cost: f64,
    pub(super) column: u32,
}

/// The columns of a row with the lowest reduced costs, those first, and a bound on all others. Prices only fall, so reduced
/// costs only rise and the bound stays true. Of columns that are alike those come first that follow the row's own number,
/// so that rows that are alike do not all want the same.
pub(super) struct Shortlist {
    pub(super) entries: Vec<Entry>,
    /// No column that is left out has a lower reduced cost; infinite where none is left out.
    pub(super) bound: f64,
    /// The row has to be read in full.
    pub(super) crowded: bool,
    /// Prices have fallen so far that the order is of little use.
    pub(super) stale: bool,
    wanted: usize,
}

impl Shortlist {
    /// About `wanted` columns of a row of costs. The bound comes from the minima of twice as many interleaved parts of
    /// the row: below the third octile of these are about `wanted` columns. `O(n)` time.
    pub(super) fn new<T: CostValue>(
        row: usize,
        costs: &[T],
        prices: &[f64],
        wanted: usize,
        readers: &mut Readers,
    ) -> Self {
        let n = costs.len();
        let mut list = Self { entries: Vec::new(), bound: f64::INFINITY, crowded: false, stale: false, wanted };
        let Readers { kernels, reduced, minima, columns, .. } = readers;
        columns.clear();
        kernels.difference(costs, prices, reduced);
        if n <= 2 * wanted {
            columns.extend(0..n as u32);
        } else {
            minima.clear();
            minima.resize(2 * wanted, f64::INFINITY);
            kernels.interleaved_minima(reduced, minima);
            let lowest = kernels.lowest(minima);
            let alike = minima.iter().filter(|&&low| low == lowest).count();
            // Where many columns are the cheapest, they make the list.
            list.bound = if 4 * alike >= wanted {
                lowest
            } else {
                *minima.select_nth_unstable_by(wanted * 3 / 4, f64::total_cmp).1
            };
            if !kernels.positions_up_to(reduced, list.bound, 2 * wanted, columns) {
                list.bound = choose_among_equals(row, list.bound, wanted, readers);
            }
        }
        let Readers { reduced, columns, keys, .. } = readers;
        keys.clear();
        keys.extend(columns.iter().map(|&column| key(reduced[column as usize], row, column as usize, n, column)));
        keys.sort_unstable();
        list.entries.extend(keys.iter().map(|&key| {
            let column = key as u32;
            Entry { base: reduced[column as usize], cost: costs[column as usize].into(), column }
        }));
        list
    }

    /// The best column of a row, and a bound on all others. `O(n)` time, less of it than a list takes.
    pub(super) fn of_one<T: CostValue>(costs: &[T], prices: &[f64], wanted: usize, readers: &Readers) -> Self {
        let (base, bound) = readers.kernels.two_smallest(costs, prices);
        let column = readers.kernels.position_of_difference(costs, prices, 0, base).unwrap_or(0);
        let entry = Entry { base, cost: costs[column].into(), column: column as u32 };
        Self { entries: vec![entry], bound, crowded: false, stale: false, wanted: wanted / 2 }
    }

    /// Puts the columns into the order of the present prices; those that are now beyond the bound are left out.
    pub(super) fn refresh(&mut self, row: usize, prices: &[f64], readers: &mut Readers) {
        self.stale = false;
        let keys = &mut readers.keys;
        keys.clear();
        keys.extend(self.entries.iter_mut().enumerate().map(|(at, entry)| {
            let column = entry.column as usize;
            entry.base = entry.cost - prices[column];
            key(entry.base, row, column, prices.len(), at as u32)
        }));
        keys.sort_unstable();
        let entries = keys.iter().map(|&key| self.entries[key as u32 as usize]);
        self.entries = entries.take_while(|entry| entry.base <= self.bound).collect();
    }

    /// A longer list of the same row.
    pub(super) fn extended<T: CostValue>(
        &self,
        row: usize,
        costs: &[T],
        prices: &[f64],
        readers: &mut Readers,
    ) -> Self {
        let wanted = 2 * self.wanted;
        if CROWDED * wanted > costs.len() {
            return Self { entries: Vec::new(), bound: f64::NEG_INFINITY, crowded: true, stale: false, wanted };
        }
        Self::new(row, costs, prices, wanted, readers)
    }
}

/// Orders columns by reduced cost, whose bits order as it does once the sign is seen to, then by how far they follow the row's
/// number; `tag` comes back in the low bits.
fn key(reduced: f64, row: usize, column: usize, n: usize, tag: u32) -> u128 {
    let bits = reduced.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let after = if column >= row { column - row } else { column + n - row };
    u128::from(ordered) << 64 | (after as u128) << 32 | u128::from(tag)
}

/// Collects the columns with the lowest reduced costs where very many are at or below the bound: all below a new bound, which
/// is returned, and of those at it the next after the row's own number, `wanted` in all.
fn choose_among_equals(row: usize, bound: f64, wanted: usize, readers: &mut Readers) -> f64 {
    let Readers { kernels, reduced, minima, columns, .. } = readers;
    let mut bound = bound;
    columns.clear();
    if !kernels.positions_up_to(reduced, bound.next_down(), 2 * wanted, columns) {
        minima.clear();
        minima.extend_from_slice(reduced);
        bound = *minima.select_nth_unstable_by(wanted, f64::total_cmp).1;
        columns.clear();
        kernels.positions_up_to(reduced, bound.next_down(), 2 * wanted, columns);
    }
    let below = columns.len();
    let (before, after) = reduced.split_at(row.min(reduced.len()));
    for (start, part) in [(row, after), (0, before)] {
        let left = wanted.saturating_sub(columns.len() - below);
        let equal = part.iter().enumerate().filter(|(_, value)| **value == bound).take(left);
        columns.extend(equal.map(|(at, _)| (start + at) as u32));
    }
    bound
}
