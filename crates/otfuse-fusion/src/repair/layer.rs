//! One layer fitted to given outputs, and again to what comes out behind an activation function.

use std::ops::ControlFlow;

use otfuse_graph::{Operator, Tensor, ValueId};
use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

use super::activation::Activation;
use super::normal_equations::{Fit, Fitted, Held, NormalEquations, RightSide, System};
use super::patches::Product;
use super::second_moments::SecondMoments;
use super::unit::LinearUnit;

/// Rows for least squares: so many a weight of a neuron, or this many at least.
const ROWS_PER_INPUT: usize = 16;
const LEAST_ROWS: usize = 65_536;

/// Rows whose sums one task computes.
const PIECE: usize = 256;

/// A layer that is fitted, a system of equations for each group of a convolution.
pub(crate) struct Layer<'a> {
    product: Product<'a>,
    /// That of the weight.
    shape: &'a [usize],
    /// The inputs of a neuron.
    pub depth: usize,
    /// The neurons of all groups.
    pub outputs: usize,
    per_batch: usize,
    /// For each batch the shape of the outputs and, for each group, the chosen ones behind the activation function; empty where
    /// layers are fitted to sums alone.
    behind: Vec<(Vec<usize>, Vec<Vec<f32>>)>,
}

/// A layer's weights on their way.
struct Solving {
    systems: Vec<(System, Held)>,
    fits: Vec<Fitted>,
    /// The fits before the last step, and their error.
    before: Option<(f64, Vec<Fitted>)>,
}

/// A round over all rows: where their sums are to go, and the error.
struct Round {
    steps: Vec<RightSide>,
    error: f64,
}

impl<'a> Layer<'a> {
    pub fn new(operator: &'a Operator, shape: &'a [usize], output_axis: usize, batches: usize) -> Self {
        let product = Product::of(operator);
        let outputs = shape[output_axis];
        let depth = shape.iter().product::<usize>() / outputs.max(1);
        let rows = (ROWS_PER_INPUT * depth).max(LEAST_ROWS);
        let per_batch = rows.div_ceil(batches.max(1));
        Self { product, shape, depth, outputs, per_batch, behind: Vec::new() }
    }

    pub fn groups(&self) -> usize {
        self.product.groups()
    }

    /// Equations without any rows yet.
    pub fn equations(&self) -> Vec<NormalEquations> {
        vec![NormalEquations::new(self.depth, self.outputs / self.groups()); self.groups()]
    }

    /// Products of inputs, of each group, without any rows yet.
    pub fn moments(&self) -> Vec<SecondMoments> {
        vec![SecondMoments::new(self.depth); self.groups()]
    }

    /// Adds the inputs of a batch; `output` is the shape of the outputs, of which [rows](Self::reads_rows) need none.
    pub fn add_inputs(&self, input: &Tensor, output: &[usize], moments: &mut [SecondMoments]) {
        for (group, moments) in moments.iter_mut().enumerate() {
            if let Some(inputs) = self.product.inputs(input, output, self.shape, group, self.per_batch) {
                moments.add(&inputs);
            }
        }
    }

    /// Whether what flows in are the inputs of neurons as they are, row by row.
    pub fn reads_rows(&self) -> bool {
        matches!(self.product, Product::Matrix)
    }

    /// Adds the rows of a batch.
    pub fn add(&self, input: &Tensor, target: &Tensor, equations: &mut [NormalEquations]) {
        for (group, equations) in equations.iter_mut().enumerate() {
            let inputs = self.product.inputs(input, target.shape(), self.shape, group, self.per_batch);
            let outputs = self.product.outputs(target, self.shape, group, self.per_batch);
            if let (Some(inputs), Some(outputs)) = (inputs, outputs) {
                equations.add(&inputs, &outputs);
            }
        }
    }

    /// Remembers what is to come out behind the activation function on the next batch.
    pub fn keep(&mut self, behind: &Tensor) {
        let of_group = |group| self.product.outputs(behind, self.shape, group, self.per_batch).unwrap_or_default();
        let chosen = (0..self.groups()).map(of_group).collect();
        self.behind.push((behind.shape().to_vec(), chosen));
    }

    /// The fits to the targets, near `start`, and then in so many `rounds` to what comes out behind the activation function, where
    /// that was [kept](Self::keep); `input` gives what flows in on a batch. `None` if a system is singular.
    ///
    /// # Errors
    /// Those of `input`.
    pub fn solve<E>(
        &self,
        equations: Vec<NormalEquations>,
        start: &[f64],
        (ridge, has_shift): (f64, bool),
        (activation, rounds): (Option<Activation>, usize),
        input: &mut dyn FnMut(usize) -> Result<Tensor, E>,
    ) -> Result<Option<Vec<Fit>>, E> {
        let Some(mut solving) = self.first(equations, start, ridge, has_shift) else { return Ok(None) };
        for _ in 0..activation.map_or(0, |_| rounds) {
            let steps = vec![RightSide::new(self.depth, self.outputs / self.groups()); self.groups()];
            let mut round = Round { steps, error: 0.0 };
            for batch in 0..self.behind.len() {
                if let Some(activation) = activation {
                    self.correct(&input(batch)?, batch, activation, &solving, &mut round);
                }
            }
            if solving.step(round).is_break() {
                break;
            }
        }
        Ok(Some(solving.fits.into_iter().map(|fitted| fitted.fit).collect()))
    }

