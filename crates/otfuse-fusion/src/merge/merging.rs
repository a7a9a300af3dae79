//! A method with what it was told, as networks are merged by it.

use std::sync::Arc;

use super::blocks::BLOCK;
use super::measured::Measured;
use super::operands::{Operands, Values};
use super::parameters::{Numbers, Scope};
use super::{Merge, check};
use crate::error::FusionError;

/// Says the numbers for a tensor of the result, by its name.
pub type Choose = dyn Fn(&str) -> Numbers + Send + Sync;

/// How aligned tensors become one: a method, and numbers for each tensor.
#[derive(Clone)]
pub struct Merging {
    method: &'static dyn Merge,
    base: Option<usize>,
    choose: Option<Arc<Choose>>,
    seed: u64,
}

impl std::fmt::Debug for Merging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merging").field("method", &self.method).field("base", &self.base).finish_non_exhaustive()
    }
}

impl Merging {
    /// The weighted mean of the models.
    pub fn mean() -> Self {
        Self::of(&super::linear::Linear)
    }

    /// Spherical interpolation of two models at the second one's share of the weights.
    pub fn slerp() -> Self {
        Self::of(&super::slerp::Slerp)
    }

    /// A method that is told the models' weights alone: as `weight` of each, and as `t`, the share of the second of two.
    pub fn of(method: &'static dyn Merge) -> Self {
        Self { method, base: None, choose: None, seed: 0 }
    }

    /// With one of the models as the base.
    #[must_use]
    pub fn with_base(self, base: Option<usize>) -> Self {
        Self { base, ..self }
    }

    /// With numbers for each tensor; those that it does not say are the models' weights.
    #[must_use]
    pub fn choosing(self, choose: Arc<Choose>) -> Self {
        Self { choose: Some(choose), ..self }
    }

    /// With another seed of random draws than 0.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The method.
    pub fn method(&self) -> &'static dyn Merge {
        self.method
    }

    /// The base among the models.
    pub fn base(&self) -> Option<usize> {
        self.base
    }

    /// Refuses models that the method cannot work with.
    ///
    /// # Errors
    /// [`FusionError::Merge`] with what is expected and what was found.
    pub fn check(&self, weights: &[f64]) -> Result<(), FusionError> {
        check(self.method, weights.len(), self.base)?;
        let total: f64 = weights.iter().sum();
        let is_needed = self.choose.is_none() && self.method.parameters().iter().any(|parameter| parameter.name == "t");
        if is_needed && !(weights.iter().all(|&weight| weight >= 0.0) && total > 0.0 && total.is_finite()) {
            let (method, expected) = (self.method.name(), "weights from 0 on that are not all 0".to_owned());
            return Err(FusionError::Merge { method, expected, found: format!("{weights:?}") });
        }
        Ok(())
    }

    /// Whether parts of a tensor can be merged by themselves, so that large ones need little memory.
    pub fn works_in_pieces(&self) -> bool {
        self.method.is_elementwise()
    }

    /// Whether a model has a part in every tensor.
    pub fn asks_for(&self, model: usize, weights: &[f64]) -> bool {
        let is_weighted = self.choose.is_none() && self.method.leaves_out_weightless();
        !is_weighted || weights[model] != 0.0
    }

    /// The seed of random draws.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// One tensor of this name and shape, or a piece of it: `aligned` gives a model's values, and `measured` is what is known of
    /// them. Models that [count for nothing](Self::asks_for) are not asked for.
    ///
    /// # Errors
    /// Those of `aligned` and of the method.
    pub fn tensor(
        &self,
        (name, shape): (&str, &[usize]),
        weights: &[f64],
        measured: Measured<'_>,
        aligned: &dyn Fn(usize) -> Result<Vec<f32>, FusionError>,
    ) -> Result<Vec<f64>, FusionError> {
        let values: Vec<Vec<f32>> = (0..weights.len())
            .map(|model| if self.asks_for(model, weights) { aligned(model) } else { Ok(Vec::new()) })
            .collect::<Result<_, FusionError>>()?;
        let numbers = self.numbers(name, weights);
        let models = values.iter().map(|values| values as &dyn Values).collect();
        let (base, numbers, seed) = (self.base, &numbers, self.seed);
        let operands = Operands { name, shape, models, measured, base, numbers, rounding: None, seed };
        let finish = self.method.prepare(&operands)?;
        let mut made = vec![0.0; operands.len()];
        made.chunks_mut(BLOCK).enumerate().try_for_each(|(at, block)| finish(at * BLOCK, block))?;
        Ok(made)
    }

    fn numbers(&self, name: &str, weights: &[f64]) -> Numbers {
        let mut numbers = self.choose.as_ref().map_or_else(Numbers::default, |choose| choose(name));
        numbers.models.resize_with(weights.len(), Default::default);
        for parameter in self.method.parameters() {
            match (parameter.name, parameter.scope) {
                ("weight", Scope::Model) => {
                    for (numbers, &weight) in numbers.models.iter_mut().zip(weights) {
                        numbers.entry("weight").or_insert(weight);
                    }
                }
                ("t", Scope::Tensor) if weights.len() == 2 => {
                    let other = usize::from(self.base != Some(1));
                    numbers.tensor.entry("t").or_insert(weights[other] / (weights[0] + weights[1]));
                }
                // The weights of networks add up to 1 already.
                ("normalize", Scope::Tensor) if self.choose.is_none() => {
                    numbers.tensor.entry("normalize").or_insert(0.0);
                }
                _ => {}
            }
        }
        numbers
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
        assert_eq!(
            Merging::mean().tensor(("w", &[2]), &[0.25, 0.0, 0.75], Measured::Nothing, &aligned).unwrap(),
            [1.5, 1.0]
        );
    }

    #[test]
    fn other_than_two_models_are_refused() {
        let error = Merging::slerp().check(&[0.2, 0.3, 0.5]).unwrap_err();
        assert!(matches!(error, FusionError::Merge { method: "slerp", .. }), "{error}");
        let refused = |weights: &[f64]| Merging::slerp().check(weights).is_err();
        assert!(refused(&[1.0]) && refused(&[0.0, 0.0]) && refused(&[2.0, -1.0]));
    }
}
