//! The weighted mean.

use otfuse_graph::DataType;

use super::blocks::Finish;
use super::kernels;
use super::operands::Operands;
use super::parameters::{Parameter, WEIGHT};
use super::{Base, Merge};
use crate::error::FusionError;

/// The weighted mean, `sum_k w_k x_k / sum_k w_k`, summed in the order of the models; those of weight 0 are not asked for. Of
/// checkpoints of one lineage: M. Wortsman et al., "Model soups", ICML 2022.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linear;

const NORMALIZE: Parameter = Parameter::flag("normalize", true, "divide by the sum of the weights");

impl Merge for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[WEIGHT, NORMALIZE]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn leaves_out_weightless(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let models = 0..tensor.models.len();
        let weights: Vec<f64> = models.map(|model| tensor.of_model(model, &WEIGHT)).collect();
        let total: f64 = weights.iter().sum();
        let divisor = (tensor.flag(&NORMALIZE)).then_some(total);
        if divisor == Some(0.0) {
            let (expected, found) = ("weights that do not add up to 0".to_owned(), format!("{weights:?}"));
            return Err(FusionError::Merge { method: "linear", expected, found });
        }
        let is_single = matches!(tensor.rounding, Some(DataType::F32 | DataType::F16 | DataType::BF16));
        let divisor = divisor.map(|divisor| if is_single { f64::from(divisor as f32) } else { divisor });
        Ok(Box::new(move |first, into| {
            let mut values = vec![0.0; into.len()];
            into.fill(0.0);
            for (model, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                tensor.read(model, first, &mut values)?;
                match is_single {
                    // As tools that add up in single precision do, one rounding for product and sum.
                    true => {
                        let weight = f64::from(weight as f32);
                        kernels::zip(into, &values, |into, value| f64::from((into + weight * value) as f32));
                    }
                    false => kernels::zip(into, &values, |into, value| into + weight * value),
                }
            }
            if let Some(divisor) = divisor.filter(|divisor| *divisor != 1.0) {
                kernels::each(into, |value| value / divisor);
            }
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::merged;
    use super::*;

    #[test]
    fn the_mean_is_weighted_and_normalised() {
        let (x, y) = (vec![0.0_f32, 1.0], vec![2.0_f32, 1.0]);
        let weights = [("weight", &[1.0, 3.0][..])];
        assert_eq!(merged(&Linear, &[&x, &y], None, &[], &weights), [1.5, 1.0]);
        assert_eq!(merged(&Linear, &[&x, &y], None, &[("normalize", 0.0)], &weights), [6.0, 4.0]);
    }
}
