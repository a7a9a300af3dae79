//! Rotary positions: queries and keys whose channels are turned in pairs by angles that grow with the position.
//!
//! A pair of channels is a complex number that its position multiplies with another one. What multiplies the pair of
//! queries and of keys alike commutes with that: one complex number of length 1 for each pair of each head is free, and a
//! factor of queries that keys are divided by.

use std::collections::HashSet;

use otfuse_graph::{AxisLayout, Binary, GroupId, Operator, Unary, ValueId};

use super::carriers::{Carrier, products};
use super::dense::Dense;
use super::heads::{Traced, trace};
use super::weights::Weights;
use super::wiring::Wiring;

/// The queries and keys of one attention.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    /// The heads of keys; none if there is one.
    pub heads: Option<GroupId>,
    /// Channels in a head.
    pub width: usize,
    queries: Vec<Carrier>,
    keys: Vec<Carrier>,
}

/// All of a graph.
pub(super) fn pairs(wiring: &Wiring<'_>) -> Vec<Pairs> {
    let scores = wiring.graph.nodes().filter(|(_, node)| node.operator == Operator::MatMul);
    let found: Vec<Pairs> = scores
        .filter_map(|(_, node)| {
            let [query, key] = [node.input(0)?, node.input(1)?];
            let [query, key] = [unturned(wiring, query)?, unturned(wiring, key)?];
            let width = [&query, &key].map(|traced| channels(wiring, traced));
            let heads = outermost(wiring, &key);
            if width[0] != width[1] || !width[0]?.is_multiple_of(2) || outermost(wiring, &query) != heads {
                return None;
            }
            let width = width[0]?;
            let [queries, keys] = [carriers(wiring, &query, heads, width)?, carriers(wiring, &key, heads, width)?];
            Some(Pairs { heads, width, queries, keys })
        })
        .collect();
    // A layer that two attentions read is bound by both.
    let mut seen = HashSet::new();
    let is_own = found.iter().flat_map(Pairs::carriers).all(|carrier| {
        seen.insert((carrier.tensor, carrier.places.first().and_then(|places| places.first()?.first().copied())))
    });
    if is_own { found } else { Vec::new() }
}

/// The layer behind a rotation of halves of the last axis: `x cos + (-x2, x1) sin`, one angle for both halves.
fn unturned(wiring: &Wiring<'_>, value: ValueId) -> Option<Traced> {
    let mut value = value;
    loop {
        let (_, node) = wiring.producer(value)?;
        match &node.operator {
            operator if operator.keeps_elements() => value = node.input(0)?,
            Operator::Cast { .. } | Operator::Identity | Operator::Expand => value = node.input(0)?,
            Operator::Binary(Binary::Mul) if wiring.is_number(node.input(1)?) => value = node.input(0)?,
            Operator::Binary(Binary::Add) => break,
            _ => return None,
        }
    }
    let (_, sum) = wiring.producer(value)?;
    let [along, across] = [sum.input(0)?, sum.input(1)?].map(|term| factors(wiring, term));
    let (along, across) = (along?, across?);
    let orders = [(along, across), (across, along)];
    orders.into_iter().find_map(|(along, across)| {
        let pick = |pair: [ValueId; 2], at: usize| (pair[at], pair[1 - at]);
        (0..4).find_map(|choice: usize| {
            let ((x, cosine), (turned, sine)) = (pick(along, choice & 1), pick(across, choice >> 1));
            let is_turn = is_quarter_turn(wiring, turned, x);
            (is_turn && is_doubled(wiring, cosine) && is_doubled(wiring, sine)).then(|| trace(wiring, x)).flatten()
        })
    })
}

fn factors(wiring: &Wiring<'_>, value: ValueId) -> Option<[ValueId; 2]> {
    let (_, node) = wiring.producer(value)?;
    (node.operator == Operator::Binary(Binary::Mul)).then_some([node.input(0)?, node.input(1)?])
}

/// Whether a value is `(-x2, x1)` for the halves of `x`.
fn is_quarter_turn(wiring: &Wiring<'_>, value: ValueId, x: ValueId) -> bool {
    let parts = || {
        let (_, joined) = wiring.producer(value)?;
        let &[Some(first), Some(second)] = joined.inputs.as_slice() else { return None };
        let (_, negated) = wiring.producer(first)?;
        let is_right =
            matches!(joined.operator, Operator::Concat { .. }) && negated.operator == Operator::Unary(Unary::Neg);
        let (of, behind) = half(wiring, negated.input(0)?)?;
        let (too, before) = half(wiring, second)?;
        Some(is_right && of == x && too == x && behind && !before)
    };
    parts().unwrap_or(false)
}

