//! The iteration: scalings relative to potentials.

use rayon::prelude::*;

use crate::cost::{CostMatrix, CostValue};
use crate::kernels::Kernels;

/// Rows in a task. Fixed, so that the order of additions does not depend on the number of threads.
const TILE: usize = 32;
/// Scalings beyond `exp(+-this)` are absorbed. What the kernel cannot represent, below `exp(-700)`, stays negligible.
const ABSORB: f64 = 100.0;

/// Potentials `f`, `g`, the kernel `K_ij = exp((f_i + g_j - c_ij) / epsilon)` and scalings `u`, `v` relative to them;
/// the plan is `a_i u_i K_ij v_j b_j`.
pub(super) struct Scaling<'a, T> {
    cost: &'a CostMatrix<T>,
    a: &'a [f64],
    b: &'a [f64],
    kernels: Kernels,
    epsilon: f64,
    f: Vec<f64>,
    g: Vec<f64>,
    u: Vec<f64>,
    v: Vec<f64>,
    kernel: Vec<f64>,
    /// Column sums of every tile.
    partial: Vec<f64>,
}

/// How a run at one epsilon ended.
pub(super) struct Stage {
    pub(super) iterations: usize,
    /// L1 distance of the row marginals from `a`; the columns are exact.
    pub(super) error: f64,
}

impl<'a, T: CostValue> Scaling<'a, T> {
    /// Zero potentials. All masses must be positive.
    pub(super) fn new(cost: &'a CostMatrix<T>, a: &'a [f64], b: &'a [f64]) -> Self {
        let (n, m) = cost.shape();
        Self {
            cost,
            a,
            b,
            kernels: Kernels::new(),
            epsilon: 1.0,
            f: vec![0.0; n],
            g: vec![0.0; m],
            u: vec![1.0; n],
            v: vec![1.0; m],
            kernel: vec![0.0; n * m],
            partial: vec![0.0; n.div_ceil(TILE) * m],
        }
    }

    /// Iterates at `epsilon` until the marginal error is at most `tolerance`, at most `limit` (and at least one) times.
    pub(super) fn run(&mut self, epsilon: f64, tolerance: f64, limit: usize) -> Stage {
        self.collect();
        self.epsilon = epsilon;
        self.absorb();
        let mut iterations = 1;
        let mut next = vec![0.0; self.a.len()];
        loop {
            let error = self.half_steps(&mut next);
            if error <= tolerance || iterations >= limit {
                return Stage { iterations, error };
            }
            iterations += 1;
            let sums = self.column_sums();
            if next.iter().chain(&sums).all(|x| x.is_finite() && x.ln().abs() < ABSORB) {
                std::mem::swap(&mut self.u, &mut next);
                self.v.iter_mut().zip(&sums).for_each(|(v, sum)| *v = 1.0 / sum);
            } else {
                self.collect();
                self.absorb();
            }
        }
    }

    /// Moves the scalings into the potentials.
    fn collect(&mut self) {
        let epsilon = self.epsilon;
        self.f.iter_mut().zip(&mut self.u).for_each(|(f, u)| *f += epsilon * std::mem::replace(u, 1.0).ln());
        self.g.iter_mut().zip(&mut self.v).for_each(|(g, v)| *g += epsilon * std::mem::replace(v, 1.0).ln());
    }

    /// An iteration in the log domain: rows by log-sum-exp, together with the kernel, then columns.
    fn absorb(&mut self) {
        self.update_rows();
        self.multiply_tiles();
        let mut sums = self.column_sums();
        if !sums.iter().all(|sum| *sum > 1e-200) {
            self.update_columns();
            self.build_kernel();
            self.multiply_tiles();
            sums = self.column_sums();
        }
        self.v.iter_mut().zip(&sums).for_each(|(v, sum)| *v = 1.0 / sum);
    }

    /// `f_i = -epsilon log sum_j b_j exp((g_j - c_ij) / epsilon)` and the kernel's row that belongs to it.
    fn update_rows(&mut self) {
        let (m, slope) = (self.b.len(), 1.0 / self.epsilon);
        let (kernels, cost, b, g, epsilon) = (self.kernels, self.cost, self.b, &self.g, self.epsilon);
        self.kernel.par_chunks_mut(m).zip(&mut self.f).enumerate().for_each(|(i, (row, f))| {
            let lowest = kernels.minimum(cost.row(i), g);
            kernels.exponentials(cost.row(i), g, slope, lowest * slope, row);
            let sum = kernels.dot(row, b);
            row.iter_mut().for_each(|value| *value /= sum);
            *f = lowest - epsilon * sum.ln();
        });
    }

