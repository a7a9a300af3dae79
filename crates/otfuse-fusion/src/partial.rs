//! Partial fusion: neurons without a good partner stay apart.
//!
//! Between one network and the ensemble lies a curve: of each group the worst matched pairs are not averaged but both
//! kept, so that the result is wider (after G. Stoica et al., "ZipIt! Merging Models from Different Tasks without Training",
//! ICLR 2024, and A. Nasery et al., "PLeaS: Merging Models with Permutations and Least Squares", CVPR 2025, which leave the
//! later layers or the less similar features unmerged). A neuron that stays apart keeps its own incoming weights, from the
//! neurons that its network has, and is read with its network's averaging weight. With every pair apart the result
//! computes the mean of both networks' outputs before the last nonlinearity.

use std::collections::BTreeMap;

use otfuse_graph::{
    AxisLayout, Facts, Graph, GraphEditor, GroupId, NeuronGroups, Operator, Role, Tensor, ValueId, select,
};

use crate::average::rounded;
use crate::error::FusionError;
use crate::fuse::Fusion;
use crate::importance::{member_rows, norms, outgoing_norms};
use crate::map::GroupMap;
use crate::networks::Networks;

/// Neurons that a group keeps at least: an axis of length 1 cannot be told from one that is broadcast.
const LEAST: usize = 2;

/// The weights that make a neuron, without biases.
const INCOMING: (Role, usize) = (Role::Producer, 2);

/// Which neurons a result of another width has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Apart {
    /// Every neuron of the reference averaged with its partners, but for the worst matched, which stay apart.
    #[default]
    WorstMatched,
    /// No neuron is averaged: of all networks' neurons side by side the most important are kept, those whose incoming weights
    /// times their outgoing ones have the largest norms.
    Strongest,
}

/// What a neuron of the result stands for: one of the anchor's, or rather those of its partners that are averaged in it.
#[derive(Clone, Debug, PartialEq)]
struct Slot {
    neuron: usize,
    /// Whether each model has a part in it.
    owners: Vec<bool>,
}

/// Networks fused into one of another width.
#[derive(Clone, Debug)]
pub struct Resized {
    /// The result.
    pub graph: Graph,
    /// What a repair works on: the models with the result behind them, which is the anchor and has no weight, and how each
    /// model's neurons went into it. Nothing where groups of the networks have no counterpart in the result.
    pub parts: Option<(Networks, Fusion)>,
}

/// Fused networks of which some neurons stay apart, so that every group has `budget` times the anchor's size. `budget` lies
/// from 1 (all averaged) to the number of models that count (none) with [`Apart::WorstMatched`], from above 0 with
/// [`Apart::Strongest`].
///
/// Groups within others and groups that a normalisation runs over (layer, group or instance normalisation, softmax, mean)
/// are averaged whole. Linear in the number of weights.
///
/// # Errors
/// Unequal widths, a budget out of range, lengths that cannot be adapted.
pub fn fuse_partially(networks: &Networks, fusion: &Fusion, budget: f64, apart: Apart) -> Result<Resized, FusionError> {
    let counting = fusion.weights.iter().filter(|weight| **weight > 0.0).count();
    let least = match apart {
        Apart::WorstMatched => 1.0,
        Apart::Strongest => f64::MIN_POSITIVE,
    };
    if !(least..=counting as f64).contains(&budget) || !networks.equal_sizes() {
        return Err(FusionError::WidthBudget { budget, models: networks.len() });
    }
    let anchor = networks.reference();
    let partial = Partial::new(networks, fusion, budget, apart);
    let chosen: Vec<Vec<usize>> =
        partial.slots.iter().map(|slots| slots.iter().map(|slot| slot.neuron).collect()).collect();
    let wide = select(anchor, networks.groups(), &chosen)?;
    let mut editor = GraphEditor::edit(wide);
    for (id, tensor) in anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)) {
        let (shape, values) = partial.tensor(id, tensor, &chosen);
        if let Some(found) = editor.find(&anchor.value(id).name) {
            editor.set_tensor(found, Tensor::from_f32_as(tensor.data_type(), &shape, values));
        }
    }
    let graph = rounded(networks, editor.finish()?)?;
    partial.resized(graph)
}

