//! Products by Einstein's notation: one matrix product for each pair of operands.

use burn_backend::Backend;
use otfuse_graph::Einsum;

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};
use super::floats::Floats;
use super::value::Operands;

/// A tensor with a letter for each axis.
struct Term<B: Backend> {
    x: Floats<B>,
    letters: Vec<char>,
}

pub(super) fn einsum<B: Backend>(einsum: &Einsum, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let mut result: Option<Term<B>> = None;
    for (index, letters) in einsum.inputs.iter().enumerate() {
        let x = operands.floats(index)?;
        if x.rank() != letters.len() {
            let found = format!("shape {:?}", x.shape());
            return Err(Fault::new(format!("input {index}"), format!("{} axes", letters.len()), found));
        }
        let next = Term { x, letters: letters.clone() };
        result = Some(match result {
            None => next,
            Some(before) => {
                let later = einsum.inputs[index + 1..].iter().flatten().chain(&einsum.output);
                let kept: Vec<char> = later.copied().collect();
                before.times(next, &kept)?
            }
        });
    }
    let Some(result) = result else { return Err(Fault::new("inputs", "one at least", "none")) };
    let result = result.summed(&einsum.output);
    let order: Option<Vec<usize>> =
        einsum.output.iter().map(|letter| result.letters.iter().position(|found| found == letter)).collect();
    let order = order.ok_or_else(|| Fault::new("output", "letters of the inputs", einsum.equation()))?;
    Ok(if order.is_empty() { result.x } else { result.x.permuted(&order) })
}

impl<B: Backend> Term<B> {
    /// Without the axes that are not `kept`.
    fn summed(self, kept: &[char]) -> Self {
        let (mut x, mut letters) = (self.x, self.letters);
        for axis in (0..letters.len()).rev() {
            if kept.contains(&letters[axis]) {
                continue;
            }
            let mut shape = x.shape().to_vec();
            shape.remove(axis);
            x = x.map(|x| B::float_sum_dim(x, axis)).reshaped(&shape);
            letters.remove(axis);
        }
        Self { x, letters }
    }

    fn length(&self, letter: char) -> usize {
        self.letters.iter().position(|&found| found == letter).map_or(1, |axis| self.x.shape()[axis])
    }

    /// As a stack of matrices: the axes of each list become one.
    fn stacked(self, lists: [&[char]; 3]) -> Floats<B> {
        let order: Vec<usize> =
            lists.concat().iter().filter_map(|letter| self.letters.iter().position(|found| found == letter)).collect();
        let shape = lists.map(|list| list.iter().map(|&letter| self.length(letter)).product());
        let x = if order.is_empty() { self.x } else { self.x.permuted(&order) };
        x.reshaped(&shape)
    }

    /// The product of two, summed over what both have and is not `kept`.
    fn times(self, other: Self, kept: &[char]) -> Outcome<Self> {
        let of = |term: &Self, other: &Self| -> Vec<char> {
            [kept, &other.letters].concat().into_iter().filter(|letter| term.letters.contains(letter)).collect()
        };
        let (mine, others) = (of(&self, &other), of(&other, &self));
        let (left, right) = (self.summed(&mine), other.summed(&others));
        let shared: Vec<char> = left.letters.iter().copied().filter(|letter| right.letters.contains(letter)).collect();
        for &letter in &shared {
            if left.length(letter) != right.length(letter) {
                return Err(Fault::new(format!("axis '{letter}'"), left.length(letter), right.length(letter)));
            }
        }
        let (batch, inner): (Vec<char>, Vec<char>) = shared.iter().copied().partition(|letter| kept.contains(letter));
        let alone = |term: &Self| -> Vec<char> {
            term.letters.iter().copied().filter(|letter| !shared.contains(letter)).collect()
        };
        let (rows, columns) = (alone(&left), alone(&right));
        let letters = [batch.as_slice(), &rows, &columns].concat();
        let length = |letter: &char| left.length(*letter).max(right.length(*letter));
        let shape: Vec<usize> = letters.iter().map(length).collect();
        element_count(&shape)?;
        let a = left.stacked([&batch, &rows, &inner]).into_tensor();
        let b = right.stacked([&batch, &inner, &columns]).into_tensor();
        Ok(Self { x: Floats::new(B::float_matmul(a, b)).reshaped(&shape), letters })
    }
}
