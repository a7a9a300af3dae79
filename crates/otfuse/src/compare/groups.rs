//! Neuron groups of two networks, matched.

use otfuse_fusion::{Aligned, FusionError, Merging, Networks, SavedPlan};
use otfuse_graph::{AxisLayout, Graph, GroupId, Role};
use serde::Serialize;

/// Bars of a histogram from -1 to 1.
pub(crate) const BARS: usize = 20;

/// One model against the anchor.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedAlignment {
    /// The model.
    pub model: usize,
    /// Its groups.
    pub groups: Vec<ComparedGroup>,
}

/// How the neurons of one group are matched.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedGroup {
    /// The group's first weight.
    pub name: String,
    /// Neurons of the model.
    pub size: usize,
    /// Neurons of the anchor.
    pub anchor_size: usize,
    /// What the plan costs.
    pub cost: f64,
    /// How far the cost may be from the least one.
    pub gap: f64,
    /// How the solver ended.
    pub termination: String,
    /// The share of neurons with one clear partner.
    pub matched_fraction: f64,
    /// The share of the mass that does not stay where it is: 0 for the identity.
    pub moved: f64,
    /// How alike neurons with the same index are; none if sizes differ.
    pub before: Option<Quality>,
    /// How alike matched neurons are.
    pub after: Option<Quality>,
}

/// The cosines between the weights of neurons of two networks, earlier groups aligned.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Quality {
    pub mean: f64,
    pub least: f64,
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
    pub most: f64,
    /// Neurons in each of 20 equal steps from -1 to 1.
    pub histogram: Vec<usize>,
}

/// All groups of all models but the anchor.
pub(super) fn compare(networks: &Networks, aligned: &Aligned) -> Result<Vec<ComparedAlignment>, FusionError> {
    let mut found = Vec::new();
    for alignment in &aligned.alignments {
        let mut weights = vec![0.0; networks.len()];
        weights[alignment.model] = 1.0;
        let moved = aligned.average(&Merging::mean(), &weights)?;
        let model = alignment.model;
        let groups = alignment.groups.iter().map(|group| {
            // Heads and the channels within them are named by the same weight.
            let is_it = |id: GroupId| {
                let sizes = (networks.size(model, id), networks.size(networks.anchor(), id));
                networks.group_name(id) == group.name && sizes == (group.size, group.anchor_size)
            };
            let id = networks.groups().iter().map(|(id, _)| id).find(|&id| is_it(id));
            let quality =
                |graph: &Graph, own: bool| quality(networks, id?, graph, if own { Some(model) } else { None });
            ComparedGroup {
                name: group.name.clone(),
                size: group.size,
                anchor_size: group.anchor_size,
                cost: group.cost,
                gap: group.gap,
                termination: group.termination.clone(),
                matched_fraction: group.matched_fraction,
                moved: distance(&group.plan),
                before: quality(networks.graph(model), true).filter(|_| networks.equal_sizes()),
                after: quality(&moved, false),
            }
        });
        found.push(ComparedAlignment { model, groups: groups.collect() });
    }
    Ok(found)
}

/// The share of the mass that leaves its place.
fn distance(plan: &SavedPlan) -> f64 {
    match plan {
        SavedPlan::Permutation(targets) => {
            let moved = targets.iter().enumerate().filter(|(at, target)| at != *target).count();
            moved as f64 / targets.len().max(1) as f64
        }
        SavedPlan::Rotations(matrices) => {
            let kept = |matrix: &Vec<f64>| {
                let size = matrix.len().isqrt();
                (0..size).map(|at| matrix[at * size + at].powi(2)).sum::<f64>() / size.max(1) as f64
            };
            (1.0 - matrices.iter().map(kept).sum::<f64>() / matrices.len().max(1) as f64).max(0.0)
        }
        SavedPlan::Entries(entries) => {
            let total: f64 = entries.iter().map(|entry| entry.2).sum();
            let stays: f64 = entries.iter().filter(|entry| entry.0 == entry.1).map(|entry| entry.2).sum();
            if total > 0.0 { (1.0 - stays / total).max(0.0) } else { 0.0 }
        }
    }
}

/// Compares the neurons of a group in `graph` with the anchor's. `model` says whose ids `graph` has; the anchor's if none.
fn quality(networks: &Networks, id: GroupId, graph: &Graph, model: Option<usize>) -> Option<Quality> {
    let anchor = networks.graph(networks.anchor());
    let group = networks.groups().group(id);
    let (mut products, mut own, mut of_anchor) = (vec![0.0; group.size], vec![0.0; group.size], vec![0.0; group.size]);
    for member in group.members_as(Role::Producer) {
        let layout = networks.groups().layouts(member.initializer)?.get(member.axis)?;
        if *layout != AxisLayout::Group(id) || !anchor.is_weight(member.initializer) {
            continue;
        }
        let expected = anchor.initializer(member.initializer)?;
        let there = model.map_or(member.initializer, |model| networks.value(model, member.initializer));
        let found = graph.initializer(there)?;
        if expected.shape() != found.shape() || expected.shape().get(member.axis) != Some(&group.size) {
            continue;
        }
        let inner: usize = expected.shape()[member.axis + 1..].iter().product();
        let (expected, found) = (expected.to_f32()?, found.to_f32()?);
        for (at, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let neuron = at / inner.max(1) % group.size;
            let (expected, found) = (f64::from(*expected), f64::from(*found));
            products[neuron] += expected * found;
            own[neuron] += found * found;
            of_anchor[neuron] += expected * expected;
        }
    }
    let scales = own.iter().zip(&of_anchor).map(|(own, of_anchor)| (own * of_anchor).sqrt());
    let cosines = products.iter().zip(scales).filter(|(_, scale)| *scale > 0.0);
    let mut cosines: Vec<f64> = cosines.map(|(product, scale)| (product / scale).clamp(-1.0, 1.0)).collect();
    if cosines.is_empty() {
        return None;
    }
    cosines.sort_by(f64::total_cmp);
    let mut histogram = vec![0; BARS];
    for cosine in &cosines {
        histogram[(((cosine + 1.0) / 2.0 * BARS as f64) as usize).min(BARS - 1)] += 1;
    }
    let last = cosines.len() - 1;
    let quantile = |share: f64| cosines[(share * last as f64).round() as usize];
    Some(Quality {
        mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
        least: cosines[0],
        lower_quartile: quantile(0.25),
        median: quantile(0.5),
        upper_quartile: quantile(0.75),
        most: cosines[last],
        histogram,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_moves_nothing() {
        assert_eq!(distance(&SavedPlan::Permutation(vec![0, 1, 2])), 0.0);
        assert_eq!(distance(&SavedPlan::Permutation(vec![1, 0, 2, 3])), 0.5);
        assert_eq!(distance(&SavedPlan::Entries(vec![(0, 0, 0.25), (1, 0, 0.75)])), 0.75);
    }
}
