//! Means by rank.

use super::blocks::Finish;
use super::operands::Operands;
use super::parameters::Parameter;
use super::{Base, Merge};
use crate::error::FusionError;

/// Element by element, the mean of the models' values without the `trim` share at either end: what single models are far off in
/// has no part (D. Yin et al., "Byzantine-robust distributed learning", ICML 2018). All models count alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByRank {
    name: &'static str,
    parameters: &'static [Parameter],
}

/// The middle value, or the mean of the two in the middle.
pub static MEDIAN: ByRank = ByRank { name: "median", parameters: &[] };
/// With as much left out as `trim` says.
pub static TRIMMED_MEAN: ByRank = ByRank { name: "trimmed_mean", parameters: &[TRIM] };

const TRIM: Parameter =
    Parameter::of_tensor("trim", Some(0.2), (0.0, 0.5), "the share of models that is left out at either end");

impl Merge for ByRank {
    fn name(&self) -> &'static str {
        self.name
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let models = tensor.models.len();
        let trim = if self.parameters.is_empty() { 0.5 } else { tensor.of_tensor(&TRIM) };
        // At least the middle stays.
        let left_out = ((trim * models as f64) as usize).min((models - 1) / 2);
        Ok(Box::new(move |first, into| {
            let mut values = vec![vec![0.0; into.len()]; models];
            for (model, values) in values.iter_mut().enumerate() {
                tensor.read(model, first, values)?;
            }
            let mut sorted = vec![0.0; models];
            for (at, into) in into.iter_mut().enumerate() {
                sorted.iter_mut().zip(&values).for_each(|(sorted, values)| *sorted = values[at]);
                sorted.sort_unstable_by(f64::total_cmp);
                let stay = &sorted[left_out..models - left_out];
                *into = stay.iter().sum::<f64>() / stay.len() as f64;
            }
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    #[test]
    fn what_is_far_off_has_no_part() {
        let models = [vec![1.0_f32, 0.0], vec![2.0_f32, 1.0], vec![300.0_f32, 5.0], vec![3.0_f32, 2.0]];
        let models: Vec<&Vec<f32>> = models.iter().collect();
        near(&merged(&MEDIAN, &models, None, &[], &[]), &[2.5, 1.5]);
        near(&merged(&MEDIAN, &models[..3], None, &[], &[]), &[2.0, 1.0]);
        near(&merged(&TRIMMED_MEAN, &models, None, &[("trim", 0.25)], &[]), &[2.5, 1.5]);
        near(&merged(&TRIMMED_MEAN, &models, None, &[], &[]), &[76.5, 2.0]);
    }
}
