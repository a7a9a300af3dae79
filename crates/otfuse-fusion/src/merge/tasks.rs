//! Methods that add up what models learned beyond their base.

use super::blocks::{Finish, copy, each_block};
use super::kernels;
use super::operands::Operands;
use super::parameters::{ANY, INT8_MASK, Parameter, WEIGHT};
use super::sparsify::{Kept, Sparsity, Wanted, kept};
use super::{Base, Merge};
use crate::error::FusionError;

/// Task arithmetic and what was made of it. With task vectors `d_k = x_k - base`, each thinned out to `s_k`,
///
/// ```text
/// base + lambda * sum_k m_k w_k s_k / n
/// ```
///
/// where `m_k`, element by element, is 1 where `w_k s_k` has the sign of `sum_k w_k s_k`, and 0 elsewhere (1 always without
/// agreement on signs), and `n` is `sum_k m_k w_k` with `normalize`, else 1. With `rescale`, `s_k` has the sum of absolute values
/// of `d_k`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tasks {
    name: &'static str,
    sparsity: Sparsity,
    agrees: bool,
    parameters: &'static [Parameter],
}

/// G. Ilharco et al., "Editing models with task arithmetic", ICLR 2023.
pub static TASK_ARITHMETIC: Tasks = Tasks {
    name: "task_arithmetic",
    sparsity: Sparsity::All,
    agrees: false,
    parameters: &[WEIGHT, DENSITY, normalize(false), rescale(false), LAMBDA, INT8_MASK],
};
/// P. Yadav et al., "TIES-merging", NeurIPS 2023.
pub static TIES: Tasks = Tasks {
    name: "ties",
    sparsity: Sparsity::Largest,
    agrees: true,
    parameters: &[WEIGHT, DENSITY, normalize(true), rescale(false), LAMBDA, INT8_MASK],
};
/// L. Yu et al., "Language models are super Mario", ICML 2024.
pub static DARE_LINEAR: Tasks = Tasks {
    name: "dare_linear",
    sparsity: Sparsity::Random,
    agrees: false,
    parameters: &[WEIGHT, DENSITY, normalize(false), rescale(true), LAMBDA, INT8_MASK],
};
/// The same, with agreement on signs.
pub static DARE_TIES: Tasks = Tasks { name: "dare_ties", agrees: true, ..DARE_LINEAR };
/// P. T. Deep, R. Bhardwaj, S. Poria, "DELLA-merging", 2024.
pub static DELLA_LINEAR: Tasks = Tasks {
    name: "della_linear",
    sparsity: Sparsity::Ranked,
    agrees: false,
    parameters: &[WEIGHT, DENSITY, EPSILON, normalize(false), rescale(true), LAMBDA, INT8_MASK],
};
/// The same, with agreement on signs.
pub static DELLA: Tasks = Tasks {
    name: "della",
    agrees: true,
    parameters: &[WEIGHT, DENSITY, EPSILON, normalize(true), rescale(true), LAMBDA, INT8_MASK],
    ..DELLA_LINEAR
};
/// M.-J. Davari, E. Belilovsky, "Model breadcrumbs", ECCV 2024.
pub static BREADCRUMBS: Tasks = Tasks {
    name: "breadcrumbs",
    sparsity: Sparsity::Middle,
    agrees: false,
    parameters: &[WEIGHT, DENSITY, GAMMA, normalize(false), rescale(false), LAMBDA, INT8_MASK],
};
/// The same, with agreement on signs.
pub static BREADCRUMBS_TIES: Tasks = Tasks { name: "breadcrumbs_ties", agrees: true, ..BREADCRUMBS };

const DENSITY: Parameter =
    Parameter::of_model("density", Some(1.0), (0.0, 1.0), "the share of a task vector's elements that stays");
const GAMMA: Parameter =
    Parameter::of_model("gamma", Some(0.01), (0.0, 1.0), "the share of the largest elements that are left out");
const EPSILON: Parameter =
    Parameter::of_model("epsilon", Some(0.15), (0.0, 1.0), "how far probabilities lie around the density");
const LAMBDA: Parameter =
    Parameter::of_tensor("lambda", Some(1.0), ANY, "what the merged task vector is multiplied with");

const fn normalize(default: bool) -> Parameter {
    Parameter::flag("normalize", default, "divide by the sum of the weights that count")
}

const fn rescale(default: bool) -> Parameter {
    Parameter::flag("rescale", default, "let thinned out task vectors keep their sum of absolute values")
}

