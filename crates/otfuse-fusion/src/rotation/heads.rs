//! What meets in attention heads as a product alone: queries with keys, values with outputs.

use otfuse_graph::{AxisLayout, Binary, GroupId, Node, NodeId, Operator, Role, ValueId};

use super::carriers::Carrier;
use super::dense::{Dense, balanced};
use super::weights::Weights;
use super::wiring::{Linear, Wiring};

/// One side of a product: a weight's axis, which occurrences of the channels on it, and the bias of the same layer.
#[derive(Clone, Debug)]
struct Side {
    weight: Carrier,
    occurrences: Vec<usize>,
    bias: Option<Carrier>,
}

/// Two weights whose product over the channels of each head is all that counts.
#[derive(Clone, Debug)]
pub(super) struct HeadProduct {
    pub channels: GroupId,
    left: Side,
    right: Side,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Queries and keys; whether a bias of the keys adds the same to all scores that a softmax compares.
    Scores { ignores_right_bias: bool },
    /// Values and outputs, whose bias takes that of the values if there is one.
    Mixture { output_bias: Option<ValueId>, outputs: usize },
}

/// The layer that computes a value, and which part of its outputs the value is.
pub(super) struct Traced {
    pub layer: Linear,
    pub part: Option<usize>,
}

/// All products of the channels of a group that can be rotated; `carriers` are the group's.
pub(super) fn head_products(wiring: &Wiring<'_>, channels: GroupId, carriers: &[Carrier]) -> Vec<HeadProduct> {
    let mut found = Vec::new();
    for (id, node) in wiring.graph.nodes() {
        let product = match &node.operator {
            Operator::MatMul => {
                scores(wiring, channels, carriers, node).or_else(|| mixture(wiring, channels, carriers, id))
            }
            _ => None,
        };
        found.extend(product);
    }
    // Channels that meet in two products at once are bound by both.
    let is_bound = |kind: fn(&HeadProduct) -> bool| found.iter().filter(|product| kind(product)).count() > 1;
    let is_scores = |product: &HeadProduct| matches!(product.kind, Kind::Scores { .. });
    if is_bound(is_scores) || is_bound(|product| !matches!(product.kind, Kind::Scores { .. })) || found.len() > 1 {
        return Vec::new();
    }
    found
}

fn scores(wiring: &Wiring<'_>, channels: GroupId, carriers: &[Carrier], node: &Node) -> Option<HeadProduct> {
    let [query, key] = [node.input(0)?, node.input(1)?];
    if !wiring.carries(query, channels) || !wiring.carries(key, channels) || wiring.weight(key).is_some() {
        return None;
    }
    let [left, right] = [trace(wiring, query)?, trace(wiring, key)?];
    let [left, right] = [side(wiring, carriers, channels, &left)?, side(wiring, carriers, channels, &right)?];
    let is_all = covered(&left) + covered(&right) == total(carriers);
    let ignores_right_bias = ends_in_softmax(wiring, node.output(0)?);
    is_all.then_some(HeadProduct { channels, left, right, kind: Kind::Scores { ignores_right_bias } })
}

/// How many vectors of channels a side has.
fn covered(side: &Side) -> usize {
    side.occurrences.len() * (1 + usize::from(side.bias.is_some()))
}

fn total(carriers: &[Carrier]) -> usize {
    carriers.iter().map(Carrier::occurrences).sum()
}

fn mixture(wiring: &Wiring<'_>, channels: GroupId, carriers: &[Carrier], id: NodeId) -> Option<HeadProduct> {
    let node = wiring.graph.node(id);
    let [weights, value] = [node.input(0)?, node.input(1)?];
    if !wiring.carries(value, channels) || wiring.weight(value).is_some() {
        return None;
    }
    let softmax = |value| wiring.producer(value).is_some_and(|(_, node)| is_softmax(node));
    if !softmax(weights) {
        return None;
    }
    let left = side(wiring, carriers, channels, &trace(wiring, value)?)?;
    let group = wiring.groups.group(channels);
    let mut outputs = group.members_as(Role::Consumer);
    let (output, None) = (outputs.next()?, outputs.next()) else { return None };
    let layer = wiring.graph.nodes().filter_map(|(id, _)| wiring.linear(id));
    let layer = layer.into_iter().find(|layer| layer.weight == output.initializer && layer.inputs == output.axis)?;
    let weight = carriers.iter().find(|carrier| carrier.tensor == layer.weight && carrier.axis == layer.inputs)?;
    let occurrences = (0..weight.occurrences()).collect();
    let right = Side { weight: weight.clone(), occurrences, bias: None };
    let is_all = covered(&left) + covered(&right) == total(carriers);
    let kind = Kind::Mixture { output_bias: layer.bias, outputs: layer.outputs };
    is_all.then_some(HeadProduct { channels, left, right, kind })
}

