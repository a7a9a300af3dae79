//! Scales and shifts of normalisations that can move into the layers behind them.

use std::collections::HashSet;

use otfuse_graph::{Binary, GroupId, NodeId, Operator, ReduceKind, ValueId};

use super::dense::Dense;
use super::weights::Weights;
use super::wiring::{Linear, Wiring};

/// Factors below this share of the largest are no factors to divide by.
const LEAST_FACTOR: f64 = 1e-6;

/// Directions in which layers answer less than this share of the most to the square are left as they are.
const LEAST_EIGENVALUE: f64 = 1e-8;

/// A vector that neurons are multiplied with, and one that is added, in front of linear layers alone.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub group: GroupId,
    pub scale: ValueId,
    pub shift: Option<ValueId>,
    pub(super) readers: Vec<Linear>,
    /// Whether the shift can move, too.
    moves_shift: bool,
    /// Whether the sum of what is scaled is 0.
    is_centred: bool,
}

/// All of a graph.
pub(super) fn folds(wiring: &Wiring<'_>) -> Vec<Fold> {
    wiring.graph.nodes().filter_map(|(id, _)| fold(wiring, id)).collect()
}

fn fold(wiring: &Wiring<'_>, id: NodeId) -> Option<Fold> {
    let node = wiring.graph.node(id);
    let (scale, mut shift, mut output) = match &node.operator {
        Operator::LayerNormalization { .. } => (node.input(1)?, node.input(2), node.output(0)?),
        Operator::Binary(Binary::Mul) => {
            let scale = [node.input(0)?, node.input(1)?].into_iter().find(|&input| wiring.vector(input).is_some())?;
            (scale, None, node.output(0)?)
        }
        _ => return None,
    };
    let scale = wiring.vector(scale)?;
    let group = wiring.only_group(scale, 0)?;
    if let Operator::Binary(_) = node.operator
        && let Some((next, position @ (0 | 1))) = wiring.only_reader(output)
        && wiring.graph.node(next).operator == Operator::Binary(Binary::Add)
        && let Some(added) = wiring.graph.node(next).input(1 - position)
        && wiring.vector(added).is_some_and(|added| wiring.only_group(added, 0) == Some(group))
    {
        (shift, output) = (Some(added), wiring.graph.node(next).output(0)?);
    }
    let shift = match shift {
        Some(shift) => Some(wiring.vector(shift)?),
        None => None,
    };
    let mut found = Readers { wiring, group, layers: Vec::new(), moves_shift: true };
    found.collect(output)?;
    let moves_shift = found.moves_shift && found.layers.iter().all(|layer| layer.bias.is_some());
    let is_centred = matches!(node.operator, Operator::LayerNormalization { .. });
    Some(Fold { group, scale, shift, readers: found.layers, moves_shift, is_centred })
}

/// The layers that read a value.
struct Readers<'a> {
    wiring: &'a Wiring<'a>,
    group: GroupId,
    layers: Vec<Linear>,
    moves_shift: bool,
}

impl Readers<'_> {
    /// Collects them; `None` if anything else reads it.
    fn collect(&mut self, value: ValueId) -> Option<()> {
        let mut seen: HashSet<ValueId> = HashSet::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            if !seen.insert(value) {
                continue;
            }
            if self.wiring.is_output(value) {
                return None;
            }
            for &(node, position) in self.wiring.readers(value) {
                open.extend(self.passed(node, position, value)?);
            }
        }
        (!self.layers.is_empty()).then_some(())
    }

    /// What passes a reader that is no layer.
    fn passed(&mut self, id: NodeId, position: usize, value: ValueId) -> Option<Vec<ValueId>> {
        let wiring = self.wiring;
        let node = wiring.graph.node(id);
        if position == 0
            && let Some(layer) = wiring.linear(id)
        {
            let fits = wiring.only_group(layer.weight, layer.inputs) == Some(self.group);
            if !fits || !wiring.is_read_once(layer.weight) || self.layers.contains(&layer) {
                return None;
            }
            self.layers.push(layer);
            return Some(Vec::new());
        }
        if matches!(node.operator, Operator::Shape { .. }) {
            return Some(Vec::new());
        }
        let is_other = |at: usize| node.input(at).is_some_and(|other| !wiring.carries(other, self.group));
        match &node.operator {
            operator if position == 0 && (operator.copies_elements() || matches!(operator, Operator::Cast { .. })) => {}
            Operator::Reduce(reduce) if position == 0 && reduce.kind == ReduceKind::Mean => {}
            // Sums of vectors with any factors.
            Operator::MatMul if position == 1 && is_other(0) => self.moves_shift = false,
            Operator::Binary(Binary::Mul) if is_other(1 - position) => self.moves_shift = false,
            Operator::Binary(Binary::Div) if position == 0 && is_other(1) => self.moves_shift = false,
            _ => return None,
        }
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let is_whole = |output: &ValueId| {
            let axes = wiring.axes_of(*output, self.group);
            axes.len() == 1 && wiring.only_group(*output, axes[0]) == Some(self.group)
        };
        let stays = wiring.axes_of(value, self.group).len() == 1 && outputs.iter().all(is_whole);
        stays.then_some(outputs)
    }
}

