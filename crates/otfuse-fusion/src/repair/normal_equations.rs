//! Least squares with a ridge, rows streamed.

use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

use super::cholesky;
use super::second_moments::{BLOCK, SecondMoments, add_product};

/// What is known of the rows of `X` (`rows x inputs`) and `Y` (`rows x outputs`): all that least squares needs. Memory
/// is `8 inputs (inputs + outputs)` bytes whatever the number of rows.
#[derive(Clone, Debug)]
pub struct NormalEquations {
    inputs: usize,
    outputs: usize,
    /// `X'X`.
    moments: SecondMoments,
    input_sums: Vec<f64>,
    right: RightSide,
}

/// What is known of `Y` together with the rows of `X`.
#[derive(Clone, Debug)]
pub(super) struct RightSide {
    inputs: usize,
    outputs: usize,
    /// `X'Y`.
    cross: Vec<f64>,
    sums: Vec<f64>,
}

/// Means over the rows of equations.
pub(super) struct Means {
    /// Of `x x'`, row-major.
    pub gram: Vec<f64>,
    /// Of `x`.
    pub inputs: Vec<f64>,
    /// Of `x y'`, row-major.
    pub cross: Vec<f64>,
    /// Of `y`.
    pub outputs: Vec<f64>,
}

/// A linear layer that was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Row-major `inputs x outputs`.
    pub weights: Vec<f64>,
    /// One per output; zeros without an intercept.
    pub intercept: Vec<f64>,
    /// The mean of the outputs without the intercept, over all rows.
    pub means: Vec<f64>,
    /// The variance of the outputs over all rows.
    pub variances: Vec<f64>,
}

impl NormalEquations {
    /// Without any rows yet.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self {
            inputs,
            outputs,
            moments: SecondMoments::new(inputs),
            input_sums: vec![0.0; inputs],
            right: RightSide::new(inputs, outputs),
        }
    }

    /// Equations of which the means over the rows are known: those of `x x'` (all of it), `x`, `x y'` and `y`.
    pub(super) fn of_means(gram: Vec<f64>, inputs: Vec<f64>, cross: Vec<f64>, outputs: Vec<f64>) -> Self {
        let (d, m) = (inputs.len(), outputs.len());
        let right = RightSide { inputs: d, outputs: m, cross, sums: outputs };
        Self { inputs: d, outputs: m, moments: SecondMoments::of_mean(d, gram), input_sums: inputs, right }
    }

    /// The means over the rows that [`of_means`](Self::of_means) takes; zeros without rows.
    pub(super) fn means(&self) -> Means {
        let (d, count) = (self.inputs, self.rows().max(1) as f64);
        let mean = |values: &[f64]| values.iter().map(|value| value / count).collect();
        Means {
            gram: (0..d * d).map(|at| self.moments.at(at / d, at % d) / count).collect(),
            inputs: mean(&self.input_sums),
            cross: mean(&self.right.cross),
            outputs: mean(&self.right.sums),
        }
    }

    /// The number of rows so far.
    pub fn rows(&self) -> usize {
        self.moments.rows()
    }

    /// Adds rows: row-major `rows x inputs` and `rows x outputs`. `rows inputs (inputs + outputs)` multiplications; the
    /// result does not depend on the number of threads.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        let (d, m) = (self.inputs, self.outputs);
        let rows = x.len() / d.max(1);
        assert!(rows * d == x.len() && rows * m == y.len(), "as many rows of outputs as of inputs");
        if rows == 0 || m == 0 {
            return;
        }
        self.moments.add(x);
        self.right.add(x, y);
        add_sums(&mut self.input_sums, x);
    }

    /// The weights `W` and the intercept `c` that minimise `|X W + c - Y|^2 + rows * ridge * s * |W - start|^2`, where `s`
    /// is the mean variance of the inputs (their mean square without an intercept). `start` is row-major
    /// `inputs x outputs`; each of its columns is scaled first to fit the outputs best, since averaged weights are too
    /// short. `None` without rows or if the system is singular, which a positive `ridge` prevents: it is taken larger where the
    /// inputs vary by less than their rounding.
    pub fn solve(&self, start: &[f64], ridge: f64, intercept: bool) -> Option<Fit> {
        if start.len() != self.inputs * self.outputs {
            return None;
        }
        self.system(ridge, intercept)?.solve(start, &self.right)
    }

    fn system(&self, ridge: f64, intercept: bool) -> Option<System> {
        let d = self.inputs;
        if self.rows() == 0 {
            return None;
        }
        let count = self.rows() as f64;
        let centre = |a: f64, b: f64| if intercept { a * b / count } else { 0.0 };
        let mut gram = vec![0.0; d * d];
        gram.par_chunks_exact_mut(d).enumerate().for_each(|(i, row)| {
            for (j, value) in row.iter_mut().enumerate() {
                *value = self.moments.at(i, j) - centre(self.input_sums[i], self.input_sums[j]);
            }
        });
        let scale: f64 = (0..d).map(|i| gram[i * d + i]).sum::<f64>() / d as f64;
        let factored = |ridge: f64| {
            let mut factor = gram.clone();
            (0..d).for_each(|i| factor[i * d + i] += ridge);
            cholesky::factor(&mut factor, d)?;
            Some((ridge, Some(factor)))
        };
        // Inputs that are always zero get no weight of their own rather than a singular system.
        let smallest = ridge * scale + f64::MIN_POSITIVE;
        let (ridge, factor) = match scale > 0.0 {
            true => factored(smallest).or_else(|| {
                // Inputs that vary less than their means are rounded: what is left of the variances may be negative.
                let square = (0..d).map(|i| self.moments.at(i, i)).sum::<f64>() / d as f64;
                let larger = (-7..=0).map(|power| smallest + 10_f64.powi(power) * square);
                larger.filter(|_| ridge > 0.0).find_map(factored)
            })?,
            false => (smallest, None),
        };
        let input_sums = self.input_sums.clone();
        Some(System { inputs: d, outputs: self.outputs, count, intercept, input_sums, gram, ridge, factor })
    }

    /// The left side of the equations, factored once, and the right side.
    pub(super) fn into_system(self, ridge: f64, intercept: bool) -> Option<(System, RightSide)> {
        let system = self.system(ridge, intercept)?;
        Some((system, self.right))
    }
}

