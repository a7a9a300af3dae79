//! The search for the maps that bring one network's weights next to another's.

use std::collections::HashSet;

use otfuse_graph::{Graph, GroupId, ValueId};
use otfuse_transport::{CostMatrix, Problem, Solver, TransportError, TransportPlan};
use rayon::prelude::*;

use super::carriers::{Carrier, products, reorder, turn};
use super::dense::Dense;
use super::pairs::Pairs;
use super::structure::{Group, Structure};
use super::weights::Weights;
use crate::alignment::{GroupAlignment, SavedPlan};
use crate::error::FusionError;
use crate::networks::Networks;

/// Sweeps over all groups at most.
const SWEEPS: usize = 20;

/// A sweep that gains less than this share of the distance is the last one.
const LEAST_GAIN: f64 = 1e-6;

/// A model on its way to the anchor.
pub(super) struct Search<'a> {
    structure: &'a Structure,
    networks: &'a Networks,
    model: usize,
    anchor: Weights,
    /// The model's weights as they are compared: without what no normalisation sees.
    seen: Weights,
    /// The model's weights.
    own: Weights,
    /// For each group the maps so far, one for each neuron of the outer group.
    maps: Vec<Vec<Dense>>,
    pub objective: Vec<f64>,
    pub converged: bool,
}

impl<'a> Search<'a> {
    pub fn new(structure: &'a Structure, networks: &'a Networks, model: usize, anchor: &Weights, own: Weights) -> Self {
        let copies = |group: &Group| group.within.map_or(1, |outer| structure.groups[outer.index()].size);
        let start = |group: &Group| vec![Dense::identity(group.size); copies(group)];
        let maps = structure.groups.iter().map(start).collect();
        let (anchor, seen) = (centred(structure, anchor.clone()), centred(structure, own.clone()));
        Self { structure, networks, model, anchor, seen, own, maps, objective: Vec::new(), converged: false }
    }

    /// Starts with the tables that carry a stream alone, then goes over all groups until nothing is gained: each step takes
    /// the best map of a group given those of all others, so that the distance never grows.
    pub fn run(&mut self, check: &dyn Fn() -> Result<(), FusionError>) -> Result<(), FusionError> {
        let (networks, structure) = (self.networks, self.structure);
        let reference = networks.reference();
        let group = |id: &GroupId| &structure.groups[id.index()];
        for id in self.ids().filter(|id| group(id).rotation.is_some_and(|rotation| rotation.is_stream)) {
            self.rotate(id, &|carrier| is_table(reference, networks, carrier));
        }
        self.objective.push(self.distance());
        let outermost: Vec<GroupId> = self.ids().filter(|id| group(id).within.is_none()).collect();
        for _ in 0..SWEEPS {
            for &id in outermost.iter().filter(|id| group(id).rotation.is_none()) {
                check()?;
                self.order(id)?;
            }
            for pairs in structure.pairs.iter().filter(|pairs| pairs.heads.is_none()) {
                self.turn_pairs(pairs);
            }
            for &id in outermost.iter().filter(|id| group(id).rotation.is_some()) {
                check()?;
                self.rotate(id, &|_| true);
            }
            let (before, now) = (self.objective.last().copied().unwrap_or(f64::INFINITY), self.distance());
            self.objective.push(now);
            if before - now <= LEAST_GAIN * now {
                self.converged = true;
                break;
            }
        }
        Ok(())
    }

