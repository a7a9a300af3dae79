//! Rows that bid for columns.

use super::shortlist::Entry;
use super::{FREE, State};
use crate::rows::Rows;

/// Columns that a bid looks at before a list is put into order anew.
const MANY: usize = 16;

/// The two columns of a row with the lowest reduced costs.
struct Choice {
    /// A free one where several are as good.
    column: usize,
    cost: f64,
    lowest: f64,
    /// The reduced cost of the second choice; infinite where there is none.
    next: f64,
    /// A second choice that is as good as the first.
    tie: Option<(usize, f64)>,
}

impl<R: Rows> State<'_, R> {
    /// Gives every row a column that is cheapest where one is free; returns the rows left, ascending. Lists have to be
    /// new, made at the present prices.
    pub(super) fn take_cheapest(&mut self) -> Vec<usize> {
        let mut left = Vec::new();
        for row in 0..self.price.len() {
            let entries = &self.lists[row].entries;
            let mut cheapest = entries.iter().take_while(|entry| entry.base == entries[0].base);
            match cheapest.find(|entry| self.row_of[entry.column as usize] == FREE) {
                Some(&Entry { column, cost, .. }) => self.link(row, column as usize, cost),
                None => left.push(row),
            }
        }
        left
    }

    /// Augmenting row reduction: every free row takes its cheapest column and lowers that column's price until its
    /// second choice is as good; a row that loses its column goes on at once if a price fell, else waits.
    pub(super) fn reduce_rows(&mut self, rows: Vec<usize>) -> Vec<usize> {
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
                let Choice { mut column, mut cost, lowest, next, tie } = self.choose(row);
                let lowered = if next.is_finite() { self.price[column] - (next - lowest) } else { self.price[column] };
                // Rounding cannot make this loop: a price too large to be lowered by the difference counts as a tie.
                let fell = lowered < self.price[column];
                if fell {
                    self.price[column] = lowered;
                } else if self.row_of[column] != FREE
                    && let Some(other) = tie
                {
                    (column, cost) = other;
                }
                let loser = self.row_of[column];
                self.link(row, column, cost);
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

    /// The best columns of a row at the present prices.
    fn choose(&mut self, row: usize) -> Choice {
        loop {
            let list = &self.lists[row];
            if list.crowded {
                return self.choose_of_all(row);
            }
            let mut looked_at = 0;
            let mut best = Choice { column: FREE, cost: 0.0, lowest: f64::INFINITY, next: f64::INFINITY, tie: None };
            for entry in &list.entries {
                // Reduced costs are at least what they were when the list was made, and the list ascends.
                if entry.base >= best.next && entry.base > best.lowest {
                    break;
                }
                looked_at += 1;
                let column = entry.column as usize;
                let value = entry.cost - self.price[column];
                if value < best.lowest {
                    best = Choice { column, cost: entry.cost, lowest: value, next: best.lowest, tie: None };
                } else if value == best.lowest {
                    best.next = value;
                    if self.row_of[column] == FREE && self.row_of[best.column] != FREE {
                        best.tie = Some((best.column, best.cost));
                        (best.column, best.cost) = (column, entry.cost);
                        break;
                    }
                    best.tie = best.tie.or(Some((column, entry.cost)));
                } else if value < best.next {
                    best.next = value;
                }
            }
            if best.next <= list.bound {
                if looked_at > MANY {
                    self.lists[row].refresh(row, &self.price, &mut self.readers);
                }
                return best;
            }
            self.extend_list(row);
        }
    }

    fn choose_of_all(&mut self, row: usize) -> Choice {
        let costs = self.source.row(row, &mut self.scratch);
        let kernels = self.readers.kernels;
        let (lowest, next) = kernels.two_smallest(costs, &self.price);
        let position = |start| kernels.position_of_difference(costs, &self.price, start, lowest);
        let found = |column: usize| (column, costs[column].into());
        let (mut column, mut cost) = found(position(0).unwrap_or(0));
        let mut tie = None;
        if next == lowest {
            let mut at = column;
            while let Some(other) = position(at + 1) {
                tie = tie.or(Some(found(other)));
                if self.row_of[column] == FREE {
                    break;
                }
                if self.row_of[other] == FREE {
                    tie = Some((column, cost));
                    (column, cost) = found(other);
                    break;
                }
                at = other;
            }
        }
        Choice { column, cost, lowest, next, tie }
    }
}