struct Partial<'a> {
    networks: &'a Networks,
    fusion: &'a Fusion,
    /// For each group what its neurons in the result stand for.
    slots: Vec<Vec<Slot>>,
}

impl<'a> Partial<'a> {
    fn new(networks: &'a Networks, fusion: &'a Fusion, budget: f64, apart: Apart) -> Self {
        let facts = Facts::of(networks.reference()).ok();
        let mut slots = Vec::new();
        for (group, _) in networks.groups().iter() {
            slots.push(match apart {
                _ if !is_divisible(networks, facts.as_ref(), group) => whole(networks, fusion, group),
                Apart::WorstMatched => worst_apart(networks, fusion, group, budget),
                Apart::Strongest => strongest(networks, fusion, group, budget),
            });
        }
        Self { networks, fusion, slots }
    }

    /// The weight of the result: its shape and values.
    fn tensor(&self, id: ValueId, of_anchor: &Tensor, chosen: &[Vec<usize>]) -> (Vec<usize>, Vec<f32>) {
        let layouts = self.networks.groups().layouts(id).unwrap_or_default();
        let mut sum: Vec<f64> = Vec::new();
        let mut shape = of_anchor.shape().to_vec();
        for model in (0..self.networks.len()).filter(|&model| self.fusion.weights[model] > 0.0) {
            let aligned = self.fusion.aligned_weight(self.networks, model, id);
            let mut values: Vec<f64> = aligned.into_iter().map(f64::from).collect();
            shape = of_anchor.shape().to_vec();
            // The averaging weight counts once, on the axis whose neurons are computed.
            let mut is_weighed = false;
            for (axis, layout) in layouts.iter().enumerate().filter(|(_, layout)| !layout.is_fixed()) {
                let is_producer = self.networks.role(id, axis) == Role::Producer;
                let averages = is_producer && !is_weighed;
                is_weighed |= is_producer;
                let indices = self.reindexed(layout, chosen);
                let factors: Vec<f64> =
                    (0..indices.len()).map(|index| self.factor(layout, index, model, averages)).collect();
                (values, shape[axis]) = (widened(&values, &shape, axis, &indices, &factors), indices.len());
            }
            let weight = if is_weighed { 1.0 } else { self.fusion.weights[model] };
            sum.resize(values.len(), 0.0);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        (shape, sum.into_iter().map(|value| value as f32).collect())
    }

    fn reindexed(&self, layout: &AxisLayout, chosen: &[Vec<usize>]) -> Vec<usize> {
        let size = |group: GroupId| self.networks.size(self.networks.anchor(), group);
        layout.reindexed(&size, &|group: GroupId| chosen[group.index()].as_slice())
    }

    /// What a model's share of a place on an axis is multiplied with: its part in the mean where the axis is computed, and
    /// nothing where it has no part.
    fn factor(&self, layout: &AxisLayout, index: usize, model: usize, averages: bool) -> f64 {
        let slots = |group: GroupId| self.slots[group.index()].len();
        let own = self.fusion.weights[model];
        let mut factor = if averages { own } else { 1.0 };
        for (group, slot) in layout.neurons_at(index, &slots) {
            let owners = &self.slots[group.index()][slot].owners;
            if !owners[model] {
                return 0.0;
            }
            if averages {
                let total: f64 =
                    owners.iter().zip(&self.fusion.weights).filter(|(owns, _)| **owns).map(|(_, weight)| weight).sum();
                factor = factor.max(own / total);
            }
        }
        factor
    }

    /// The result as one more network of the fusion, which has no weight.
    fn resized(&self, graph: Graph) -> Result<Resized, FusionError> {
        let model = self.networks.len();
        let groups = NeuronGroups::of(&graph).map_err(|source| FusionError::Analysis { model, source })?;
        let mut analysed = Vec::with_capacity(model + 1);
        for other in 0..model {
            let of_model = self.networks.graph(other);
            let found = NeuronGroups::of(of_model);
            analysed.push((of_model, found.map_err(|source| FusionError::Analysis { model: other, source })?));
        }
        analysed.push((&graph, groups));
        let models: Vec<(&Graph, &NeuronGroups)> = analysed.iter().map(|(graph, groups)| (*graph, groups)).collect();
        let networks = Networks::analysed(&models, model)?;
        let Some(places) = self.places(&networks) else { return Ok(Resized { graph, parts: None }) };
        let mut maps = vec![Vec::new(); model + 1];
        for (other, maps) in maps.iter_mut().enumerate().take(model) {
            *maps = vec![None; networks.groups().len()];
            for (old, new) in places.iter().enumerate() {
                maps[new.index()] = self.map(other, old, &places);
            }
        }
        let mut weights = self.fusion.weights.clone();
        weights.push(0.0);
        let fusion = Fusion { graph: graph.clone(), weights, maps, ..self.fusion.clone() };
        Ok(Resized { graph, parts: Some((networks, fusion)) })
    }

    /// What each group is called among those of the result.
    fn places(&self, networks: &Networks) -> Option<Vec<GroupId>> {
        // An axis may hold several groups, which come in the same order.
        let named = |networks: &Networks| {
            let mut found: BTreeMap<(String, usize, bool), Vec<GroupId>> = BTreeMap::new();
            for (group, described) in networks.groups().iter() {
                let member = described.members.first()?;
                let name = networks.reference().value(member.initializer).name.clone();
                found.entry((name, member.axis, described.within.is_some())).or_default().push(group);
            }
            Some(found)
        };
        let (old, new) = (named(self.networks)?, named(networks)?);
        let mut places = vec![None; self.networks.groups().len()];
        for (name, groups) in old {
            let of_result = new.get(&name).filter(|of_result| of_result.len() == groups.len())?;
            groups.iter().zip(of_result).for_each(|(group, place)| places[group.index()] = Some(*place));
        }
        places.into_iter().collect()
    }

    /// How the neurons of a group of a model go into those of the result.
    fn map(&self, model: usize, group: usize, places: &[GroupId]) -> Option<GroupMap> {
        let known = self.fusion.maps[model].get(group).and_then(Option::as_ref);
        let described = self.networks.groups().group(GroupId::new(group));
        let taken = |slots: &[Slot]| -> Vec<Option<usize>> {
            slots.iter().map(|slot| slot.owners[model].then_some(slot.neuron)).collect()
        };
        let size = |group: GroupId| self.networks.size(self.networks.anchor(), group);
        match described.within {
            None => Some(GroupMap::taken(known, size(GroupId::new(group)), &taken(&self.slots[group]))),
            Some(outer) => {
                let outer_place = places[outer.index()];
                let slots = taken(&self.slots[outer.index()]);
                Some(GroupMap::taken_within(known, outer_place, size(GroupId::new(group)), &slots))
            }
        }
    }
}

/// All neurons of a group averaged.
fn whole(networks: &Networks, fusion: &Fusion, group: GroupId) -> Vec<Slot> {
    let owners: Vec<bool> = fusion.weights.iter().map(|weight| *weight > 0.0).collect();
    let size = networks.size(networks.anchor(), group);
    (0..size).map(|neuron| Slot { neuron, owners: owners.clone() }).collect()
}

/// The worst matched neurons each by themselves, behind all others.
fn worst_apart(networks: &Networks, fusion: &Fusion, group: GroupId, budget: f64) -> Vec<Slot> {
    let mut slots = whole(networks, fusion, group);
    let size = slots.len();
    let anchor = networks.anchor();
    let counting: Vec<usize> = (0..networks.len()).filter(|&model| fusion.weights[model] > 0.0).collect();
    // The one that the others are compared with stays where it is.
    let reference = if counting.contains(&anchor) { anchor } else { counting[0] };
    let mut candidates = Vec::new();
    for &model in counting.iter().filter(|&&model| model != reference) {
        let of_model = distances(networks, fusion, group, reference, model);
        candidates.extend(of_model.into_iter().enumerate().map(|(neuron, distance)| (distance, neuron, model)));
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    candidates.truncate(((budget - 1.0) * size as f64).round() as usize);
    let mut apart: Vec<(usize, usize)> = candidates.into_iter().map(|(_, neuron, model)| (neuron, model)).collect();
    apart.sort_unstable();
    for (neuron, model) in apart {
        slots[neuron].owners[model] = false;
        slots.push(only(neuron, model, networks.len()));
    }
    slots
}

/// The most important neurons of all models, none averaged.
fn strongest(networks: &Networks, fusion: &Fusion, group: GroupId, budget: f64) -> Vec<Slot> {
    let size = networks.size(networks.anchor(), group);
    let mut candidates = Vec::new();
    for model in (0..networks.len()).filter(|&model| fusion.weights[model] > 0.0) {
        let values = |id: ValueId| fusion.aligned_weight(networks, model, id);
        let outgoing = outgoing_norms(networks, networks.anchor(), group, &values);
        let incoming = norms(member_rows(networks, networks.anchor(), group, INCOMING, &values), size);
        let strengths =
            incoming.iter().zip(outgoing).map(|(incoming, outgoing)| fusion.weights[model] * incoming * outgoing);
        candidates.extend(strengths.enumerate().map(|(neuron, strength)| (strength, neuron, model)));
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    candidates.truncate(((budget * size as f64).round() as usize).max(LEAST.min(size)));
    let mut kept: Vec<(usize, usize)> = candidates.into_iter().map(|(_, neuron, model)| (neuron, model)).collect();
    kept.sort_unstable();
    kept.into_iter().map(|(neuron, model)| only(neuron, model, networks.len())).collect()
}

fn only(neuron: usize, model: usize, models: usize) -> Slot {
    Slot { neuron, owners: (0..models).map(|other| other == model).collect() }
}

/// One axis with other neurons: for each the index that it had, and what it is multiplied with.
fn widened(values: &[f64], shape: &[usize], axis: usize, indices: &[usize], factors: &[f64]) -> Vec<f64> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut result = Vec::with_capacity(values.len() / shape[axis].max(1) * indices.len());
    for outer in values.chunks_exact((shape[axis] * inner).max(1)) {
        for (&index, factor) in indices.iter().zip(factors) {
            result.extend(outer[index * inner..(index + 1) * inner].iter().map(|value| value * factor));
        }
    }
    result
}

/// Whether neurons of a group may stay apart: nothing is normalised or reduced over them.
fn is_divisible(networks: &Networks, facts: Option<&Facts>, group: GroupId) -> bool {
    let graph = networks.reference();
    let found = networks.groups().group(group);
    let is_normalized = found.observations.iter().any(|observation| {
        let rank = facts.and_then(|facts| facts.shape(observation.value)).map(Vec::len);
        let is_here = |axis: i64| match rank {
            Some(rank) => axis.rem_euclid(rank.max(1) as i64) == observation.axis as i64,
            None => true,
        };
        let readers = graph.nodes().filter(|(_, node)| node.input(0) == Some(observation.value));
        let mut readers = readers.map(|(_, node)| node);
        readers.any(|node| match &node.operator {
            Operator::LayerNormalization { .. }
            | Operator::GroupNormalization { .. }
            | Operator::InstanceNormalization { .. } => true,
            Operator::Softmax { axis } | Operator::LogSoftmax { axis } => is_here(*axis),
            Operator::Reduce(_) => {
                let axes = node.input(1).and_then(|axes| facts?.integers(axes));
                axes.is_none_or(|axes| axes.is_empty() || axes.into_iter().any(is_here))
            }
            _ => false,
        })
    });
    found.within.is_none() && !is_normalized
}

/// For each neuron one less the cosine between its incoming weights in two aligned models.
fn distances(networks: &Networks, fusion: &Fusion, group: GroupId, one: usize, another: usize) -> Vec<f64> {
    let anchor = networks.anchor();
    let count = networks.size(anchor, group);
    let [one, another] = [one, another].map(|model| move |id: ValueId| fusion.aligned_weight(networks, model, id));
    let mut products = vec![[0.0_f64; 3]; count];
    let own = member_rows(networks, anchor, group, INCOMING, &one);
    for (own, other) in own.zip(member_rows(networks, anchor, group, INCOMING, &another)) {
        let width = (own.len() / count.max(1)).max(1);
        for ((sums, a), b) in products.iter_mut().zip(own.chunks_exact(width)).zip(other.chunks_exact(width)) {
            for (&a, &b) in a.iter().zip(b) {
                let (a, b) = (f64::from(a), f64::from(b));
                sums[0] += a * b;
                sums[1] += a * a;
                sums[2] += b * b;
            }
        }
    }
    let distance = |[product, own, other]: [f64; 3]| {
        let norms = (own * other).sqrt();
        if norms > 0.0 { 1.0 - product / norms } else { 0.0 }
    };
    products.into_iter().map(distance).collect()
}
