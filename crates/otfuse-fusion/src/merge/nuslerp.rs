//! Spherical interpolation with weights, of models or of task vectors, whole or by rows.

use super::blocks::{BLOCK, Finish, copy, each_block};
use super::operands::Operands;
use super::parameters::{Parameter, WEIGHT};
use super::{Base, Merge, Others};
use crate::error::FusionError;

/// Spherical linear interpolation of two models at `t = w_2 / (w_1 + w_2)`; with a base, of their task vectors. Each tensor is one
/// vector, or (`nuslerp_flatten: false`) each row, along the last axis, or along the first one with `nuslerp_row_wise`, is.
/// Linear where the sine of the angle is about 0. Source: the method of this name in mergekit; the formula is that of
/// [`Slerp`](super::slerp::Slerp).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NuSlerp;

const ROW_WISE: Parameter = Parameter::flag(
    "nuslerp_row_wise",
    false,
    "vectors along the first axis in place of the last one, where tensors are not flattened",
);
const FLATTEN: Parameter = Parameter::flag("nuslerp_flatten", true, "each tensor is one vector");

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
        let is_whole = tensor.flag(&FLATTEN) || tensor.shape.len() < 2;
        let lines = if is_whole { Lines::whole(tensor.len()) } else { Lines::of(tensor.shape, tensor.flag(&ROW_WISE)) };
        let arcs = lines.arcs(tensor, (x, y), from_base, t)?;
        Ok(Box::new(move |first, into| {
            let (base, [mut of_x, mut of_y]) = pair(tensor, (x, y), from_base, first, into.len())?;
            for at in 0..into.len() {
                let arc = arcs[lines.of_element(first + at)];
                of_x[at] *= arc.factors[0];
                of_y[at] *= arc.factors[1];
            }
            tensor.round(&mut of_x);
            tensor.round(&mut of_y);
            into.iter_mut().zip(of_x.iter().zip(&of_y)).for_each(|(into, (x, y))| *into = x + y);
            tensor.round(into);
            into.iter_mut().enumerate().for_each(|(at, into)| *into /= arcs[lines.of_element(first + at)].divisor);
            if let Some(base) = base {
                tensor.round(into);
                into.iter_mut().zip(&base).for_each(|(into, base)| *into += base);
            }
            Ok(())
        }))
    }
}

/// What both vectors are multiplied with, and what their sum is divided by.
#[derive(Clone, Copy)]
struct Arc {
    factors: [f64; 2],
    divisor: f64,
}

impl Arc {
    /// Between two vectors whose directions have this inner product.
    fn of(tensor: &Operands<'_>, cosine: f64, t: f64) -> Self {
        let round = |value: f64| tensor.rounded(value);
        if round(1.0 - round(cosine * cosine)) <= NO_ARC * NO_ARC {
            return Self { factors: [1.0 - t, t], divisor: 1.0 };
        }
        let angle = round(cosine.acos());
        let factor = |share: f64| round(round(share * angle).sin());
        Self { factors: [factor(1.0 - t), factor(t)], divisor: round(angle.sin()) }
    }
}

/// The base's elements, and those of two models or their differences from it.
#[allow(clippy::type_complexity)]
fn pair(
    tensor: &Operands<'_>,
    (x, y): (usize, usize),
    from_base: bool,
    first: usize,
    count: usize,
) -> Result<(Option<Vec<f64>>, [Vec<f64>; 2]), FusionError> {
    let base = if from_base { tensor.base_values(first, count)? } else { None };
    let (mut of_x, mut of_y) = (vec![0.0; count], vec![0.0; count]);
    tensor.differences(x, base.as_deref(), first, &mut of_x)?;
    tensor.differences(y, base.as_deref(), first, &mut of_y)?;
    Ok((base, [of_x, of_y]))
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

    /// The whole tensor as one vector.
    fn whole(length: usize) -> Self {
        Self { count: 1, step: 1, span: length.max(1) }
    }

    /// The arc of each pair of vectors.
    fn arcs(
        self,
        tensor: &Operands<'_>,
        models: (usize, usize),
        from_base: bool,
        t: f64,
    ) -> Result<Vec<Arc>, FusionError> {
        let squares = self.sums(tensor, |first, count| {
            let (_, [x, y]) = pair(tensor, models, from_base, first, count)?;
            Ok([x.iter().map(|x| x * x).collect(), y.iter().map(|y| y * y).collect()])
        })?;
        let norms: Vec<[f64; 2]> =
            squares.into_iter().map(|of_line| of_line.map(|square| tensor.rounded(square.sqrt()).max(LEAST))).collect();
        let products = self.sums(tensor, |first, count| {
            let (_, [mut x, mut y]) = pair(tensor, models, from_base, first, count)?;
            for at in 0..count {
                let [of_x, of_y] = norms[self.of_element(first + at)];
                x[at] /= of_x;
                y[at] /= of_y;
            }
            tensor.round(&mut x);
            tensor.round(&mut y);
            x.iter_mut().zip(&y).for_each(|(x, y)| *x *= y);
            tensor.round(&mut x);
            Ok([x, Vec::new()])
        })?;
        Ok(products
            .into_iter()
            .map(|[product, _]| Arc::of(tensor, tensor.rounded(product).clamp(-1.0, 1.0), t))
            .collect())
    }

    /// Two sums over each vector, of what `of_block` makes of blocks.
    fn sums(
        self,
        tensor: &Operands<'_>,
        of_block: impl Fn(usize, usize) -> Result<[Vec<f64>; 2], FusionError> + Sync,
    ) -> Result<Vec<[f64; 2]>, FusionError> {
        if self.count == 1 {
            let sums = each_block(tensor.len(), |first, count| {
                Ok(of_block(first, count)?.map(|values| values.iter().sum::<f64>()))
            })?;
            return Ok(vec![sums.into_iter().fold([0.0; 2], |sum, [x, y]| [sum[0] + x, sum[1] + y])]);
        }
        let mut sums = vec![[0.0; 2]; self.count];
        for first in (0..tensor.len()).step_by(BLOCK) {
            let values = of_block(first, BLOCK.min(tensor.len() - first))?;
            for (values, which) in values.iter().zip(0..) {
                for (at, value) in values.iter().enumerate() {
                    let sum: &mut [f64; 2] = &mut sums[self.of_element(first + at)];
                    sum[which] += value;
                }
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
