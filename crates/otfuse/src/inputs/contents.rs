//! What inputs hold.

use otfuse_graph::{Binary, DataType, Dim, Facts, Graph, Operator, Tensor, ValueId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// How inputs are filled. Networks may ask for more than their shapes say: logarithms for positive numbers, lengths of
/// sequences for what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filling {
    /// Numbers between 0 and 1 in place of standard normal ones.
    positive: bool,
    /// Integers that index no table are the length that is open, not 0 or 1.
    full: bool,
}

impl Filling {
    /// What is tried first.
    pub(crate) const FIRST: Self = Self { positive: false, full: false };

    /// All fillings that differ for a network, in the order in which they are tried.
    pub(crate) fn all(graph: &Graph, facts: &Facts) -> Vec<Self> {
        let is_float = |&input: &ValueId| facts.data_type(input).is_none_or(DataType::is_float);
        let floats = graph.inputs().iter().any(is_float);
        let is_free = |&input: &ValueId| !is_float(&input) && matches!(integers(graph, facts, input), Integers::Free);
        let integers = graph.inputs().iter().any(is_free);
        let all = [(false, false), (false, true), (true, false), (true, true)];
        let all = all.into_iter().filter(|&(positive, full)| (!positive || floats) && (!full || integers));
        all.map(|(positive, full)| Self { positive, full }).collect()
    }

    /// Whether numbers are between 0 and 1.
    pub(crate) fn is_positive(self) -> bool {
        self.positive
    }

    /// A tensor for an input; `longest` is the longest length that is open.
    pub(crate) fn tensor(
        self,
        graph: &Graph,
        facts: &Facts,
        input: ValueId,
        shape: &[usize],
        longest: usize,
        random: &mut ChaCha8Rng,
    ) -> Tensor {
        let count = shape.iter().product();
        match facts.data_type(input) {
            // Nothing is masked.
            Some(DataType::Bool) => Tensor::from_bools(shape, vec![true; count]),
            Some(data_type) if !data_type.is_float() => {
                let values: Vec<i64> = match integers(graph, facts, input) {
                    Integers::Below(bound) => (0..count).map(|_| below(bound, random) as i64).collect(),
                    Integers::Compared(value) => vec![value; count],
                    Integers::Free if self.full => vec![longest as i64; count],
                    Integers::Free => (0..count).map(|_| below(2, random) as i64).collect(),
                };
                Tensor::from_i64(shape, values)
            }
            _ if self.positive => Tensor::from_f32(shape, (0..count).map(|_| unit(random)).collect()),
            _ => Tensor::from_f32(shape, (0..count).map(|_| normal(random)).collect()),
        }
    }
}

/// Which integers an input takes.
enum Integers {
    /// Indices of a table.
    Below(usize),
    /// What the network asks whether it is this number.
    Compared(i64),
    /// Nothing is known.
    Free,
}

/// The smallest table that an integer input looks up, or a number that it is compared with, through operators that keep
/// its values.
fn integers(graph: &Graph, facts: &Facts, input: ValueId) -> Integers {
    let mut carriers = vec![input];
    let (mut rows, mut compared) = (None::<usize>, None);
    for (_, node) in graph.nodes() {
        let reads = |position: usize| node.input(position).is_some_and(|value| carriers.contains(&value));
        match &node.operator {
            Operator::Gather { axis } if reads(1) => {
                let shape = node.input(0).and_then(|data| facts.shape(data));
                let along = shape.and_then(|shape| {
                    let axis = if *axis < 0 { axis.checked_add_unsigned(shape.len() as u64)? } else { *axis };
                    shape.get(usize::try_from(axis).ok()?)?.as_known()
                });
                rows = rows.into_iter().chain(along).min();
            }
            Operator::Binary(Binary::Equal) if reads(0) || reads(1) => {
                let other = node.input(usize::from(reads(0)));
                let numbers = other.and_then(|other| facts.integers(other));
                compared = compared.or(numbers.and_then(|numbers| <[i64; 1]>::try_from(numbers).ok()));
            }
            operator if operator.copies_elements() && reads(0) => carriers.extend(node.outputs.iter().flatten()),
            Operator::Identity if reads(0) => carriers.extend(node.outputs.iter().flatten()),
            Operator::Cast { to } if reads(0) && !to.is_float() && *to != DataType::Bool => {
                carriers.extend(node.outputs.iter().flatten());
            }
            Operator::Concat { .. } if (0..node.inputs.len()).any(reads) => {
                carriers.extend(node.outputs.iter().flatten());
            }
            _ => {}
        }
    }
    // A sequence compared with a padding token is no switch.
    let is_switch = facts.shape(input).is_some_and(|shape| shape.iter().all(Dim::is_one));
    match (rows, compared) {
        (Some(rows), _) => Integers::Below(rows.max(1)),
        (None, Some([value])) if is_switch => Integers::Compared(value),
        _ => Integers::Free,
    }
}

/// How many tokens an input may hold: the rows of the smallest table that it looks up.
pub(crate) fn vocabulary(graph: &Graph, facts: &Facts, input: ValueId) -> Option<usize> {
    match integers(graph, facts, input) {
        Integers::Below(rows) => Some(rows),
        _ => None,
    }
}

pub(crate) fn below(bound: usize, random: &mut ChaCha8Rng) -> usize {
    ((u128::from(random.next_u64()) * bound as u128) >> 64) as usize
}

/// A standard normal number (Box and Muller).
pub(crate) fn normal(random: &mut ChaCha8Rng) -> f32 {
    let mut unit = || ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    let (radius, angle) = ((-2.0 * unit().ln()).sqrt(), std::f64::consts::TAU * unit());
    (radius * angle.cos()) as f32
}

/// A number between 0 and 1.
fn unit(random: &mut ChaCha8Rng) -> f32 {
    (((random.next_u64() >> 40) as f64 + 0.5) / (1_u64 << 24) as f64) as f32
}