impl RightSide {
    /// Without any rows yet.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, cross: vec![0.0; inputs * outputs], sums: vec![0.0; outputs] }
    }

    /// Adds rows, as [`NormalEquations::add`] takes them. `rows inputs outputs` multiplications.
    pub fn add(&mut self, x: &[f32], y: &[f32]) {
        let (d, m) = (self.inputs, self.outputs);
        let rows = y.len() / m.max(1);
        self.cross.par_chunks_mut((BLOCK * m).max(1)).enumerate().for_each(|(index, block)| {
            let shape = (block.len() / m, m, rows);
            add_product(shape, (block, m), (&x[index * BLOCK..], d), (y, m));
        });
        add_sums(&mut self.sums, y);
    }

    /// That of the sum of both `Y`.
    pub fn plus(mut self, other: &Self) -> Self {
        self.cross.iter_mut().zip(&other.cross).for_each(|(sum, value)| *sum += value);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, value)| *sum += value);
        self
    }
}

/// Normal equations whose right side may change: `16 inputs^2` bytes.
pub(super) struct System {
    inputs: usize,
    outputs: usize,
    count: f64,
    intercept: bool,
    input_sums: Vec<f64>,
    /// `X'X` about the means, if there is an intercept.
    gram: Vec<f64>,
    /// What is added to its diagonal.
    ridge: f64,
    /// The factor of their sum; nothing where all inputs are constant.
    factor: Option<Vec<f64>>,
}

/// The weights that a fit is held at, and `X'X` times them.
pub(super) struct Held {
    weights: Vec<f64>,
    product: Vec<f64>,
}

/// A fit, and `X'X` times its weights.
pub(super) struct Fitted {
    pub fit: Fit,
    product: Vec<f64>,
}

