//! The iteration: scalings relative to potentials.

use rayon::prelude::*;

use super::anderson::Anderson;
use super::side::Side;
use crate::cost::CostMatrix;
use crate::kernels::Kernels;
use crate::stop::Stop;
use crate::value::CostValue;

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
    rows: Side,
    columns: Side,
    kernels: Kernels,
    epsilon: f64,
    f: Vec<f64>,
    g: Vec<f64>,
    u: Vec<f64>,
    v: Vec<f64>,
    kernel: Vec<f64>,
    /// Column sums of every tile.
    partial: Vec<f64>,
    /// Whether these belong to the present scalings.
    summed: bool,
}

/// How a run at one epsilon ended.
pub(super) struct Stage {
    pub(super) iterations: usize,
    /// L1 distance of the plan's column marginals from what they should be; the rows' are exact.
    pub(super) error: f64,
}

impl<'a, T: CostValue> Scaling<'a, T> {
    /// Starts from the potentials `g`. All masses must be positive.
    pub(super) fn new(
        cost: &'a CostMatrix<T>,
        (a, rows): (&'a [f64], Side),
        (b, columns): (&'a [f64], Side),
        g: Vec<f64>,
    ) -> Self {
        let (n, m) = cost.shape();
        Self {
            cost,
            a,
            b,
            rows,
            columns,
            kernels: Kernels::new(),
            epsilon: 1.0,
            f: vec![0.0; n],
            g,
            u: vec![1.0; n],
            v: vec![1.0; m],
            kernel: vec![0.0; n * m],
            partial: vec![0.0; n.div_ceil(TILE) * m],
            summed: false,
        }
    }

    /// Iterates at `epsilon` until the marginal error is at most `tolerance`, at most `limit` (and at least one) times, or until
    /// it is told to stop.
    ///
    /// An accelerated step after which the error has grown is taken back, so that the error never grows where it would
    /// not for the plain iteration.
    pub(super) fn run(&mut self, epsilon: f64, tolerance: f64, limit: usize, stop: &Stop) -> Stage {
        self.collect();
        self.epsilon = epsilon;
        self.absorb();
        let mut anderson = Anderson::new(self.b);
        let mut fallback: Option<(Vec<f64>, f64)> = None;
        let mut iterations = 1;
        loop {
            let sums = self.match_rows();
            let (image, error) = self.image(&sums);
            let usable = error.is_finite() && image.iter().all(|g| g.is_finite());
            // A step that came to nothing is taken back even when it was the last one.
            let is_over = if usable { iterations >= limit } else { iterations > limit };
            if (usable && error <= tolerance) || is_over || stop.is_given() {
                return Stage { iterations: iterations.min(limit), error };
            }
            iterations += 1;
            match fallback.take() {
                Some((plain, before)) if !usable || error > before => {
                    anderson.clear();
                    self.set_columns(&plain);
                }
                _ if usable => {
                    let next = anderson.next(&self.column_potentials(), &image);
                    self.set_columns(next.as_ref().unwrap_or(&image));
                    fallback = next.map(|_| (image, error));
                }
                // A column with nothing in the kernel: its potential is far too low for the others.
                _ => {
                    anderson.clear();
                    self.collect();
                    self.update_columns();
                    self.absorb();
                }
            }
        }
    }

    /// `g`, scalings included, over epsilon.
    fn column_potentials(&self) -> Vec<f64> {
        self.g.iter().zip(&self.v).map(|(g, v)| g / self.epsilon + v.ln()).collect()
    }

    /// Sets `g`, given over epsilon; absorbs where scalings would grow too large.
    fn set_columns(&mut self, potentials: &[f64]) {
        self.summed = false;
        let logs = || potentials.iter().zip(&self.g).map(|(y, g)| y - g / self.epsilon);
        let moderate = |log: f64| log.abs() < ABSORB;
        if logs().all(moderate) && self.u.iter().all(|u| moderate(u.ln())) {
            self.v = logs().map(f64::exp).collect();
            return;
        }
        self.collect();
        self.g.iter_mut().zip(potentials).for_each(|(g, y)| *g = y * self.epsilon);
        self.absorb();
    }

    /// Where an update takes the columns' potentials (over epsilon), and the error of the present ones, from the column
    /// sums of `a_i u_i K_ij`.
    fn image(&self, sums: &[f64]) -> (Vec<f64>, f64) {
        let (columns, epsilon) = (self.columns, self.epsilon);
        let relaxation = columns.relaxation(epsilon);
        let mut error = 0.0;
        let entries = self.g.iter().zip(&self.v).zip(sums).zip(self.b);
        let mut image: Vec<f64> = entries
            .map(|(((&g, &v), &sum), &b)| {
                let wanted = if columns.is_balanced() { 1.0 } else { columns.mass(g + epsilon * v.ln()) };
                error += b * (v * sum - wanted).abs();
                relaxation * (g / epsilon - sum.ln())
            })
            .collect();
        let shift = self.translation(&image) / epsilon;
        if shift != 0.0 {
            image.iter_mut().for_each(|y| *y -= shift);
        }
        (image, error)
    }

    /// The constant that is best added to all `f` and taken from all `g` (given over epsilon): without it, unbalanced
    /// problems with a large penalty converge slowly (T. Sejourne, F.-X. Vialard and G. Peyre, "Faster unbalanced optimal
    /// transport: translation invariant Sinkhorn and 1-D Frank-Wolfe", AISTATS 2022, proposition 2).
    fn translation(&self, image: &[f64]) -> f64 {
        let stiffness = self.rows.stiffness() + self.columns.stiffness();
        if stiffness == 0.0 {
            return 0.0;
        }
        let epsilon = self.epsilon;
        let f = self.f.iter().zip(&self.u).map(|(f, u)| f + epsilon * u.ln());
        let g = image.iter().map(|y| y * epsilon);
        (self.rows.log_mass(self.a, f) - self.columns.log_mass(self.b, g)) / stiffness
    }

    /// Moves the scalings into the potentials.
    fn collect(&mut self) {
        let epsilon = self.epsilon;
        self.f.iter_mut().zip(&mut self.u).for_each(|(f, u)| *f += epsilon * std::mem::replace(u, 1.0).ln());
        self.g.iter_mut().zip(&mut self.v).for_each(|(g, v)| *g += epsilon * std::mem::replace(v, 1.0).ln());
    }

    /// The rows' potentials that belong to `g`, in the log domain, their kernel and its column sums.
    fn absorb(&mut self) {
        let (m, slope) = (self.b.len(), 1.0 / self.epsilon);
        let (kernels, cost, b, g, epsilon, side) = (self.kernels, self.cost, self.b, &self.g, self.epsilon, self.rows);
        let relaxation = side.relaxation(epsilon);
        self.kernel.par_chunks_mut(m).zip(&mut self.f).enumerate().for_each(|(i, (row, f))| {
            let lowest = kernels.minimum(cost.row(i), g);
            kernels.exponentials(cost.row(i), g, slope, lowest * slope, row);
            let sum = kernels.dot(row, b);
            let balanced = lowest - epsilon * sum.ln();
            *f = relaxation * balanced;
            let factor = ((*f - balanced) * slope).exp() / sum;
            row.iter_mut().for_each(|value| *value *= factor);
        });
        let (a, partial) = (self.a, self.partial.par_chunks_mut(m));
        partial.zip(self.kernel.par_chunks(TILE * m)).zip(a.par_chunks(TILE)).for_each(|((sums, rows), a)| {
            sums.fill(0.0);
            rows.chunks_exact(m).zip(a).for_each(|(row, a)| kernels.add_scaled(*a, row, sums));
        });
        self.summed = true;
    }

    /// `g_j = -lambda epsilon log sum_i a_i exp((f_i - c_ij) / epsilon)`, in the log domain.
    fn update_columns(&mut self) {
        let (slope, relaxation) = (1.0 / self.epsilon, self.columns.relaxation(self.epsilon));
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
            *g = relaxation * (low - self.epsilon * sum.ln());
        }
    }

    /// The rows' scalings that belong to the columns', and the column sums under them: one pass over the kernel.
    fn match_rows(&mut self) -> Vec<f64> {
        if std::mem::replace(&mut self.summed, true) {
            return self.column_sums();
        }
        let m = self.b.len();
        let weights: Vec<f64> = self.b.iter().zip(&self.v).map(|(b, v)| b * v).collect();
        let (kernels, a, f, slope) = (self.kernels, self.a, &self.f, 1.0 / self.epsilon);
        let (balanced, relaxation) = (self.rows.is_balanced(), self.rows.relaxation(self.epsilon));
        let tiles = self.partial.par_chunks_mut(m).zip(self.kernel.par_chunks(TILE * m));
        tiles.zip(self.u.par_chunks_mut(TILE)).enumerate().for_each(|(tile, ((sums, rows), scalings))| {
            sums.fill(0.0);
            for (at, (row, u)) in rows.chunks_exact(m).zip(scalings).enumerate() {
                let i = tile * TILE + at;
                let sum = kernels.dot(row, &weights);
                *u = if balanced {
                    1.0 / sum
                } else {
                    (-relaxation * sum.ln() - (1.0 - relaxation) * f[i] * slope).exp()
                };
                kernels.add_scaled(a[i] * *u, row, sums);
            }
        });
        self.column_sums()
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
