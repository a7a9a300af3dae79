//! Layers that say of each model's inputs what the model says.

use super::blocks::{Finish, combination};
use super::measured::{LayerInputs, Measured, Statistics};
use super::operands::Operands;
use super::parameters::{Parameter, SHARE};
use super::{Base, Merge};
use crate::error::FusionError;
use crate::repair::cholesky;
use crate::repair::normal_equations::multiply;
use crate::repair::unit::place;

/// Of the weight of a linear layer or convolution (one column for each output) `(sum_k w_k G_k)^-1 sum_k w_k G_k W_k`, which
/// minimises `sum_k w_k |X_k W - X_k W_k|^2`: `G_k = X_k'X_k` are the products of what flows into the layer in model `k`, those of two
/// different inputs times `alpha` (X. Jin, X. Ren, D. Preotiuc-Pietro, P. Cheng, "Dataless Knowledge Fusion by Merging Weights
/// of Language Models", ICLR 2023, equations 2 and 3). All other tensors are averaged by the weights. `inputs^3 / 3 + 2 inputs^2 outputs`
/// multiplications a layer, and `16 inputs^2` bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegMean;

const ALPHA: Parameter =
    Parameter::of_tensor("alpha", Some(0.9), (0.0, 1.0), "how much products of two different inputs count");

/// Nothing of more than this can be told from one in single precision: inputs that depend on each other.
const MOST_ALPHA: f64 = 1.0 - 1e-5;

impl Merge for RegMean {
    fn name(&self) -> &'static str {
        "regmean"
    }

    fn parameters(&self) -> &'static [Parameter] {
        &[SHARE, ALPHA]
    }

    fn base(&self) -> Base {
        Base::Unused
    }

    fn needs(&self) -> Statistics {
        Statistics::Gram
    }

    fn leaves_out_weightless(&self) -> bool {
        true
    }

    fn prepare<'a>(&self, tensor: &'a Operands<'a>) -> Result<Finish<'a>, FusionError> {
        let shares = tensor.shares(self)?;
        let counted: Vec<usize> = (0..shares.len()).filter(|&model| shares[model] != 0.0).collect();
        let factors = counted.iter().map(|&model| shares[model]).collect();
        let mean = combination(tensor, counted.clone(), factors, false);
        let Measured::Gram(layer) = &tensor.measured else { return Ok(mean) };
        let mut values = vec![0.0; tensor.len()];
        mean(0, &mut values)?;
        let alpha = tensor.of_tensor(&ALPHA).min(MOST_ALPHA);
        Solving { tensor, layer, alpha }.correct(&mut values, &counted, &shares)?;
        Ok(Box::new(move |first, into| {
            into.copy_from_slice(&values[first..first + into.len()]);
            Ok(())
        }))
    }
}

/// A weight on its way.
struct Solving<'a> {
    tensor: &'a Operands<'a>,
    layer: &'a LayerInputs<'a>,
    alpha: f64,
}

/// The equations of a group of a convolution.
struct Group {
    /// `sum_k w_k G_k`, row-major.
    left: Vec<f64>,
    /// `sum_k w_k G_k (W_k - M)`, row-major `inputs x outputs`, where `M` is the mean of all.
    right: Vec<f64>,
}

