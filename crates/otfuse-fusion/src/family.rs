//! What describes attention heads and the channels in them, by weights or by activations.
//!
//! A *family* is a group with the groups inside of it: heads, the channels of each head, the heads of queries that share
//! one of keys. A head cannot be compared with another row by row, as long as the order of its channels is unknown. What
//! can be compared is what no order inside the head changes: sums over its channels of the products of two weights that
//! meet there, such as `V O` and `Q' K` (in the order of the residual stream, which is known by then). They say what the
//! head does: what it writes for what it reads, and what attends to what. Products of large weights are compared by
//! random projections of both sides, which keep distances up to a few percent; equal heads stay equal.
//!
//! What the channels compute on samples takes the place of their weights in activation mode: the products are then sums
//! over the channels of what two of them (or one, twice) compute at two positions, such as the scores `Q K'` before
//! positions enter.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use otfuse_graph::{AxisLayout, GroupId, ValueId};

use crate::map::GroupMap;
use crate::networks::Networks;
use crate::settings::Settings;
use crate::split_mix::SplitMix;
use crate::transform::{Leaf, Mapper};

/// The most columns that products keep of a weight.
const COLUMNS: usize = 48;

/// A group and the groups inside of it.
pub(crate) struct Family {
    outer: GroupId,
    inside: Vec<GroupId>,
}

/// The weights or activations of a family in one model, all other axes in the anchor's order.
pub(crate) struct FamilyWeights {
    parts: Vec<Part>,
}

/// A part of a weight as an array of outer neurons x inner neurons (an axis for each inner group, of length 1 where the
/// weight has none) x features.
struct Part {
    data: Vec<f32>,
    lengths: Vec<usize>,
    has: Vec<bool>,
    seed: u64,
    /// All features, or projections of them: outer x inner.. x columns. Found when products ask for them.
    columns: OnceLock<Vec<f32>>,
}

impl Family {
    /// The family that a group belongs to, if it has others inside or is inside of another.
    pub fn of(networks: &Networks, group: GroupId) -> Option<Self> {
        let outer = networks.groups().group(group).within.unwrap_or(group);
        let inside: Vec<GroupId> = networks.groups().inside(outer).collect();
        (!inside.is_empty()).then_some(Self { outer, inside })
    }

    pub fn outer(&self) -> GroupId {
        self.outer
    }

    /// The other groups on the weights that carry the family.
    pub fn neighbours(&self, networks: &Networks) -> BTreeSet<GroupId> {
        let members = networks.groups().group(self.outer).members.iter();
        let layouts = members.flat_map(|member| networks.groups().layouts(member.initializer).unwrap_or_default());
        let groups = layouts.flat_map(AxisLayout::groups);
        groups.filter(|group| *group != self.outer && !self.inside.contains(group)).collect()
    }

    fn position(&self, group: GroupId) -> Option<usize> {
        self.inside.iter().position(|&inner| inner == group)
    }

    /// The family's weights in a model whose axes outside of the family are `ready`, which the maps bring into the
    /// anchor's order. The parts of two models match one by one.
    pub fn weights(
        &self,
        networks: &Networks,
        settings: &Settings,
        model: usize,
        maps: &[Option<GroupMap>],
        ready: &dyn Fn(GroupId) -> bool,
    ) -> FamilyWeights {
        let is_own = |group: GroupId| group == self.outer || self.inside.contains(&group);
        let mut initializers: Vec<ValueId> = Vec::new();
        for member in &networks.groups().group(self.outer).members {
            if !initializers.contains(&member.initializer) {
                initializers.push(member.initializer);
            }
        }
        let mapper = Mapper { networks, model, maps };
        let mut parts = Vec::new();
        for id in initializers {
            let tensor = networks.tensor(model, id);
            if tensor.shape().len() < 2 && !settings.bias_features {
                continue;
            }
            let groups = networks.groups().layouts(id).unwrap_or_default().iter().flat_map(|layout| layout.groups());
            if !groups.into_iter().all(|group| is_own(group) || ready(group)) {
                continue;
            }
            for leaf in mapper.leaves(id, networks.values(model, id), &is_own) {
                if leaf.groups.contains(&Some(self.outer)) {
                    let seed = parts.len() as u64;
                    parts.push(self.part(&leaf, seed));
                }
            }
        }
        FamilyWeights { parts }
    }

    /// The family as it was observed: what its neurons compute, in place of what they are made of.
    pub fn observed(&self, leaves: &[Leaf]) -> FamilyWeights {
        let of_family = leaves.iter().filter(|leaf| leaf.groups.contains(&Some(self.outer)));
        let parts = of_family.enumerate().map(|(seed, leaf)| self.part(leaf, seed as u64));
        FamilyWeights { parts: parts.collect() }
    }

