//! Where the neurons of a group stand in the weights.

use std::collections::{BTreeMap, HashSet};

use otfuse_graph::{GroupId, ValueId};

use super::dense::Dense;
use super::weights::Weights;
use super::wiring::Wiring;

/// An axis of a weight that carries a group's neurons.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub tensor: ValueId,
    pub axis: usize,
    /// For each neuron of the outer group (one if there is none) the places of all neurons, as often as they occur: a list
    /// of indices in the order of the neurons for each occurrence.
    pub places: Vec<Vec<Vec<usize>>>,
    /// For each occurrence of the group whether neurons within it are at its places.
    pub has_inner: Vec<bool>,
}

/// All carriers of a group; `None` where its outer group is on another axis, or neurons do not occur equally often.
pub(super) fn carriers(wiring: &Wiring<'_>, group: GroupId, without: &HashSet<ValueId>) -> Option<Vec<Carrier>> {
    let mut found = Vec::new();
    for (tensor, constant) in wiring.graph.initializers() {
        let is_float = constant.data_type().is_float();
        if !wiring.graph.is_weight(tensor) || !is_float || without.contains(&tensor) {
            continue;
        }
        for (axis, layout) in wiring.groups.layouts(tensor)?.iter().enumerate() {
            if layout.groups().contains(&group) {
                found.push(carrier(wiring, group, (tensor, axis), constant.shape()[axis])?);
            }
        }
    }
    Some(found)
}

fn carrier(wiring: &Wiring<'_>, group: GroupId, (tensor, axis): (ValueId, usize), length: usize) -> Option<Carrier> {
    let layout = &wiring.groups.layouts(tensor)?[axis];
    let outer = wiring.groups.group(group).within;
    let size = |group| wiring.size(group);
    let (count, inside) = (outer.map_or(1, size), wiring.groups.inside(group).collect::<Vec<_>>());
    let mut slots: BTreeMap<(usize, usize), Vec<(usize, bool)>> = BTreeMap::new();
    for index in 0..length {
        let neurons = layout.neurons_at(index, &size);
        let of = |wanted: GroupId| neurons.iter().find(|(found, _)| *found == wanted).map(|(_, neuron)| *neuron);
        let Some(neuron) = of(group) else { continue };
        let place = match outer {
            Some(outer) => of(outer)?,
            None => 0,
        };
        let has_inner = neurons.iter().any(|(found, _)| inside.contains(found));
        slots.entry((place, neuron)).or_default().push((index, has_inner));
    }
    let occurrences = slots.values().next()?.len();
    if slots.len() != count * size(group) || slots.values().any(|slot| slot.len() != occurrences) {
        return None;
    }
    let list = |place: usize, at: usize| (0..size(group)).map(|neuron| slots[&(place, neuron)][at].0).collect();
    let places = (0..count).map(|place| (0..occurrences).map(|at| list(place, at)).collect()).collect();
    let has_inner = (0..occurrences).map(|at| slots[&(0, 0)][at].1).collect();
    Some(Carrier { tensor, axis, places, has_inner })
}

impl Carrier {
    pub fn occurrences(&self) -> usize {
        self.places.first().map_or(0, Vec::len)
    }

    /// The neurons in one neuron of the outer group as columns.
    pub fn columns(&self, weights: &Weights, outer: usize, occurrence: usize) -> Option<Dense> {
        Some(weights.get(&self.tensor)?.columns(self.axis, &self.places[outer][occurrence]))
    }

    pub fn set_columns(&self, weights: &mut Weights, outer: usize, occurrence: usize, columns: &Dense) {
        if let Some(array) = weights.get_mut(&self.tensor) {
            array.set_columns(self.axis, &self.places[outer][occurrence], columns);
        }
    }

    /// The neurons in all neurons of the outer group behind one another as columns.
    pub fn all_columns(&self, weights: &Weights, occurrence: usize) -> Option<Dense> {
        let indices: Vec<usize> = self.places.iter().flat_map(|places| places[occurrence].iter().copied()).collect();
        Some(weights.get(&self.tensor)?.columns(self.axis, &indices))
    }
}

/// Multiplies the neurons in one neuron of the outer group with a matrix, from the right.
pub(super) fn turn(carriers: &[Carrier], weights: &mut Weights, outer: usize, by: &Dense) {
    for carrier in carriers {
        for occurrence in 0..carrier.occurrences() {
            if let Some(columns) = carrier.columns(weights, outer, occurrence) {
                carrier.set_columns(weights, outer, occurrence, &columns.times(by));
            }
        }
    }
}

/// Puts neuron `order[i]` at the place of neuron `i`.
pub(super) fn reorder(carriers: &[Carrier], weights: &mut Weights, outer: usize, order: &[usize]) {
    for carrier in carriers {
        for places in &carrier.places[outer] {
            let from: Vec<usize> = order.iter().map(|&neuron| places[neuron]).collect();
            if let Some(array) = weights.get_mut(&carrier.tensor) {
                let columns = array.columns(carrier.axis, &from);
                array.set_columns(carrier.axis, places, &columns);
            }
        }
    }
}

/// `sum B^t A` over all carriers: rows are neurons of `model`, columns those of `anchor`, in all neurons of the outer group.
pub(super) fn products<'c>(
    carriers: impl Iterator<Item = &'c Carrier>,
    model: &Weights,
    anchor: &Weights,
    size: usize,
    counts: impl Fn(&Carrier, usize) -> bool,
) -> Dense {
    let mut sum = Dense::zeros(size, size);
    for carrier in carriers {
        for occurrence in (0..carrier.occurrences()).filter(|&at| counts(carrier, at)) {
            if let (Some(model), Some(anchor)) =
                (carrier.all_columns(model, occurrence), carrier.all_columns(anchor, occurrence))
            {
                sum.add_products(&model, &anchor);
            }
        }
    }
    sum
}
