//! Weights held where they begin.

use std::collections::BTreeMap;

use burn_backend::Scalar;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::ValueId;

use super::error::{TrainError, check};
use crate::RuntimeBackend;
use crate::interpreter::Floats;

/// Weights are held where training begins, each by its importance: the loss has `strength / 2 sum_i importance_i (w_i -
/// start_i)^2` added (J. Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017, equation 3).
///
/// Behind each step of the optimizer the weights are where the penalty and the distance from there, weighed by the step's
/// reach, are least, so that no strength is too large for a learning rate.
pub struct Hold<'a> {
    /// 0 or more.
    pub strength: f64,
    /// One number from 0 on for each element of a weight; other weights are free.
    pub importance: &'a BTreeMap<ValueId, Vec<f32>>,
}

impl Hold<'_> {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let is_valid = self.strength >= 0.0 && self.strength.is_finite();
        check("hold", "0 or more", self.strength, is_valid)
    }
}

/// Where a parameter is held.
pub(super) struct Held<B: RuntimeBackend> {
    start: FloatTensor<B>,
    /// Importance times strength.
    force: FloatTensor<B>,
}

impl<B: RuntimeBackend> Held<B> {
    /// What holds a parameter; nothing where it is free.
    pub(super) fn of(
        hold: &Hold<'_>,
        id: ValueId,
        value: &FloatTensor<B>,
        shape: &[usize],
        device: &B::Device,
    ) -> Option<Self> {
        let importance = hold.importance.get(&id).filter(|found| found.len() == shape.iter().product::<usize>())?;
        let force = importance.iter().map(|&it| (f64::from(it) * hold.strength) as f32).collect();
        Some(Self { start: value.clone(), force: Floats::<B>::from_vec(force, shape, device).into_tensor() })
    }

    /// `(w + reach force start) / (1 + reach force)`.
    pub(super) fn pulled(&self, value: FloatTensor<B>, reach: f64) -> FloatTensor<B> {
        let force = B::float_mul_scalar(self.force.clone(), Scalar::Float(reach));
        let sum = B::float_add(value, B::float_mul(force.clone(), self.start.clone()));
        B::float_div(sum, B::float_add_scalar(force, Scalar::Float(1.0)))
    }
}
