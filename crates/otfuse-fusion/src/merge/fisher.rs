//! The mean by how much each model depends on each weight.

use super::blocks::{Finish, combination};
use super::kernels;
use super::measured::{Measured, Statistics};
use super::operands::Operands;
use super::parameters::{Parameter, SHARE};
use super::{Base, Merge};
use crate::error::FusionError;

/// Element by element `sum_k w_k F_k x_k / sum_k w_k F_k`, where `F_k` is the diagonal of model `k`'s Fisher information, `epsilon`
/// times the mean of the tensor at least (M. Matena, C. Raffel, "Merging Models with Fisher-Weighted Averaging", NeurIPS
/// 2022, equation 4; there the floor is one number for all tensors). Tensors without information are averaged by the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fisher;

const EPSILON: Parameter =
    Parameter::of_tensor("epsilon", Some(1e-3), (0.0, 1e6), "the least information, in means of the tensor's");

impl Merge for Fisher {
    fn name(&self) -> &'static str {
        "fisher"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[SHARE, EPSILON]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn needs(&self) -> Statistics {
        Statistics::Fisher
    }

    fn leaves_out_weightless(&self) -> bool {
        true
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let shares = tensor.shares(self)?;
        let counted: Vec<usize> = (0..shares.len()).filter(|&model| shares[model] != 0.0).collect();
        let Measured::Fisher(found) = &tensor.measured else {
            let factors = counted.iter().map(|&model| shares[model]).collect();
            return Ok(combination(tensor, counted, factors, false));
        };
        if let Some(&model) = counted.iter().find(|&&model| found[model].values.len() != tensor.len()) {
            let expected = format!("the information of {} elements of '{}'", tensor.len(), tensor.name);
            let found = format!("that of {}", found[model].values.len());
            return Err(FusionError::Merge { method: self.name(), expected, found });
        }
        let mean: f64 = counted.iter().map(|&model| shares[model] * found[model].mean).sum();
        let least = tensor.of_tensor(&EPSILON) * mean;
        Ok(Box::new(move |first, into| {
            let (mut total, mut plain) = (vec![0.0; into.len()], vec![0.0; into.len()]);
            let mut values = vec![0.0; into.len()];
            into.fill(0.0);
            for &model in &counted {
                tensor.read(model, first, &mut values)?;
                let share = shares[model];
                kernels::zip(&mut plain, &values, |plain, value| plain + share * value);
                let information = &found[model].values[first..first + into.len()];
                let of_elements = into.iter_mut().zip(&mut total).zip(&values).zip(information);
                for (((into, total), value), &information) in of_elements {
                    let weight = share * f64::from(information).max(least);
                    *into += weight * value;
                    *total += weight;
                }
            }
            // What matters to none is averaged by the weights.
            for ((into, total), plain) in into.iter_mut().zip(total).zip(plain) {
                *into = if total > 0.0 { *into / total } else { plain };
            }
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::Information;
    use super::super::operands::tests::{merged_measured, near};
    use super::*;

    const X: [f32; 4] = [1.0, -2.0, 0.5, 4.0];
    const Y: [f32; 4] = [3.0, 2.0, -1.5, 0.0];

    fn fused(information: [&[f32]; 2], weights: &[f64], epsilon: f64) -> Vec<f64> {
        let of = |values: &'static [f32]| values.to_vec();
        let found = information
            .iter()
            .map(|values| Information { values, mean: values.iter().copied().map(f64::from).sum::<f64>() / 4.0 })
            .collect();
        let models = [&of(&X), &of(&Y)];
        merged_measured(
            &Fisher,
            &models,
            &[4],
            Measured::Fisher(found),
            &[("epsilon", epsilon)],
            &[("weight", weights)],
        )
    }

    #[test]
    fn equal_information_is_the_weighted_mean() {
        let information = [0.3, 0.0, 7.0, 1e-9];
        let found = fused([&information, &information], &[1.0, 3.0], 1e-3);
        near(&found, &[2.5, 1.0, -1.0, 1.0]);
    }

    #[test]
    fn where_one_model_does_not_care_the_other_decides() {
        let found = fused([&[1.0, 0.0, 2.0, 0.0], &[0.0, 1.0, 2.0, 0.0]], &[1.0, 1.0], 0.0);
        near(&found, &[1.0, 2.0, -0.5, 2.0]);
        // With a floor nearly so; what matters to none is between both again.
        let found = fused([&[1.0, 0.0, 2.0, 0.0], &[0.0, 1.0, 2.0, 0.0]], &[1.0, 1.0], 1e-6);
        assert!((found[0] - 1.0).abs() < 1e-5 && (found[1] - 2.0).abs() < 1e-5, "{found:?}");
        near(&found[2..], &[-0.5, 2.0]);
    }

    #[test]
    fn without_information_it_is_the_weighted_mean() {
        let found = merged_measured(
            &Fisher,
            &[&X.to_vec(), &Y.to_vec()],
            &[4],
            Measured::Nothing,
            &[],
            &[("weight", &[1.0, 3.0])],
        );
        near(&found, &[2.5, 1.0, -1.0, 1.0]);
    }

    #[test]
    fn a_model_of_weight_0_is_not_looked_at() {
        let found = vec![Information { values: &[1.0; 4], mean: 1.0 }, Information::default()];
        let models = [&X.to_vec(), &Vec::new()];
        let found = merged_measured(&Fisher, &models, &[4], Measured::Fisher(found), &[], &[("weight", &[1.0, 0.0])]);
        near(&found, &X.map(f64::from));
    }
}
