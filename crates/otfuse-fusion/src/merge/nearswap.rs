//! Strong interpolation where two models are near to each other.

use super::blocks::{Finish, copy};
use super::operands::Operands;
use super::parameters::{ANY, Parameter};
use super::{Base, Merge, Others};
use crate::error::FusionError;

/// From the base `a` to the other model `b`, element by element, the further the nearer they are:
/// `a + s (b - a)` with `s = min(1, t / |a - b|)`. Source: A. Lemon's QuartetAnemoi models, and the method of this name in mergekit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearSwap;

const T: Parameter = Parameter::of_tensor("t", None, ANY, "differences up to this are taken from the other model");

/// Smaller differences count as this.
const LEAST: f64 = 1e-6;

impl Merge for NearSwap {
    fn name(&self) -> &'static str {
        "nearswap"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[T]
    }

    fn base(&self) -> Base {
        Base::Required
    }

    fn others(&self) -> Others {
        Others::Exactly(1)
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let base = tensor.base.unwrap_or(0);
        let [other] = tensor.others()[..] else { return Ok(copy(tensor, base)) };
        let (t, least) = (tensor.of_tensor(&T), tensor.rounded(LEAST));
        Ok(Box::new(move |first, into| {
            let mut values = vec![0.0; into.len()];
            tensor.read(base, first, into)?;
            tensor.read(other, first, &mut values)?;
            let mut shares: Vec<f64> = into.iter().zip(&values).map(|(a, b)| (a - b).abs()).collect();
            tensor.round(&mut shares);
            shares.iter_mut().for_each(|share| *share = 1.0 / share.max(least));
            tensor.round(&mut shares);
            shares.iter_mut().for_each(|share| *share *= t);
            tensor.round(&mut shares);
            shares.iter_mut().for_each(|share| *share = share.clamp(0.0, 1.0));
            let mut rest: Vec<f64> = shares.iter().map(|share| 1.0 - share).collect();
            tensor.round(&mut rest);
            values.iter_mut().zip(&shares).for_each(|(value, share)| *value *= share);
            tensor.round(&mut values);
            into.iter_mut().zip(&rest).for_each(|(value, rest)| *value *= rest);
            tensor.round(into);
            into.iter_mut().zip(&values).for_each(|(into, value)| *into += value);
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    #[test]
    fn near_elements_are_swapped_and_far_ones_moved_by_t() {
        let (a, b) = (vec![1.0_f32, 1.0, 1.0], vec![1.125_f32, 2.0, 1.0]);
        near(&merged(&NearSwap, &[&b, &a], Some(1), &[("t", 0.25)], &[]), &[1.125, 1.25, 1.0]);
    }
}
