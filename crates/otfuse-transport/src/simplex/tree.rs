//! The spanning tree of a basis.

use super::start::Arc;
use crate::cost::CostMatrix;
use crate::value::CostValue;

/// The column at the root.
pub(super) const ROOT_COLUMN: usize = 0;
/// No node.
const NONE: u32 = u32::MAX;

/// A spanning tree over rows (nodes `0..n`) and columns (nodes `n..n+m`) with flows on its arcs and the potentials that
/// make all its reduced costs zero. Arcs lead from rows to columns; each is stored with the lower of its nodes.
pub(super) struct Tree {
    rows: usize,
    nodes: Vec<Node>,
    /// Dual variables of the rows.
    pub(super) row_potential: Vec<f64>,
    /// Dual variables of the columns.
    pub(super) column_potential: Vec<f64>,
    stack: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Node {
    parent: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    depth: u32,
    /// Flow on the arc to the parent, in perturbed units.
    flow: i64,
}

impl Tree {
    /// The tree of the given spanning arcs.
    pub(super) fn new<T: CostValue>(cost: &CostMatrix<T>, arcs: &[Arc]) -> Self {
        let (n, m) = cost.shape();
        let blank = Node { parent: NONE, first_child: NONE, next: NONE, previous: NONE, depth: 0, flow: 0 };
        let mut tree = Self {
            rows: n,
            nodes: vec![blank; n + m],
            row_potential: vec![0.0; n],
            column_potential: vec![0.0; m],
            stack: Vec::new(),
        };
        let mut neighbours: Vec<Vec<(usize, i64)>> = vec![Vec::new(); n + m];
        for &(row, column, flow) in arcs {
            neighbours[row].push((n + column, flow));
            neighbours[n + column].push((row, flow));
        }
        let mut queue = vec![n + ROOT_COLUMN];
        while let Some(node) = queue.pop() {
            for &(child, flow) in &neighbours[node] {
                if tree.nodes[node].parent != child as u32 {
                    tree.attach(child as u32, node as u32, flow);
                    tree.nodes[child].depth = tree.nodes[node].depth + 1;
                    queue.push(child);
                }
            }
        }
        tree.refresh_potentials(cost);
        tree
    }

    fn is_row(&self, node: u32) -> bool {
        (node as usize) < self.rows
    }

    fn attach(&mut self, child: u32, parent: u32, flow: i64) {
        let next = std::mem::replace(&mut self.nodes[parent as usize].first_child, child);
        if next != NONE {
            self.nodes[next as usize].previous = child;
        }
        let node = &mut self.nodes[child as usize];
        (node.parent, node.next, node.previous, node.flow) = (parent, next, NONE, flow);
    }

    fn detach(&mut self, child: u32) {
        let Node { parent, next, previous, .. } = self.nodes[child as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous == NONE {
            self.nodes[parent as usize].first_child = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
    }

    /// Sends as much flow as can be through the arc from `row` to `column`, of the given reduced cost, and round the
    /// cycle that it closes; the arc that runs empty leaves the tree.
    pub(super) fn pivot(&mut self, row: usize, column: usize, reduced: f64) {
        let (tail, head) = (row as u32, (self.rows + column) as u32);
        // Up both sides to where they meet. An arc loses flow where its lower node is a column on the head's side or
        // a row on the tail's.
        let (mut x, mut y) = (tail, head);
        let mut flow = i64::MAX;
        let (mut leaving, mut on_tail_side) = (NONE, false);
        while x != y {
            let (up_x, up_y) = (self.nodes[x as usize], self.nodes[y as usize]);
            if up_x.depth >= up_y.depth {
                if self.is_row(x) && up_x.flow < flow {
                    (flow, leaving, on_tail_side) = (up_x.flow, x, true);
                }
                x = up_x.parent;
            } else {
                if !self.is_row(y) && up_y.flow < flow {
                    (flow, leaving, on_tail_side) = (up_y.flow, y, false);
                }
                y = up_y.parent;
            }
        }
        let join = x;
        for (start, tail_side) in [(tail, true), (head, false)] {
            let mut at = start;
            while at != join {
                let loses = self.is_row(at) == tail_side;
                let node = &mut self.nodes[at as usize];
                node.flow += if loses { -flow } else { flow };
                at = node.parent;
            }
        }
        // The part below the leaving arc hangs from the entering arc from now on.
        let (top, above) = if on_tail_side { (tail, head) } else { (head, tail) };
        let (mut at, mut parent, mut carried) = (top, above, flow);
        loop {
            let Node { parent: old_parent, flow: old_flow, .. } = self.nodes[at as usize];
            self.detach(at);
            self.attach(at, parent, carried);
            if at == leaving {
                break;
            }
            (parent, at, carried) = (at, old_parent, old_flow);
        }
        self.shift(top, reduced);
    }

    /// Moves the potentials below `top` (included) by `amount`: those of its own kind up, the others down. Sets depths.
    fn shift(&mut self, top: u32, amount: f64) {
        let (rows_by, columns_by) = if self.is_row(top) { (amount, -amount) } else { (-amount, amount) };
        self.stack.push(top);
        while let Some(at) = self.stack.pop() {
            let index = at as usize;
            if index < self.rows {
                self.row_potential[index] += rows_by;
            } else {
                self.column_potential[index - self.rows] += columns_by;
            }
            let Node { parent, first_child, .. } = self.nodes[index];
            self.nodes[index].depth = self.nodes[parent as usize].depth + 1;
            let mut child = first_child;
            while child != NONE {
                self.stack.push(child);
                child = self.nodes[child as usize].next;
            }
        }
    }

    /// Nodes, parents before children.
    fn order(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.nodes.len());
        order.push((self.rows + ROOT_COLUMN) as u32);
        let mut looked_at = 0;
        while let Some(&at) = order.get(looked_at) {
            looked_at += 1;
            let mut child = self.nodes[at as usize].first_child;
            while child != NONE {
                order.push(child);
                child = self.nodes[child as usize].next;
            }
        }
        order
    }

    /// Row and column of the arc above `node`.
    fn arc(&self, node: u32) -> (usize, usize) {
        let parent = self.nodes[node as usize].parent;
        let (row, column) = if self.is_row(node) { (node, parent) } else { (parent, node) };
        (row as usize, column as usize - self.rows)
    }

    /// Computes all potentials anew from the costs of the tree's arcs.
    pub(super) fn refresh_potentials<T: CostValue>(&mut self, cost: &CostMatrix<T>) {
        for &node in &self.order()[1..] {
            let (row, column) = self.arc(node);
            if self.is_row(node) {
                self.row_potential[row] = cost.get(row, column) - self.column_potential[column];
            } else {
                self.column_potential[column] = cost.get(row, column) - self.row_potential[row];
            }
        }
    }

    /// The flows `(row, column, flow)` of this tree for the masses `a` and `b`; those of a few arcs may be negative by
    /// rounding.
    pub(super) fn flows(&self, a: &[f64], b: &[f64]) -> Vec<(usize, usize, f64)> {
        let mut excess: Vec<f64> = a.iter().copied().chain(b.iter().map(|mass| -mass)).collect();
        let mut flows = Vec::with_capacity(self.nodes.len());
        for &node in self.order()[1..].iter().rev() {
            let (row, column) = self.arc(node);
            let here = excess[node as usize];
            flows.push((row, column, if self.is_row(node) { here } else { -here }));
            excess[self.nodes[node as usize].parent as usize] += here;
        }
        flows
    }
}
