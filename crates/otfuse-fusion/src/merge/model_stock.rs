//! The mean of fine-tuned models, drawn towards their base.

use super::blocks::{Finish, copy, dot, products_by};
use super::kernels;
use super::operands::Operands;
use super::parameters::Parameter;
use super::{Base, Merge, Others};
use crate::error::FusionError;

/// Model Stock (D.-H. Jang, S. Yun, D. Han, ECCV 2024, equation 6): between the base `w_0` and the mean of `N` fine-tuned models,
///
/// ```text
/// t mean + (1 - t) w_0,      t = N cos / (1 + (N - 1) cos),
/// ```
///
/// where `cos` is the mean cosine between two task vectors, of whole tensors or, with `filter_wise`, of rows along the last axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelStock;

const FILTER_WISE: Parameter =
    Parameter::flag("filter_wise", false, "an angle for each row in place of one for each tensor");

/// Products of norms are at least this where they divide.
const LEAST: f64 = 1e-6;

impl Merge for ModelStock {
    fn name(&self) -> &'static str {
        "model_stock"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[FILTER_WISE]
    }

    fn base(&self) -> Base {
        Base::Required
    }

    fn others(&self) -> Others {
        Others::AtLeast(2)
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let others = tensor.others();
        if others.is_empty() {
            return Ok(copy(tensor, tensor.base.unwrap_or(0)));
        }
        if !tensor.flag(&FILTER_WISE) {
            let t = share(tensor, &products_by(tensor, &others, true, |a, b| dot(tensor, a, b))?);
            return Ok(Box::new(move |first, into| between(tensor, &others, first, into, &|_| t)));
        }
        let (rows, row) = tensor.rows();
        let shares = row_shares(tensor, &others, rows, row)?;
        Ok(Box::new(move |first, into| between(tensor, &others, first, into, &|element| shares[element / row])))
    }
}

/// The mean of the others and the base, at the share of each element.
fn between(
    tensor: &Operands<'_>,
    others: &[usize],
    first: usize,
    into: &mut [f64],
    share: &dyn Fn(usize) -> f64,
) -> Result<(), FusionError> {
    let mut base = tensor.base_values(first, into.len())?.unwrap_or_default();
    let mut values = vec![0.0; into.len()];
    into.fill(0.0);
    for &model in others {
        tensor.read(model, first, &mut values)?;
        kernels::zip(into, &values, |into, value| into + value);
        tensor.round(into);
    }
    let count = others.len() as f64;
    kernels::each(into, |value| value / count);
    tensor.round(into);
    let shares: Vec<f64> = (first..first + into.len()).map(share).collect();
    let mut rest: Vec<f64> = shares.iter().map(|share| 1.0 - share).collect();
    tensor.round(&mut rest);
    kernels::zip(into, &shares, |value, share| value * share);
    tensor.round(into);
    kernels::zip(&mut base, &rest, |value, rest| value * rest);
    tensor.round(&mut base);
    kernels::zip(into, &base, |into, base| into + base);
    Ok(())
}

/// How far to go to the mean, by the inner products of task vectors.
fn share(tensor: &Operands<'_>, products: &[Vec<f64>]) -> f64 {
    let round = |value: f64| tensor.rounded(value);
    let count = products.len();
    let mut cosines = Vec::new();
    for a in 0..count {
        for b in a + 1..count {
            let norms = round(round(products[a][a].sqrt()) * round(products[b][b].sqrt()));
            cosines.push(round(round(products[a][b]) / norms.max(LEAST)).clamp(-1.0, 1.0));
        }
    }
    let (cosine, count) = (round(cosines.iter().sum::<f64>() / cosines.len() as f64), count as f64);
    let divisor = round(1.0 + round((count - 1.0) * cosine));
    if divisor.abs() < LEAST { 0.0 } else { round(round(count * cosine) / divisor) }
}

fn row_shares(tensor: &Operands<'_>, others: &[usize], rows: usize, row: usize) -> Result<Vec<f64>, FusionError> {
    let of_row = |at: usize| -> Result<f64, FusionError> {
        let base = tensor.base_values(at * row, row)?;
        let mut values = vec![vec![0.0; row]; others.len()];
        for (into, &model) in values.iter_mut().zip(others) {
            tensor.differences(model, base.as_deref(), at * row, into)?;
        }
        let found: Vec<Vec<f64>> = values.iter().map(|a| values.iter().map(|b| dot(tensor, a, b)).collect()).collect();
        Ok(share(tensor, &found))
    };
    use rayon::prelude::*;
    (0..rows).into_par_iter().map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, merged_shape, near};
    use super::*;

    #[test]
    fn the_angle_says_how_far_to_go() {
        // Task vectors (1, 0) and (1, 1) * sqrt(1/2): 45 degrees.
        let half = 0.5_f32.sqrt();
        let (base, x, y) = (vec![1.0_f32, 1.0], vec![2.0_f32, 1.0], vec![1.0 + half, 1.0 + half]);
        let found = merged(&ModelStock, &[&x, &base, &y], Some(1), &[], &[]);
        let cosine = 0.5_f64.sqrt();
        let t = 2.0 * cosine / (1.0 + cosine);
        let expected = [1.0 + t * (1.0 + cosine) / 2.0, 1.0 + t * cosine / 2.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn rows_have_angles_of_their_own() {
        let base = vec![0.0_f32; 4];
        let (x, y) = (vec![1.0_f32, 0.0, 1.0, 0.0], vec![0.0_f32, 1.0, 1.0, 0.0]);
        let found = merged_shape(&ModelStock, &[&base, &x, &y], &[2, 2], Some(0), &[("filter_wise", 1.0)], &[]);
        near(&found, &[0.0, 0.0, 1.0, 0.0]);
    }
}
