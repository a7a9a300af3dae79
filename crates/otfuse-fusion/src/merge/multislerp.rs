//! The weighted mean of directions, at the weighted mean of lengths.

use super::blocks::{Finish, combination, copy, products};
use super::operands::Operands;
use super::parameters::{Parameter, WEIGHT};
use super::rounded::Rounded;
use super::{Base, Merge};
use crate::error::FusionError;

/// Of any number of models, or of their task vectors with a base: with `u_k = x_k / |x_k|`,
///
/// ```text
/// m = sum_k w_k u_k,      result = (sum_k w_k |x_k|) m / |m|
/// ```
///
/// This is the point that the method of this name in mergekit reaches: its step in the tangent space at `m` has length 0, since
/// the tangents `u_k - <u_k, m> m` have the weighted mean 0 there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MultiSlerp;

const NORMALIZE: Parameter = Parameter::flag("normalize_weights", true, "divide the weights by their sum");
const EPS: Parameter = Parameter::of_tensor("eps", Some(1e-8), (0.0, 1.0), "what is added to lengths that divide");

impl Merge for MultiSlerp {
    fn name(&self) -> &'static str {
        "multislerp"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[WEIGHT, NORMALIZE, EPS]
    }

    fn base(&self) -> Base {
        Base::Optional
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let models = tensor.others();
        match models[..] {
            [] => return Ok(copy(tensor, tensor.base.unwrap_or(0))),
            [only] => return Ok(copy(tensor, only)),
            _ => {}
        }
        let from_base = tensor.base.is_some();
        let eps = tensor.of_tensor(&EPS);
        let mut weights: Vec<f64> = models.iter().map(|&model| tensor.of_model(model, &WEIGHT)).collect();
        if tensor.flag(&NORMALIZE) {
            let total: f64 = weights.iter().sum();
            if total == 0.0 {
                return Err(no_direction("weights that do not add up to 0", format!("{weights:?}")));
            }
            weights.iter_mut().for_each(|weight| *weight /= total);
        }
        if tensor.is_narrow() {
            return narrow(tensor, &models, weights, from_base);
        }
        let found = products(tensor, &models, from_base)?;
        let norms: Vec<f64> = (0..models.len()).map(|model| found[model][model].sqrt()).collect();
        let unit: Vec<f64> = weights.iter().zip(&norms).map(|(weight, norm)| weight / (norm + eps)).collect();
        let mut squared = 0.0;
        for (a, of_a) in unit.iter().enumerate() {
            squared += unit.iter().enumerate().map(|(b, of_b)| of_a * of_b * found[a][b]).sum::<f64>();
        }
        let length = squared.max(0.0).sqrt();
        let mean: f64 = weights.iter().zip(&norms).map(|(weight, norm)| weight * norm).sum();
        let factors = match (length < eps, models.len()) {
            // Nothing at all, or two that point away from each other: the line between them.
            _ if norms.iter().all(|&norm| norm == 0.0) => weights,
            (true, 2) => weights,
            (true, _) => {
                let found = format!("directions of '{}' that cancel out", tensor.name);
                return Err(no_direction("weights under which directions do not cancel out", found));
            }
            (false, _) => unit.iter().map(|factor| factor * mean / length).collect(),
        };
        Ok(combination(tensor, models, factors, from_base))
    }
}

/// The same with each operation rounded to 16 bits: there the tangents do not cancel out.
fn narrow<'a>(
    tensor: &'a Operands<'a>,
    models: &[usize],
    weights: Vec<f64>,
    from_base: bool,
) -> Result<Finish<'a>, FusionError> {
    let rounded = Rounded { tensor };
    let round = |value: f64| rounded.round(value);
    let eps = tensor.of_tensor(&EPS);
    let mut weights: Vec<f64> = weights;
    if tensor.flag(&NORMALIZE) {
        let own: Vec<f64> = models.iter().map(|&model| round(tensor.of_model(model, &WEIGHT))).collect();
        let total = round(own.iter().sum());
        weights = own.into_iter().map(|weight| round(weight / total)).collect();
    } else {
        weights.iter_mut().for_each(|weight| *weight = round(*weight));
    }
    let values = models.iter().map(|&model| rounded.read(model, from_base)).collect::<Result<Vec<_>, _>>()?;
    let norms: Vec<f64> = values.iter().map(|values| round(rounded.norm(values))).collect();
    let weighted = |vectors: &[Vec<f32>]| {
        let mut sum = vec![0.0_f32; tensor.len()];
        for (vector, &weight) in vectors.iter().zip(&weights) {
            let product = rounded.each(vector, |value| value * weight);
            sum.iter_mut().zip(product).for_each(|(sum, value)| *sum += value);
        }
        rounded.each(&sum, |value| value)
    };
    let units: Vec<Vec<f32>> = values
        .iter()
        .zip(&norms)
        .map(|(values, norm)| rounded.each(values, |value| value / round(norm + eps)))
        .collect();
    let mean = weighted(&units);
    let length = round(rounded.norm(&mean));
    let made = if norms.iter().all(|&norm| norm == 0.0) || (length < eps && models.len() == 2) {
        weighted(&values)
    } else if length < eps {
        let found = format!("directions of '{}' that cancel out", tensor.name);
        return Err(no_direction("weights under which directions do not cancel out", found));
    } else {
        let mean = rounded.each(&mean, |value| value / length);
        let tangents: Vec<Vec<f32>> = units
            .iter()
            .map(|unit| {
                let dot = rounded.dot(unit, &mean);
                rounded.map(unit, &rounded.each(&mean, |value| dot * value), |unit, along| unit - along)
            })
            .collect();
        let tangent = weighted(&tangents);
        let step = round(round(rounded.norm(&tangent)) + eps);
        let (along, across) = (round(step.cos()), round(round(step.sin()) / step));
        let products: Vec<f64> = norms.iter().zip(&weights).map(|(norm, weight)| round(norm * weight)).collect();
        let size = round(products.iter().sum());
        let sum = rounded.map(
            &rounded.each(&mean, |value| value * along),
            &rounded.each(&tangent, |value| value * across),
            |a, b| a + b,
        );
        rounded.each(&sum, |value| value * size)
    };
    Ok(Box::new(move |first, into| {
        let base = if from_base { tensor.base_values(first, into.len())? } else { None };
        into.iter_mut().zip(&made[first..]).for_each(|(into, value)| *into = f64::from(*value));
        if let Some(base) = base {
            into.iter_mut().zip(&base).for_each(|(into, base)| *into += base);
        }
        Ok(())
    }))
}

fn no_direction(expected: &str, found: String) -> FusionError {
    FusionError::Merge { method: "multislerp", expected: expected.into(), found }
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    #[test]
    fn directions_and_lengths_are_averaged_apart() {
        let (x, y) = (vec![2.0_f32, 0.0], vec![0.0_f32, 4.0]);
        let half = 0.5_f64.sqrt();
        let found = merged(&MultiSlerp, &[&x, &y], None, &[("eps", 0.0)], &[("weight", &[1.0, 1.0])]);
        near(&found, &[3.0 * half, 3.0 * half]);
        let base = vec![1.0_f32, 1.0];
        let found = merged(&MultiSlerp, &[&base, &x, &y], Some(0), &[("eps", 0.0)], &[("weight", &[0.0, 1.0, 0.0])]);
        near(&found, &[2.0, 0.0]);
    }
}