impl Fold {
    /// Whether the factors of a network can be divided by, where that is needed.
    pub fn is_possible(&self, weights: &Weights) -> bool {
        let Some(scale) = weights.get(&self.scale) else { return false };
        if self.moves_shift || self.shift.is_none() {
            return true;
        }
        let largest = scale.data.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        scale.data.iter().all(|value| value.abs() > LEAST_FACTOR * largest)
    }

    /// Moves scale and shift.
    pub fn apply(&self, weights: &mut Weights) {
        let Some(scale) = weights.get(&self.scale).map(|array| array.data.clone()) else { return };
        let mut shift = self.shift.and_then(|shift| weights.get(&shift)).map(|array| array.data.clone());
        for layer in &self.readers {
            if let (Some(values), Some(bias)) = (shift.as_ref().filter(|_| self.moves_shift), layer.bias) {
                let added = through(weights, layer, values);
                if let Some(bias) = weights.get_mut(&bias) {
                    bias.data.iter_mut().zip(added).for_each(|(bias, value)| *bias += value);
                }
            }
            if let Some(weight) = weights.get_mut(&layer.weight) {
                weight.scale(layer.inputs, &scale);
                if self.is_centred && (self.moves_shift || self.shift.is_none()) {
                    weight.centre(layer.inputs);
                }
            }
        }
        if let Some(values) = &mut shift {
            let rest = |(value, scale): (&f64, &f64)| if self.moves_shift { 0.0 } else { value / scale };
            *values = values.iter().zip(&scale).map(rest).collect();
        }
        set(weights, Some(self.scale), vec![1.0; scale.len()]);
        if let Some(values) = shift {
            set(weights, self.shift, values);
        }
    }
}

impl Fold {
    /// The shift of an average, where one is left in front of the layers: the one whose share in what they compute is nearest to the
    /// mean of the shares that the members' have in theirs, by least squares. `O(d^2 n)` for a width of `d` and `n` outputs.
    pub fn average_shift(&self, members: &[(&Weights, f64)], into: &mut Weights) {
        let Some(shift) = self.shift.filter(|_| !self.moves_shift) else { return };
        let Some(mean) = into.get(&shift).map(|array| array.data.clone()) else { return };
        let width = mean.len();
        let (mut gram, mut wanted) = (Dense::zeros(width, width), Dense::zeros(width, 1));
        for layer in &self.readers {
            let Some(weight) = into.get(&layer.weight) else { return };
            // Outputs x inputs.
            let inputs: Vec<usize> = (0..weight.shape[layer.inputs]).collect();
            let weight = weight.columns(layer.inputs, &inputs);
            let mut missing = through(into, layer, &mean);
            missing.iter_mut().for_each(|value| *value = -*value);
            for (weights, share) in members {
                let Some(own) = weights.get(&shift) else { return };
                let found = through(weights, layer, &own.data);
                missing.iter_mut().zip(found).for_each(|(sum, value)| *sum += share * value);
            }
            gram.add_products(&weight, &weight);
            wanted.add_products(&weight, &Dense { rows: missing.len(), columns: 1, data: missing });
        }
        let Some(found) = gram.decomposed() else { return };
        let least = LEAST_EIGENVALUE * found.values.first().copied().unwrap_or(0.0);
        let mut solution = Dense::zeros(width, 1);
        solution.add_products(&found.right, &wanted);
        for (value, eigenvalue) in solution.data.iter_mut().zip(&found.values) {
            *value = if *eigenvalue > least { *value / eigenvalue } else { 0.0 };
        }
        let change = found.right.times(&solution);
        set(into, Some(shift), mean.iter().zip(&change.data).map(|(mean, change)| mean + change).collect());
    }
}

fn set(weights: &mut Weights, id: Option<ValueId>, data: Vec<f64>) {
    if let Some(array) = id.and_then(|id| weights.get_mut(&id)) {
        array.data = data;
    }
}

/// What a layer makes of a vector, bias aside.
fn through(weights: &Weights, layer: &Linear, vector: &[f64]) -> Vec<f64> {
    let Some(weight) = weights.get(&layer.weight) else { return Vec::new() };
    let outputs: Vec<usize> = (0..weight.shape[layer.outputs]).collect();
    let columns = weight.columns(layer.outputs, &outputs);
    let row = Dense { rows: 1, columns: vector.len(), data: vector.to_vec() };
    row.times(&columns).data
}