/// What a value is one of two halves of, and whether it is the second.
fn half(wiring: &Wiring<'_>, value: ValueId) -> Option<(ValueId, bool)> {
    let (_, node) = wiring.producer(value)?;
    let input = node.input(0)?;
    match node.operator {
        Operator::Split { .. } if node.outputs.len() == 2 => Some((input, node.output(1) == Some(value))),
        Operator::Slice => {
            let start = wiring.graph.initializer(node.input(1)?)?.to_i64()?;
            Some((input, start != [0]))
        }
        _ => None,
    }
}

/// Whether both halves of a value are the same.
fn is_doubled(wiring: &Wiring<'_>, value: ValueId) -> bool {
    let mut value = value;
    loop {
        let Some((_, node)) = wiring.producer(value) else { return false };
        let passes = match &node.operator {
            Operator::Concat { .. } => {
                return node.inputs.len() == 2 && node.inputs[0].is_some() && node.inputs[0] == node.inputs[1];
            }
            Operator::Unary(_) | Operator::Cast { .. } | Operator::Identity | Operator::Expand => true,
            Operator::Unsqueeze | Operator::Squeeze => true,
            Operator::Binary(Binary::Mul) => node.input(1).is_some_and(|other| wiring.is_number(other)),
            _ => false,
        };
        match node.input(0).filter(|_| passes) {
            Some(input) => value = input,
            None => return false,
        }
    }
}

/// The axis that a layer's part stands on, and where it begins.
fn part<'l>(
    traced: &Traced,
    layout: &'l AxisLayout,
    size: &impl Fn(GroupId) -> usize,
) -> Option<(&'l AxisLayout, usize)> {
    match (traced.part, layout) {
        (None, layout) => Some((layout, 0)),
        (Some(part), AxisLayout::Sequence(parts)) => {
            let offset = parts.get(..part)?.iter().map(|part| part.length(size)).sum();
            Some((parts.get(part)?, offset))
        }
        _ => None,
    }
}

fn layout<'w>(wiring: &'w Wiring<'_>, traced: &Traced) -> Option<&'w AxisLayout> {
    let layout = wiring.groups.layouts(traced.layer.weight)?.get(traced.layer.outputs)?;
    Some(part(traced, layout, &|group| wiring.size(group))?.0)
}

/// The channels of a head, whose order is fixed.
fn channels(wiring: &Wiring<'_>, traced: &Traced) -> Option<usize> {
    match layout(wiring, traced)? {
        AxisLayout::Product(factors) => match factors.last()? {
            AxisLayout::Fixed(width) => Some(*width),
            _ => None,
        },
        _ => None,
    }
}

fn outermost(wiring: &Wiring<'_>, traced: &Traced) -> Option<GroupId> {
    let groups = layout(wiring, traced)?.groups();
    groups.into_iter().find(|&group| wiring.groups.group(group).within.is_none())
}

/// Weight and bias of a layer, the channels of each head behind one another.
fn carriers(wiring: &Wiring<'_>, traced: &Traced, heads: Option<GroupId>, width: usize) -> Option<Vec<Carrier>> {
    let layer = traced.layer;
    let of = |tensor: ValueId, axis: usize| {
        let size = |group| wiring.size(group);
        let (layout, offset) = part(traced, wiring.groups.layouts(tensor)?.get(axis)?, &size)?;
        let mut places = vec![Vec::new(); heads.map_or(1, size)];
        for first in (0..layout.length(&size)).step_by(width) {
            let neurons = layout.neurons_at(first, &size);
            let of = |wanted: GroupId| neurons.iter().find(|(found, _)| *found == wanted).map(|(_, neuron)| *neuron);
            let head = match heads {
                Some(heads) => of(heads)?,
                None => 0,
            };
            places[head].push((offset + first..offset + first + width).collect::<Vec<usize>>());
        }
        let has_inner = vec![false; places.first()?.len()];
        Some(Carrier { tensor, axis, places, has_inner })
    };
    let mut found = vec![of(layer.weight, layer.outputs)?];
    if let Some(bias) = layer.bias {
        found.push(of(bias, 0)?);
    }
    Some(found)
}

