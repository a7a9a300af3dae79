//! Applying maps of neurons to whole weights.

use std::ops::Range;

use otfuse_graph::{AxisLayout, GroupId, Role, ValueId};

use crate::map::{GroupMap, LinearMap, NeuronMap};
use crate::networks::Networks;

/// One axis of an array on the way to its leaves, where every axis is one group or fixed.
#[derive(Clone, Debug)]
struct Axis {
    layout: AxisLayout,
    role: Role,
}

/// A part of a weight in which every axis is a group or fixed.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// Row-major over `lengths`.
    pub data: Vec<f32>,
    pub lengths: Vec<usize>,
    /// The group of each axis; `None` where the order is fixed.
    pub groups: Vec<Option<GroupId>>,
    roles: Vec<Role>,
}

/// The maps found so far, applied to the weights of a model.
pub(crate) struct Mapper<'a> {
    pub networks: &'a Networks,
    pub model: usize,
    /// One for each group; empty to leave all where they are.
    pub maps: &'a [Option<GroupMap>],
}

impl Mapper<'_> {
    fn size(&self, group: GroupId) -> usize {
        self.networks.size(self.model, group)
    }

    fn map(&self, group: GroupId) -> Option<&GroupMap> {
        self.maps.get(group.index()).and_then(Option::as_ref)
    }

    fn axes(&self, id: ValueId) -> Vec<Axis> {
        let layouts = self.networks.groups().layouts(id).unwrap_or_default().iter().enumerate();
        layouts.map(|(axis, layout)| Axis { layout: layout.clone(), role: self.networks.role(id, axis) }).collect()
    }

    /// A weight, given as `data`, after all maps, but for those of groups that `keep` names. Returns its new shape, too.
    pub fn mapped(&self, id: ValueId, data: Vec<f32>, keep: &dyn Fn(GroupId) -> bool) -> (Vec<f32>, Vec<usize>) {
        let axes = self.axes(id);
        if axes.iter().all(|axis| axis.layout.is_fixed()) {
            return (data, self.networks.tensor(self.model, id).shape().to_vec());
        }
        self.transform(data, &axes, keep)
    }

    /// As [`mapped`](Self::mapped) for some indices of the first axis, whose order is fixed.
    pub fn mapped_rows(
        &self,
        id: ValueId,
        rows: Range<usize>,
        keep: &dyn Fn(GroupId) -> bool,
    ) -> (Vec<f32>, Vec<usize>) {
        let tensor = self.networks.tensor(self.model, id);
        let row = tensor.len() / tensor.shape()[0].max(1);
        let mut shape = tensor.shape().to_vec();
        shape[0] = rows.len();
        let data = tensor.range_to_f32(rows.start * row..rows.end * row).unwrap_or_default();
        let mut axes = self.axes(id);
        match axes.first_mut() {
            Some(first) if first.layout.is_fixed() => first.layout = AxisLayout::Fixed(rows.len()),
            _ => return (data, shape),
        }
        if axes.iter().all(|axis| axis.layout.is_fixed()) { (data, shape) } else { self.transform(data, &axes, keep) }
    }

    /// The leaves of a weight after all maps, but for those of groups that `keep` names.
    pub fn leaves(&self, id: ValueId, data: Vec<f32>, keep: &dyn Fn(GroupId) -> bool) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.collect(data, &self.axes(id), &mut leaves);
        leaves.into_iter().map(|leaf| self.map_leaf(leaf, keep)).collect()
    }

    /// An array with these axes, not mapped, taken apart into leaves.
    pub fn parts(&self, data: Vec<f32>, layouts: &[AxisLayout]) -> Vec<Leaf> {
        let axes: Vec<Axis> =
            layouts.iter().map(|layout| Axis { layout: layout.clone(), role: Role::Producer }).collect();
        let mut leaves = Vec::new();
        self.collect(data, &axes, &mut leaves);
        leaves
    }

    fn length(&self, layout: &AxisLayout) -> usize {
        layout.length(&|group| self.size(group))
    }

    /// The array with one axis after another taken apart; one length for each of `axes`.
    fn transform(&self, data: Vec<f32>, axes: &[Axis], keep: &dyn Fn(GroupId) -> bool) -> (Vec<f32>, Vec<usize>) {
        if let Some((at, expanded, count)) = expand(axes) {
            let (data, mut lengths) = self.transform(data, &expanded, keep);
            let product = lengths[at..at + count].iter().product();
            lengths.splice(at..at + count, [product]);
            return (data, lengths);
        }
        let Some((at, parts)) = sequence(axes) else {
            let leaf = self.map_leaf(self.leaf(data, axes), keep);
            return (leaf.data, leaf.lengths);
        };
        let outer: usize = axes[..at].iter().map(|axis| self.length(&axis.layout)).product();
        let inner: usize = axes[at + 1..].iter().map(|axis| self.length(&axis.layout)).product();
        let mapped: Vec<(Vec<f32>, Vec<usize>)> = self
            .cut(&data, outer, &parts, inner)
            .into_iter()
            .zip(&parts)
            .map(|(piece, part)| self.transform(piece, &replaced(axes, at, part), keep))
            .collect();
        let Some((_, first)) = mapped.first() else { return (data, vec![0; axes.len()]) };
        let mut lengths = first.clone();
        lengths[at] = mapped.iter().map(|(_, lengths)| lengths[at]).sum();
        let outer: usize = lengths[..at].iter().product();
        let inner: usize = lengths[at + 1..].iter().product();
        let mut joined = Vec::with_capacity(lengths.iter().product());
        for o in 0..outer {
            for (piece, lengths) in &mapped {
                let run = lengths[at] * inner;
                joined.extend_from_slice(&piece[o * run..(o + 1) * run]);
            }
        }
        (joined, lengths)
    }

    fn collect(&self, data: Vec<f32>, axes: &[Axis], leaves: &mut Vec<Leaf>) {
        if let Some((_, expanded, _)) = expand(axes) {
            return self.collect(data, &expanded, leaves);
        }
        let Some((at, parts)) = sequence(axes) else {
            return leaves.push(self.leaf(data, axes));
        };
        let outer: usize = axes[..at].iter().map(|axis| self.length(&axis.layout)).product();
        let inner: usize = axes[at + 1..].iter().map(|axis| self.length(&axis.layout)).product();
        for (piece, part) in self.cut(&data, outer, &parts, inner).into_iter().zip(&parts) {
            self.collect(piece, &replaced(axes, at, part), leaves);
        }
    }

    /// The parts of the middle axis of an `outer x length x inner` array.
    fn cut(&self, data: &[f32], outer: usize, parts: &[AxisLayout], inner: usize) -> Vec<Vec<f32>> {
        let lengths: Vec<usize> = parts.iter().map(|part| self.length(part)).collect();
        let row = lengths.iter().sum::<usize>() * inner;
        let mut offset = 0;
        let pieces = lengths.iter().map(|length| {
            let columns = offset * inner..(offset + length) * inner;
            offset += length;
            (0..outer).flat_map(|o| &data[o * row..][columns.clone()]).copied().collect()
        });
        pieces.collect()
    }

    fn leaf(&self, data: Vec<f32>, axes: &[Axis]) -> Leaf {
        let group = |axis: &Axis| match axis.layout {
            AxisLayout::Group(group) => Some(group),
            _ => None,
        };
        Leaf {
            data,
            lengths: axes.iter().map(|axis| self.length(&axis.layout)).collect(),
            groups: axes.iter().map(group).collect(),
            roles: axes.iter().map(|axis| axis.role).collect(),
        }
    }

    fn map_leaf(&self, mut leaf: Leaf, keep: &dyn Fn(GroupId) -> bool) -> Leaf {
        for (group, role) in leaf.groups.iter().zip(&leaf.roles) {
            let mapped = group.filter(|&group| *role == Role::Producer && !keep(group) && self.map(group).is_some());
            if let Some(factor) = mapped.and_then(|group| self.networks.correction(self.model, group)) {
                leaf.data.iter_mut().for_each(|value| *value *= factor);
            }
        }
        for at in 0..leaf.groups.len() {
            let Some(group) = leaf.groups[at].filter(|&group| !keep(group)) else { continue };
            let Some(GroupMap::Whole(map)) = self.map(group) else { continue };
            let inside: Vec<(usize, GroupId)> = leaf
                .groups
                .iter()
                .enumerate()
                .filter_map(|(at, inner)| {
                    let inner = inner.filter(|&inner| !keep(inner))?;
                    let is_inside = matches!(self.map(inner), Some(GroupMap::Within { outer, .. }) if *outer == group);
                    is_inside.then_some((at, inner))
                })
                .collect();
            let map = of_role(map, leaf.roles[at]);
            if inside.is_empty() {
                leaf.apply(at, map);
            } else {
                leaf = self.map_with_inside(&leaf, at, map, &inside);
            }
        }
        leaf
    }

    /// Maps an outer axis together with the axes inside of it, which have a map for each pair of outer neurons.
    fn map_with_inside(&self, leaf: &Leaf, at: usize, map: &LinearMap, inside: &[(usize, GroupId)]) -> Leaf {
        let mut result = leaf.clone();
        result.lengths[at] = map.targets();
        for &(inner, group) in inside {
            if let Some(GroupMap::Within { targets, .. }) = self.map(group) {
                result.lengths[inner] = *targets;
            }
        }
        result.data = vec![0.0; result.lengths.iter().product()];
        for (source, target, factor) in map.entries() {
            let mut slab = leaf.slab(at, source);
            for &(inner, group) in inside {
                if let Some(map) = self.map(group).and_then(|map| map.pair(source, target)) {
                    slab.apply(inner, of_role(map, leaf.roles[inner]));
                }
            }
            result.add(at, target, &slab, factor);
        }
        result
    }
}

