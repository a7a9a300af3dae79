//! Reordering the neurons of a network.

use bytes::Bytes;

use crate::symmetry::{AxisLayout, GroupId, NeuronGroups};
use crate::{Graph, GraphEditor, GraphError, Tensor};

/// The network with the neurons of every free group reordered in all members: neuron `i` of group `g` in the result is
/// neuron `orders[g][i]` of `graph`. The function stays the same if the analysis is right, which is how it is proved.
///
/// `orders` holds one permutation per free group. Takes time and space proportional to the weights.
pub fn permute(graph: &Graph, groups: &NeuronGroups, orders: &[Vec<usize>]) -> Result<Graph, GraphError> {
    let order = |group: GroupId| orders[group.index()].as_slice();
    let size = |group: GroupId| groups.group(group).size;
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers() {
        let Some(layouts) = groups.layouts(id) else { continue };
        if layouts.iter().all(AxisLayout::is_fixed) {
            continue;
        }
        let mut permuted = tensor.clone();
        for (axis, layout) in layouts.iter().enumerate().filter(|(_, layout)| !layout.is_fixed()) {
            permuted = gather(&permuted, axis, &layout.reindexed(&size, &order));
        }
        editor.set_tensor(id, permuted);
    }
    editor.finish()
}

/// The slices of a tensor along an axis that `indices` name, in their order.
pub(super) fn gather(tensor: &Tensor, axis: usize, indices: &[usize]) -> Tensor {
    let shape = tensor.shape();
    let inner: usize = shape[axis + 1..].iter().product::<usize>() * tensor.data_type().size();
    let slice = inner * shape[axis];
    let mut data = Vec::with_capacity(tensor.bytes().len());
    if slice > 0 {
        for outer in tensor.bytes().chunks_exact(slice) {
            for &index in indices {
                data.extend_from_slice(&outer[index * inner..(index + 1) * inner]);
            }
        }
    }
    let mut shape = shape.to_vec();
    shape[axis] = indices.len();
    Tensor::new(tensor.data_type(), shape, Bytes::from(data)).expect("a slice per index")
}
