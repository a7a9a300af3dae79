//! Shortest augmenting paths.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{FREE, State};
use crate::rows::Rows;
use crate::stop::Stop;

/// Searches after which the work of all is estimated.
const TRIAL: usize = 8;
/// Columns of a list that are looked at at once, at least.
const STEP: usize = 4;
/// Columns that were looked at too early for a list to be put into order anew.
const VAIN: usize = 8;

/// What Dijkstra's algorithm meets next: a column at its distance, or the columns that a row has not shown yet, of which
/// none is nearer than this. Distances are not negative, so their bits order as they do; then the node: a column, or `n`
/// plus a row.
type Event = Reverse<u128>;

fn event(distance: f64, node: usize) -> Event {
    Reverse(u128::from(distance.to_bits()) << 64 | node as u128)
}

/// The state of a search, kept between searches for its memory.
pub(super) struct Search {
    /// Of the columns: infinite where not reached, `-inf` where done.
    pub(super) distance: Vec<f64>,
    /// The row before every column, and the cost between them.
    pub(super) via: Vec<(usize, f64)>,
    /// The columns whose distance was set.
    pub(super) touched: Vec<usize>,
    /// What is subtracted from a row's reduced costs to have distances.
    pub(super) shift: Vec<f64>,
    /// How much of a row's list was looked at.
    pub(super) next: Vec<u32>,
    pub(super) events: BinaryHeap<Event>,
    /// The columns that are done and their distances.
    pub(super) done: Vec<(usize, f64)>,
    /// The nearest free column so far.
    pub(super) end: usize,
    /// Its distance.
    pub(super) length: f64,
    crowd: Vec<u32>,
}

impl Search {
    pub(super) fn new(n: usize, m: usize) -> Self {
        Self {
            distance: vec![f64::INFINITY; m],
            via: vec![(FREE, 0.0); m],
            touched: Vec::new(),
            shift: vec![0.0; n],
            next: vec![0; n],
            events: BinaryHeap::new(),
            done: Vec::new(),
            end: FREE,
            length: f64::INFINITY,
            crowd: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        for column in self.touched.drain(..) {
            self.distance[column] = f64::INFINITY;
        }
        self.events.clear();
        self.done.clear();
        (self.end, self.length) = (FREE, f64::INFINITY);
    }

    /// An arc to `column`, over `row`, of the given length from the start.
    #[inline]
    fn reach(&mut self, row: usize, column: usize, cost: f64, distance: f64, free: bool) {
        if distance >= self.distance[column] || distance >= self.length {
            return;
        }
        if self.distance[column] == f64::INFINITY {
            self.touched.push(column);
        }
        self.distance[column] = distance;
        self.via[column] = (row, cost);
        if free {
            (self.end, self.length) = (column, distance);
        } else {
            self.events.push(event(distance, column));
        }
    }
}

impl<R: Rows> State<'_, R> {
    /// Shortest augmenting paths from every free row; false where it was given up, because it would take more than `most`
    /// columns in all.
    pub(super) fn augment(&mut self, rows: &[usize], most: f64, stop: &Stop) -> bool {
        let mut search = Search::new(self.lists.len(), self.price.len());
        let mut columns = 0;
        for (searches, &start) in rows.iter().enumerate() {
            if stop.is_given() {
                return false;
            }
            if searches >= TRIAL && columns as f64 / searches as f64 * rows.len() as f64 > most {
                return false;
            }
            self.search(start, &mut search);
            columns += search.done.len();
            self.settle(&search);
            let mut column = search.end;
            while column != FREE {
                let (row, cost) = search.via[column];
                let next = self.column_of[row];
                self.link(row, column, cost);
                column = if row == start { FREE } else { next };
            }
        }
        true
    }

