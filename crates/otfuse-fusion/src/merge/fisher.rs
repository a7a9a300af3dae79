//! The mean weighted by importance.

use super::blocks::Finish;
use super::operands::Operands;
use super::parameters::{Parameter, Scope, WEIGHT};
use super::{Base, Merge};
use crate::error::FusionError;

/// `sum_k w_k F_k x_k / sum_k w_k F_k`, element by element, where `F_k` is the diagonal of the Fisher information of model `k`
/// (M. Matena, C. Raffel, "Merging models with Fisher-weighted averaging", NeurIPS 2022, equation 4), which has to be
/// measured on samples first. Where it is 0 in all models, and without it, the weighted mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fisher;

const FLOOR: Parameter = Parameter {
    name: "floor",
    scope: Scope::Tensor,
    default: Some(1e-6),
    range: (0.0, 1.0),
    meaning: "the least importance",
};

impl Merge for Fisher {
    fn name(&self) -> &'static str {
        "fisher"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[Parameter { default: Some(1.0), ..WEIGHT }, FLOOR]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn is_elementwise(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let weight = Parameter { default: Some(1.0), ..WEIGHT };
        let weights: Vec<f64> = (0..tensor.models.len()).map(|model| tensor.of_model(model, &weight)).collect();
        let floor = tensor.of_tensor(&FLOOR);
        Ok(Box::new(move |first, into| {
            let (mut values, mut importance) = (vec![0.0; into.len()], vec![1.0; into.len()]);
            let mut total = vec![0.0; into.len()];
            into.fill(0.0);
            for (model, weight) in weights.iter().enumerate() {
                tensor.read(model, first, &mut values)?;
                if let Some(measured) = &tensor.importance {
                    measured[model].read(first, &mut importance)?;
                }
                for at in 0..into.len() {
                    let counted = weight * importance[at].max(floor);
                    into[at] += counted * values[at];
                    total[at] += counted;
                }
            }
            into.iter_mut().zip(total).for_each(|(into, total)| *into /= if total == 0.0 { 1.0 } else { total });
            Ok(())
        }))
    }
}
