//! The mean on a sphere.

use super::blocks::{Finish, combination, copy, products};
use super::operands::Operands;
use super::parameters::Parameter;
use super::rounded::Rounded;
use super::{Base, Merge};
use crate::error::FusionError;

/// The Karcher mean (H. Karcher, "Riemannian center of mass and mollifier smoothing", 1977) of the tensors' directions, each tensor
/// one vector, at the mean of their lengths; all models alike, the base too. It is found by steps along the mean of the
/// logarithms, from the normalised arithmetic mean on, until a step is shorter than `tol`. All of it happens in the span of the
/// models, so that their inner products are all that is computed on tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Karcher;

const STEPS: Parameter = Parameter::of_tensor("max_iter", Some(10.0), (0.0, 1e6), "the most steps");
const TOLERANCE: Parameter =
    Parameter::of_tensor("tol", Some(1e-5), (0.0, 1.0), "angles and norms below this are none");

impl Merge for Karcher {
    fn name(&self) -> &'static str {
        "karcher"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[STEPS, TOLERANCE]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let models: Vec<usize> = (0..tensor.models.len()).collect();
        if models.len() == 1 {
            return Ok(copy(tensor, 0));
        }
        let (steps, tolerance) = (tensor.of_tensor(&STEPS) as usize, tensor.of_tensor(&TOLERANCE));
        if tensor.is_narrow() {
            return narrow(tensor, steps, tolerance);
        }
        let found = products(tensor, &models, false)?;
        let norms: Vec<f64> = models.iter().map(|&model| found[model][model].sqrt()).collect();
        let counted: Vec<usize> = models.into_iter().filter(|&model| norms[model] > tolerance).collect();
        let cosines: Vec<Vec<f64>> =
            counted.iter().map(|&a| counted.iter().map(|&b| found[a][b] / norms[a] / norms[b]).collect()).collect();
        let direction = mean_direction(&cosines, steps, tolerance);
        let length = norms.iter().sum::<f64>() / norms.len() as f64;
        let factors = counted.iter().zip(direction).map(|(&model, factor)| length * factor / norms[model]).collect();
        Ok(combination(tensor, counted, factors, false))
    }
}

/// The same with each operation on tensors rounded to 16 bits.
fn narrow<'a>(tensor: &'a Operands<'a>, steps: usize, tolerance: f64) -> Result<Finish<'a>, FusionError> {
    let rounded = Rounded { tensor };
    let round = |value: f64| rounded.round(value);
    let values = (0..tensor.models.len()).map(|model| rounded.read(model, false)).collect::<Result<Vec<_>, _>>()?;
    let norms: Vec<f64> = values.iter().map(|values| rounded.norm(values)).collect();
    let units: Vec<Vec<f32>> = values
        .iter()
        .zip(&norms)
        .filter(|(_, norm)| **norm > tolerance)
        .map(|(values, &norm)| rounded.each(values, |value| value / norm))
        .collect();
    drop(values);
    let share = 1.0 / units.len() as f64;
    let mut mean = vec![0.0_f32; tensor.len()];
    for unit in &units {
        mean = rounded.map(&mean, &rounded.each(unit, |value| share * value), |a, b| a + b);
    }
    match (rounded.norm(&mean), units.first()) {
        (length, Some(first)) if length < tolerance => mean.clone_from(first),
        (length, Some(_)) => mean = rounded.each(&mean, |value| value / length),
        (_, None) => {}
    }
    for _ in 0..steps {
        let mut step = vec![0.0_f32; tensor.len()];
        for unit in &units {
            let cosine = round(rounded.product(&mean, unit)).clamp(-1.0, 1.0);
            let angle = round(cosine.acos());
            if angle < tolerance {
                continue;
            }
            let factor = round(share * round(angle / round(angle.sin())));
            let across = rounded.map(unit, &rounded.each(&mean, |value| cosine * value), |unit, along| unit - along);
            step = rounded.map(&step, &rounded.each(&across, |value| factor * value), |a, b| a + b);
        }
        let length = rounded.norm(&step);
        if length < tolerance {
            break;
        }
        let (along, across, divisor) = (round(length.cos()), round(length.sin()), length);
        let turned = rounded.each(&rounded.each(&step, |value| value / divisor), |value| across * value);
        mean = rounded.map(&rounded.each(&mean, |value| along * value), &turned, |a, b| a + b);
        let found = rounded.norm(&mean);
        if found > tolerance {
            mean = rounded.each(&mean, |value| value / found);
        }
    }
    let size = round(norms.iter().sum::<f64>() / norms.len() as f64);
    Ok(Box::new(move |first, into| {
        into.iter_mut().zip(&mean[first..]).for_each(|(into, value)| *into = size * f64::from(*value));
        Ok(())
    }))
}

/// The mean of unit vectors with these inner products, by its coefficients.
fn mean_direction(cosines: &[Vec<f64>], steps: usize, tolerance: f64) -> Vec<f64> {
    let count = cosines.len();
    let share = 1.0 / count as f64;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(cosines).map(|(a, row)| a * row.iter().zip(b).map(|(cosine, b)| cosine * b).sum::<f64>()).sum()
    };
    let norm = |a: &[f64]| product(a, a).max(0.0).sqrt();
    let unit = |model: usize| -> Vec<f64> { (0..count).map(|at| f64::from(u8::from(at == model))).collect() };
    let mut mean = vec![share; count];
    match norm(&mean) {
        found if found < tolerance => mean = if count > 0 { unit(0) } else { Vec::new() },
        found => mean.iter_mut().for_each(|value| *value /= found),
    }
    for _ in 0..steps {
        let mut step = vec![0.0; count];
        for model in 0..count {
            let cosine = product(&mean, &unit(model)).clamp(-1.0, 1.0);
            let angle = cosine.acos();
            if angle < tolerance {
                continue;
            }
            let factor = share * angle / angle.sin();
            step.iter_mut().zip(&mean).for_each(|(step, mean)| *step -= factor * cosine * mean);
            step[model] += factor;
        }
        let length = norm(&step);
        if length < tolerance {
            break;
        }
        let (along, across) = (length.cos(), length.sin() / length);
        mean.iter_mut().zip(&step).for_each(|(mean, step)| *mean = along * *mean + across * step);
        let found = norm(&mean);
        if found > tolerance {
            mean.iter_mut().for_each(|value| *value /= found);
        }
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    #[test]
    fn the_mean_of_a_symmetric_cone_is_its_axis() {
        let models = [vec![1.0_f32, 0.0, 0.0], vec![0.0_f32, 2.0, 0.0], vec![0.0_f32, 0.0, 3.0]];
        let found = merged(&Karcher, &[&models[0], &models[1], &models[2]], None, &[], &[]);
        let each = 2.0 / 3.0_f64.sqrt();
        near(&found, &[each, each, each]);
        let zero = vec![0.0_f32; 3];
        near(&merged(&Karcher, &[&zero, &models[1]], None, &[], &[]), &[0.0, 1.0, 0.0]);
    }
}
