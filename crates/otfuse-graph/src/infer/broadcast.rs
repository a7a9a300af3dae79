//! NumPy's broadcasting.

use super::error::{InferenceError, Mismatch};
use super::scope::Scope;
use crate::{Dim, Shape};

impl Scope<'_> {
    /// The shape that inputs have after broadcasting, `None` if the shape of one is not known.
    pub(super) fn broadcast_inputs(
        &self,
        inputs: impl IntoIterator<Item = usize>,
    ) -> Result<Option<Shape>, InferenceError> {
        let mut broadcast: Shape = Vec::new();
        let mut all_known = true;
        for input in inputs {
            match self.shape(input) {
                Some(shape) => broadcast = self.broadcast(input, &broadcast, shape)?,
                None => all_known = false,
            }
        }
        Ok(all_known.then_some(broadcast))
    }

    /// The shape that two shapes broadcast to; `input` is the one to name in an error.
    pub(super) fn broadcast(&self, input: usize, left: &Shape, right: &Shape) -> Result<Shape, InferenceError> {
        let rank = left.len().max(right.len());
        let one = Dim::known(1);
        let aligned = |shape: &'_ Shape, axis: usize| {
            let missing = rank - shape.len();
            axis.checked_sub(missing).map_or_else(|| one.clone(), |axis| shape[axis].clone())
        };
        let mut broadcast = Vec::with_capacity(rank);
        for axis in 0..rank {
            let dim = self.broadcast_dim(axis, &aligned(left, axis), &aligned(right, axis));
            broadcast.push(dim.ok_or_else(|| {
                let (left, right) = (left.clone(), right.clone());
                self.error(input, Mismatch::Broadcast { left, right })
            })?);
        }
        Ok(broadcast)
    }

    /// The length that two lengths broadcast to, `None` if they cannot. A symbolic length against a known one is
    /// taken to be that or 1.
    fn broadcast_dim(&self, axis: usize, left: &Dim, right: &Dim) -> Option<Dim> {
        match (left.as_known(), right.as_known()) {
            _ if left == right => Some(left.clone()),
            (Some(1), _) => Some(right.clone()),
            (_, Some(1)) => Some(left.clone()),
            (Some(_), Some(_)) => None,
            (Some(_), None) => Some(left.clone()),
            (None, Some(_)) => Some(right.clone()),
            (None, None) => {
                let (first, second) = if left <= right { (left, right) } else { (right, left) };
                Some(self.expression(axis, format!("broadcast({first},{second})")))
            }
        }
    }

    /// An input must broadcast to `expected` without changing it.
    pub(super) fn expect_broadcast_to(&self, input: usize, expected: &[Dim]) -> Result<(), InferenceError> {
        let Some(found) = self.shape(input) else {
            return Ok(());
        };
        let fits = |(found, expected): (&Dim, &Dim)| match (found.as_known(), expected.as_known()) {
            (Some(1), _) => true,
            (Some(found), Some(expected)) => found == expected,
            _ => true,
        };
        if found.len() <= expected.len() && found.iter().rev().zip(expected.iter().rev()).all(fits) {
            return Ok(());
        }
        let mismatch = Mismatch::BroadcastTo { expected: expected.to_vec(), found: found.clone() };
        Err(self.error(input, mismatch))
    }
}
