//! Reordering the neurons of a network.

use bytes::Bytes;

use crate::symmetry::{AxisLayout, GroupId, NeuronGroups};
use crate::{Graph, GraphEditor, GraphError, Tensor, ValueId};

/// The network with the neurons of every free group reordered in all members: neuron `i` of group `g` in the result is
/// neuron `orders[g][i]` of `graph`. The function stays the same if the analysis is right, which is how it is proved.
///
/// `orders` holds one permutation per free group. For a group within another it may also hold one for each neuron of the
/// outer group, behind one another: neuron `i` inside neuron `o` of the result is neuron `orders[g][o * size + i]` of the
/// neuron that becomes `o`. Takes time and space proportional to the weights.
pub fn permute(graph: &Graph, groups: &NeuronGroups, orders: &[Vec<usize>]) -> Result<Graph, GraphError> {
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers() {
        if let Some(permuted) = permuted(groups, orders, id, tensor) {
            editor.set_tensor(id, permuted);
        }
    }
    editor.finish()
}

/// One weight of the network that [`permute`] makes: `tensor`, which stands at `id`, reordered; `None` if it stays as it
/// is.
pub fn permuted(groups: &NeuronGroups, orders: &[Vec<usize>], id: ValueId, tensor: &Tensor) -> Option<Tensor> {
    let layouts = groups.layouts(id)?;
    if layouts.iter().all(AxisLayout::is_fixed) {
        return None;
    }
    let permuted = Orders { groups, orders }.apply(tensor, layouts);
    tensor.release();
    Some(permuted)
}

struct Orders<'a> {
    groups: &'a NeuronGroups,
    orders: &'a [Vec<usize>],
}

impl Orders<'_> {
    fn size(&self, group: GroupId) -> usize {
        self.groups.group(group).size
    }

    /// The group within which a group has one order for each neuron.
    fn outer(&self, group: GroupId) -> Option<GroupId> {
        let found = self.groups.group(group);
        found.within.filter(|_| self.orders[group.index()].len() != found.size)
    }

    /// The old neuron that a new one is; `new` tells the new neurons of all groups at the same place.
    fn old(&self, group: GroupId, neuron: usize, new: &[(GroupId, usize)]) -> usize {
        let order = &self.orders[group.index()];
        let Some(outer) = self.outer(group) else { return order[neuron] };
        let place = new.iter().find(|(found, _)| *found == outer).map_or(0, |(_, place)| *place);
        order[place * self.size(group) + neuron]
    }

    fn apply(&self, tensor: &Tensor, layouts: &[AxisLayout]) -> Tensor {
        let mut permuted = tensor.clone();
        let mut guided = Vec::new();
        for (axis, layout) in layouts.iter().enumerate().filter(|(_, layout)| !layout.is_fixed()) {
            match self.guide(layout, layouts) {
                None => permuted = self.gather(&permuted, (axis, layout), None),
                Some(guide) => guided.push((axis, layout, guide)),
            }
        }
        // The axes that guide others have their new order by now.
        for (axis, layout, guide) in guided {
            permuted = self.gather(&permuted, (axis, layout), Some((guide, &layouts[guide])));
        }
        permuted
    }

    /// The other axis that tells which of several orders an axis has.
    fn guide(&self, layout: &AxisLayout, layouts: &[AxisLayout]) -> Option<usize> {
        let on_axis = layout.groups();
        let mut outer = on_axis.iter().filter_map(|&group| self.outer(group));
        let elsewhere = outer.find(|outer| !on_axis.contains(outer))?;
        layouts.iter().position(|layout| layout.groups().contains(&elsewhere))
    }

    /// The slices of a tensor along an axis in their new order, chosen for each index of the axis `guide`, if there is
    /// one.
    fn gather(
        &self,
        tensor: &Tensor,
        (axis, layout): (usize, &AxisLayout),
        guide: Option<(usize, &AxisLayout)>,
    ) -> Tensor {
        let shape = tensor.shape();
        let size = |group| self.size(group);
        let in_one_order = guide.is_none() && layout.groups().iter().all(|&group| self.outer(group).is_none());
        let chosen = |group: GroupId| self.orders[group.index()].as_slice();
        let indices = |beside: &[(GroupId, usize)]| -> Vec<usize> {
            (0..shape[axis])
                .map(|index| {
                    let mut new = layout.neurons_at(index, &size);
                    new.extend_from_slice(beside);
                    layout.moved(index, &size, &|group, neuron| self.old(group, neuron, &new))
                })
                .collect()
        };
        let width = tensor.data_type().size();
        let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>() * width;
        let lists: Vec<Vec<usize>> = match guide {
            // Every neuron of a group has one place, so that all are found in one pass.
            None if in_one_order => vec![layout.reindexed(&size, &chosen)],
            None => vec![indices(&[])],
            Some((guide, layout)) => (0..shape[guide]).map(|index| indices(&layout.neurons_at(index, &size))).collect(),
        };
        let (step, length) = (stride(axis), shape[axis]);
        let bytes = tensor.bytes();
        let mut data = vec![0_u8; bytes.len()];
        // The smallest run of bytes that moves as one.
        let run = guide.filter(|(guide, _)| *guide > axis).map_or(step, |(guide, _)| stride(guide));
        if run > 0 && length > 0 {
            for (place, to) in data.chunks_exact_mut(run).enumerate() {
                let offset = place * run;
                let index = offset / step % length;
                let list = match guide {
                    Some((guide, _)) => &lists[offset / stride(guide) % shape[guide]],
                    None => &lists[0],
                };
                let from = offset - index * step + list[index] * step;
                to.copy_from_slice(&bytes[from..from + run]);
            }
        }
        Tensor::new(tensor.data_type(), shape.to_vec(), Bytes::from(data)).expect("a permutation keeps the size")
    }
}
