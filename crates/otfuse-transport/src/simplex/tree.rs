//! The spanning tree of a basis.

use super::start::Arc;
use crate::cost::CostMatrix;
use crate::value::CostValue;

/// The column at the root.
pub(super) const ROOT_COLUMN: usize = 0;
/// No node.
const NONE: u32 = u32::MAX;

/// A spanning tree over rows (nodes `0..n`) and columns (nodes `n..n+m`) with flows on its arcs and the potentials that
/// make all its reduced costs zero. Arcs lead from rows to columns; each is stored with the lower of its nodes. Nodes
/// are in a circle in which every one is followed by all that are below it, so that what is below is found without branches.
pub(super) struct Tree {
    rows: usize,
    nodes: Vec<Node>,
    /// The node after every node.
    next: Vec<u32>,
    /// Dual variables of the rows, then of the columns.
    potential: Vec<f64>,
}

#[derive(Clone, Copy)]
struct Node {
    parent: u32,
    /// The node before it in the circle.
    previous: u32,
    /// The last of the nodes below it, or itself.
    last: u32,
    /// Nodes below it, itself included.
    size: u32,
    /// Flow on the arc to the parent, in perturbed units.
    flow: i64,
}

impl Tree {
    /// The tree of the given spanning arcs.
    pub(super) fn new<T: CostValue>(cost: &CostMatrix<T>, arcs: &[Arc]) -> Self {
        let (n, m) = cost.shape();
        let mut neighbours: Vec<Vec<(usize, i64)>> = vec![Vec::new(); n + m];
        for &(row, column, flow) in arcs {
            neighbours[row].push((n + column, flow));
            neighbours[n + column].push((row, flow));
        }
        let root = n + ROOT_COLUMN;
        let blank = Node { parent: NONE, previous: NONE, last: NONE, size: 1, flow: 0 };
        let mut tree =
            Self { rows: n, nodes: vec![blank; n + m], next: vec![NONE; n + m], potential: vec![0.0; n + m] };
        let mut order = Vec::with_capacity(n + m);
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            order.push(node);
            for &(child, flow) in &neighbours[node] {
                if tree.nodes[node].parent != child as u32 {
                    (tree.nodes[child].parent, tree.nodes[child].flow) = (node as u32, flow);
                    stack.push(child);
                }
            }
        }
        for (at, &node) in order.iter().enumerate() {
            tree.connect(node as u32, order[(at + 1) % order.len()] as u32);
            tree.nodes[node].last = node as u32;
        }
        for &node in order[1..].iter().rev() {
            let Node { parent, last, size, .. } = tree.nodes[node];
            let above = &mut tree.nodes[parent as usize];
            above.size += size;
            // Seen from the end, the first child is the one with the last nodes.
            if above.last == parent {
                above.last = last;
            }
        }
        tree.refresh_potentials(cost);
        tree
    }

    /// Dual variables of the rows and of the columns.
    pub(super) fn potentials(&self) -> (&[f64], &[f64]) {
        self.potential.split_at(self.rows)
    }

    fn is_row(&self, node: u32) -> bool {
        (node as usize) < self.rows
    }

    /// Makes a node the one after another.
    fn connect(&mut self, node: u32, next: u32) {
        self.next[node as usize] = next;
        self.nodes[next as usize].previous = node;
    }

    /// Sends as much flow as can be through the arc from `row` to `column`, of the given reduced cost, and round the
    /// cycle that it closes; the arc that runs empty leaves the tree.
    pub(super) fn pivot(&mut self, row: usize, column: usize, reduced: f64) {
        let (tail, head) = (row as u32, (self.rows + column) as u32);
        // Up both sides to where they meet: what is above a node is larger. An arc loses flow where its lower node is a
        // column on the head's side or a row on the tail's.
        let (mut x, mut y) = (tail, head);
        let mut flow = i64::MAX;
        let (mut leaving, mut on_tail_side) = (NONE, false);
        while x != y {
            let (up_x, up_y) = (self.nodes[x as usize], self.nodes[y as usize]);
            if up_x.size <= up_y.size {
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
        let moved = self.nodes[leaving as usize].size;
        self.grow(self.nodes[leaving as usize].parent, join, moved.wrapping_neg());
        self.grow(above, join, moved);
        self.take_out(leaving);
        let last = self.turn(top, leaving, above, flow);
        self.put_in(top, last, above);
        self.shift(top, last, reduced);
    }

    /// Adds to the sizes from a node up to another, which is left out.
    fn grow(&mut self, from: u32, to: u32, by: u32) {
        let mut at = from;
        while at != to {
            let node = &mut self.nodes[at as usize];
            node.size = node.size.wrapping_add(by);
            at = node.parent;
        }
    }

    /// Takes a node and all below it out of the circle.
    fn take_out(&mut self, node: u32) {
        let Node { parent, previous, last, .. } = self.nodes[node as usize];
        let after = self.next[last as usize];
        self.connect(previous, after);
        self.next[last as usize] = NONE;
        self.replace_last(parent, last, previous);
    }

    /// Puts the nodes from `top` to `last`, all that are below `top`, into the circle after `above`.
    fn put_in(&mut self, top: u32, last: u32, above: u32) {
        let after = self.next[above as usize];
        self.connect(above, top);
        self.connect(last, after);
        self.replace_last(above, above, last);
    }

    /// From a node upwards, says which node is the last where another was.
    fn replace_last(&mut self, from: u32, old: u32, new: u32) {
        let mut at = from;
        while at != NONE && self.nodes[at as usize].last == old {
            self.nodes[at as usize].last = new;
            at = self.nodes[at as usize].parent;
        }
    }

    /// Turns the part of the tree below `old_top`, which was taken out, so that `top` is its top, `above` that node's
    /// parent with so much `flow` between them. Returns the last of its nodes.
    ///
    /// In the new order, what is below `top` comes first, then what else was below its parent, and so on.
    fn turn(&mut self, top: u32, old_top: u32, above: u32, flow: i64) -> u32 {
        let size = self.nodes[old_top as usize].size;
        let mut at = self.nodes[top as usize];
        let (mut node, mut below) = (top, 0);
        // What was around the nodes below `node`, and the end of the new order so far.
        let (mut before, mut after, mut end) = (at.previous, self.next[at.last as usize], at.last);
        let (mut parent, mut carried) = (above, flow);
        loop {
            let changed = &mut self.nodes[node as usize];
            (changed.parent, changed.flow, changed.size) = (parent, carried, size - below);
            if node == old_top {
                break;
            }
            let up = at.parent;
            let old = self.nodes[up as usize];
            let (part_end, next_after) =
                if old.last == at.last { (before, after) } else { (old.last, self.next[old.last as usize]) };
            if after != NONE {
                self.connect(before, after);
            }
            self.connect(end, up);
            (parent, carried, below) = (node, at.flow, at.size);
            (before, after, end) = (old.previous, next_after, part_end);
            (node, at) = (up, old);
        }
        while node != above {
            self.nodes[node as usize].last = end;
            node = self.nodes[node as usize].parent;
        }
        end
    }

    /// Moves the potentials from `top` to `last`, all that are below `top`, by `amount`: those of its own kind up, the
    /// others down; or, if there are fewer of them, all others the other way, which is the same but for a constant.
    fn shift(&mut self, top: u32, last: u32, amount: f64) {
        let amount = if self.is_row(top) { amount } else { -amount };
        let size = self.nodes[top as usize].size as usize;
        let (from, count, amount) = if 2 * size <= self.nodes.len() {
            (top, size, amount)
        } else {
            (self.next[last as usize], self.nodes.len() - size, -amount)
        };
        let mut at = from as usize;
        for _ in 0..count {
            self.potential[at] += if at < self.rows { amount } else { -amount };
            at = self.next[at] as usize;
        }
    }

    /// Nodes, parents before children.
    fn order(&self) -> Vec<u32> {
        let root = (self.rows + ROOT_COLUMN) as u32;
        std::iter::successors(Some(root), |&node| Some(self.next[node as usize])).take(self.nodes.len()).collect()
    }

    /// Row and column of the arc above `node`.
    fn arc(&self, node: u32) -> (usize, usize) {
        let parent = self.nodes[node as usize].parent;
        let (row, column) = if self.is_row(node) { (node, parent) } else { (parent, node) };
        (row as usize, column as usize - self.rows)
    }

    /// Computes all potentials anew from the costs of the tree's arcs.
    pub(super) fn refresh_potentials<T: CostValue>(&mut self, cost: &CostMatrix<T>) {
        self.potential[self.rows + ROOT_COLUMN] = 0.0;
        for &node in &self.order()[1..] {
            let (row, column) = self.arc(node);
            let parent = self.nodes[node as usize].parent;
            self.potential[node as usize] = cost.get(row, column) - self.potential[parent as usize];
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
