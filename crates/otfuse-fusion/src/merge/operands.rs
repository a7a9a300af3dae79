//! What a method is given.

use otfuse_graph::DataType;

use super::Merge;
use super::kernels;
use super::measured::Measured;
use super::parameters::{Numbers, Parameter, SHARE};
use crate::error::FusionError;

/// The elements of one model's tensor, in row-major order.
pub trait Values: Sync {
    /// Fills `into` with the elements from `first` on.
    ///
    /// # Errors
    /// An element type without numbers.
    fn read(&self, first: usize, into: &mut [f64]) -> Result<(), FusionError>;
}

impl Values for Vec<f32> {
    fn read(&self, first: usize, into: &mut [f64]) -> Result<(), FusionError> {
        into.iter_mut().zip(&self[first..]).for_each(|(into, &value)| *into = f64::from(value));
        Ok(())
    }
}

/// Tensors of several models that become one.
pub struct Operands<'a> {
    /// The tensor's name: random draws depend on it.
    pub name: &'a str,
    /// The shape of all of them.
    pub shape: &'a [usize],
    /// The models' values.
    pub models: Vec<&'a dyn Values>,
    /// What was measured of the models on samples.
    pub measured: Measured<'a>,
    /// The place of the base among the models.
    pub base: Option<usize>,
    /// What the method was told.
    pub numbers: &'a Numbers,
    /// The type that files hold, to which intermediate results are rounded as tools do that compute in it; `None` for double
    /// precision throughout.
    pub rounding: Option<DataType>,
    /// Seed of random draws.
    pub seed: u64,
}

