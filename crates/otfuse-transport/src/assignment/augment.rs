//! Shortest augmenting paths.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{FREE, State};
use crate::rows::Rows;
use crate::stop::Stop;

/// Searches after which the work of all is estimated.
const TRIAL: usize = 8;

/// What Dijkstra's algorithm meets next: a column at its distance, or the columns that are not on the list of a row, of
/// which none is nearer than this.
#[derive(Clone, Copy, PartialEq)]
struct Event {
    distance: f64,
    /// A column, or `n` plus a row.
    node: usize,
}

impl Eq for Event {}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The state of a search, kept between searches for its memory.
struct Search {
    /// Of the columns: infinite where not reached, `-inf` where done.
    distance: Vec<f64>,
    /// The row before every column.
    via: Vec<usize>,
    /// The columns whose distance was set.
    touched: Vec<usize>,
    /// What is subtracted from a row's reduced costs to have distances.
    shift: Vec<f64>,
    events: BinaryHeap<Reverse<Event>>,
    /// The columns that are done and their distances.
    done: Vec<(usize, f64)>,
    /// The nearest free column so far.
    end: usize,
    /// Its distance.
    length: f64,
    crowd: Vec<u32>,
}

impl Search {
    fn new(n: usize) -> Self {
        Self {
            distance: vec![f64::INFINITY; n],
            via: vec![FREE; n],
            touched: Vec::new(),
            shift: vec![0.0; n],
            events: BinaryHeap::new(),
            done: Vec::new(),
            end: FREE,
            length: f64::INFINITY,
            crowd: Vec::new(),
        }
    }

    fn clear(&mut self) {
        for column in self.touched.drain(..) {
            self.distance[column] = f64::INFINITY;
        }
        self.events.clear();
        self.done.clear();
        (self.end, self.length) = (FREE, f64::INFINITY);
    }

    /// An arc to `column`, over `row`, of the given length from the start.
    #[inline]
    fn reach(&mut self, row: usize, column: usize, distance: f64, free: bool) {
        if distance >= self.distance[column] || distance >= self.length {
            return;
        }
        if self.distance[column] == f64::INFINITY {
            self.touched.push(column);
        }
        self.distance[column] = distance;
        self.via[column] = row;
        if free {
            (self.end, self.length) = (column, distance);
        } else {
            self.events.push(Reverse(Event { distance, node: column }));
        }
    }
}

impl<R: Rows> State<'_, R> {
    /// Shortest augmenting paths from every free row; false where it was given up, because it would take more than `most`
    /// columns in all.
    pub(super) fn augment(&mut self, rows: &[usize], most: f64, stop: &Stop) -> bool {
        let mut search = Search::new(self.price.len());
        let mut columns = 0;
        for (searches, &start) in rows.iter().enumerate() {
            if stop.is_given() {
                return false;
            }
            if searches >= TRIAL && columns as f64 / searches as f64 * rows.len() as f64 > most {
                return false;
            }
            search.clear();
            self.search(start, &mut search);
            columns += search.done.len();
            for &(column, at) in &search.done {
                self.price[column] += at - search.length;
            }
            let mut column = search.end;
            while column != FREE {
                let row = search.via[column];
                let next = self.column_of[row];
                self.link(row, column);
                column = if row == start { FREE } else { next };
            }
        }
        true
    }

    /// Dijkstra's algorithm from a free row to the nearest free column.
    fn search(&mut self, start: usize, search: &mut Search) {
        let n = self.price.len();
        search.shift[start] = 0.0;
        self.scan(start, search);
        while let Some(Reverse(Event { distance, node })) = search.events.pop() {
            if distance >= search.length {
                break;
            }
            if node >= n {
                self.extend_list(node - n);
                self.scan(node - n, search);
            } else if distance == search.distance[node] {
                search.distance[node] = f64::NEG_INFINITY;
                search.done.push((node, distance));
                let row = self.row_of[node];
                search.shift[row] = self.reduced_cost(row, node) - distance;
                self.scan(row, search);
            }
        }
    }

    /// Reaches the columns of a row that are on its list, and makes an event of the others.
    fn scan(&mut self, row: usize, search: &mut Search) {
        let shift = search.shift[row];
        let list = &self.lists[row];
        if list.crowded {
            let costs = self.source.row(row, &mut self.scratch);
            let mut crowd = std::mem::take(&mut search.crowd);
            self.kernels.nearer(costs, &self.price, shift, &search.distance, &mut crowd);
            for &column in &crowd {
                let column = column as usize;
                let distance = costs[column].into() - self.price[column] - shift;
                search.reach(row, column, distance, self.row_of[column] == FREE);
            }
            search.crowd = crowd;
            return;
        }
        for (&column, &cost) in list.columns.iter().zip(&list.costs) {
            let column = column as usize;
            search.reach(row, column, cost.into() - self.price[column] - shift, self.row_of[column] == FREE);
        }
        let others = list.bound - shift;
        if others < search.length {
            search.events.push(Reverse(Event { distance: others, node: self.price.len() + row }));
        }
    }

    /// The reduced cost of a row's column.
    fn reduced_cost(&mut self, row: usize, column: usize) -> f64 {
        let list = &self.lists[row];
        let cost = match list.columns.binary_search(&(column as u32)) {
            Ok(at) => list.costs[at],
            Err(_) => self.source.row(row, &mut self.scratch)[column],
        };
        cost.into() - self.price[column]
    }
}