    /// Dijkstra's algorithm from a free row to the nearest free column.
    fn search(&mut self, start: usize, search: &mut Search) {
        self.depart(start, search);
        while let Some((column, distance)) = self.next_column(search) {
            let row = self.row_of[column];
            self.arrive(row, column, self.cost_of[row], distance, search);
        }
    }

    /// Begins a search at a row.
    pub(super) fn depart(&mut self, start: usize, search: &mut Search) {
        search.clear();
        (search.shift[start], search.next[start]) = (self.lowest(start), 0);
        self.scan(start, 0.0, search);
    }

    /// Goes on from a column to a row that has it, at the given cost.
    pub(super) fn arrive(&mut self, row: usize, column: usize, cost: f64, distance: f64, search: &mut Search) {
        search.shift[row] = cost - self.price[column] - distance;
        search.next[row] = 0;
        self.scan(row, distance, search);
    }

    /// The nearest column that is not free nor done, and its distance; it is done then. None where a free one is as near.
    pub(super) fn next_column(&mut self, search: &mut Search) -> Option<(usize, f64)> {
        let m = self.price.len();
        while let Some(Reverse(event)) = search.events.pop() {
            let (distance, node) = (f64::from_bits((event >> 64) as u64), event as u64 as usize);
            if distance >= search.length {
                return None;
            }
            if node >= m {
                let row = node - m;
                if search.next[row] as usize == self.lists[row].entries.len() {
                    self.extend_list(row);
                    search.next[row] = 0;
                }
                self.scan(row, distance, search);
            } else if distance == search.distance[node] {
                search.distance[node] = f64::NEG_INFINITY;
                search.done.push((node, distance));
                return Some((node, distance));
            }
        }
        None
    }

    /// Lowers the prices of the columns that are done by what they are nearer than the end.
    pub(super) fn settle(&mut self, search: &Search) {
        for &(column, at) in &search.done {
            self.price[column] += at - search.length;
        }
    }

    /// Reaches the columns of a row that may be as near as `now`, and makes an event of the others.
    fn scan(&mut self, row: usize, now: f64, search: &mut Search) {
        let shift = search.shift[row];
        if search.next[row] == 0 && self.lists[row].stale {
            self.lists[row].refresh(row, &self.price, &mut self.readers);
        }
        let list = &self.lists[row];
        if list.crowded {
            let costs = self.source.row(row, &mut self.scratch);
            let mut crowd = std::mem::take(&mut search.crowd);
            self.readers.kernels.nearer(costs, &self.price, shift, &search.distance, &mut crowd);
            for &column in &crowd {
                let column = column as usize;
                let cost = costs[column].into();
                let distance = (cost - self.price[column] - shift).max(now);
                search.reach(row, column, cost, distance, self.row_of[column] == FREE);
            }
            search.crowd = crowd;
            return;
        }
        let mut at = search.next[row] as usize;
        let soon = at + STEP;
        let mut vain = 0;
        let others = loop {
            let Some(entry) = list.entries.get(at) else {
                break list.bound - shift;
            };
            let nearest = entry.base - shift;
            if nearest >= search.length || (at >= soon && nearest > now) {
                break nearest;
            }
            at += 1;
            let column = entry.column as usize;
            // Rounding must not lead back.
            let distance = (entry.cost - self.price[column] - shift).max(now);
            vain += usize::from(distance > now);
            search.reach(row, column, entry.cost, distance, self.row_of[column] == FREE);
        };
        // Not now: the search goes on where it stopped.
        self.lists[row].stale |= vain > VAIN;
        search.next[row] = at as u32;
        if others < search.length {
            search.events.push(event(others.max(now), self.price.len() + row));
        }
    }

    /// The lowest reduced cost of a row, or less.
    fn lowest(&mut self, row: usize) -> f64 {
        let list = &self.lists[row];
        if list.crowded {
            let costs = self.source.row(row, &mut self.scratch);
            return self.readers.kernels.minimum(costs, &self.price);
        }
        list.entries.first().map_or(list.bound, |entry| entry.base)
    }
}
