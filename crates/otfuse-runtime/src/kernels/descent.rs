//! Steps of gradient descent.

use rayon::prelude::*;

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

/// `velocity = momentum velocity + (gradient + decay weight)`; returns `weight - rate velocity`. If the velocity is
/// `None`, the gradient becomes it. One pass over the numbers.
pub(super) fn descend(weight: &[f32], velocity: &mut [f32], gradient: Option<&[f32]>, step: &Descent) -> Vec<f32> {
    let [rate, momentum, decay] = [step.rate, step.momentum, step.decay].map(|number| number as f32);
    let mut result = vec![0.0; weight.len()];
    let parts = result.par_chunks_mut(UNIT).zip(velocity.par_chunks_mut(UNIT)).zip(weight.par_chunks(UNIT));
    let moved = |(result, velocity): (&mut f32, f32), weight: f32| *result = weight - rate * velocity;
    match gradient {
        Some(gradient) => parts.zip(gradient.par_chunks(UNIT)).for_each(|(((result, velocity), weight), gradient)| {
            for (((result, velocity), &weight), &gradient) in result.iter_mut().zip(velocity).zip(weight).zip(gradient)
            {
                *velocity = (gradient + decay * weight) + momentum * *velocity;
                moved((result, *velocity), weight);
            }
        }),
        None => parts.for_each(|((result, velocity), weight)| {
            for ((result, velocity), &weight) in result.iter_mut().zip(velocity).zip(weight) {
                *velocity += decay * weight;
                moved((result, *velocity), weight);
            }
        }),
    }
    result
}
