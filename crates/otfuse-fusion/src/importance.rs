//! How much a network makes of each of its neurons.

use std::collections::BTreeMap;

use otfuse_graph::{GroupId, Observation, Role, Tensor, ValueId};
use rayon::prelude::*;

use crate::features::neuron_rows;
use crate::networks::Networks;
use crate::settings::ActivationPoint;

/// The weights of a network that carry a group in a role, as one row for each of its neurons: a table for each tensor of a rank
/// from `least_rank` on, in a network as wide as `model`, whose weights `values` gives by the anchor's ids.
pub(crate) fn member_rows<'n>(
    networks: &'n Networks,
    model: usize,
    group: GroupId,
    (role, least_rank): (Role, usize),
    values: &'n dyn Fn(ValueId) -> Vec<f32>,
) -> impl Iterator<Item = Vec<f32>> + 'n {
    let members = networks.groups().group(group).members_as(role);
    members.filter_map(move |member| {
        let size = |group: GroupId| networks.size(model, group);
        let layouts = networks.groups().layouts(member.initializer)?;
        let shape = networks.tensor(model, member.initializer).shape();
        if shape.len() < least_rank {
            return None;
        }
        let neurons = layouts[member.axis].neurons(group, &size);
        let (outer, inner) = (shape[..member.axis].iter().product(), shape[member.axis + 1..].iter().product());
        Some(neuron_rows(&values(member.initializer), outer, &neurons, inner, size(group)))
    })
}

/// The norm of each neuron's weights over several tables of one row a neuron.
pub(crate) fn norms(tables: impl Iterator<Item = Vec<f32>>, neurons: usize) -> Vec<f64> {
    let mut squares = vec![0.0; neurons];
    for rows in tables {
        let width = (rows.len() / neurons.max(1)).max(1);
        for (sum, row) in squares.iter_mut().zip(rows.chunks_exact(width)) {
            *sum += row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// For every neuron of a group the norm of the weights that take it in, in a network as wide as `model`, whose weights
/// `values` gives by the anchor's ids. Zeros where no weight does.
pub(crate) fn outgoing_norms(
    networks: &Networks,
    model: usize,
    group: GroupId,
    values: &dyn Fn(ValueId) -> Vec<f32>,
) -> Vec<f64> {
    norms(member_rows(networks, model, group, (Role::Consumer, 0), values), networks.size(model, group))
}

/// The deviations of the sums in front of the nonlinearities, neuron by neuron, as samples go by.
#[derive(Debug, Default)]
pub struct Deviations {
    groups: BTreeMap<GroupId, (Vec<Observation>, Vec<Moments>)>,
}

/// Count, sum and sum of squares.
type Moments = [f64; 3];

impl Deviations {
    /// Of the neurons of a model, before any sample.
    pub fn of(networks: &Networks, model: usize) -> Self {
        let whole = networks.groups().iter().filter(|(_, group)| group.within.is_none());
        let groups = whole.map(|(group, _)| {
            let points = networks.points(group, ActivationPoint::PreActivation);
            (group, (points, vec![Moments::default(); networks.size(model, group)]))
        });
        Self { groups: groups.collect() }
    }

    /// The values of the model that have to be [added](Self::add).
    pub fn observed(&self, networks: &Networks, model: usize) -> Vec<ValueId> {
        let points = self.groups.values().flat_map(|(points, _)| points);
        let mut values: Vec<ValueId> = points.map(|point| networks.value(model, point.value)).collect();
        values.sort();
        values.dedup();
        values
    }

    /// Counts the values of a batch in. Values that are missing or of another length are passed over.
    pub fn add(&mut self, networks: &Networks, model: usize, values: &BTreeMap<ValueId, Tensor>) {
        let size = |group: GroupId| networks.size(model, group);
        self.groups.par_iter_mut().for_each(|(group, (points, moments))| {
            for point in points.iter() {
                let neurons = point.layout.neurons(*group, &size);
                let found = values.get(&networks.value(model, point.value));
                let found = found.filter(|tensor| tensor.shape().get(point.axis) == Some(&neurons.len()));
                let Some((tensor, numbers)) = found.and_then(|tensor| Some((tensor, tensor.as_f32()?))) else {
                    continue;
                };
                let inner = tensor.shape()[point.axis + 1..].iter().product::<usize>().max(1);
                for (index, chunk) in numbers.chunks_exact(inner).enumerate() {
                    let Some(neuron) = neurons[index % neurons.len()] else { continue };
                    let [count, sum, squares] = &mut moments[neuron];
                    *count += inner as f64;
                    *sum += chunk.iter().map(|&value| f64::from(value)).sum::<f64>();
                    *squares += chunk.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
                }
            }
        });
    }

    /// For every neuron of a group its deviation times the norm of the weights that take it in; nothing where that is zero for
    /// all.
    pub(crate) fn importance(&self, networks: &Networks, model: usize, group: GroupId) -> Option<Vec<f64>> {
        let (_, moments) = self.groups.get(&group)?;
        let values = |id: ValueId| networks.tensor(model, id).to_f32().unwrap_or_default();
        let norms = outgoing_norms(networks, model, group, &values);
        let deviation = |&[count, sum, squares]: &Moments| {
            let mean = sum / count.max(1.0);
            (squares / count.max(1.0) - mean * mean).max(0.0).sqrt()
        };
        let found: Vec<f64> = moments.iter().zip(norms).map(|(moments, norm)| deviation(moments) * norm).collect();
        found.iter().any(|&importance| importance > 0.0).then_some(found)
    }
}