    /// `g_j = -epsilon log sum_i a_i exp((f_i - c_ij) / epsilon)`.
    fn update_columns(&mut self) {
        let slope = 1.0 / self.epsilon;
        let mut lowest = vec![f64::INFINITY; self.b.len()];
        for (i, f) in self.f.iter().enumerate() {
            lowest.iter_mut().zip(self.cost.row(i)).for_each(|(low, c)| *low = low.min((*c).into() - f));
        }
        let mut sums = vec![0.0; self.b.len()];
        let mut row = vec![0.0; self.b.len()];
        for (i, f) in self.f.iter().enumerate() {
            self.kernels.exponentials(self.cost.row(i), &lowest, slope, f * slope, &mut row);
            self.kernels.add_scaled(self.a[i], &row, &mut sums);
        }
        for ((g, low), sum) in self.g.iter_mut().zip(lowest).zip(sums) {
            *g = low - self.epsilon * sum.ln();
        }
    }

    /// The kernel of the potentials as they are.
    fn build_kernel(&mut self) {
        let (m, slope, kernels, cost, g) = (self.b.len(), 1.0 / self.epsilon, self.kernels, self.cost, &self.g);
        self.kernel.par_chunks_mut(m).zip(&self.f).enumerate().for_each(|(i, (row, f))| {
            kernels.exponentials(cost.row(i), g, slope, f * slope, row);
        });
    }

    /// Column sums of `a_i u_i K_ij`, by tile.
    fn multiply_tiles(&mut self) {
        let m = self.b.len();
        let (kernels, a, u) = (self.kernels, self.a, &self.u);
        let tiles = self.partial.par_chunks_mut(m).zip(self.kernel.par_chunks(TILE * m)).enumerate();
        tiles.for_each(|(tile, (sums, rows))| {
            sums.fill(0.0);
            for (at, row) in rows.chunks_exact(m).enumerate() {
                let i = tile * TILE + at;
                kernels.add_scaled(a[i] * u[i], row, sums);
            }
        });
    }

    /// The rows' scalings that would be next, the tiles' column sums under them, and the error of the present rows:
    /// one pass over the kernel.
    fn half_steps(&mut self, next: &mut [f64]) -> f64 {
        let m = self.b.len();
        let weights: Vec<f64> = self.b.iter().zip(&self.v).map(|(b, v)| b * v).collect();
        let (kernels, a, u) = (self.kernels, self.a, &self.u);
        let tiles = self.partial.par_chunks_mut(m).zip(self.kernel.par_chunks(TILE * m));
        let tiles = tiles.zip(next.par_chunks_mut(TILE)).enumerate();
        let errors: Vec<f64> = tiles
            .map(|(tile, ((sums, rows), next))| {
                sums.fill(0.0);
                let mut error = 0.0;
                for (at, (row, next)) in rows.chunks_exact(m).zip(next).enumerate() {
                    let i = tile * TILE + at;
                    let sum = kernels.dot(row, &weights);
                    error += a[i] * (u[i] * sum - 1.0).abs();
                    *next = 1.0 / sum;
                    kernels.add_scaled(a[i] * *next, row, sums);
                }
                error
            })
            .collect();
        errors.iter().sum()
    }

    /// The tiles' column sums, added up in order.
    fn column_sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.b.len()];
        for tile in self.partial.chunks_exact(self.b.len()) {
            self.kernels.add_scaled(1.0, tile, &mut sums);
        }
        sums
    }

    /// The potentials and the plan, row-major.
    pub(super) fn finish(mut self) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let weights: Vec<f64> = self.b.iter().zip(&self.v).map(|(b, v)| b * v).collect();
        let (a, u) = (self.a, &self.u);
        self.kernel.par_chunks_mut(self.b.len()).enumerate().for_each(|(i, row)| {
            let factor = a[i] * u[i];
            row.iter_mut().zip(&weights).for_each(|(value, weight)| *value *= factor * weight);
        });
        let plan = std::mem::take(&mut self.kernel);
        self.collect();
        (self.f, self.g, plan)
    }
}