impl Operands<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The models that are not the base.
    pub fn others(&self) -> Vec<usize> {
        (0..self.models.len()).filter(|&model| Some(model) != self.base).collect()
    }

    /// Elements of a model from `first` on, in `into`.
    ///
    /// # Errors
    /// Those of the model's values.
    pub fn read(&self, model: usize, first: usize, into: &mut [f64]) -> Result<(), FusionError> {
        self.models[model].read(first, into)
    }

    /// Elements of a model, or what it differs by from the base's elements if they are given, rounded as the files' type is.
    ///
    /// # Errors
    /// Those of the model's values.
    pub fn differences(
        &self,
        model: usize,
        base: Option<&[f64]>,
        first: usize,
        into: &mut [f64],
    ) -> Result<(), FusionError> {
        self.read(model, first, into)?;
        if let Some(base) = base {
            kernels::zip(into, base, |value, base| value - base);
            self.round(into);
        }
        Ok(())
    }

    /// The base's elements, if there is a base.
    ///
    /// # Errors
    /// Those of the base's values.
    pub fn base_values(&self, first: usize, count: usize) -> Result<Option<Vec<f64>>, FusionError> {
        let Some(base) = self.base else { return Ok(None) };
        let mut values = vec![0.0; count];
        self.read(base, first, &mut values)?;
        Ok(Some(values))
    }

    /// The weight of a model, or another number of it.
    pub fn of_model(&self, model: usize, parameter: &Parameter) -> f64 {
        self.numbers.of_model(model, parameter)
    }

    /// The models' weights, brought to a sum of 1.
    ///
    /// # Errors
    /// [`FusionError::Merge`] for weights that are all 0.
    pub(super) fn shares(&self, method: &dyn Merge) -> Result<Vec<f64>, FusionError> {
        let weights: Vec<f64> = (0..self.models.len()).map(|model| self.of_model(model, &SHARE)).collect();
        let total: f64 = weights.iter().sum();
        if total > 0.0 && total.is_finite() {
            return Ok(weights.into_iter().map(|weight| weight / total).collect());
        }
        let (method, expected) = (method.name(), "weights from 0 on that are not all 0".to_owned());
        Err(FusionError::Merge { method, expected, found: format!("{weights:?}") })
    }

    /// A number of the tensor.
    pub fn of_tensor(&self, parameter: &Parameter) -> f64 {
        self.numbers.of_tensor(parameter)
    }

    /// A truth value of the tensor.
    pub fn flag(&self, parameter: &Parameter) -> bool {
        self.of_tensor(parameter) != 0.0
    }

    /// Rounds to the files' type.
    pub fn round(&self, values: &mut [f64]) {
        kernels::round(self.rounding, values);
    }

    /// Whether numbers are rounded to 16 bits.
    pub fn is_narrow(&self) -> bool {
        matches!(self.rounding, Some(DataType::BF16 | DataType::F16))
    }

    /// One number rounded to the files' type.
    pub fn rounded(&self, value: f64) -> f64 {
        let mut one = [value];
        self.round(&mut one);
        one[0]
    }

    /// Lengths of rows: (number of outer places, length of an inner row) with the last axis as the row; a vector is one row.
    pub fn rows(&self) -> (usize, usize) {
        let row = self.shape.last().copied().unwrap_or(1);
        (self.len().checked_div(row).unwrap_or(0), row)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{BLOCK, Merge};
    use super::*;

    /// What a method makes of vectors; numbers of the tensor and of each model by name.
    pub fn merged(
        method: &'static dyn Merge,
        models: &[&Vec<f32>],
        base: Option<usize>,
        tensor: &[(&'static str, f64)],
        of_models: &[(&'static str, &[f64])],
    ) -> Vec<f64> {
        let shape = [models[0].len()];
        merged_shape(method, models, &shape, base, tensor, of_models)
    }

    /// The same of tensors of a shape.
    pub fn merged_shape(
        method: &'static dyn Merge,
        models: &[&Vec<f32>],
        shape: &[usize],
        base: Option<usize>,
        tensor: &[(&'static str, f64)],
        of_models: &[(&'static str, &[f64])],
    ) -> Vec<f64> {
        merged_with(method, models, (shape, base, Measured::Nothing), tensor, of_models)
    }

    /// The same with what was measured.
    pub fn merged_measured(
        method: &'static dyn Merge,
        models: &[&Vec<f32>],
        shape: &[usize],
        measured: Measured<'_>,
        tensor: &[(&'static str, f64)],
        of_models: &[(&'static str, &[f64])],
    ) -> Vec<f64> {
        merged_with(method, models, (shape, None, measured), tensor, of_models)
    }

    fn merged_with(
        method: &'static dyn Merge,
        models: &[&Vec<f32>],
        (shape, base, measured): (&[usize], Option<usize>, Measured<'_>),
        tensor: &[(&'static str, f64)],
        of_models: &[(&'static str, &[f64])],
    ) -> Vec<f64> {
        let mut numbers =
            Numbers { tensor: tensor.iter().copied().collect(), models: vec![Default::default(); models.len()] };
        for (name, values) in of_models {
            numbers.models.iter_mut().zip(*values).for_each(|(model, &value)| {
                model.insert(name, value);
            });
        }
        let models: Vec<&dyn Values> = models.iter().map(|values| *values as &dyn Values).collect();
        let numbers = &numbers;
        let operands = Operands { name: "w", shape, models, measured, base, numbers, rounding: None, seed: 0 };
        let finish = method.prepare(&operands).unwrap();
        let mut out = vec![0.0; operands.len()];
        for (at, block) in out.chunks_mut(BLOCK).enumerate() {
            finish(at * BLOCK, block).unwrap();
        }
        out
    }

    /// Whether all numbers are the same but for rounding.
    pub fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} is not {expected:?}");
    }

    #[test]
    fn rounding_to_bfloat16_is_to_the_nearest_even() {
        let numbers = Numbers::default();
        let tensor = Operands {
            name: "w",
            shape: &[],
            models: Vec::new(),
            measured: Measured::Nothing,
            base: None,
            numbers: &numbers,
            rounding: Some(DataType::BF16),
            seed: 0,
        };
        assert_eq!(tensor.rounded(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(tensor.rounded(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
        assert_eq!(tensor.rounded(0.3), 0.300_781_25);
    }
}
