//! Partial fusion: neurons without a good partner stay apart.
//!
//! Between one network and the ensemble lies a curve: of each group the worst matched pairs are not averaged but both
//! kept, so that the result is wider (after G. Stoica et al., "ZipIt! Merging Models from Different Tasks without Training",
//! ICLR 2024, and A. Nasery et al., "PLeaS: Merging Models with Permutations and Least Squares", CVPR 2025, which leave the
//! later layers or the less similar features unmerged). A neuron that stays apart keeps its own incoming weights, from the
//! neurons that its network has, and is read with its network's averaging weight. With every pair apart the result
//! computes the mean of both networks' outputs before the last nonlinearity.

use otfuse_graph::{AxisLayout, Graph, GraphEditor, GroupId, Operator, Role, Tensor, ValueId, select};

use crate::average::rounded;
use crate::error::FusionError;
use crate::features::neuron_rows;
use crate::fuse::Fusion;
use crate::networks::Networks;

/// Which neurons a slot of a partially fused group stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// A pair, averaged.
    Pair,
    /// The neuron of one model alone.
    Only(usize),
}

/// Two fused networks of which the worst matched pairs of every group stay apart, until the group has `budget` times its
/// size; `budget` lies from 1 (all averaged) to 2 (none).
///
/// Groups within others, groups that others are within and groups that a normalisation runs over (layer, group or instance
/// normalisation) are averaged whole. Linear in the number of weights.
///
/// # Errors
/// Other than two models, unequal widths, a budget out of range, lengths that cannot be adapted.
pub fn fuse_partially(networks: &Networks, fusion: &Fusion, budget: f64) -> Result<Graph, FusionError> {
    if !(1.0..=2.0).contains(&budget) || networks.len() != 2 || !networks.equal_sizes() {
        return Err(FusionError::WidthBudget { budget, models: networks.len() });
    }
    let anchor = networks.reference();
    let partial = Partial::new(networks, fusion, budget);
    let wide = select(anchor, networks.groups(), &partial.chosen)?;
    let mut editor = GraphEditor::edit(wide);
    for (id, tensor) in anchor.initializers().filter(|(id, _)| anchor.is_weight(*id)) {
        let (shape, values) = partial.tensor(id, tensor);
        if let Some(found) = editor.find(&anchor.value(id).name) {
            editor.set_tensor(found, Tensor::from_f32_as(tensor.data_type(), &shape, values));
        }
    }
    rounded(networks, editor.finish()?)
}

struct Partial<'a> {
    networks: &'a Networks,
    fusion: &'a Fusion,
    /// For each group the slots of the result, and the anchor's neuron (or its partner) that each stands for.
    slots: Vec<Vec<Slot>>,
    chosen: Vec<Vec<usize>>,
}

impl<'a> Partial<'a> {
    fn new(networks: &'a Networks, fusion: &'a Fusion, budget: f64) -> Self {
        let (mut slots, mut chosen) = (Vec::new(), Vec::new());
        let other = 1 - networks.anchor();
        for (group, _) in networks.groups().iter() {
            let size = networks.size(networks.anchor(), group);
            let apart = if is_divisible(networks, group) {
                let count = (((budget - 1.0) * size as f64).round() as usize).min(size);
                let distances = distances(networks, fusion, group);
                let mut order: Vec<usize> = (0..size).collect();
                order.sort_by(|&a, &b| distances[b].total_cmp(&distances[a]).then(a.cmp(&b)));
                order.truncate(count);
                order.sort_unstable();
                order
            } else {
                Vec::new()
            };
            let mut of_group = vec![Slot::Pair; size];
            apart.iter().for_each(|&neuron| of_group[neuron] = Slot::Only(networks.anchor()));
            of_group.extend(apart.iter().map(|_| Slot::Only(other)));
            slots.push(of_group);
            chosen.push((0..size).chain(apart).collect());
        }
        Self { networks, fusion, slots, chosen }
    }

