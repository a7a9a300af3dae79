//! Tensors of the graph that are a part of a checkpoint's tensor, or made of its rows.

use otfuse_graph::Tensor;

use super::super::binding::{Piece, Source};
use super::super::table::Table;
use super::super::views::{Order, is_right_factor, orders};
use super::{Candidate, Open, Search};

impl Search<'_> {
    /// Parts of one tensor, as attention's packed projections are cut: all of it, in order.
    pub(super) fn parts(&mut self) {
        let mut groups: Vec<(String, Vec<Open>)> = Vec::new();
        for open in self.open() {
            let (Some(origin), Some(tensor)) = (self.origin(open.reader), self.tensor(&open)) else { continue };
            if tensor.len() < 2 {
                continue;
            }
            let about = self.about(origin);
            let names: Vec<&str> = about.iter().map(String::as_str).collect();
            let holder = self.free(Some(&names)).into_iter().find(|candidate| {
                let whole = matches!(candidate.source, Source::Pieces(_));
                // A bias is no row of a weight.
                let long = tensor.shape().iter().filter(|&&length| length > 1).count();
                whole
                    && (candidate.shape.len() == long || candidate.shape.len() == tensor.shape().len())
                    && candidate.shape.iter().product::<usize>() > tensor.len()
                    && !part_orders(tensor, candidate, 0).is_empty()
            });
            let Some(holder) = holder.map(|holder| holder.name.clone()) else { continue };
            match groups.iter_mut().find(|(name, _)| *name == holder) {
                Some((_, group)) => group.push(open),
                None => groups.push((holder, vec![open])),
            }
        }
        for (holder, mut group) in groups {
            // In the order of their use: queries before keys and values.
            group.sort_by_key(|open| open.reader);
            let candidate = &self.candidates[self.by_name[&holder]];
            let rows = candidate.shape.first().copied().unwrap_or_default();
            let width = candidate.shape[1..].iter().product::<usize>();
            let mut start = 0;
            let mut found = Vec::new();
            for open in &group {
                let Some(tensor) = self.tensor(open) else { continue };
                let length = tensor.len() / width.max(1);
                let mut starts = vec![start];
                if self.witness.is_some() {
                    starts.extend((0..rows).step_by(length.max(1)));
                }
                let fitting = starts.into_iter().flat_map(|start| {
                    let piece = Piece { key: holder.clone(), range: Some(start * width..start * width + tensor.len()) };
                    let mut orders = part_orders(tensor, candidate, start);
                    if is_right_factor(self.graph, tensor, open.reader) {
                        orders.reverse();
                    }
                    orders.into_iter().map(move |order| (order, piece.clone()))
                });
                let binding = fitting
                    .map(|(order, piece)| self.binding(open, order, Source::Pieces(vec![piece])))
                    .find(|binding| self.witness.is_none() || self.has_value(open, binding));
                start += length;
                found.extend(binding);
            }
            if found.len() == group.len() && (start == rows || self.witness.is_some()) {
                self.bindings.extend(found);
            }
        }
    }

    /// Rows of a table in the order of integers of the same module.
    pub(super) fn tables(&mut self) {
        for open in self.open() {
            let (Some(origin), Some(tensor)) = (self.origin(open.reader), self.tensor(&open)) else { continue };
            let mut inside = self.names.in_module(&origin.module);
            inside.retain(|(name, _)| !name.contains('.'));
            let keys = || inside.iter().filter_map(|(_, key)| Some((key, self.dict.get(key)?)));
            let used = self.used();
            let mut fitting = Vec::new();
            for (entries, table) in keys().filter(|(key, table)| table.data_type().is_float() && !used.contains(*key)) {
                let &[_, width] = table.shape() else { continue };
                for (index, places) in keys().filter(|(_, places)| !places.data_type().is_float()) {
                    if places.len() < 2 || places.len().checked_mul(width) != Some(tensor.len()) {
                        continue;
                    }
                    let axes = 0..tensor.shape().len();
                    for last in axes.clone().filter(|&axis| tensor.shape()[axis] == width) {
                        let order: Vec<usize> = axes.clone().filter(|&axis| axis != last).chain([last]).collect();
                        let order = (!order.is_sorted()).then_some(order);
                        let source = Source::Table(Table { entries: entries.clone(), index: index.clone() });
                        let binding = self.binding(&open, order, source);
                        if self.witness.is_none() || self.has_value(&open, &binding) {
                            fitting.push(binding);
                        }
                    }
                }
            }
            self.bindings.extend(fitting.into_iter().next());
        }
    }
}

/// The orders in which rows of a candidate are the tensor.
fn part_orders(tensor: &Tensor, candidate: &Candidate, start: usize) -> Vec<Order> {
    let Some((&rows, rest)) = candidate.shape.split_first() else { return Vec::new() };
    let width: usize = rest.iter().product();
    if width == 0 || !tensor.len().is_multiple_of(width) {
        return Vec::new();
    }
    let count = tensor.len() / width;
    if count == 0 || start + count > rows {
        return Vec::new();
    }
    let shape: Vec<usize> = std::iter::once(count).chain(rest.iter().copied()).collect();
    orders(tensor.shape(), &shape)
}