impl Solving<'_> {
    /// Brings the mean to the solution: what all models agree on stays as it is, and so do the weights of inputs that are always 0.
    fn correct(&self, mean: &mut [f64], counted: &[usize], shares: &[f64]) -> Result<(), FusionError> {
        let (tensor, layer) = (self.tensor, self.layer);
        let outputs = tensor.shape.get(layer.output_axis).copied().unwrap_or(0);
        let first = counted.first().map_or(&[][..], |&model| layer.models[model]);
        let depth = first.first().map_or(0, super::measured::Products::inputs);
        let width = outputs / first.len().max(1);
        if depth * outputs != tensor.len() || tensor.is_empty() {
            let expected = format!("{} weights of {depth} inputs each", tensor.name);
            return Err(FusionError::Merge { method: "regmean", expected, found: format!("{:?}", tensor.shape) });
        }
        let empty = || Group { left: vec![0.0; depth * depth], right: vec![0.0; depth * width] };
        let mut groups: Vec<Group> = first.iter().map(|_| empty()).collect();
        let mut values = vec![0.0; tensor.len()];
        for &model in counted {
            tensor.read(model, 0, &mut values)?;
            let mut differences = vec![vec![0.0; depth * width]; groups.len()];
            for (at, (value, mean)) in values.iter().zip(mean.iter()).enumerate() {
                let (input, output) = place(layer.output_axis, tensor.shape, at);
                differences[output / width][input * width + output % width] = value - mean;
            }
            for ((group, products), differences) in groups.iter_mut().zip(layer.models[model]).zip(&differences) {
                let entry = |row: usize, column: usize| {
                    let factor = if row == column { shares[model] } else { shares[model] * self.alpha };
                    factor * products.at(row, column)
                };
                let products: Vec<f64> = (0..depth * depth).map(|at| entry(at / depth, at % depth)).collect();
                let moved = multiply(&products, differences, depth, width);
                group.left.iter_mut().zip(&products).for_each(|(sum, value)| *sum += value);
                group.right.iter_mut().zip(&moved).for_each(|(sum, value)| *sum += value);
            }
        }
        for Group { left, right } in &mut groups {
            left.iter_mut().step_by(depth + 1).filter(|entry| **entry <= 0.0).for_each(|entry| *entry = 1.0);
            cholesky::factor(left, depth).ok_or_else(|| self.undetermined())?;
            cholesky::solve(left, depth, right, width);
        }
        for (at, value) in mean.iter_mut().enumerate() {
            let (input, output) = place(layer.output_axis, tensor.shape, at);
            *value += groups[output / width].right[input * width + output % width];
        }
        Ok(())
    }

    fn undetermined(&self) -> FusionError {
        let expected = format!("an `alpha` below 1 where inputs of '{}' depend on each other", self.tensor.name);
        FusionError::Merge { method: "regmean", expected, found: self.tensor.of_tensor(&ALPHA).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::Products;
    use super::super::operands::tests::{merged_measured, near};
    use super::*;

    fn value(at: usize) -> f64 {
        ((at * 37 + at * at * 11) % 101) as f64 / 50.0 - 1.0
    }

    fn products(rows: &[Vec<f64>]) -> Products {
        let mean = |i: usize, j: usize| rows.iter().map(|row| row[i] * row[j]).sum::<f64>() / rows.len() as f64;
        Products::new(rows[0].len(), mean)
    }

    fn rows(count: usize, inputs: usize, from: usize) -> Vec<Vec<f64>> {
        (0..count).map(|row| (0..inputs).map(|at| value(from + row * inputs + at)).collect()).collect()
    }

    fn weights(count: usize, from: usize) -> Vec<f32> {
        (0..count).map(|at| value(from + 3 * at) as f32).collect()
    }

    /// Two layers of 4 inputs and 3 outputs, outputs first.
    fn fused(found: [&[Products]; 2], layers: [&Vec<f32>; 2], shares: &[f64], alpha: f64) -> Vec<f64> {
        let layer = LayerInputs { output_axis: 0, models: found.to_vec() };
        let numbers = [("alpha", alpha)];
        merged_measured(&RegMean, &layers, &[3, 4], Measured::Gram(layer), &numbers, &[("weight", shares)])
    }

    /// `sum_k w_k |X_k W - X_k W_k|^2 / rows`.
    fn error(inputs: [&Vec<Vec<f64>>; 2], layers: [&Vec<f32>; 2], shares: &[f64], merged: &[f64]) -> f64 {
        let of = |k: usize| -> f64 {
            let difference = |row: &Vec<f64>, output: usize| {
                let of_input = |at: usize| row[at] * (merged[output * 4 + at] - f64::from(layers[k][output * 4 + at]));
                (0..4).map(of_input).sum::<f64>()
            };
            let squares = inputs[k].iter().flat_map(|row| (0..3).map(move |output| difference(row, output).powi(2)));
            squares.sum::<f64>() / inputs[k].len() as f64
        };
        shares[0] * of(0) + shares[1] * of(1)
    }

    #[test]
    fn what_both_say_of_their_inputs_is_met_as_well_as_it_can_be() {
        let (x, y) = (rows(30, 4, 1), rows(30, 4, 500));
        let (a, b) = (weights(12, 7), weights(12, 90));
        let shares = [0.25, 0.75];
        let (of_x, of_y) = ([products(&x)], [products(&y)]);
        let found = fused([&of_x, &of_y], [&a, &b], &shares, 1.0);
        let least = error([&x, &y], [&a, &b], &shares, &found);
        // A solve of its own: steps down the gradient, as many as it takes.
        let mut by_steps = vec![0.0; 12];
        for _ in 0..20_000 {
            let mut gradient = [0.0; 12];
            for (inputs, layer, share) in [(&x, &a, shares[0]), (&y, &b, shares[1])] {
                for (row, output) in inputs.iter().flat_map(|row| (0..3).map(move |output| (row, output))) {
                    let weight = |at: usize| by_steps[output * 4 + at] - f64::from(layer[output * 4 + at]);
                    let difference: f64 = (0..4).map(|at| row[at] * weight(at)).sum();
                    (0..4).for_each(|at| gradient[output * 4 + at] += share * difference * row[at] / 30.0);
                }
            }
            by_steps.iter_mut().zip(gradient).for_each(|(weight, slope)| *weight -= 0.5 * slope);
        }
        assert!(found.iter().zip(&by_steps).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?} is not {by_steps:?}");
        assert!(least <= error([&x, &y], [&a, &b], &shares, &by_steps) + 1e-6);
        let mean: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.25 * f64::from(*a) + 0.75 * f64::from(*b)).collect();
        assert!(least < error([&x, &y], [&a, &b], &shares, &mean));
    }

    #[test]
    fn a_model_with_itself_is_itself_and_inputs_that_are_never_used_are_averaged() {
        let (mut x, mut y) = (rows(9, 4, 1), rows(9, 4, 300));
        x.iter_mut().chain(&mut y).for_each(|row| row[2] = 0.0);
        let (of_x, of_y) = ([products(&x)], [products(&y)]);
        let (a, b) = (weights(12, 7), weights(12, 90));
        near(&fused([&of_x, &of_y], [&a, &a], &[0.5, 0.5], 0.9), &a.iter().map(|&a| f64::from(a)).collect::<Vec<_>>());
        let found = fused([&of_x, &of_y], [&a, &b], &[0.5, 0.5], 0.9);
        for output in 0..3 {
            let at = output * 4 + 2;
            assert!((found[at] - 0.5 * (f64::from(a[at]) + f64::from(b[at]))).abs() < 1e-9);
        }
    }

    #[test]
    fn without_products_between_inputs_each_weight_is_averaged_by_its_inputs_squares() {
        let (x, y) = (rows(9, 4, 1), rows(9, 4, 300));
        let (of_x, of_y) = ([products(&x)], [products(&y)]);
        let (a, b) = (weights(12, 7), weights(12, 90));
        let found = fused([&of_x, &of_y], [&a, &b], &[0.5, 0.5], 0.0);
        let expected: Vec<f64> = (0..12)
            .map(|at| {
                let (p, q) = (of_x[0].at(at % 4, at % 4), of_y[0].at(at % 4, at % 4));
                (p * f64::from(a[at]) + q * f64::from(b[at])) / (p + q)
            })
            .collect();
        near(&found, &expected);
    }

    #[test]
    fn groups_of_a_convolution_are_layers_of_their_own() {
        // Two groups of 2 inputs (1 channel of 2 places) and 1 output each.
        let of = |from: usize| [products(&rows(7, 2, from)), products(&rows(7, 2, from + 50))];
        let (a, b) = (weights(4, 7), weights(4, 90));
        let (of_a, of_b) = (of(1), of(200));
        let merge = |shape: &[usize], models: [&Vec<f32>; 2], found: [&[Products]; 2]| {
            let layer = LayerInputs { output_axis: 0, models: found.to_vec() };
            let weights = [("weight", &[0.5, 0.5][..])];
            merged_measured(&RegMean, &models, shape, Measured::Gram(layer), &[("alpha", 0.5)], &weights)
        };
        let both = merge(&[2, 1, 2], [&a, &b], [&of_a, &of_b]);
        for group in 0..2 {
            let part = |values: &Vec<f32>| values[group * 2..group * 2 + 2].to_vec();
            let (a, b) = (part(&a), part(&b));
            let alone = merge(&[1, 1, 2], [&a, &b], [&of_a[group..=group], &of_b[group..=group]]);
            near(&alone, &both[group * 2..group * 2 + 2]);
        }
    }
}
