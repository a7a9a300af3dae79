//! Structured pruning: networks without their least neurons.

use otfuse_graph::{Graph, GroupId, InferenceError, Member, NeuronGroups, Operator, Role, SelectError, Tensor, select};

use crate::features::{is_linear, neuron_rows};

/// The neurons that every group keeps.
const LEAST: usize = 2;

/// What makes a neuron important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Importance {
    /// The sum of the absolute values of its incoming weights (the filter norm of Li et al., "Pruning filters for
    /// efficient ConvNets", 2017).
    #[default]
    L1,
    /// The square root of the sum of their squares.
    L2,
}

/// How a network is pruned.
#[derive(Clone, Debug, PartialEq)]
pub struct PruneSettings {
    /// What makes a neuron important. Default: the L1 norm.
    pub importance: Importance,
    /// The share of the neurons that go, from 0 up to 1. Every group keeps at least two, since an axis of length 1 cannot
    /// be told from one that is broadcast: the result would not be matched with the network any more. Default: one half.
    pub amount: f64,
    /// Whether the share is one of all chosen groups together, so that groups of small weights lose more, instead of
    /// one of each group. Norms are then divided by those of constant weights of 1, to be comparable. Default: false.
    pub global: bool,
    /// The groups that may lose neurons; `None` for all. Default: all.
    pub groups: Option<Vec<GroupId>>,
}

impl Default for PruneSettings {
    fn default() -> Self {
        Self { importance: Importance::L1, amount: 0.5, global: false, groups: None }
    }
}

/// A pruned network, and what is left of its groups. What is pinned ([`NeuronGroups::pinned`]) is as it was.
#[derive(Clone, Debug)]
pub struct Pruning {
    /// The smaller network.
    pub graph: Graph,
    /// All free groups of the network that was pruned, in its order.
    pub groups: Vec<PrunedGroup>,
}

/// What is left of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct PrunedGroup {
    /// The first weight that produces the group's neurons.
    pub name: String,
    /// Neurons before.
    pub size: usize,
    /// The neurons that stay, ascending.
    pub kept: Vec<usize>,
    /// Why the group was left as it was, unless it was asked to be.
    pub skipped: Option<String>,
}

/// Why a network cannot be pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A share out of range.
    #[error("expected a share of neurons from 0 up to 1 (excluded), found {found}")]
    Amount {
        /// The share.
        found: f64,
    },
    /// A weight that is NaN.
    #[error("'{tensor}' has the value NaN; a norm needs numbers")]
    NotFinite {
        /// The weight.
        tensor: String,
    },
    /// The analysis of the network failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The neurons cannot be taken out.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Takes the least important neurons out of a network, whole groups' neurons at a time: their rows, biases and
/// normalisation parameters in all that produces them (of a residual stream, in all its layers), and their columns in
/// all that consumes them. The order of the others stays, so that the result is the network under a linear map that
/// selects neurons.
///
/// Attention heads and parts of grouped convolutions are neurons of groups of their own, and go as a whole. Groups that
/// cannot be made smaller, because a node fixes their number, are left as they are, with the reason.
///
/// # Errors
/// A share out of range; weights that are no numbers.
pub fn prune(graph: &Graph, settings: &PruneSettings) -> Result<Pruning, PruneError> {
    if !(0.0..1.0).contains(&settings.amount) {
        return Err(PruneError::Amount { found: settings.amount });
    }
    let groups = NeuronGroups::of(graph)?;
    let all = |id: GroupId| -> Vec<usize> { (0..groups.group(id).size).collect() };
    let mut pruned: Vec<PrunedGroup> = groups
        .iter()
        .map(|(id, group)| PrunedGroup {
            name: name(graph, &group.members),
            size: group.size,
            kept: all(id),
            skipped: None,
        })
        .collect();
    let mut chosen: Vec<GroupId> = groups.iter().map(|(id, _)| id).collect();
    chosen.retain(|id| settings.groups.as_ref().is_none_or(|wanted| wanted.contains(id)));
    let mut scores = vec![Vec::new(); groups.len()];
    for &id in &chosen {
        scores[id.index()] = score(graph, &groups, id, settings)?;
    }
    let mut result = attempt(graph, &groups, &mut pruned, &scores, &chosen, settings);
    if result.is_err() {
        // Which groups cannot be pruned shows when each is tried alone.
        let mut able = Vec::new();
        for &id in &chosen {
            let mut alone: Vec<Vec<usize>> = groups.iter().map(|(other, _)| all(other)).collect();
            alone[id.index()] = keep(&scores[id.index()], removed(groups.group(id).size, settings.amount));
            match select(graph, &groups, &alone) {
                Ok(_) => able.push(id),
                Err(error) => pruned[id.index()].skipped = Some(error.to_string()),
            }
        }
        result = attempt(graph, &groups, &mut pruned, &scores, &able, settings);
    }
    Ok(Pruning { graph: result?, groups: pruned })
}

/// Chooses among the given groups, and selects.
fn attempt(
    graph: &Graph,
    groups: &NeuronGroups,
    pruned: &mut [PrunedGroup],
    scores: &[Vec<f64>],
    chosen: &[GroupId],
    settings: &PruneSettings,
) -> Result<Graph, SelectError> {
    let counts = if settings.global {
        global_counts(scores, chosen, settings.amount)
    } else {
        chosen.iter().map(|id| removed(scores[id.index()].len(), settings.amount)).collect()
    };
    for group in pruned.iter_mut() {
        group.kept = (0..group.size).collect();
    }
    for (id, count) in chosen.iter().zip(counts) {
        pruned[id.index()].kept = keep(&scores[id.index()], count);
    }
    let kept: Vec<Vec<usize>> = pruned.iter().map(|group| group.kept.clone()).collect();
    select(graph, groups, &kept)
}

