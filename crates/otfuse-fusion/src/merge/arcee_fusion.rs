//! The most important changes alone.

use rayon::prelude::*;

use super::blocks::{Finish, copy};
use super::largest::{Keys, at_place, signed_key, signed_value};
use super::operands::Operands;
use super::parameters::Parameter;
use super::{Base, Merge, Others};
use crate::error::FusionError;

/// Of the other model's differences to the base, those whose importance is at least the median plus 1.5 times the distance of the
/// quartiles of all importances in the tensor. An element's importance is its absolute difference times the divergence
/// (Kullback-Leibler) of its row's softmax from the base's, along the last axis. Source: the method of this name in
/// mergekit, which estimates the quartiles of tensors above a million elements on a sample; here they are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArceeFusion;

/// What is added to probabilities.
const EPS: f64 = 1e-8;

impl Merge for ArceeFusion {
    fn name(&self) -> &'static str {
        "arcee_fusion"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    fn base(&self) -> Base {
        Base::Required
    }

    fn others(&self) -> Others {
        Others::Exactly(1)
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let base = tensor.base.unwrap_or(0);
        let [other] = tensor.others()[..] else { return Ok(copy(tensor, base)) };
        let (rows, row) = tensor.rows();
        if rows == 0 {
            return Ok(copy(tensor, base));
        }
        let divergence = |at: usize| -> Result<f64, FusionError> {
            let (mut p, mut q) = (vec![0.0; row], vec![0.0; row]);
            tensor.read(other, at * row, &mut p)?;
            tensor.read(base, at * row, &mut q)?;
            probabilities(tensor, &mut p);
            probabilities(tensor, &mut q);
            p.iter().zip(&mut q).for_each(|(p, q)| *q = p / *q);
            tensor.round(&mut q);
            q.iter_mut().for_each(|ratio| *ratio = ratio.ln());
            tensor.round(&mut q);
            p.iter().zip(&mut q).for_each(|(p, logarithm)| *logarithm *= p);
            tensor.round(&mut q);
            Ok(tensor.rounded(q.iter().sum()))
        };
        let divergences: Vec<f64> = (0..rows).into_par_iter().map(divergence).collect::<Result<_, FusionError>>()?;
        let importance = move |first: usize, into: &mut [f64]| -> Result<(), FusionError> {
            let mut values = vec![0.0; into.len()];
            tensor.read(base, first, &mut values)?;
            tensor.differences(other, Some(&values), first, into)?;
            for (at, into) in into.iter_mut().enumerate() {
                *into = into.abs() * divergences[(first + at) / row];
            }
            tensor.round(into);
            Ok(())
        };
        let threshold = {
            let keys = |first: usize, into: &mut [u32]| {
                let mut values = vec![0.0; into.len()];
                importance(first, &mut values)?;
                // Rounding makes divergences of equal rows negative at times.
                into.iter_mut().zip(values).for_each(|(into, value)| *into = signed_key(value));
                Ok(())
            };
            let keys: &Keys<'_> = &keys;
            let quantile =
                |q: f64| at_place(tensor.len(), (q * (tensor.len() - 1) as f64) as usize, keys).map(signed_value);
            let spread = tensor.rounded(quantile(0.75)? - quantile(0.25)?);
            tensor.rounded(quantile(0.5)? + tensor.rounded(1.5 * spread))
        };
        Ok(Box::new(move |first, into| {
            let (mut important, mut values) = (vec![0.0; into.len()], vec![0.0; into.len()]);
            importance(first, &mut important)?;
            tensor.read(base, first, into)?;
            tensor.differences(other, Some(into), first, &mut values)?;
            for ((into, difference), important) in into.iter_mut().zip(values).zip(important) {
                if f64::from(important as f32) >= threshold {
                    *into += difference;
                }
            }
            Ok(())
        }))
    }
}

/// Probabilities of a row, none of them 0.
fn probabilities(tensor: &Operands<'_>, values: &mut [f64]) {
    softmax(values);
    tensor.round(values);
    values.iter_mut().for_each(|value| *value += EPS);
    tensor.round(values);
}

fn softmax(values: &mut [f64]) {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter_mut().for_each(|value| *value = (*value - most).exp());
    let total: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= total);
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::merged;
    use super::*;

    #[test]
    fn outliers_alone_change() {
        let base = vec![0.0_f32; 8];
        let other = vec![0.1_f32, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 5.0];
        let found = merged(&ArceeFusion, &[&base, &other], Some(0), &[], &[]);
        assert_eq!(found, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0]);
    }
}