fn is_softmax(node: &Node) -> bool {
    matches!(node.operator, Operator::Softmax { axis: -1 | 3 | 4 })
}

/// Whether scores are only scaled and masked before a softmax over the last axis.
fn ends_in_softmax(wiring: &Wiring<'_>, value: ValueId) -> bool {
    let mut value = value;
    loop {
        let Some((next, position)) = wiring.only_reader(value) else { return false };
        let node = wiring.graph.node(next);
        let passes = match &node.operator {
            Operator::Softmax { .. } if is_softmax(node) => return true,
            Operator::Binary(Binary::Add) => true,
            Operator::Binary(Binary::Mul) => node.input(1 - position).is_some_and(|other| wiring.is_number(other)),
            Operator::Binary(Binary::Div) => {
                position == 0 && node.input(1).is_some_and(|other| wiring.is_number(other))
            }
            Operator::Cast { .. } | Operator::Identity => true,
            _ => false,
        };
        match node.output(0).filter(|_| passes) {
            Some(output) => value = output,
            None => return false,
        }
    }
}

/// Follows a value back to the layer that computes it.
pub(super) fn trace(wiring: &Wiring<'_>, value: ValueId) -> Option<Traced> {
    let (mut value, mut part) = (value, None);
    loop {
        let (id, node) = wiring.producer(value)?;
        if let Some(layer) = wiring.linear(id) {
            return Some(Traced { layer, part });
        }
        value = match &node.operator {
            operator if operator.keeps_elements() => node.input(0)?,
            Operator::Expand | Operator::Cast { .. } | Operator::Identity => node.input(0)?,
            Operator::Split { .. } if part.is_none() => {
                part = node.outputs.iter().position(|output| *output == Some(value));
                node.input(0)?
            }
            Operator::Gather { .. } if part.is_none() => {
                let index = wiring.graph.initializer(node.input(1)?)?.to_i64()?;
                part = index.first().and_then(|&index| usize::try_from(index).ok()).filter(|_| index.len() == 1);
                part?;
                node.input(0)?
            }
            Operator::Binary(operator @ (Binary::Add | Binary::Mul | Binary::Div)) => {
                let [a, b] = [node.input(0)?, node.input(1)?];
                let passes = |other| match operator {
                    Binary::Add => wiring.vector(other).is_some(),
                    _ => wiring.is_number(other),
                };
                if passes(b) {
                    a
                } else if passes(a) && *operator != Binary::Div {
                    b
                } else {
                    return None;
                }
            }
            _ => return None,
        };
    }
}

fn side(wiring: &Wiring<'_>, carriers: &[Carrier], channels: GroupId, traced: &Traced) -> Option<Side> {
    let Traced { layer, part } = traced;
    let of = |tensor: ValueId, axis: usize| {
        let carrier = carriers.iter().find(|carrier| carrier.tensor == tensor && carrier.axis == axis)?;
        let layout = &wiring.groups.layouts(tensor)?[axis];
        let occurrences = match (part, layout) {
            (None, _) => (0..carrier.occurrences()).collect(),
            (Some(part), AxisLayout::Sequence(parts)) => {
                let has = |part: &AxisLayout| part.groups().contains(&channels);
                // One occurrence in each part that has the channels.
                if !has(parts.get(*part)?) || parts.iter().filter(|part| has(part)).count() != carrier.occurrences() {
                    return None;
                }
                vec![parts[..*part].iter().filter(|part| has(part)).count()]
            }
            _ => return None,
        };
        Some((carrier.clone(), occurrences))
    };
    let (weight, occurrences) = of(layer.weight, layer.outputs)?;
    let bias = match layer.bias {
        Some(bias) => {
            let (bias, of_bias) = of(bias, 0)?;
            (of_bias == occurrences).then_some(Some(bias))?
        }
        None => None,
    };
    Some(Side { weight, occurrences, bias })
}

impl Side {
    /// The weights of a head as columns of channels, all occurrences behind one another, the bias as one more row each.
    fn columns(&self, weights: &Weights, head: usize) -> Option<Dense> {
        let mut data = Vec::new();
        let mut columns = 0;
        for &occurrence in &self.occurrences {
            for carrier in [Some(&self.weight), self.bias.as_ref()].into_iter().flatten() {
                let found = carrier.columns(weights, head, occurrence)?;
                columns = found.columns;
                data.extend(found.data);
            }
        }
        Some(Dense { rows: data.len() / columns.max(1), columns, data })
    }