/// Sums of absolute values below this are none.
const NOTHING: f64 = 1e-7;
/// Sums of weights below this do not divide.
const NO_WEIGHT: f64 = 1e-8;

/// One model's task vector.
struct Task {
    model: usize,
    weight: f64,
    kept: Kept,
    scale: f64,
}

impl Tasks {
    /// Whether a truth value was said, or is so if nothing is.
    fn is_told(&self, tensor: &Operands<'_>, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name && tensor.flag(parameter))
    }

    fn tasks(&self, tensor: &Operands<'_>) -> Result<Vec<Task>, FusionError> {
        let rescales = self.is_told(tensor, "rescale");
        let task = |model: usize| {
            let wanted = Wanted {
                sparsity: self.sparsity,
                density: tensor.of_model(model, &DENSITY),
                gamma: tensor.of_model(model, &GAMMA),
                epsilon: tensor.of_model(model, &EPSILON),
            };
            let kept = kept(tensor, model, &wanted)?;
            let scale = if rescales { scale(tensor, model, &kept)? } else { 1.0 };
            Ok(Task { model, weight: tensor.rounded(tensor.of_model(model, &WEIGHT)), kept, scale })
        };
        tensor.others().into_iter().map(task).collect()
    }
}

/// What makes up for what was left out.
fn scale(tensor: &Operands<'_>, model: usize, kept: &Kept) -> Result<f64, FusionError> {
    if matches!(kept, Kept::All) {
        return Ok(1.0);
    }
    let sums = each_block(tensor.len(), |first, count| {
        let mut values = vec![0.0; count];
        let base = tensor.base_values(first, count)?;
        tensor.differences(model, base.as_deref(), first, &mut values)?;
        let before = kernels::sum_abs(&values);
        if let Some(kept) = kept.of_block(first, &values) {
            kernels::zip(&mut values, &kept, |value, kept| value * kept);
        }
        Ok((before, kernels::sum_abs(&values)))
    })?;
    let (before, after) = sums.into_iter().fold((0.0, 0.0), |sum, of_block| (sum.0 + of_block.0, sum.1 + of_block.1));
    let (before, after) = (tensor.rounded(before), tensor.rounded(after));
    Ok(if before < NOTHING || after < NOTHING { 1.0 } else { tensor.rounded(before / after) })
}

impl Task {
    /// The weighted task vector of a block.
    fn read(&self, tensor: &Operands<'_>, base: &[f64], first: usize, into: &mut [f64]) -> Result<(), FusionError> {
        tensor.differences(self.model, Some(base), first, into)?;
        if let Some(kept) = self.kept.of_block(first, into) {
            kernels::zip(into, &kept, |value, kept| value * kept);
        }
        if self.scale != 1.0 {
            let scale = self.scale;
            kernels::each(into, |value| value * scale);
            tensor.round(into);
        }
        if self.weight != 1.0 {
            let weight = self.weight;
            kernels::each(into, |value| value * weight);
            tensor.round(into);
        }
        Ok(())
    }
}

impl Merge for Tasks {
    fn name(&self) -> &'static str {
        self.name
    }

    fn parameters(&self) -> &'static [Parameter] {
        self.parameters
    }

    fn base(&self) -> Base {
        Base::Required
    }

    fn is_elementwise(&self) -> bool {
        self.sparsity == Sparsity::All
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let tasks = self.tasks(tensor)?;
        if tasks.is_empty() {
            return Ok(copy(tensor, tensor.base.unwrap_or(0)));
        }
        let (agrees, normalizes) = (self.agrees, self.is_told(tensor, "normalize"));
        let lambda = tensor.of_tensor(&LAMBDA);
        let total = tensor.rounded(tasks.iter().map(|task| task.weight).sum());
        let total = if total.abs() < NO_WEIGHT { 1.0 } else { total };
        Ok(Box::new(move |first, into| {
            let count = into.len();
            let base = tensor.base_values(first, count)?.unwrap_or_default();
            let mut values = vec![vec![0.0; count]; tasks.len()];
            for (task, values) in tasks.iter().zip(&mut values) {
                task.read(tensor, &base, first, values)?;
            }
            into.fill(0.0);
            for values in &values {
                kernels::zip(into, values, |sum, value| sum + value);
            }
            tensor.round(into);
            if agrees {
                agree(tensor, &tasks, &values, normalizes, into);
            } else if normalizes {
                kernels::each(into, |sum| sum / total);
                tensor.round(into);
            }
            if lambda != 1.0 {
                kernels::each(into, |sum| sum * lambda);
                tensor.round(into);
            }
            kernels::zip(into, &base, |sum, base| sum + base);
            Ok(())
        }))
    }
}

