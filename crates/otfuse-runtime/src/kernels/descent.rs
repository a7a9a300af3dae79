//! Steps of gradient descent.

use rayon::prelude::*;

use super::parallel;

/// Elements of a unit of work; fewer are not worth another thread.
const UNIT: usize = 1 << 15;

/// Settings of a step of gradient descent with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// Factor of the step.
    pub rate: f64,
    /// Share of the last step that is kept.
    pub momentum: f64,
    /// Factor of the weights added to their gradients.
    pub decay: f64,
}

/// `velocity = momentum velocity + (gradient + decay weight)` and `weight -= rate velocity`. Without a gradient, it is what
/// the velocity holds. One pass over the numbers.
pub(super) fn descend(weight: &mut [f32], velocity: &mut [f32], gradient: Option<&[f32]>, step: &Descent) {
    let [rate, momentum, decay] = [step.rate, step.momentum, step.decay].map(|number| number as f32);
    let parts = weight.par_chunks_mut(UNIT).zip(velocity.par_chunks_mut(UNIT));
    match gradient {
        Some(gradient) => parallel::for_each(parts.zip(gradient.par_chunks(UNIT)), |((weight, velocity), gradient)| {
            for ((weight, velocity), &gradient) in weight.iter_mut().zip(velocity).zip(gradient) {
                *velocity = (gradient + decay * *weight) + momentum * *velocity;
                *weight -= rate * *velocity;
            }
        }),
        None => parallel::for_each(parts, |(weight, velocity)| {
            for (weight, velocity) in weight.iter_mut().zip(velocity) {
                *velocity += decay * *weight;
                *weight -= rate * *velocity;
            }
        }),
    }
}