impl Pairs {
    pub fn carriers(&self) -> impl Iterator<Item = &Carrier> {
        self.queries.iter().chain(&self.keys)
    }

    pub fn heads(&self) -> usize {
        self.keys.first().map_or(0, |carrier| carrier.places.len())
    }

    /// Whether the indices of an occurrence of heads on an axis are these channels.
    pub fn covers(&self, carrier: &Carrier, occurrence: usize) -> bool {
        let first = carrier.places[0][occurrence].first();
        let is_here = |own: &Carrier| {
            let mut places = own.places.iter().flatten().flatten();
            own.tensor == carrier.tensor && own.axis == carrier.axis && places.any(|place| Some(place) == first)
        };
        self.carriers().any(is_here)
    }

    /// Gives queries and keys the same norm in each pair.
    pub fn balance(&self, weights: &mut Weights) {
        let half = self.width / 2;
        for head in 0..self.heads() {
            let norms = |weights: &Weights, carriers: &[Carrier]| {
                let mut squares = vec![0.0; half];
                for carrier in carriers {
                    for occurrence in 0..carrier.places[head].len() {
                        let Some(columns) = carrier.columns(weights, head, occurrence) else { continue };
                        let all = columns.data.iter().enumerate();
                        all.for_each(|(at, value)| squares[at % self.width % half] += value * value);
                    }
                }
                squares
            };
            let (queries, keys) = (norms(weights, &self.queries), norms(weights, &self.keys));
            let factor = |(query, key): (&f64, &f64)| {
                let factor = (key / query).powf(0.25);
                if factor.is_normal() { factor } else { 1.0 }
            };
            let factors: Vec<f64> = queries.iter().zip(&keys).map(factor).collect();
            self.stretch(weights, head, &factors);
        }
    }

    /// Multiplies the pairs of a head's queries with factors, and divides those of its keys.
    pub fn stretch(&self, weights: &mut Weights, head: usize, factors: &[f64]) {
        let half = self.width / 2;
        for (carriers, inverse) in [(&self.queries, false), (&self.keys, true)] {
            for carrier in carriers {
                for occurrence in 0..carrier.places[head].len() {
                    let Some(columns) = carrier.columns(weights, head, occurrence) else { continue };
                    let factor =
                        |column: usize| if inverse { 1.0 / factors[column % half] } else { factors[column % half] };
                    carrier.set_columns(weights, head, occurrence, &columns.scaled(factor));
                }
            }
        }
    }

    /// The products of all channels of all heads of a model with those of the anchor.
    pub fn products(&self, model: &Weights, anchor: &Weights) -> Dense {
        products(self.carriers(), model, anchor, self.width * self.heads(), |_, _| true)
    }

    /// How well the pairs of two heads agree once each is turned, by the products of their channels.
    pub fn agreement(&self, block: &Dense) -> f64 {
        (0..self.width / 2).map(|pair| self.number(block, pair)).map(|(real, imaginary)| real.hypot(imaginary)).sum()
    }

    /// `sum conj(b) a` over a pair.
    fn number(&self, block: &Dense, pair: usize) -> (f64, f64) {
        let other = pair + self.width / 2;
        let real = block.get(pair, pair) + block.get(other, other);
        (real, block.get(pair, other) - block.get(other, pair))
    }

    /// The best turns.
    pub fn nearest(&self, block: &Dense) -> Dense {
        self.turning(|pair| {
            let (real, imaginary) = self.number(block, pair);
            let length = real.hypot(imaginary);
            if length > 0.0 && length.is_finite() { (real / length, imaginary / length) } else { (1.0, 0.0) }
        })
    }

    /// The matrix that multiplies each pair with a complex number.
    pub fn turning(&self, numbers: impl Fn(usize) -> (f64, f64)) -> Dense {
        let (mut map, half) = (Dense::zeros(self.width, self.width), self.width / 2);
        for pair in 0..half {
            let ((real, imaginary), other) = (numbers(pair), pair + half);
            map.data[pair * self.width + pair] = real;
            map.data[other * self.width + other] = real;
            map.data[pair * self.width + other] = imaginary;
            map.data[other * self.width + pair] = -imaginary;
        }
        map
    }

    pub fn all(&self) -> Vec<Carrier> {
        self.carriers().cloned().collect()
    }
}
