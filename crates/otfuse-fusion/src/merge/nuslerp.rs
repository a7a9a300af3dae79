//! Spherical interpolation with weights, of models or of task vectors, whole or by rows.

use super::blocks::{BLOCK, Finish, combination, copy, products};
use super::operands::Operands;
use super::parameters::{FLAG, Parameter, Scope, WEIGHT};
use super::{Base, Merge, Others};
use crate::error::FusionError;

/// Spherical linear interpolation of two models at `t = w_2 / (w_1 + w_2)`; with a base, of their task vectors. Each tensor is one
/// vector, or (`nuslerp_flatten: false`) each row, along the last axis, or along the first one with `nuslerp_row_wise`, is.
/// Linear where the sine of the angle is about 0. Source: the method of this name in mergekit; the formula is that of
/// [`Slerp`](super::slerp::Slerp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NuSlerp;

const ROW_WISE: Parameter = Parameter {
    name: "nuslerp_row_wise",
    scope: Scope::Tensor,
    default: Some(0.0),
    range: FLAG,
    meaning: "vectors along the first axis in place of the last one, where tensors are not flattened",
};
const FLATTEN: Parameter = Parameter {
    name: "nuslerp_flatten",
    scope: Scope::Tensor,
    default: Some(1.0),
    range: FLAG,
    meaning: "each tensor is one vector",
};

/// Below this sine the two directions span no arc.
const NO_ARC: f64 = 1e-8;
/// Norms are at least this where they divide.
const LEAST: f64 = 1e-7;
/// Weights that add up to less are taken for equal.
const NO_WEIGHT: f64 = 1e-6;

impl Merge for NuSlerp {
    fn name(&self) -> &'static str {
        "nuslerp"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[WEIGHT, ROW_WISE, FLATTEN]
    }

    fn base(&self) -> Base {
        Base::Optional
    }

    fn others(&self) -> Others {
        Others::Exactly(2)
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let [x, y] = tensor.others()[..] else { return Ok(copy(tensor, tensor.base.unwrap_or(0))) };
        let weights = [tensor.of_model(x, &WEIGHT), tensor.of_model(y, &WEIGHT)];
        let total = weights[0] + weights[1];
        let t = if total.abs() < NO_WEIGHT { 0.5 } else { weights[1] / total };
        let from_base = tensor.base.is_some();
        let (axis, is_vector) = (tensor.flag(&ROW_WISE), tensor.shape.len() < 2);
        if tensor.flag(&FLATTEN) || is_vector {
            let found = products(tensor, &[x, y], from_base)?;
            let factors = factors(found[0][0], found[1][1], found[0][1], t);
            return Ok(combination(tensor, vec![x, y], factors.into(), from_base));
        }
        let lines = Lines::of(tensor.shape, axis);
        let sums = lines.sums(tensor, (x, y), from_base)?;
        let factors: Vec<[f64; 2]> = sums.into_iter().map(|[x, y, product]| factors(x, y, product, t)).collect();
        Ok(Box::new(move |first, into| {
            let base = tensor.base_values(first, into.len())?;
            let (mut of_x, mut of_y) = (vec![0.0; into.len()], vec![0.0; into.len()]);
            tensor.differences(x, base.as_deref(), first, &mut of_x)?;
            tensor.differences(y, base.as_deref(), first, &mut of_y)?;
            for (at, into) in into.iter_mut().enumerate() {
                let [factor_x, factor_y] = factors[lines.of_element(first + at)];
                *into = factor_x * of_x[at] + factor_y * of_y[at] + base.as_ref().map_or(0.0, |base| base[at]);
            }
            Ok(())
        }))
    }
}

/// What two vectors with these squared norms and this inner product are multiplied with.
fn factors(x: f64, y: f64, product: f64, t: f64) -> [f64; 2] {
    let cosine = product / x.sqrt().max(LEAST) / y.sqrt().max(LEAST);
    let angle = cosine.clamp(-1.0, 1.0).acos();
    if angle.sin().abs() < NO_ARC {
        return [1.0 - t, t];
    }
    [((1.0 - t) * angle).sin() / angle.sin(), (t * angle).sin() / angle.sin()]
}

/// The vectors that a tensor consists of, along one of its axes.
#[derive(Clone, Copy)]
struct Lines {
    count: usize,
    /// Elements from one to the next of a vector.
    step: usize,
    /// Elements that all vectors along the axis take up together.
    span: usize,
}

impl Lines {
    /// Those along the first axis, or else the last one.
    fn of(shape: &[usize], first: bool) -> Self {
        let axis = if first { 0 } else { shape.len() - 1 };
        let step = shape[axis + 1..].iter().product::<usize>().max(1);
        let length = shape[axis].max(1);
        Self { count: shape.iter().product::<usize>() / length, step, span: step * length }
    }

    fn of_element(self, element: usize) -> usize {
        element / self.span * self.step + element % self.step
    }

    /// Squared norms of both, and inner products, of each vector.
    fn sums(
        self,
        tensor: &Operands<'_>,
        (x, y): (usize, usize),
        from_base: bool,
    ) -> Result<Vec<[f64; 3]>, FusionError> {
        let mut sums = vec![[0.0; 3]; self.count];
        let (mut of_x, mut of_y) = (vec![0.0; BLOCK], vec![0.0; BLOCK]);
        for first in (0..tensor.len()).step_by(BLOCK) {
            let count = BLOCK.min(tensor.len() - first);
            let base = if from_base { tensor.base_values(first, count)? } else { None };
            tensor.differences(x, base.as_deref(), first, &mut of_x[..count])?;
            tensor.differences(y, base.as_deref(), first, &mut of_y[..count])?;
            for at in 0..count {
                let [norm_x, norm_y, product] = &mut sums[self.of_element(first + at)];
                *norm_x += of_x[at] * of_x[at];
                *norm_y += of_y[at] * of_y[at];
                *product += of_x[at] * of_y[at];
            }
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::super::operands::tests::{merged, merged_shape, near};
    use super::*;

    #[test]
    fn rows_and_columns_are_vectors_of_their_own() {
        let (x, y) = (vec![1.0_f32, 0.0, 2.0, 0.0], vec![0.0_f32, 1.0, 4.0, 0.0]);
        let weights = [("weight", &[1.0, 1.0][..])];
        let of =
            |settings: &[(&'static str, f64)]| merged_shape(&NuSlerp, &[&x, &y], &[2, 2], None, settings, &weights);
        let half = 0.5_f64.sqrt();
        near(&of(&[("nuslerp_flatten", 0.0)]), &[half, half, 3.0, 0.0]);
        // Columns (1, 2) and (0, 4): cos = 8 / (sqrt 5 * 4); (0, 0) and (1, 0) have no angle but a right one.
        let found = of(&[("nuslerp_flatten", 0.0), ("nuslerp_row_wise", 1.0)]);
        let angle = (2.0 / 5.0_f64.sqrt()).acos();
        let factor = (angle / 2.0).sin() / angle.sin();
        near(&found, &[factor, half, 6.0 * factor, 0.0]);
    }

    #[test]
    fn with_a_base_task_vectors_are_interpolated() {
        let (base, x, y) = (vec![1.0_f32, 1.0], vec![2.0_f32, 1.0], vec![1.0_f32, 2.0]);
        let weights = [("weight", &[0.0, 1.0, 1.0][..])];
        let half = 0.5_f64.sqrt();
        near(&merged(&NuSlerp, &[&base, &x, &y], Some(0), &[], &weights), &[1.0 + half, 1.0 + half]);
    }
}
