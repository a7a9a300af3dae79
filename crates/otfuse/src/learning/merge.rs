//! The weighted mean of two networks, weight by weight.

use std::collections::BTreeMap;

use otfuse_graph::{Graph, GraphEditor, Tensor, ValueId};

use crate::{Error, Result};

/// One of the networks.
pub(super) struct Side<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// How much each element of a weight matters.
    pub importance: &'a BTreeMap<ValueId, Vec<f32>>,
    /// Its weight.
    pub weight: f64,
}

/// The mean of two networks of the same ids by their weights times the importance of each element, or where that matters at all.
/// Elements that matter to neither, and what training does not change, are averaged by the weights alone.
pub(super) fn merged(old: &Side<'_>, new: &Side<'_>, by_importance: bool) -> Result<Graph> {
    let mut editor = GraphEditor::edit(new.graph.clone());
    for (id, tensor) in new.graph.initializers().filter(|(id, _)| new.graph.is_weight(*id)) {
        let (a, b) = (old.graph.initializer(id).and_then(Tensor::to_f32), tensor.to_f32());
        let (Some(a), Some(b)) = (a, b) else { continue };
        let share = |side: &Side<'_>, at: usize| {
            let importance = side.importance.get(&id).map_or(1.0, |found| f64::from(found[at]));
            side.weight * if by_importance { importance } else { f64::from(u8::from(importance > 0.0)) }
        };
        let mean = |at: usize| {
            let (of_old, of_new) = (share(old, at), share(new, at));
            let (of_old, of_new) = if of_old + of_new > 0.0 { (of_old, of_new) } else { (old.weight, new.weight) };
            ((of_old * f64::from(a[at]) + of_new * f64::from(b[at])) / (of_old + of_new)) as f32
        };
        let values = (0..a.len()).map(mean).collect();
        editor.set_tensor(id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), values));
    }
    editor.finish().map_err(Error::input)
}