fn of_role(map: &NeuronMap, role: Role) -> &LinearMap {
    if role == Role::Consumer { &map.consumer } else { &map.producer }
}

/// The first product, its factors in its place.
fn expand(axes: &[Axis]) -> Option<(usize, Vec<Axis>, usize)> {
    axes.iter().enumerate().find_map(|(at, axis)| {
        let AxisLayout::Product(factors) = &axis.layout else { return None };
        let factors: Vec<Axis> =
            factors.iter().map(|layout| Axis { layout: layout.clone(), role: axis.role }).collect();
        let count = factors.len();
        Some((at, [&axes[..at], &factors, &axes[at + 1..]].concat(), count))
    })
}

fn sequence(axes: &[Axis]) -> Option<(usize, Vec<AxisLayout>)> {
    axes.iter().enumerate().find_map(|(at, axis)| match &axis.layout {
        AxisLayout::Sequence(parts) => Some((at, parts.clone())),
        _ => None,
    })
}

fn replaced(axes: &[Axis], at: usize, layout: &AxisLayout) -> Vec<Axis> {
    let mut axes = axes.to_vec();
    axes[at].layout = layout.clone();
    axes
}

impl Leaf {
    fn around(&self, at: usize) -> (usize, usize) {
        (self.lengths[..at].iter().product(), self.lengths[at + 1..].iter().product())
    }

    pub fn apply(&mut self, at: usize, map: &LinearMap) {
        let (outer, inner) = self.around(at);
        self.data = map.apply(&self.data, outer, inner);
        self.lengths[at] = map.targets();
    }

    /// The array at one index of an axis, which stays with length 1.
    pub fn slab(&self, at: usize, index: usize) -> Self {
        let (outer, inner) = self.around(at);
        let length = self.lengths[at];
        let rows = (0..outer).flat_map(|o| &self.data[(o * length + index) * inner..][..inner]);
        let mut lengths = self.lengths.clone();
        lengths[at] = 1;
        Self { data: rows.copied().collect(), lengths, groups: self.groups.clone(), roles: self.roles.clone() }
    }

    fn add(&mut self, at: usize, index: usize, slab: &Self, factor: f64) {
        let (outer, inner) = self.around(at);
        let length = self.lengths[at];
        for (o, from) in slab.data.chunks_exact(inner.max(1)).enumerate().take(outer) {
            let to = &mut self.data[(o * length + index) * inner..][..inner];
            to.iter_mut().zip(from).for_each(|(to, &from)| *to += (factor * f64::from(from)) as f32);
        }
    }
}