    /// The weight of the result: its shape and values.
    fn tensor(&self, id: ValueId, of_anchor: &Tensor) -> (Vec<usize>, Vec<f32>) {
        let layouts = self.networks.groups().layouts(id).unwrap_or_default();
        let mut sum: Vec<f64> = Vec::new();
        let mut shape = of_anchor.shape().to_vec();
        for model in 0..self.networks.len() {
            let aligned = self.fusion.aligned_weight(self.networks, model, id);
            let mut values: Vec<f64> = aligned.into_iter().map(f64::from).collect();
            shape = of_anchor.shape().to_vec();
            // The averaging weight counts once, on the axis whose neurons are computed.
            let mut weight = self.fusion.weights[model];
            for (axis, layout) in layouts.iter().enumerate().filter(|(_, layout)| !layout.is_fixed()) {
                let is_producer = self.networks.role(id, axis) == Role::Producer;
                let averaged = if is_producer { std::mem::replace(&mut weight, 1.0) } else { 1.0 };
                (values, shape[axis]) = self.widened(values, &shape, axis, layout, model, averaged);
            }
            sum.resize(values.len(), 0.0);
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        (shape, sum.into_iter().map(|value| value as f32).collect())
    }

    /// One axis with the slots of its groups; pairs, and what belongs to no group, are multiplied by `averaged`.
    fn widened(
        &self,
        values: Vec<f64>,
        shape: &[usize],
        axis: usize,
        layout: &AxisLayout,
        model: usize,
        averaged: f64,
    ) -> (Vec<f64>, usize) {
        let size = |group: GroupId| self.networks.size(self.networks.anchor(), group);
        let slots = |group: GroupId| self.slots[group.index()].len();
        let indices = layout.reindexed(&size, &|group: GroupId| self.chosen[group.index()].as_slice());
        let factor = |index: usize| {
            layout.neurons_at(index, &slots).into_iter().fold(averaged, |factor, (group, slot)| {
                match self.slots[group.index()][slot] {
                    Slot::Pair => factor,
                    Slot::Only(owner) if owner == model => factor / averaged,
                    Slot::Only(_) => 0.0,
                }
            })
        };
        let factors: Vec<f64> = (0..indices.len()).map(factor).collect();
        let inner: usize = shape[axis + 1..].iter().product();
        let mut result = Vec::with_capacity(values.len() / shape[axis].max(1) * indices.len());
        for outer in values.chunks_exact((shape[axis] * inner).max(1)) {
            for (&index, factor) in indices.iter().zip(&factors) {
                result.extend(outer[index * inner..(index + 1) * inner].iter().map(|value| value * factor));
            }
        }
        (result, indices.len())
    }
}

/// Whether neurons of a group may stay apart.
fn is_divisible(networks: &Networks, group: GroupId) -> bool {
    let graph = networks.reference();
    let found = networks.groups().group(group);
    let is_normalized = found.observations.iter().any(|observation| {
        let readers = graph.nodes().filter(|(_, node)| node.input(0) == Some(observation.value));
        let mut operators = readers.map(|(_, node)| &node.operator);
        operators.any(|operator| {
            matches!(
                operator,
                Operator::LayerNormalization { .. }
                    | Operator::GroupNormalization { .. }
                    | Operator::InstanceNormalization { .. }
                    | Operator::Softmax { .. }
            ) || matches!(operator, Operator::Reduce { .. })
        })
    });
    found.within.is_none() && networks.groups().inside(group).next().is_none() && !is_normalized
}

/// For each neuron of the anchor one less the cosine between its incoming weights and those of its partner.
fn distances(networks: &Networks, fusion: &Fusion, group: GroupId) -> Vec<f64> {
    let anchor = networks.anchor();
    let size = |group: GroupId| networks.size(anchor, group);
    let count = size(group);
    let mut products = vec![[0.0_f64; 3]; count];
    for member in networks.groups().group(group).members_as(Role::Producer) {
        let shape = networks.tensor(anchor, member.initializer).shape();
        let Some(layouts) = networks.groups().layouts(member.initializer).filter(|_| shape.len() > 1) else { continue };
        let neurons = layouts[member.axis].neurons(group, &size);
        let (outer, inner) = (shape[..member.axis].iter().product(), shape[member.axis + 1..].iter().product());
        let [own, other] = [anchor, 1 - anchor].map(|model| {
            let values = fusion.aligned_weight(networks, model, member.initializer);
            neuron_rows(&values, outer, &neurons, inner, count)
        });
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
