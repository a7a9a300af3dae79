//! How much of a neuron the rest of the network takes in.

use otfuse_graph::{AxisLayout, GroupId, Role, ValueId};

use crate::average::mapped;
use crate::features::neuron_rows;
use crate::fuse::Fusion;
use crate::networks::Networks;

impl Fusion {
    /// A weight of a model after its maps, in the anchor's shape; `id` is the anchor's.
    pub fn aligned_weight(&self, networks: &Networks, model: usize, id: ValueId) -> Vec<f32> {
        mapped(networks, model, id, &self.maps[model])
    }

    /// What lies on an axis of a value of the anchor, where neurons can be observed there.
    pub fn layout<'n>(&self, networks: &'n Networks, value: ValueId, axis: usize) -> Option<&'n AxisLayout> {
        let groups = networks.groups().iter().filter(|(_, group)| group.within.is_none());
        let mut observations = groups.flat_map(|(_, group)| &group.observations);
        observations.find(|found| found.value == value && found.axis == axis).map(|found| &found.layout)
    }

    /// For every neuron of a group the norm of the weights that take it in, in one model after its maps. Zeros where no
    /// weight does. Linear in the size of these weights.
    pub fn outgoing_norms(&self, networks: &Networks, model: usize, group: GroupId) -> Vec<f64> {
        let anchor = networks.anchor();
        let size = |group: GroupId| networks.size(anchor, group);
        let mut squares = vec![0.0; size(group)];
        for member in networks.groups().group(group).members_as(Role::Consumer) {
            let Some(layouts) = networks.groups().layouts(member.initializer) else { continue };
            let shape = networks.tensor(anchor, member.initializer).shape();
            let neurons = layouts[member.axis].neurons(group, &size);
            let (outer, inner) = (shape[..member.axis].iter().product(), shape[member.axis + 1..].iter().product());
            let values = self.aligned_weight(networks, model, member.initializer);
            let rows = neuron_rows(&values, outer, &neurons, inner, size(group));
            let width = rows.len() / size(group).max(1);
            for (sum, row) in squares.iter_mut().zip(rows.chunks_exact(width.max(1))) {
                *sum += row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
            }
        }
        squares.into_iter().map(f64::sqrt).collect()
    }
}
