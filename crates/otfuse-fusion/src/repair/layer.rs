//! One layer fitted to given outputs, and again to what comes out behind an activation function.

use std::ops::ControlFlow;

use otfuse_graph::{Operator, Tensor};
use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

use super::activation::Activation;
use super::normal_equations::{Fit, Fitted, Held, NormalEquations, RightSide, System};
use super::patches::Product;

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
    /// For each batch the shape of the outputs and, for each group, the chosen ones behind the activation function.
    behind: Vec<(Vec<usize>, Vec<Vec<f32>>)>,
}

/// A layer's weights on their way.
pub(crate) struct Solving {
    systems: Vec<(System, Held)>,
    fits: Vec<Fitted>,
    /// The fits whose error is the least of those that are known, and the error.
    best: Option<(f64, Vec<Fitted>)>,
}

/// A round over all rows: where their sums are to go, and the error.
pub(crate) struct Round {
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

    fn groups(&self) -> usize {
        self.product.groups()
    }

    /// Equations without any rows yet.
    pub fn equations(&self) -> Vec<NormalEquations> {
        vec![NormalEquations::new(self.depth, self.outputs / self.groups()); self.groups()]
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

    /// The fits to the targets, near `start`; `None` if a system is singular.
    pub fn solve(
        &self,
        equations: Vec<NormalEquations>,
        start: &[f64],
        (ridge, has_shift): (f64, bool),
    ) -> Option<Solving> {
        let m = self.outputs / self.groups();
        let mut solving = Solving { systems: Vec::new(), fits: Vec::new(), best: None };
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

    /// A round without any rows yet.
    pub fn round(&self) -> Round {
        let steps = vec![RightSide::new(self.depth, self.outputs / self.groups()); self.groups()];
        Round { steps, error: 0.0 }
    }

    /// Adds to a round the rows of a batch: `4 rows inputs outputs` multiplications and additions.
    pub fn correct(&self, input: &Tensor, batch: usize, activation: Activation, solving: &Solving, round: &mut Round) {
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
    /// Takes a round's step, or ends where the fits were better before.
    pub fn step(&mut self, round: Round) -> ControlFlow<()> {
        if !round.error.is_finite() || self.best.as_ref().is_some_and(|(least, _)| round.error >= *least) {
            self.fits.clear();
            return ControlFlow::Break(());
        }
        let moves = self.systems.iter().zip(&self.fits).zip(round.steps);
        let next: Option<Vec<Fitted>> =
            moves.map(|(((system, held), from), steps)| system.moved(held, from, steps)).collect();
        let next = next.unwrap_or_default();
        let is_over = next.is_empty();
        self.best = Some((round.error, std::mem::replace(&mut self.fits, next)));
        if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The last fits, or those before where nothing better was found.
    pub fn finish(self) -> Vec<Fit> {
        let fits = match self.best {
            Some((_, best)) if self.fits.is_empty() => best,
            _ => self.fits,
        };
        fits.into_iter().map(|fitted| fitted.fit).collect()
    }
}