    fn first(&self, equations: Vec<NormalEquations>, start: &[f64], ridge: f64, has_shift: bool) -> Option<Solving> {
        let m = self.outputs / self.groups();
        let mut solving = Solving { systems: Vec::new(), fits: Vec::new(), before: None };
        for (group, equations) in equations.into_iter().enumerate() {
            let columns = |input: usize| &start[input * self.outputs + group * m..][..m];
            let start: Vec<f64> = (0..self.depth).flat_map(columns).copied().collect();
            let (system, right) = equations.into_system(ridge, has_shift)?;
            let held = system.held(start);
            solving.fits.push(system.first(&held, &right)?);
            solving.systems.push((system, held));
        }
        Some(solving)
    }

    /// Adds to a round the rows of a batch: `4 rows inputs outputs` multiplications and additions.
    fn correct(&self, input: &Tensor, batch: usize, activation: Activation, solving: &Solving, round: &mut Round) {
        let (shape, behind) = &self.behind[batch];
        for (group, (wanted, Fitted { fit, .. })) in behind.iter().zip(&solving.fits).enumerate() {
            let Some(rows) = self.product.inputs(input, shape, self.shape, group, self.per_batch) else { continue };
            let (d, m) = (self.depth, fit.intercept.len());
            let weights: Vec<f32> = fit.weights.iter().map(|&weight| weight as f32).collect();
            let mut steps = vec![0.0; wanted.len()];
            let pieces = steps.par_chunks_mut((PIECE * m).max(1)).zip(wanted.par_chunks((PIECE * m).max(1)));
            let errors: Vec<f64> = pieces
                .enumerate()
                .map(|(index, (steps, wanted))| {
                    let count = wanted.len() / m;
                    let rows = Matrix::row_major(&rows[index * PIECE * d..][..count * d], d);
                    product(steps, m, [count, d, m], rows, Matrix::row_major(&weights, m), Update::Replace);
                    let mut error = 0.0;
                    for (at, (step, &wanted)) in steps.iter_mut().zip(wanted).enumerate() {
                        let (moved, squared) = activation.step(*step + fit.intercept[at % m] as f32, wanted);
                        *step = moved;
                        error += f64::from(squared);
                    }
                    error
                })
                .collect();
            round.error += errors.iter().sum::<f64>();
            round.steps[group].add(&rows, &steps);
        }
    }
}

impl Solving {
    /// Takes a round's step, or ends: at the fits before where these were better.
    fn step(&mut self, round: Round) -> ControlFlow<()> {
        if let Some((least, before)) = self.before.take()
            && (round.error >= least || round.error.is_nan())
        {
            self.fits = before;
            return ControlFlow::Break(());
        }
        let moves = self.systems.iter().zip(&self.fits).zip(round.steps);
        let next = moves.map(|(((system, held), from), steps)| system.moved(held, from, steps)).collect();
        match next {
            Some(next) if round.error.is_finite() => {
                self.before = Some((round.error, std::mem::replace(&mut self.fits, next)));
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        }
    }
}

/// What a layer's tensors are after a fit. A normalisation gets the statistics of the fitted sums, and undoes itself; since it
/// makes the scale of the weights in front of it meaningless, they get the norms of `own`, on which the size of a step of
/// training depends.
pub(crate) fn written(unit: &LinearUnit, fits: &[Fit], shape: &[usize], own: &[f32]) -> Vec<(ValueId, Vec<f64>)> {
    let outputs: usize = fits.iter().map(|fit| fit.intercept.len()).sum();
    let m = outputs / fits.len().max(1);
    let place = |at: usize| unit.place(shape, at);
    let weight = |at: usize| {
        let (input, output) = place(at);
        fits[output / m].weights[input * m + output % m]
    };
    let weights: Vec<f64> = (0..shape.iter().product()).map(weight).collect();
    let joined = |part: fn(&Fit) -> &Vec<f64>| -> Vec<f64> { fits.iter().flat_map(part).copied().collect() };
    let intercept = joined(|fit| &fit.intercept);
    let Some(normalization) = unit.normalization else {
        return std::iter::once((unit.weight, weights)).chain(unit.bias.map(|bias| (bias, intercept))).collect();
    };
    let norms = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
        let mut squares = vec![0.0; outputs];
        values.enumerate().for_each(|(at, value)| squares[place(at).1] += value * value);
        squares.into_iter().map(f64::sqrt).collect()
    };
    let own = norms(&mut own.iter().map(|&value| f64::from(value)));
    let ratio = |(own, found): (f64, f64)| own / found;
    let usable = |ratio: f64| if ratio.is_normal() { ratio } else { 1.0 };
    let scales: Vec<f64> = own.into_iter().zip(norms(&mut weights.iter().copied())).map(ratio).map(usable).collect();
    let scaled = weights.iter().enumerate().map(|(at, weight)| weight * scales[place(at).1]).collect();
    let (means, variances) = (joined(|fit| &fit.means), joined(|fit| &fit.variances));
    let shifts = means.iter().zip(&intercept).map(|(mean, shift)| mean + shift).collect();
    let means = means.iter().zip(&scales).map(|(mean, scale)| mean * scale).collect();
    let variances: Vec<f64> = variances.iter().zip(&scales).map(|(variance, scale)| variance * scale * scale).collect();
    let undone = |(variance, scale): (&f64, &f64)| (variance + f64::from(normalization.epsilon)).sqrt() / scale;
    let undone = variances.iter().zip(&scales).map(undone).collect();
    let mut found = vec![(unit.weight, scaled)];
    found.extend(unit.bias.map(|bias| (bias, vec![0.0; outputs])));
    found.extend([
        (normalization.scale, undone),
        (normalization.shift, shifts),
        (normalization.mean, means),
        (normalization.variance, variances),
    ]);
    found
}