/// Replaces sums by sums of what has their sign.
fn agree(tensor: &Operands<'_>, tasks: &[Task], values: &[Vec<f64>], normalizes: bool, sums: &mut [f64]) {
    let (mut elected, mut weights) = (vec![0.0; sums.len()], vec![0.0; sums.len()]);
    for (task, values) in tasks.iter().zip(values) {
        let weight = task.weight;
        kernels::wide(|| {
            for (((elected, weights), &value), &sum) in
                elected.iter_mut().zip(weights.iter_mut()).zip(values).zip(sums.iter())
            {
                let has_sign = (sum >= 0.0 && value > 0.0) || (sum < 0.0 && value < 0.0);
                *elected += if has_sign { value } else { 0.0 };
                *weights += if has_sign { weight } else { 0.0 };
            }
        });
    }
    tensor.round(&mut elected);
    if normalizes {
        tensor.round(&mut weights);
        kernels::zip(&mut elected, &weights, |value, weight| value / if weight == 0.0 { 1.0 } else { weight });
        tensor.round(&mut elected);
    }
    sums.copy_from_slice(&elected);
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    fn of(
        method: &'static Tasks,
        models: &[&Vec<f32>],
        numbers: &[(&'static str, f64)],
        each: &[(&'static str, &[f64])],
    ) -> Vec<f64> {
        merged(method, models, Some(0), numbers, each)
    }

    #[test]
    fn task_vectors_are_added() {
        let (base, x, y) = (vec![1.0_f32, 1.0], vec![2.0_f32, 1.0], vec![1.0_f32, 3.0]);
        let weights = [("weight", &[0.0, 0.5, 2.0][..])];
        near(&of(&TASK_ARITHMETIC, &[&base, &x, &y], &[], &weights), &[1.5, 5.0]);
        near(&of(&TASK_ARITHMETIC, &[&base, &x, &y], &[("lambda", 0.5)], &weights), &[1.25, 3.0]);
        near(&of(&TASK_ARITHMETIC, &[&base, &x, &y], &[("normalize", 1.0)], &weights), &[1.2, 2.6]);
    }

    #[test]
    fn ties_keeps_the_largest_that_agree() {
        let base = vec![0.0_f32; 4];
        let (x, y) = (vec![4.0_f32, -3.0, 1.0, 0.5], vec![2.0_f32, 4.0, 0.5, 3.0]);
        let each = [("weight", &[0.0, 1.0, 1.0][..]), ("density", &[1.0, 0.5, 0.75])];
        // Of x stay 4 and -3, of y 2, 4 and 3; the signs elected are + + + +.
        near(&of(&TIES, &[&base, &x, &y], &[], &each), &[3.0, 4.0, 0.0, 3.0]);
        near(&of(&TIES, &[&base, &x, &y], &[("normalize", 0.0)], &each), &[6.0, 4.0, 0.0, 3.0]);
    }

    #[test]
    fn breadcrumbs_leaves_both_ends_out() {
        let base = vec![0.0_f32; 10];
        let x: Vec<f32> = (1..=10).map(|value| value as f32).collect();
        let each = [("weight", &[0.0, 1.0][..]), ("density", &[1.0, 0.5]), ("gamma", &[1.0, 0.2])];
        let expected = [0.0, 0.0, 0.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0, 0.0];
        near(&of(&BREADCRUMBS, &[&base, &x], &[], &each), &expected);
    }

    #[test]
    fn random_draws_have_their_density_and_keep_the_sum() {
        let base = vec![0.0_f32; 20_000];
        let x = vec![1.0_f32; 20_000];
        let each = [("weight", &[0.0, 1.0][..]), ("density", &[1.0, 0.25]), ("epsilon", &[0.0, 0.1])];
        for method in [&DARE_LINEAR, &DARE_TIES, &DELLA_LINEAR, &DELLA] {
            let found = of(method, &[&base, &x], &[("normalize", 0.0)], &each);
            let kept = found.iter().filter(|value| **value != 0.0).count() as f64 / 20_000.0;
            assert!((kept - 0.25).abs() < 0.015, "{}: {kept}", method.name);
            assert!((found.iter().sum::<f64>() - 20_000.0).abs() < 1e-6, "{}", method.name);
            let plain = of(method, &[&base, &x], &[("normalize", 0.0), ("rescale", 0.0)], &each);
            assert!(plain.iter().all(|value| *value == 0.0 || *value == 1.0));
        }
    }
}