    /// Brings the family's axes to the front.
    fn part(&self, leaf: &Leaf, seed: u64) -> Part {
        let find = |group: GroupId| leaf.groups.iter().position(|found| *found == Some(group));
        let front: Vec<Option<usize>> =
            std::iter::once(&self.outer).chain(&self.inside).map(|&group| find(group)).collect();
        let rest: Vec<usize> = (0..leaf.lengths.len()).filter(|axis| !front.contains(&Some(*axis))).collect();
        let order: Vec<usize> = front.iter().flatten().copied().chain(rest.iter().copied()).collect();
        let data = transposed(&leaf.data, &leaf.lengths, &order);
        let mut lengths: Vec<usize> = front.iter().map(|axis| axis.map_or(1, |axis| leaf.lengths[axis])).collect();
        let features = rest.iter().map(|&axis| leaf.lengths[axis]).product();
        lengths.push(features);
        Part { data, lengths, has: front[1..].iter().map(Option::is_some).collect(), seed, columns: OnceLock::new() }
    }
}

impl FamilyWeights {
    /// Tables of one row per outer neuron, none of whose inner orders are known.
    pub fn outer_tables(&self) -> Vec<Vec<f32>> {
        let mut tables = Vec::new();
        for (at, part) in self.parts.iter().enumerate() {
            if !part.has.contains(&true) {
                tables.push(part.data.clone());
                continue;
            }
            let partners = |other: &Part| part.has.iter().zip(&other.has).any(|(a, b)| *a && *b);
            let mut others = self.parts.iter().enumerate().filter(|(other, part)| *other != at && partners(part));
            if others.clone().next().is_none() {
                tables.push(products(part, part, None));
            }
            tables
                .extend(others.by_ref().filter(|(other, _)| *other > at).map(|(_, other)| products(part, other, None)));
        }
        tables
    }

    /// For each outer neuron the tables of one row per inner neuron of the group `at`; `pair` maps the inner groups that
    /// are known, for a source and a target outer neuron.
    pub fn inner_tables(
        &self,
        family: &Family,
        group: GroupId,
        outer: usize,
        pair: &dyn Fn(GroupId) -> Option<GroupMap>,
        is_known: &dyn Fn(GroupId) -> bool,
        places: (usize, usize),
    ) -> Vec<Vec<f32>> {
        let Some(at) = family.position(group) else { return Vec::new() };
        let known: Vec<bool> = family.inside.iter().map(|&inner| is_known(inner)).collect();
        let mut tables = Vec::new();
        for (position, part) in self.parts.iter().enumerate().filter(|(_, part)| part.has[at]) {
            let unknown: Vec<bool> = (0..known.len()).map(|i| i != at && part.has[i] && !known[i]).collect();
            if !unknown.contains(&true) {
                tables.push(part.rows(family, at, outer, pair, places));
                continue;
            }
            for (other, partner) in self.parts.iter().enumerate().filter(|(other, _)| *other != position) {
                let meets = unknown.iter().zip(&partner.has).any(|(a, b)| *a && *b);
                // A product of two parts that both have the group is the same from either side.
                if meets && !(partner.has[at] && other < position) {
                    tables.push(products(&part.projected_at(outer), &partner.projected_at(outer), Some(at)));
                }
            }
        }
        tables
    }
}

impl Part {
    fn columns(&self) -> &[f32] {
        self.columns.get_or_init(|| {
            let features = *self.lengths.last().unwrap_or(&1);
            if features <= COLUMNS { self.data.clone() } else { projected(&self.data, features, self.seed) }
        })
    }

    /// What there is of one outer neuron.
    fn cut(&self, data: &[f32], outer: usize) -> Vec<f32> {
        let row = data.len() / self.lengths[0].max(1);
        data[outer * row..(outer + 1) * row].to_vec()
    }

    /// The columns for one outer neuron, which are all that products read.
    fn projected_at(&self, outer: usize) -> Self {
        let mut lengths = self.lengths.clone();
        lengths[0] = 1;
        let columns = OnceLock::from(self.cut(self.columns(), outer));
        Self { data: Vec::new(), lengths, has: self.has.clone(), seed: self.seed, columns }
    }

    /// One row for each inner neuron of a group, the other inner groups brought into the anchor's order.
    fn rows(
        &self,
        family: &Family,
        at: usize,
        outer: usize,
        pair: &dyn Fn(GroupId) -> Option<GroupMap>,
        (source, target): (usize, usize),
    ) -> Vec<f32> {
        let (mut data, mut lengths, has) = (self.cut(&self.data, outer), self.lengths.clone(), &self.has);
        lengths[0] = 1;
        for (i, &group) in family.inside.iter().enumerate().filter(|(i, _)| *i != at && has[*i]) {
            let map = pair(group);
            if let Some(map) = map.as_ref().and_then(|map| map.pair(source, target)) {
                let (before, behind) = (lengths[..=i].iter().product(), lengths[i + 2..].iter().product());
                data = map.producer.apply(&data, before, behind);
                lengths[i + 1] = map.producer.targets();
            }
        }
        let order: Vec<usize> =
            std::iter::once(at + 1).chain((0..lengths.len()).filter(|&axis| axis != at + 1)).collect();
        transposed(&data, &lengths, &order)
    }
}