impl System {
    fn solve(&self, start: &[f64], right: &RightSide) -> Option<Fit> {
        self.first(&self.held(start.to_vec()), right).map(|fitted| fitted.fit)
    }

    /// What fits are held at. `inputs^2 outputs` multiplications.
    pub fn held(&self, weights: Vec<f64>) -> Held {
        let product = multiply(&self.gram, &weights, self.inputs, self.outputs);
        Held { weights, product }
    }

    /// As [`NormalEquations::solve`]. `3 inputs^2 outputs` multiplications.
    pub fn first(&self, held: &Held, right: &RightSide) -> Option<Fitted> {
        let (weights, ..) = self.weights(held, right);
        let product = multiply(&self.gram, &weights, self.inputs, self.outputs);
        self.fitted(weights, product, right)
    }

    /// The fit to what another one gives, moved by the `steps` of all rows. `2 inputs^2 outputs` multiplications.
    pub fn moved(&self, held: &Held, from: &Fitted, steps: RightSide) -> Option<Fitted> {
        let right = steps.plus(&self.of(from));
        let (weights, factors, centred) = self.weights(held, &right);
        // (X'X + ridge) W = X'Y + ridge start.
        let m = self.outputs;
        let entry = |at: usize| centred[at] - self.ridge * (weights[at] - factors[at % m] * held.weights[at]);
        let product = (0..weights.len()).map(entry).collect();
        self.fitted(weights, product, &right)
    }

    /// The right side of `Y = X W + c`.
    fn of(&self, fitted: &Fitted) -> RightSide {
        let (d, m) = (self.inputs, self.outputs);
        let fit = &fitted.fit;
        let means: Vec<f64> = fit.means.iter().zip(&fit.intercept).map(|(mean, shift)| mean + shift).collect();
        let mut cross = fitted.product.clone();
        if self.intercept {
            let at = |(at, value): (usize, &mut f64)| *value += self.input_sums[at / m] * means[at % m];
            cross.iter_mut().enumerate().for_each(at);
        }
        RightSide { inputs: d, outputs: m, cross, sums: means.into_iter().map(|mean| mean * self.count).collect() }
    }

    /// The weights that solve the equations, the factors of those that they are held at, and `X'Y` about the means.
    fn weights(&self, held: &Held, right: &RightSide) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (d, m) = (self.inputs, self.outputs);
        let (start, product) = (&held.weights, &held.product);
        let centre = |a: f64, b: f64| if self.intercept { a * b / self.count } else { 0.0 };
        let mut centred = vec![0.0; d * m];
        centred.par_chunks_exact_mut(m).enumerate().for_each(|(i, row)| {
            for (j, value) in row.iter_mut().enumerate() {
                *value = right.cross[i * m + j] - centre(self.input_sums[i], right.sums[j]);
            }
        });
        let ratio = |(found, own): (f64, f64)| {
            let factor = found / own;
            if factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
        };
        let factors: Vec<f64> = dots(start, &centred, m).into_iter().zip(dots(start, product, m)).map(ratio).collect();
        // The residuals of the start, scaled to the outputs: X'(Y - X start).
        let mut step = centred.clone();
        step.par_chunks_exact_mut(m).zip(product.par_chunks_exact(m)).for_each(|(step, product)| {
            (0..m).for_each(|j| step[j] -= factors[j] * product[j]);
        });
        match &self.factor {
            Some(factor) => cholesky::solve(factor, d, &mut step, m),
            None => step.fill(0.0),
        }
        let scaled = start.iter().enumerate().map(|(at, start)| factors[at % m] * start);
        (scaled.zip(&step).map(|(start, step)| start + step).collect(), factors, centred)
    }

    fn fitted(&self, weights: Vec<f64>, product: Vec<f64>, right: &RightSide) -> Option<Fitted> {
        let (m, count) = (self.outputs, self.count);
        let mut means = vec![0.0; m];
        for (sum, weights) in self.input_sums.iter().zip(weights.chunks_exact(m)) {
            means.iter_mut().zip(weights).for_each(|(mean, weight)| *mean += sum / count * weight);
        }
        let squares = dots(&weights, &product, m);
        let centred = |j: usize| if self.intercept { 0.0 } else { means[j].powi(2) };
        let variances = (0..m).map(|j| (squares[j] / count - centred(j)).max(0.0)).collect();
        let offset = |j: usize| if self.intercept { right.sums[j] / count - means[j] } else { 0.0 };
        let intercept = (0..m).map(offset).collect();
        let is_finite = weights.iter().all(|weight| weight.is_finite());
        is_finite.then_some(Fitted { fit: Fit { weights, intercept, means, variances }, product })
    }
}

