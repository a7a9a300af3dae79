//! Gated layers: neurons whose values are products of two layers' outputs, one of which no nonlinearity comes behind.
//!
//! What that layer's weights of a neuron are multiplied with, the weights that take the product in can be divided by: the
//! size of a neuron's weights there and their sign are free.

use otfuse_graph::{Binary, GroupId, Operator, ValueId};

use super::carriers::Carrier;
use super::dense::Dense;
use super::heads::trace;
use super::weights::Weights;
use super::wiring::Wiring;

/// The free layer of a gated one, and the layer behind.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub group: GroupId,
    /// The weight of the free layer and its bias.
    free: Vec<Carrier>,
    behind: Carrier,
}

/// Of a group whose neurons stand on axes of their own; `carriers` are all of them.
pub(super) fn gate(wiring: &Wiring<'_>, group: GroupId, carriers: &[Carrier]) -> Option<Gate> {
    let mut found = wiring.graph.nodes().filter(|(_, node)| node.operator == Operator::Binary(Binary::Mul));
    found.find_map(|(id, node)| {
        let inputs = [node.input(0)?, node.input(1)?];
        if inputs[0] == inputs[1] || !inputs.iter().all(|&input| wiring.carries(input, group)) {
            return None;
        }
        let (next, 0) = wiring.only_reader(node.output(0)?)? else { return None };
        let behind = wiring.linear(next)?;
        let carrier = |tensor: ValueId, axis: usize| {
            let is_it = |carrier: &&Carrier| carrier.tensor == tensor && carrier.axis == axis;
            carriers.iter().find(is_it).filter(|carrier| carrier.occurrences() == 1).cloned()
        };
        let behind = carrier(behind.weight, behind.inputs).filter(|_| wiring.is_read_once(behind.weight))?;
        let free = inputs.into_iter().find_map(|input| {
            let traced = trace(wiring, input).filter(|traced| traced.part.is_none())?;
            let is_own = wiring.only_reader(input).is_some_and(|(reader, _)| reader == id);
            let layer = traced.layer;
            if !is_own || !is_straight(wiring, input) || !wiring.is_read_once(layer.weight) {
                return None;
            }
            let mut free = vec![carrier(layer.weight, layer.outputs)?];
            if let Some(bias) = layer.bias {
                free.push(carrier(bias, 0)?);
            }
            Some(free)
        })?;
        (free[0].tensor != behind.tensor).then_some(Gate { group, free, behind })
    })
}

/// Whether each value from a layer to this one is read by the next alone.
fn is_straight(wiring: &Wiring<'_>, value: ValueId) -> bool {
    let mut value = value;
    loop {
        let Some((id, node)) = wiring.producer(value) else { return false };
        if wiring.linear(id).is_some() {
            return true;
        }
        let own =
            node.inputs.iter().flatten().find(|input| wiring.weight(**input).is_none() && !wiring.is_number(**input));
        match own.filter(|&&input| wiring.only_reader(input).is_some()) {
            Some(&input) => value = input,
            None => return false,
        }
    }
}

impl Gate {
    pub fn carriers(&self) -> impl Iterator<Item = &Carrier> {
        self.free.iter().chain([&self.behind])
    }

    pub fn has(&self, carrier: &Carrier) -> bool {
        self.carriers().any(|own| own.tensor == carrier.tensor && own.axis == carrier.axis)
    }

    /// Gives each neuron's weights the same norm on both sides.
    pub fn balance(&self, weights: &mut Weights) {
        let Some(behind) = self.behind.columns(weights, 0, 0) else { return };
        let of_free: Option<Vec<Dense>> = self.free.iter().map(|carrier| carrier.columns(weights, 0, 0)).collect();
        let Some(free) = of_free else { return };
        let squares = |tables: &[Dense]| {
            let mut squares = vec![0.0; behind.columns];
            for table in tables {
                table.data.iter().enumerate().for_each(|(at, value)| squares[at % table.columns] += value * value);
            }
            squares
        };
        let factor = |(free, behind): (f64, f64)| {
            let factor = (behind / free).powf(0.25);
            if factor.is_normal() { factor } else { 1.0 }
        };
        let (free, behind) = (squares(&free), squares(std::slice::from_ref(&behind)));
        let factors: Vec<f64> = free.into_iter().zip(behind).map(factor).collect();
        self.stretch(weights, &factors);
    }

    /// Multiplies each neuron's weights with a factor, and divides those behind by it.
    pub fn stretch(&self, weights: &mut Weights, factors: &[f64]) {
        for carrier in &self.free {
            if let Some(columns) = carrier.columns(weights, 0, 0) {
                carrier.set_columns(weights, 0, 0, &columns.scaled(|column| factors[column]));
            }
        }
        if let Some(columns) = self.behind.columns(weights, 0, 0) {
            self.behind.set_columns(weights, 0, 0, &columns.scaled(|column| 1.0 / factors[column]));
        }
    }

    /// Turns the signs of neurons that are nearer to the anchor's with the other one.
    pub fn take_signs(&self, weights: &mut Weights, anchor: &Weights) {
        let mut agreement: Vec<f64> = Vec::new();
        for carrier in self.carriers() {
            let (Some(own), Some(of_anchor)) = (carrier.columns(weights, 0, 0), carrier.columns(anchor, 0, 0)) else {
                continue;
            };
            agreement.resize(own.columns, 0.0);
            let pairs = own.data.iter().zip(&of_anchor.data).enumerate();
            pairs.for_each(|(at, (a, b))| agreement[at % own.columns] += a * b);
        }
        let signs: Vec<f64> = agreement.iter().map(|&found| if found < 0.0 { -1.0 } else { 1.0 }).collect();
        self.stretch(weights, &signs);
    }
}
