//! From gradients to steps.

use burn_backend::Scalar;
use burn_backend::tensor::FloatTensor;

use super::error::{TrainError, check};
use crate::{Descent, RuntimeBackend};

/// A method of stochastic gradient descent, defined as PyTorch's of the same name.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// `v = momentum v + g`, `w -= rate v` (with Nesterov's momentum `w -= rate (g + momentum v)`).
    Sgd {
        /// Share of the last step kept in the next, from 0 up to 1.
        momentum: f64,
        /// Whether the gradient is looked at ahead of the step.
        nesterov: bool,
    },
    /// Kingma and Ba 2015, weight decay added to the gradients.
    Adam {
        /// Decay of the mean of gradients and of that of their squares, from 0 up to 1.
        betas: (f64, f64),
        /// What is added to the denominator; positive.
        epsilon: f64,
    },
    /// Loshchilov and Hutter 2019: Adam with weight decay apart from the gradients.
    AdamW {
        /// As for [`Optimizer::Adam`].
        betas: (f64, f64),
        /// As for [`Optimizer::Adam`].
        epsilon: f64,
    },
}

impl Default for Optimizer {
    fn default() -> Self {
        Self::Sgd { momentum: 0.9, nesterov: false }
    }
}

impl Optimizer {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let fraction = |setting, value: f64| check(setting, "0 up to 1", value, (0.0..1.0).contains(&value));
        match *self {
            Self::Sgd { momentum, .. } => fraction("momentum", momentum),
            Self::Adam { betas, epsilon } | Self::AdamW { betas, epsilon } => {
                fraction("beta1", betas.0)?;
                fraction("beta2", betas.1)?;
                check("epsilon", "a positive number", epsilon, epsilon > 0.0 && epsilon.is_finite())
            }
        }
    }
}

impl Optimizer {
    /// How far a constant gradient of 1 moves a weight in a step, in the long run: with momentum farther than the learning rate.
    pub(super) fn reach(self, learning_rate: f64) -> f64 {
        match self {
            Self::Sgd { momentum, .. } => learning_rate / (1.0 - momentum),
            _ => learning_rate,
        }
    }
}

/// What an optimizer remembers of a parameter: the velocity, or the means of gradients and of their squares. `None`
/// before the first step.
pub(super) type Memory<B> = [Option<FloatTensor<B>>; 2];

/// One step of one parameter.
pub(super) struct Step {
    pub(super) optimizer: Optimizer,
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    /// Steps made, this one included.
    pub(super) number: usize,
}

impl Step {
    /// The weight after a step along the gradient.
    pub(super) fn take<B: RuntimeBackend>(
        &self,
        weight: FloatTensor<B>,
        mut gradient: FloatTensor<B>,
        memory: &mut Memory<B>,
    ) -> FloatTensor<B> {
        if let Optimizer::Sgd { momentum, nesterov: false } = self.optimizer {
            let step = Descent { rate: self.learning_rate, momentum, decay: self.weight_decay };
            let (weight, velocity) = B::descend(weight, memory[0].take(), gradient, &step);
            memory[0] = (momentum != 0.0).then_some(velocity);
            return weight;
        }
        let times = |tensor: FloatTensor<B>, factor: f64| B::float_mul_scalar(tensor, Scalar::Float(factor));
        let decoupled = matches!(self.optimizer, Optimizer::AdamW { .. });
        let mut weight = weight;
        if self.weight_decay != 0.0 {
            if decoupled {
                weight = times(weight, 1.0 - self.learning_rate * self.weight_decay);
            } else {
                gradient = B::float_add(gradient, times(weight.clone(), self.weight_decay));
            }
        }
        let direction = match self.optimizer {
            Optimizer::Sgd { momentum, .. } => {
                let velocity = match memory[0].take() {
                    Some(velocity) => B::float_add(times(velocity, momentum), gradient.clone()),
                    None => gradient.clone(),
                };
                memory[0] = Some(velocity.clone());
                B::float_add(gradient, times(velocity, momentum))
            }
            Optimizer::Adam { betas, epsilon } | Optimizer::AdamW { betas, epsilon } => {
                let squares = B::float_mul(gradient.clone(), gradient.clone());
                let mut mean = |slot: usize, beta: f64, value: FloatTensor<B>| {
                    let new = times(value, 1.0 - beta);
                    let mean = match memory[slot].take() {
                        Some(old) => B::float_add(times(old, beta), new),
                        None => new,
                    };
                    memory[slot] = Some(mean.clone());
                    times(mean, 1.0 / (1.0 - beta.powf(self.number as f64)))
                };
                let (mean, variance) = (mean(0, betas.0, gradient), mean(1, betas.1, squares));
                B::float_div(mean, B::float_add_scalar(B::float_sqrt(variance), Scalar::Float(epsilon)))
            }
        };
        B::float_sub(weight, times(direction, self.learning_rate))
    }
}
