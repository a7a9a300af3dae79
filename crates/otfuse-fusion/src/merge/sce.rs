//! Select, calculate, erase.

use super::blocks::{Finish, copy, each_block};
use super::largest::{Keys, Largest, key};
use super::operands::Operands;
use super::parameters::{INT8_MASK, Parameter};
use super::{Base, Merge};
use crate::error::FusionError;

/// SCE (F. Wan et al., "FuseChat", 2024): of the task vectors, elements stay where the models differ most (`select_topk` of those
/// whose variance over the models is not 0); each model counts by the mean square of what stays, tensor by tensor; and elements
/// against the sign of the sum are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sce;

const SELECT: Parameter = Parameter::of_tensor(
    "select_topk",
    Some(1.0),
    (0.0, 1.0),
    "the share of elements that stays, by their variance over the models",
);

/// Sums are at least this where they divide.
const LEAST: f64 = 1e-6;

/// The task vectors of a block.
fn differences(tensor: &Operands<'_>, first: usize, count: usize) -> Result<(Vec<f64>, Vec<Vec<f64>>), FusionError> {
    let base = tensor.base_values(first, count)?.unwrap_or_default();
    let others = tensor.others();
    let mut values = vec![vec![0.0; count]; others.len()];
    for (into, model) in values.iter_mut().zip(others) {
        tensor.differences(model, Some(&base), first, into)?;
    }
    Ok((base, values))
}

fn variances(values: &[Vec<f64>], into: &mut [u32]) {
    let count = values.len() as f64;
    for (at, into) in into.iter_mut().enumerate() {
        let mean = values.iter().map(|values| values[at]).sum::<f64>() / count;
        *into = key(values.iter().map(|values| (values[at] - mean).powi(2)).sum::<f64>() / count);
    }
}

impl Merge for Sce {
    fn name(&self) -> &'static str {
        "sce"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[SELECT, INT8_MASK]
    }

    fn base(&self) -> Base {
        Base::Required
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let models = tensor.others().len();
        if models == 0 {
            return Ok(copy(tensor, tensor.base.unwrap_or(0)));
        }
        let selected = selected(tensor)?;
        let masked = move |first: usize, count: usize| {
            let (base, mut values) = differences(tensor, first, count)?;
            if let Some(selected) = &selected {
                let mut keys = vec![0; count];
                variances(&values, &mut keys);
                let kept = selected.of_block(first, &keys);
                for values in &mut values {
                    values.iter_mut().zip(&kept).for_each(|(value, kept)| *value *= kept);
                }
            }
            Ok::<_, FusionError>((base, values))
        };
        let sums = each_block(tensor.len(), |first, count| {
            let (_, values) = masked(first, count)?;
            Ok(values.iter().map(|values| values.iter().map(|value| value * value).sum()).collect::<Vec<f64>>())
        })?;
        let mut weights = vec![0.0; models];
        sums.iter().for_each(|sums| weights.iter_mut().zip(sums).for_each(|(weight, sum)| *weight += sum));
        weights.iter_mut().for_each(|weight| *weight /= tensor.len().max(1) as f64);
        let total: f64 = weights.iter().sum();
        let equal = 1.0 / models as f64;
        weights.iter_mut().for_each(|weight| *weight = if total.abs() < LEAST { equal } else { *weight / total });
        Ok(Box::new(move |first, into| {
            let (base, values) = masked(first, into.len())?;
            for (at, into) in into.iter_mut().enumerate() {
                let sum: f64 = values.iter().map(|values| values[at]).sum();
                let (mut merged, mut weight) = (0.0, 0.0);
                for (values, of_model) in values.iter().zip(&weights) {
                    if if sum >= 0.0 { values[at] > 0.0 } else { values[at] < 0.0 } {
                        merged += of_model * values[at];
                        weight += of_model;
                    }
                }
                *into = base[at] + merged / weight.max(LEAST);
            }
            Ok(())
        }))
    }
}

/// The elements that stay; `None` for all.
fn selected(tensor: &Operands<'_>) -> Result<Option<Largest>, FusionError> {
    let share = tensor.of_tensor(&SELECT);
    if share >= 1.0 {
        return Ok(None);
    }
    let keys = |first: usize, into: &mut [u32]| {
        variances(&differences(tensor, first, into.len())?.1, into);
        Ok(())
    };
    let keys: &Keys<'_> = &keys;
    let varying = each_block(tensor.len(), |first, count| {
        let mut block = vec![0; count];
        keys(first, &mut block)?;
        Ok(block.into_iter().filter(|key| *key != 0).count())
    })?;
    let count = (varying.into_iter().sum::<usize>() as f64 * share) as usize;
    Largest::of(tensor.len(), count, keys).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, near};
    use super::*;

    #[test]
    fn what_varies_most_stays_and_is_weighted_by_its_squares() {
        let base = vec![0.0_f32; 4];
        let (x, y) = (vec![3.0_f32, 1.0, 0.0, 1.0], vec![-1.0_f32, 1.0, 2.0, 1.0]);
        // Variances 4, 0, 1, 0: one of two stays, 3 and -1. Weights 9 to 1; the sign is +.
        near(&merged(&Sce, &[&base, &x, &y], Some(0), &[("select_topk", 0.5)], &[]), &[3.0, 0.0, 0.0, 0.0]);
        // All: squares 11 and 7.
        let found = merged(&Sce, &[&base, &x, &y], Some(0), &[], &[]);
        near(&found, &[3.0, 1.0, 2.0, 1.0]);
    }
}