    fn ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..self.structure.groups.len()).map(GroupId::new)
    }

    fn group(&self, id: GroupId) -> &'a Group {
        &self.structure.groups[id.index()]
    }

    /// The sum of squares between the anchor and the model as it stands.
    fn distance(&self) -> f64 {
        let of = |(id, anchor): (&ValueId, &super::weights::Array)| -> f64 {
            let Some(own) = self.seen.get(id) else { return 0.0 };
            anchor.data.iter().zip(&own.data).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        self.anchor.iter().map(of).sum()
    }

    /// Rotates a group that is within no other.
    fn rotate(&mut self, id: GroupId, counts: &dyn Fn(&Carrier) -> bool) {
        let group = self.group(id);
        let carriers = group.carriers.iter().filter(|carrier| counts(carrier));
        let found = products(carriers, &self.seen, &self.anchor, group.size, |_, _| true);
        let map = self.nearest(group, &found);
        self.turn(id, 0, &map);
    }

    fn nearest(&self, group: &Group, products: &Dense) -> Dense {
        match group.rotation {
            Some(rotation) if rotation.keeps_ones => products.nearest_keeping_ones(),
            _ => products.nearest_orthogonal(),
        }
    }

    fn turn(&mut self, id: GroupId, outer: usize, by: &Dense) {
        let carriers = &self.group(id).carriers;
        turn(carriers, &mut self.seen, outer, by);
        turn(carriers, &mut self.own, outer, by);
        let map = &mut self.maps[id.index()][outer];
        *map = map.times(by);
    }

    fn reorder(&mut self, id: GroupId, outer: usize, order: &[usize]) {
        let carriers = &self.group(id).carriers;
        reorder(carriers, &mut self.seen, outer, order);
        reorder(carriers, &mut self.own, outer, order);
        let map = &mut self.maps[id.index()][outer];
        *map = map.times(&Dense::permutation(order));
    }

    /// Brings the neurons of a group into the best order, and then what is within each.
    fn order(&mut self, id: GroupId) -> Result<(), FusionError> {
        let group = self.group(id);
        let inside = self.structure.inside(id);
        // What neurons within others can take any map of is compared below.
        let gate = self.structure.gates.iter().find(|gate| gate.group == id);
        let found = products(group.carriers.iter(), &self.seen, &self.anchor, group.size, |carrier, at| {
            !carrier.has_inner[at] && gate.is_none_or(|gate| !gate.has(carrier))
        });
        let mut score = found.transposed();
        let signed = gate.map(|gate| products(gate.carriers(), &self.seen, &self.anchor, group.size, |_, _| true));
        if let Some(signed) = &signed {
            // Their sign is free.
            let agreement = signed.transposed().data;
            score.data.iter_mut().zip(agreement).for_each(|(score, found)| *score += found.abs());
        }
        let blocks: Vec<(GroupId, Dense)> = inside.iter().map(|&inner| (inner, self.all_products(inner))).collect();
        for (inner, products) in &blocks {
            let inner = self.group(*inner);
            let pairs: Vec<f64> = (0..group.size * group.size)
                .into_par_iter()
                .map(|pair| {
                    let (to, from) = (pair / group.size, pair % group.size);
                    let range = |at: usize| at * inner.size..(at + 1) * inner.size;
                    let block = products.block(range(from), range(to));
                    match inner.rotation {
                        Some(_) => Ok(block.nuclear_norm()),
                        None => best_order(&block.transposed())
                            .map(|order| order.iter().enumerate().map(|(to, &from)| block.get(from, to)).sum::<f64>()),
                    }
                })
                .collect::<Result<_, TransportError>>()
                .map_err(|error| self.failed(id, error))?;
            score.data.iter_mut().zip(pairs).for_each(|(score, pair)| *score += pair);
        }
        let structure = self.structure;
        let turned: Vec<&Pairs> = structure.pairs.iter().filter(|pairs| pairs.heads == Some(id)).collect();
        for pairs in &turned {
            let products = pairs.products(&self.seen, &self.anchor);
            let range = |at: usize| at * pairs.width..(at + 1) * pairs.width;
            for (pair, score) in score.data.iter_mut().enumerate() {
                let block = products.block(range(pair % group.size), range(pair / group.size));
                *score += pairs.agreement(&block);
            }
        }
        let order = best_order(&score).map_err(|error| self.failed(id, error))?;
        self.reorder(id, 0, &order);
        turned.iter().for_each(|pairs| self.turn_pairs(pairs));
        if let (Some(gate), Some(signed)) = (gate, signed) {
            let sign = |(to, &from): (usize, &usize)| if signed.get(from, to) < 0.0 { -1.0 } else { 1.0 };
            let signs: Vec<f64> = order.iter().enumerate().map(sign).collect();
            gate.stretch(&mut self.seen, &signs);
            gate.stretch(&mut self.own, &signs);
        }
        for &inner in &inside {
            let maps = &self.maps[inner.index()];
            self.maps[inner.index()] = order.iter().map(|&from| maps[from].clone()).collect();
        }
        // One after the other, each given the maps of those before it.
        for &inner in &inside {
            let (group, products) = (self.group(inner), self.all_products(inner));
            for outer in 0..order.len() {
                let range = outer * group.size..(outer + 1) * group.size;
                let block = products.block(range.clone(), range);
                match group.rotation {
                    Some(_) => self.turn(inner, outer, &self.nearest(group, &block)),
                    None => {
                        let order = best_order(&block.transposed()).map_err(|error| self.failed(inner, error))?;
                        self.reorder(inner, outer, &order);
                    }
                }
            }
        }
        Ok(())
    }

    /// Turns the pairs of all heads.
    fn turn_pairs(&mut self, pairs: &Pairs) {
        let products = pairs.products(&self.seen, &self.anchor);
        let carriers = pairs.all();
        for head in 0..pairs.heads() {
            let range = head * pairs.width..(head + 1) * pairs.width;
            let map = pairs.nearest(&products.block(range.clone(), range));
            turn(&carriers, &mut self.seen, head, &map);
            turn(&carriers, &mut self.own, head, &map);
        }
    }

    /// The products of neurons within others, those of all outer neurons behind one another.
    fn all_products(&self, inner: GroupId) -> Dense {
        let group = self.group(inner);
        let size = group.size * self.maps[inner.index()].len();
        products(group.carriers.iter(), &self.seen, &self.anchor, size, |_, _| true)
    }

    fn failed(&self, id: GroupId, source: TransportError) -> FusionError {
        FusionError::Transport { model: self.model, group: id.index(), member: self.networks.group_name(id), source }
    }

    /// What became of the groups.
    pub fn alignments(&self) -> Vec<GroupAlignment> {
        let row = |id: GroupId| {
            let (group, maps) = (self.group(id), &self.maps[id.index()]);
            let carriers: HashSet<ValueId> = group.carriers.iter().map(|carrier| carrier.tensor).collect();
            let distance = |id: &ValueId| -> f64 {
                let (Some(a), Some(b)) = (self.anchor.get(id), self.seen.get(id)) else { return 0.0 };
                a.data.iter().zip(&b.data).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let mut sorted: Vec<ValueId> = carriers.into_iter().collect();
            sorted.sort();
            GroupAlignment {
                name: self.networks.group_name(id),
                size: group.size,
                anchor_size: group.size,
                cost: sorted.iter().map(distance).sum(),
                gap: 0.0,
                termination: if group.rotation.is_some() { "orthogonal" } else { "optimal" }.into(),
                matched_fraction: matched(maps),
                plan: saved(maps, group.rotation.is_some() || group.within.is_some()),
            }
        };
        self.ids().map(row).collect()
    }

    pub fn into_weights(self) -> Weights {
        self.own
    }
}

/// The share of the neurons' squared lengths that goes to their best partners; 1 for a permutation.
fn matched(maps: &[Dense]) -> f64 {
    let largest = |row: &[f64]| row.iter().map(|value| value * value).fold(0.0, f64::max);
    let rows = maps.iter().flat_map(|map| map.data.chunks_exact(map.columns.max(1)).map(largest));
    let count: usize = maps.iter().map(|map| map.rows).sum();
    rows.sum::<f64>() / count.max(1) as f64
}

fn saved(maps: &[Dense], is_rotated: bool) -> SavedPlan {
    if is_rotated {
        return SavedPlan::Rotations(maps.iter().map(|map| map.data.clone()).collect());
    }
    let target = |row: &[f64]| row.iter().position(|&value| value > 0.5).unwrap_or(0);
    SavedPlan::Permutation(maps[0].data.chunks_exact(maps[0].columns.max(1)).map(target).collect())
}

/// For each row the column, so that the sum of these elements is largest and each column is taken once.
pub(crate) fn best_order(score: &Dense) -> Result<Vec<usize>, TransportError> {
    let (rows, columns) = (score.rows, score.columns);
    if rows <= 1 {
        return Ok((0..rows).collect());
    }
    let largest = score.data.iter().fold(f64::NEG_INFINITY, |largest, &value| largest.max(value));
    let cost = score.data.iter().map(|value| largest - value).collect();
    let solution = Solver::Exact.solve(&Problem::uniform(CostMatrix::new(rows, columns, cost)?)?)?;
    Ok(match &solution.plan {
        TransportPlan::Permutation(order) => order.as_slice().to_vec(),
        plan => {
            let mut order: Vec<usize> = (0..rows).collect();
            plan.entries().filter(|entry| entry.2 > 0.0).for_each(|(row, column, _)| order[row] = column);
            order
        }
    })
}

/// For each neuron of the anchor the one of the model whose values go most along with its own, each taken once. Tables have a
/// row of values for each neuron; with `is_signed` off, those that go against it count as well.
pub(super) fn by_values(
    own: &[Vec<f32>],
    of_anchor: &[Vec<f32>],
    size: usize,
    is_signed: bool,
) -> Result<Vec<usize>, TransportError> {
    let mut score = Dense::zeros(size, size);
    for (own, of_anchor) in own.iter().zip(of_anchor) {
        let table = |values: &[f32]| {
            let data = values.iter().map(|&value| f64::from(value)).collect();
            Dense { rows: size, columns: values.len() / size.max(1), data }.centred()
        };
        let (own, of_anchor) = (table(own), table(of_anchor));
        if own.columns == of_anchor.columns {
            let found = of_anchor.times(&own.transposed());
            let found = found.data.into_iter().map(|found| if is_signed { found } else { found.abs() });
            score.data.iter_mut().zip(found).for_each(|(score, found)| *score += found);
        }
    }
    best_order(&score)
}

/// A permutation after which neurons were put into another order.
pub(super) fn reordered(plan: &SavedPlan, order: &[usize]) -> SavedPlan {
    let SavedPlan::Permutation(targets) = plan else { return plan.clone() };
    let mut now = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| now[from] = to);
    SavedPlan::Permutation(targets.iter().map(|&target| now[target]).collect())
}

