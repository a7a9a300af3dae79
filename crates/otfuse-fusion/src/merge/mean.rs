//! The weighted mean.

use super::{Merge, Source};
use crate::error::FusionError;

/// The mean with a weight for each model: `sum_k weights[k] * tensor_k`, summed in double precision in the order of the
/// models; those of weight 0 are not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mean;

impl Merge for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn check(&self, _: &[f64]) -> Result<(), FusionError> {
        Ok(())
    }

    fn works_in_pieces(&self) -> bool {
        true
    }

    fn tensor(&self, length: usize, weights: &[f64], aligned: Source<'_>) -> Result<Vec<f64>, FusionError> {
        let mut sum = vec![0.0_f64; length];
        for (model, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            sum.iter_mut().zip(aligned(model)?).for_each(|(sum, value)| *sum += weight * f64::from(value));
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_without_weight_are_not_asked_for() {
        let aligned = |model: usize| match model {
            1 => panic!("a model that does not count"),
            model => Ok(vec![model as f32, 1.0]),
        };
        assert_eq!(Mean.tensor(2, &[0.25, 0.0, 0.75], &aligned).unwrap(), [1.5, 1.0]);
    }
}