/// How many of `size` neurons go.
fn removed(size: usize, amount: f64) -> usize {
    ((size as f64 * amount).round() as usize).min(size.saturating_sub(LEAST))
}

/// The neurons without the `count` least ones, ascending. Of equal ones the later go.
fn keep(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(scores.len() - count.min(scores.len()));
    order.sort_unstable();
    order
}

/// How many neurons each group loses if the least of all go; the best of each group stay.
fn global_counts(scores: &[Vec<f64>], chosen: &[GroupId], amount: f64) -> Vec<usize> {
    let total: usize = chosen.iter().map(|id| scores[id.index()].len()).sum();
    let mut candidates: Vec<(f64, usize)> = Vec::with_capacity(total);
    for (position, id) in chosen.iter().enumerate() {
        let mut of_group = scores[id.index()].clone();
        of_group.sort_by(f64::total_cmp);
        of_group.truncate(of_group.len().saturating_sub(LEAST));
        candidates.extend(of_group.into_iter().map(|score| (score, position)));
    }
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut counts = vec![0; chosen.len()];
    for (_, position) in candidates.into_iter().take((total as f64 * amount).round() as usize) {
        counts[position] += 1;
    }
    counts
}

/// The importance of each neuron of a group.
fn score(
    graph: &Graph,
    groups: &NeuronGroups,
    group: GroupId,
    settings: &PruneSettings,
) -> Result<Vec<f64>, PruneError> {
    let size = |id: GroupId| groups.group(id).size;
    let mut sums = vec![0.0_f64; size(group)];
    let mut weights = 0;
    for member in weighty(graph, &groups.group(group).members) {
        let Some(tensor) = graph.initializer(member.initializer) else { continue };
        let Some(layout) = groups.layouts(member.initializer).and_then(|axes| axes.get(member.axis)) else { continue };
        let (outer, inner) = around(tensor, member.axis);
        let data = tensor.to_f32().unwrap_or_default();
        let rows = neuron_rows(&data, outer, &layout.neurons(group, &size), inner, sums.len());
        let width = rows.len() / sums.len().max(1);
        weights += width;
        for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(width.max(1))) {
            *sum += row.iter().map(|&value| magnitude(value, settings.importance)).sum::<f64>();
        }
        if sums.iter().any(|sum| sum.is_nan()) {
            return Err(PruneError::NotFinite { tensor: graph.value(member.initializer).name.clone() });
        }
    }
    let scale = if settings.global { weights.max(1) as f64 } else { 1.0 };
    let norm = |sum: f64| match settings.importance {
        Importance::L1 => sum / scale,
        Importance::L2 => (sum / scale).sqrt(),
    };
    Ok(sums.into_iter().map(norm).collect())
}

fn magnitude(value: f32, importance: Importance) -> f64 {
    let value = f64::from(value);
    match importance {
        Importance::L1 => value.abs(),
        Importance::L2 => value * value,
    }
}

/// The lengths before and behind an axis, multiplied.
fn around(tensor: &Tensor, axis: usize) -> (usize, usize) {
    let shape = tensor.shape();
    (shape[..axis].iter().product(), shape[axis + 1..].iter().product())
}

/// The members that tell how important neurons are: weights of layers; else all that produces them (an embedding); else
/// all there is.
fn weighty<'a>(graph: &Graph, members: &'a [Member]) -> Vec<&'a Member> {
    let producers: Vec<&Member> = members.iter().filter(|member| member.role == Role::Producer).collect();
    let is_weight = |member: &&&Member| {
        let node = graph.node(member.node);
        let rank = graph.initializer(member.initializer).map_or(0, |tensor| tensor.shape().len());
        rank > 1 && (is_linear(&node.operator) || matches!(node.operator, Operator::Gather { .. }))
    };
    let weights: Vec<&Member> = producers.iter().filter(is_weight).copied().collect();
    if !weights.is_empty() {
        weights
    } else if !producers.is_empty() {
        producers
    } else {
        members.iter().collect()
    }
}

fn name(graph: &Graph, members: &[Member]) -> String {
    let producer = members.iter().find(|member| member.role == Role::Producer).or(members.first());
    producer.map_or_else(String::new, |member| graph.value(member.initializer).name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_go_and_the_order_stays() {
        assert_eq!(keep(&[3.0, 1.0, 2.0, 1.0], 2), [0, 2]);
        assert_eq!(keep(&[1.0, 1.0, 1.0], 1), [0, 1]);
        assert_eq!((removed(10, 0.25), removed(3, 0.99), removed(1, 0.9), removed(0, 0.5)), (3, 1, 0, 0));
    }

    #[test]
    fn a_global_share_takes_from_groups_of_small_weights_and_leaves_two_of_each() {
        let scores = [vec![5.0, 6.0, 7.0], vec![0.1, 0.2, 0.3, 0.4]];
        let chosen = [GroupId::new(0), GroupId::new(1)];
        assert_eq!(global_counts(&scores, &chosen, 0.5), [1, 2]);
        assert_eq!(global_counts(&scores, &chosen, 0.3), [0, 2]);
        assert_eq!(global_counts(&scores, &chosen, 0.95), [1, 2]);
    }
}