/// Whether all other axes of a weight of several axes have a fixed order.
fn is_table(graph: &Graph, networks: &Networks, carrier: &Carrier) -> bool {
    let layouts = networks.groups().layouts(carrier.tensor).unwrap_or_default();
    let rest = layouts.iter().enumerate().filter(|(axis, _)| *axis != carrier.axis);
    let rank = graph.initializer(carrier.tensor).map_or(0, |tensor| tensor.shape().len());
    rank > 1 && rest.into_iter().all(|(_, layout)| layout.is_fixed())
}

/// Weights as they are compared: without what no normalisation that centres sees.
fn centred(structure: &Structure, mut weights: Weights) -> Weights {
    for group in &structure.groups {
        if group.within.is_some() || !group.rotation.is_some_and(|rotation| rotation.keeps_ones && rotation.is_stream) {
            continue;
        }
        for carrier in &group.carriers {
            if let Some(array) = weights.get_mut(&carrier.tensor) {
                array.centre(carrier.axis);
            }
        }
    }
    // What all rows of one table have in common could as well be in those of another that is added to it.
    for tables in &structure.tables {
        let Some((first, rest)) = tables.split_first() else { continue };
        for table in rest {
            let Some(mean) = weights.get_mut(table).map(super::weights::Array::take_mean_row) else { continue };
            if let Some(array) = weights.get_mut(first) {
                array.data.iter_mut().enumerate().for_each(|(at, value)| *value += mean[at % mean.len()]);
            }
        }
    }
    weights
}
