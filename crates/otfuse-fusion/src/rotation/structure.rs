//! What of a network may be rotated, and the form in which two networks of one function look alike.

use std::collections::HashSet;

use otfuse_graph::{Graph, GroupId, NeuronGroups, Operator, ValueId};

use super::NotRotated;
use super::carriers::{Carrier, carriers};
use super::folds::{Fold, folds};
use super::gates::{Gate, gate};
use super::heads::{HeadProduct, head_products};
use super::pairs::{Pairs, pairs};
use super::rules::{Freedom, freedom};
use super::weights::Weights;
use super::wiring::Wiring;

/// What a network's neuron groups allow.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    pub groups: Vec<Group>,
    pub folds: Vec<Fold>,
    pub products: Vec<HeadProduct>,
    pub pairs: Vec<Pairs>,
    pub gates: Vec<Gate>,
    /// For each stream the tables whose rows are looked up and added to it, the longest first.
    pub tables: Vec<Vec<ValueId>>,
}

/// A neuron group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub size: usize,
    pub within: Option<GroupId>,
    /// Whether any orthogonal map of it is free, and whether it has to keep the vector of ones; else any order is.
    pub rotation: Option<Rotation>,
    pub(super) carriers: Vec<Carrier>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rotation {
    pub keeps_ones: bool,
    /// Whether it is a stream that normalisations read.
    pub is_stream: bool,
}

impl Structure {
    /// `O(groups nodes)`.
    pub fn of(graph: &Graph, groups: &NeuronGroups) -> Result<Self, NotRotated> {
        let wiring = Wiring::new(graph, groups);
        let folds = folds(&wiring);
        let mut rotations = Vec::with_capacity(groups.len());
        let mut refused: Vec<(usize, GroupId, String)> = Vec::new();
        for (id, group) in groups.iter() {
            let of_group = || folds.iter().filter(|fold| fold.group == id);
            let scales: HashSet<ValueId> = of_group().map(|fold| fold.scale).collect();
            let rotation = match freedom(&wiring, id, &scales) {
                Freedom::Rotation { keeps_ones } if group.size > 1 => {
                    Some(Rotation { keeps_ones, is_stream: !scales.is_empty() })
                }
                Freedom::Order(reason) => {
                    refused.push((group.members.len(), id, reason));
                    None
                }
                Freedom::Rotation { .. } => None,
            };
            let without = if rotation.is_some() { scales } else { HashSet::new() };
            rotations.push((rotation, without));
        }
        // Most networks end here; where their neurons stand takes longer to find.
        if !rotations.iter().any(|(rotation, _)| rotation.is_some_and(|rotation| rotation.is_stream)) {
            return Err(not_rotated(&wiring, refused));
        }
        let mut found = Vec::with_capacity(groups.len());
        for ((id, group), (rotation, without)) in groups.iter().zip(rotations) {
            let carriers = carriers(&wiring, id, &without);
            let carriers = carriers.ok_or_else(|| NotRotated::Order(format!("of group {}", id.index())))?;
            found.push(Group { size: group.size, within: group.within, rotation, carriers });
        }
        let is_stream = |id: GroupId| found[id.index()].rotation.is_some_and(|rotation| rotation.is_stream);
        let folds = folds.into_iter().filter(|fold| is_stream(fold.group)).collect();
        let rotated = groups.iter().filter(|(id, _)| found[id.index()].rotation.is_some());
        let products = rotated.flat_map(|(id, _)| head_products(&wiring, id, &found[id.index()].carriers)).collect();
        let streams = groups.iter().map(|(id, _)| id).filter(|&id| is_stream(id));
        let tables = streams.map(|id| looked_up(&wiring, &found[id.index()].carriers)).collect();
        let pairs = pairs(&wiring);
        for pairs in &pairs {
            let Some(heads) = pairs.heads else { continue };
            for carrier in &mut found[heads.index()].carriers {
                let covered: Vec<bool> = (0..carrier.occurrences()).map(|at| pairs.covers(carrier, at)).collect();
                carrier.has_inner.iter_mut().zip(covered).for_each(|(has_inner, covered)| *has_inner |= covered);
            }
        }
        let ordered = groups.iter().filter(|(id, group)| {
            found[id.index()].rotation.is_none() && group.within.is_none() && groups.inside(*id).next().is_none()
        });
        let gates = ordered.filter_map(|(id, _)| gate(&wiring, id, &found[id.index()].carriers)).collect();
        Ok(Self { groups: found, folds, products, pairs, gates, tables })
    }

    /// Whether the canonical form of these weights exists: no scale that has to be divided by is 0.
    pub fn fits(&self, weights: &Weights) -> bool {
        self.folds.iter().all(|fold| fold.is_possible(weights))
    }

    /// Brings weights into the canonical form, which computes the same.
    pub fn settle(&self, weights: &mut Weights) {
        self.folds.iter().for_each(|fold| fold.apply(weights));
        self.products.iter().for_each(|product| product.settle(weights));
        self.products.iter().for_each(|product| product.balance(weights));
        self.pairs.iter().for_each(|pairs| pairs.balance(weights));
        self.gates.iter().for_each(|gate| gate.balance(weights));
    }

    pub fn inside(&self, outer: GroupId) -> Vec<GroupId> {
        let all = (0..self.groups.len()).map(GroupId::new);
        all.filter(|group| self.groups[group.index()].within == Some(outer)).collect()
    }
}

/// The tables among some weights whose rows are looked up, the longest first.
fn looked_up(wiring: &Wiring<'_>, carriers: &[Carrier]) -> Vec<ValueId> {
    let rows = |tensor: ValueId| wiring.graph.initializer(tensor).map_or(0, |tensor| tensor.shape()[0]);
    let is_table = |carrier: &&Carrier| {
        let rank = wiring.graph.initializer(carrier.tensor).map_or(0, |tensor| tensor.shape().len());
        let reader = wiring.only_reader(carrier.tensor).map(|(node, _)| &wiring.graph.node(node).operator);
        rank == 2 && carrier.axis == 1 && matches!(reader, Some(Operator::Gather { axis: 0 }))
    };
    let mut found: Vec<ValueId> = carriers.iter().filter(is_table).map(|carrier| carrier.tensor).collect();
    found.sort_by_key(|&tensor| (std::cmp::Reverse(rows(tensor)), tensor));
    found
}

/// Why no stream is rotated: a weight that is read in two places, or what the group with the most weights meets.
fn not_rotated(wiring: &Wiring<'_>, mut refused: Vec<(usize, GroupId, String)>) -> NotRotated {
    refused.sort_by_key(|(members, id, _)| (std::cmp::Reverse(*members), *id));
    let Some((_, group, reason)) = refused.into_iter().next() else {
        return NotRotated::NoStream;
    };
    let layers = wiring.graph.nodes().filter_map(|(id, _)| wiring.linear(id));
    let shared = |layer: &super::wiring::Linear| {
        wiring.only_group(layer.weight, layer.inputs) == Some(group) && !wiring.is_read_once(layer.weight)
    };
    match layers.into_iter().find(shared) {
        Some(layer) => NotRotated::Tied(wiring.graph.value(layer.weight).name.clone()),
        None => NotRotated::Order(reason),
    }
}
