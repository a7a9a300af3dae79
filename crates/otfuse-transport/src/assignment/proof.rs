//! The potentials of the rows.

use super::State;
use super::shortlist::Entry;
use crate::certificate::feasible_row;
use crate::rows::Rows;

impl<R: Rows> State<'_, R> {
    /// The largest feasible potential of every row, in floating point: `f + price <= cost` for all columns.
    pub(super) fn row_potentials(&mut self) -> Vec<f64> {
        (0..self.price.len()).map(|row| self.row_potential(row)).collect()
    }

    /// Rounding is monotone, so `f` is feasible in floating point where it does not exceed any exact difference of cost
    /// and price. A rounded difference above `f` is a proof of that; of those that equal `f` the error has to be known,
    /// or `f` is lowered by a unit in the last place.
    fn row_potential(&mut self, row: usize) -> f64 {
        let list = &self.lists[row];
        let reduced = |entry: &Entry| entry.cost - self.price[entry.column as usize];
        let mut lowest = f64::INFINITY;
        for entry in &list.entries {
            if entry.base > lowest {
                break;
            }
            lowest = lowest.min(reduced(entry));
        }
        // A difference is rounded to zero only where it is zero.
        if lowest == 0.0 && lowest <= list.bound {
            return lowest;
        }
        if !list.crowded && lowest <= list.bound {
            let exceeds = |entry: &&Entry| {
                reduced(entry) == lowest && error(entry.cost, self.price[entry.column as usize], lowest) < 0.0
            };
            let inexact = lowest == list.bound || list.entries.iter().find(exceeds).is_some();
            return if inexact { lowest.next_down() } else { lowest };
        }
        feasible_row(self.readers.kernels, self.source.row(row, &mut self.scratch), &self.price)
    }
}

/// What `x - y` is more than `difference`, to which it was rounded (D. Knuth).
fn error(x: f64, y: f64, difference: f64) -> f64 {
    let back = x - difference;
    (x - (difference + back)) + (back - y)
}

#[cfg(test)]
mod tests {
    use super::error;

    #[test]
    fn the_error_of_a_difference_is_exact() {
        assert_eq!(error(1.0, 1e-20, 1.0), -1e-20);
        assert_eq!(error(1.0, -1e-20, 1.0), 1e-20);
        assert_eq!(error(5.0, 3.0, 2.0), 0.0);
        assert_eq!(error(1e-20, 1.0, -1.0), 1e-20);
    }
}