/// The products of the columns of two parts, summed over the inner neurons where they meet: one row per outer neuron,
/// or per outer neuron and neuron of the inner group `row`.
fn products(left: &Part, right: &Part, row: Option<usize>) -> Vec<f32> {
    let inside = left.has.len();
    let meet = |i: usize| Some(i) != row && left.has[i] && right.has[i];
    let keep = |part: &Part, i: usize| part.has[i] && (Some(i) == row || meet(i));
    let (a, b) = (summed(left, &|i| keep(left, i)), summed(right, &|i| keep(right, i)));
    let outer = left.lengths[0];
    let columns = |part: &Part| part.columns().len() / part.lengths[..=inside].iter().product::<usize>().max(1);
    let (p, q) = (columns(left), columns(right));
    let rows = row.map_or(1, |row| left.lengths[row + 1]);
    let met: usize = (0..inside).filter(|&i| meet(i)).map(|i| left.lengths[i + 1]).product();
    let mut table = vec![0.0_f32; outer * rows * p * q];
    // Both arrays are outer x (row and meeting axes in their order) x columns: strides find the same neuron in both.
    let index = |part: &Part, o: usize, r: usize, m: usize| {
        let (mut place, mut rest) = (0, m);
        let mut stride = 1;
        for i in (0..inside).rev() {
            let length = part.lengths[i + 1];
            if meet(i) {
                place += stride * (rest % length);
                rest /= length;
                stride *= length;
            } else if Some(i) == row && part.has[i] {
                place += stride * r;
                stride *= length;
            }
        }
        o * stride + place
    };
    for o in 0..outer {
        for r in 0..rows {
            let into = &mut table[(o * rows + r) * p * q..][..p * q];
            for m in 0..met {
                let x = &a[index(left, o, r, m) * p..][..p];
                let y = &b[index(right, o, r, m) * q..][..q];
                for (into, &x) in into.chunks_exact_mut(q).zip(x) {
                    into.iter_mut().zip(y).for_each(|(into, &y)| *into += x * y);
                }
            }
        }
    }
    table
}

/// The columns of a part, summed over the inner axes that are not kept.
fn summed(part: &Part, keep: &dyn Fn(usize) -> bool) -> Vec<f32> {
    let mut data = part.columns().to_vec();
    let inside = part.has.len();
    let mut lengths = part.lengths[..=inside].to_vec();
    let columns = data.len() / lengths.iter().product::<usize>().max(1);
    for i in (0..inside).filter(|&i| part.has[i] && !keep(i)) {
        let inner = lengths[i + 2..].iter().product::<usize>() * columns;
        let length = lengths[i + 1];
        let mut result = vec![0.0; data.len() / length.max(1)];
        for (from, to) in data.chunks_exact((length * inner).max(1)).zip(result.chunks_exact_mut(inner.max(1))) {
            for from in from.chunks_exact(inner.max(1)) {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
            }
        }
        data = result;
        lengths[i + 1] = 1;
    }
    data
}

/// As many random projections (signs) of the features of all rows as are kept.
fn projected(data: &[f32], features: usize, seed: u64) -> Vec<f32> {
    let scale = 1.0 / (COLUMNS as f32).sqrt();
    let signs: Vec<f32> = (0..features * COLUMNS)
        .map(|index| if SplitMix::at(seed << 40 ^ index as u64) & 1 == 0 { scale } else { -scale })
        .collect();
    let mut result = vec![0.0; data.len() / features * COLUMNS];
    for (row, into) in data.chunks_exact(features).zip(result.chunks_exact_mut(COLUMNS)) {
        for (value, signs) in row.iter().zip(signs.chunks_exact(COLUMNS)) {
            into.iter_mut().zip(signs).for_each(|(into, sign)| *into += value * sign);
        }
    }
    result
}

/// A row-major array with its axes in another order.
fn transposed(data: &[f32], lengths: &[usize], order: &[usize]) -> Vec<f32> {
    if order.iter().enumerate().all(|(to, from)| to == *from) {
        return data.to_vec();
    }
    // The last axes that stay the last are copied as one.
    let kept = order.iter().rev().enumerate().take_while(|&(back, &axis)| axis + back + 1 == order.len()).count();
    let moved = order.len() - kept;
    let run: usize = lengths[moved..].iter().product();
    let mut strides = vec![run; moved];
    for axis in (1..moved).rev() {
        strides[axis - 1] = strides[axis] * lengths[axis];
    }
    let (to, steps): (Vec<usize>, Vec<usize>) =
        order[..moved].iter().map(|&axis| (lengths[axis], strides[axis])).unzip();
    let mut index = vec![0; moved];
    let mut from = 0;
    let mut result = Vec::with_capacity(data.len());
    for _ in 0..data.len() / run.max(1) {
        result.extend_from_slice(&data[from..from + run]);
        for axis in (0..moved).rev() {
            index[axis] += 1;
            from += steps[axis];
            if index[axis] < to[axis] {
                break;
            }
            from -= steps[axis] * to[axis];
            index[axis] = 0;
        }
    }
    result
}