    fn set_columns(&self, weights: &mut Weights, head: usize, columns: &Dense) {
        let mut row = 0;
        for &occurrence in &self.occurrences {
            for carrier in [Some(&self.weight), self.bias.as_ref()].into_iter().flatten() {
                let places = &carrier.places[head][occurrence];
                let Some(array) = weights.get(&carrier.tensor) else { continue };
                let rows = array.data.len() / array.shape[carrier.axis].max(1);
                let part = columns.block(row..row + rows, 0..places.len());
                row += rows;
                carrier.set_columns(weights, head, occurrence, &part);
            }
        }
    }

    fn clear_bias(&self, weights: &mut Weights) {
        let Some(bias) = &self.bias else { return };
        for places in &bias.places {
            for &occurrence in &self.occurrences {
                if let Some(array) = weights.get_mut(&bias.tensor) {
                    places[occurrence].iter().for_each(|&place| array.data[place] = 0.0);
                }
            }
        }
    }
}

impl HeadProduct {
    /// Whether a weight is one of the factors.
    pub fn has(&self, weight: ValueId) -> bool {
        [&self.left, &self.right].into_iter().any(|side| side.weight.tensor == weight)
    }

    /// The number of heads.
    pub fn heads(&self) -> usize {
        self.left.weight.places.len()
    }

    /// Drops biases that do not count, and puts those of values into the outputs'.
    pub fn settle(&self, weights: &mut Weights) {
        match &self.kind {
            Kind::Scores { ignores_right_bias: true } => self.right.clear_bias(weights),
            Kind::Mixture { output_bias: Some(output_bias), outputs } if self.left.bias.is_some() => {
                let Some(array) = weights.get(&self.right.weight.tensor) else { return };
                let all: Vec<usize> = (0..array.shape[*outputs]).collect();
                let output = array.columns(*outputs, &all);
                let mut values = vec![0.0; output.rows];
                for head in 0..self.heads() {
                    let Some(bias) = &self.left.bias else { return };
                    let Some(own) = bias.columns(weights, head, self.left.occurrences[0]) else { return };
                    for places in &self.right.weight.places[head] {
                        places.iter().zip(&own.data).for_each(|(&place, &value)| values[place] = value);
                    }
                }
                let row = Dense { rows: 1, columns: values.len(), data: values };
                let added = row.times(&output).data;
                if let Some(bias) = weights.get_mut(output_bias) {
                    bias.data.iter_mut().zip(added).for_each(|(bias, value)| *bias += value);
                }
                self.left.clear_bias(weights);
            }
            _ => {}
        }
    }

    /// Gives both factors of every head's product the same sums of squares.
    pub fn balance(&self, weights: &mut Weights) {
        for head in 0..self.heads() {
            let factors = self.factors(weights, head);
            let Some((left, right)) = factors else { continue };
            self.set(weights, head, balanced(std::slice::from_ref(&left), &[right], left.columns));
        }
    }

    /// The factors of the mean of several networks' products, where `into` has the mean of their factors.
    pub fn average(&self, members: &[(&Weights, f64)], into: &mut Weights) {
        for head in 0..self.heads() {
            let found: Option<Vec<(Dense, Dense, f64)>> = members
                .iter()
                .map(|(weights, share)| self.factors(weights, head).map(|(left, right)| (left, right, *share)))
                .collect();
            let Some(found) = found else { continue };
            let rank = found.first().map_or(0, |(left, ..)| left.columns);
            let left: Vec<Dense> = found.iter().map(|(left, _, share)| left.clone().scaled(|_| *share)).collect();
            let right: Vec<Dense> = found.into_iter().map(|(_, right, _)| right).collect();
            self.set(into, head, balanced(&left, &right, rank));
        }
    }

    fn factors(&self, weights: &Weights, head: usize) -> Option<(Dense, Dense)> {
        Some((self.left.columns(weights, head)?, self.right.columns(weights, head)?))
    }

    fn set(&self, weights: &mut Weights, head: usize, factors: Option<(Dense, Dense)>) {
        if let Some((left, right)) = factors {
            self.left.set_columns(weights, head, &left);
            self.right.set_columns(weights, head, &right);
        }
    }

    /// Multiplies the channels of a head with a matrix on the left side and with its inverse on the right one.
    pub fn stretch(&self, weights: &mut Weights, head: usize, factors: &[f64]) {
        if let Some((left, right)) = self.factors(weights, head) {
            let left = left.scaled(|column| factors[column]);
            let right = right.scaled(|column| 1.0 / factors[column]);
            self.set(weights, head, Some((left, right)));
        }
    }
}