/// For each of `m` columns of two row-major matrices their scalar product.
fn dots(left: &[f64], right: &[f64], m: usize) -> Vec<f64> {
    let mut sums = vec![0.0; m];
    for (left, right) in left.chunks_exact(m).zip(right.chunks_exact(m)) {
        sums.iter_mut().zip(left.iter().zip(right)).for_each(|(sum, (left, right))| *sum += left * right);
    }
    sums
}

fn add_sums(sums: &mut [f64], rows: &[f32]) {
    for row in rows.chunks_exact(sums.len().max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
}

/// Row-major `d x d` times row-major `d x m`.
pub(crate) fn multiply(left: &[f64], right: &[f64], d: usize, m: usize) -> Vec<f64> {
    let mut result = vec![0.0; d * m];
    result.par_chunks_mut((64 * m).max(1)).enumerate().for_each(|(index, block)| {
        let rows = block.len() / m;
        let left = &left[index * 64 * d..(index * 64 + rows) * d];
        let (left, right) = (Matrix::row_major(left, d), Matrix::row_major(right, m));
        product(block, m, [rows, d, m], left, right, Update::Replace);
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..rows * columns).map(|_| next()).collect()
    }

    fn outputs(x: &[f32], weights: &[f64], intercept: &[f64], d: usize) -> Vec<f32> {
        let m = intercept.len();
        let row = |row: &[f32], j: usize| {
            (row.iter().enumerate().map(|(i, &x)| f64::from(x) * weights[i * m + j]).sum::<f64>() + intercept[j]) as f32
        };
        x.chunks_exact(d).flat_map(|x| (0..m).map(move |j| row(x, j)).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn inputs_that_hardly_vary_keep_the_weights() {
        // Large means: their squares leave nothing of the variances, in which the factor is not real.
        let (d, m, rows) = (200, 3, 40);
        let means = table(1, d, 2);
        let x: Vec<f32> = (0..rows * d).map(|at| 1e3 + means[at % d] * 1e3 + (at % 7) as f32 * 1e-4).collect();
        let y = table(rows, m, 3);
        let mut equations = NormalEquations::new(d, m);
        equations.add(&x, &y);
        let start: Vec<f64> = table(d, m, 4).into_iter().map(f64::from).collect();
        let fit = equations.solve(&start, 0.03, true).expect("a fit");
        assert!(fit.weights.iter().chain(&fit.intercept).all(|weight| weight.is_finite()));
        assert!(fit.weights.iter().all(|weight| weight.abs() < 10.0));
    }

    #[test]
    fn a_linear_layer_is_found_again() {
        for (d, m, with_intercept) in [(3, 2, true), (300, 4, true), (300, 4, false)] {
            let weights: Vec<f64> = table(d, m, 1).into_iter().map(f64::from).collect();
            let intercept: Vec<f64> = (0..m).map(|j| if with_intercept { j as f64 - 1.0 } else { 0.0 }).collect();
            let mut equations = NormalEquations::new(d, m);
            for part in 0..3 {
                let x = table(700, d, part + 5);
                equations.add(&x, &outputs(&x, &weights, &intercept, d));
            }
            let fit = equations.solve(&vec![0.0; d * m], 1e-7, with_intercept).unwrap();
            let error = fit.weights.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-3, "{d} x {m}: {error}");
            assert!(fit.intercept.iter().zip(&intercept).all(|(a, b)| (a - b).abs() < 1e-3));
            let held = equations.solve(&weights, 1e6, with_intercept).unwrap();
            assert!(held.weights.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
