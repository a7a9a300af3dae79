//! How much of a neuron the rest of the network takes in.

use otfuse_graph::{AxisLayout, GroupId, ValueId};

use crate::average::mapped;
use crate::fuse::Fusion;
use crate::importance::outgoing_norms;
use crate::map::GroupMap;
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
        observations.find(|found| found.value == value && found.axis == axis).map(|found| &*found.layout)
    }

    /// Whether a model has a part in a neuron of a group.
    pub(super) fn has_part(&self, model: usize, group: GroupId, neuron: usize) -> bool {
        match self.maps[model].get(group.index()) {
            Some(Some(GroupMap::Whole(map))) => map.producer.reaches(neuron),
            _ => true,
        }
    }

    /// For every neuron of a group the norm of the weights that take it in, in one model after its maps. Zeros where no
    /// weight does. Linear in the size of these weights.
    pub fn outgoing_norms(&self, networks: &Networks, model: usize, group: GroupId) -> Vec<f64> {
        outgoing_norms(networks, networks.anchor(), group, &|id| self.aligned_weight(networks, model, id))
    }
}
