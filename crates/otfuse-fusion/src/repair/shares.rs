//! Each parent's share in each neuron.

use std::collections::HashMap;

use otfuse_graph::{GroupId, ValueId};

use crate::fuse::Fusion;
use crate::networks::Networks;

/// Finds the shares of several parents.
pub(super) struct Shares<'a> {
    networks: &'a Networks,
    fusion: &'a Fusion,
    /// The models that count, each with its averaging weight.
    parents: Vec<(usize, f64)>,
    /// Shares in the neurons of groups, as the first layer found them.
    known: HashMap<GroupId, Vec<Vec<f64>>>,
}

impl<'a> Shares<'a> {
    pub(super) fn new(networks: &'a Networks, fusion: &'a Fusion, parents: Vec<(usize, f64)>) -> Self {
        Self { networks, fusion, parents, known: HashMap::new() }
    }

    /// For every parent and every channel of a layer, which counts them on an axis of a value, the parent's share in the
    /// channel's target; the shares of a channel add up to 1. `moments` are the variances of each parent's channels.
    ///
    /// A parent's neuron counts by its averaging weight times a power of its importance: the deviation of its values
    /// times the norm of the weights that take it in. Where parents know different things, the neuron of the one that
    /// makes use of it is blurred less by others that do not. All layers that write to a residual stream share what the first one
    /// found.
    pub(super) fn of(&mut self, observed: ValueId, axis: usize, moments: &[Vec<f64>], power: f64) -> Vec<Vec<f64>> {
        let networks = self.networks;
        let channels = moments.first().map_or(0, Vec::len);
        let mut shares: Vec<Vec<f64>> = self.parents.iter().map(|parent| vec![parent.1; channels]).collect();
        let Some(layout) = self.fusion.layout(networks, observed, axis) else { return shares };
        let size = |group: GroupId| networks.size(networks.anchor(), group);
        for group in layout.groups().into_iter().filter(|group| !self.fusion.rotated.contains(group)) {
            let neurons = layout.neurons(group, &size);
            if neurons.len() != channels {
                continue;
            }
            let of_group = match self.known.remove(&group) {
                Some(known) => known,
                None => self.importance(group, &neurons, moments, power),
            };
            for (channel, neuron) in neurons.iter().enumerate().filter_map(|(at, neuron)| Some((at, (*neuron)?))) {
                shares.iter_mut().zip(&of_group).for_each(|(shares, known)| shares[channel] = known[neuron]);
            }
            self.known.insert(group, of_group);
        }
        shares
    }

    /// Shares by neurons of a group.
    fn importance(&self, group: GroupId, neurons: &[Option<usize>], moments: &[Vec<f64>], power: f64) -> Vec<Vec<f64>> {
        let networks = self.networks;
        let count = networks.size(networks.anchor(), group);
        let mut found: Vec<Vec<f64>> = Vec::with_capacity(self.parents.len());
        for (parent, variances) in self.parents.iter().zip(moments) {
            let outgoing = self.fusion.outgoing_norms(networks, parent.0, group);
            let mut variance = vec![0.0; count];
            for (channel, neuron) in neurons.iter().enumerate().filter_map(|(at, neuron)| Some((at, (*neuron)?))) {
                variance[neuron] += variances[channel];
            }
            found.push(variance.into_iter().zip(outgoing).map(|(variance, norm)| variance.sqrt() * norm).collect());
        }
        // Relative to the most important partner, so that no power overflows.
        let most = |neuron: usize| found.iter().map(|parent| parent[neuron]).fold(0.0, f64::max);
        let most: Vec<f64> = (0..count).map(most).collect();
        let raised = |parent: usize, neuron: usize| {
            let (model, weight) = self.parents[parent];
            match self.fusion.has_part(model, group, neuron) {
                true => weight * (found[parent][neuron] / most[neuron]).powf(power),
                false => 0.0,
            }
        };
        let masses: Vec<Vec<f64>> =
            (0..found.len()).map(|parent| (0..count).map(|neuron| raised(parent, neuron)).collect()).collect();
        let total: Vec<f64> = (0..count).map(|neuron| masses.iter().map(|parent| parent[neuron]).sum()).collect();
        let share = |parent: usize, neuron: usize| {
            let share = masses[parent][neuron] / total[neuron];
            if total[neuron] > 0.0 && share.is_finite() { share } else { self.parents[parent].1 }
        };
        (0..self.parents.len()).map(|parent| (0..count).map(|neuron| share(parent, neuron)).collect()).collect()
    }
}
