//! Masses in the units that exact methods compute with.

use crate::problem::Problem;
use crate::support::Support;
use crate::value::CostValue;

/// The masses of the rows and columns that have some.
pub(crate) struct Masses {
    /// Masses of the rows, times `1 / scale`.
    pub(crate) a: Vec<f64>,
    /// Masses of the columns, times `1 / scale`.
    pub(crate) b: Vec<f64>,
    /// What turns `a`, `b` and their flows back into probabilities.
    scale: f64,
}

impl Masses {
    pub(crate) fn new<T: CostValue>(problem: &Problem<T>, support: &Support<'_, T>) -> Self {
        let (n, m) = (support.a.len(), support.b.len());
        if problem.a().is_uniform() && problem.b().is_uniform() {
            // Whole numbers in the same ratio: all flows are then exact.
            let divisor = greatest_common_divisor(n, m);
            let (row, column) = ((m / divisor) as f64, (n / divisor) as f64);
            Self { a: vec![row; n], b: vec![column; m], scale: 1.0 / (row * n as f64) }
        } else {
            Self { a: support.a.clone(), b: support.b.clone(), scale: 1.0 }
        }
    }

    /// Whole-numbered masses of the rows and of the columns, all positive and of the same sum; no proper part of the rows
    /// has the sum of a part of the columns that is without the column `root`.
    pub(crate) fn perturbed(&self, root: usize) -> (Vec<i64>, Vec<i64>) {
        let n = self.a.len();
        // As fine as the perturbed sum allows, a power of two.
        let total = 1.0 / self.scale;
        let bits = 60 - (n as f64 + 1.0).log2().ceil() as i32 - total.log2().ceil() as i32;
        let unit = if self.scale == 1.0 { 2.0_f64.powi(bits) } else { 1.0 };
        let whole = |masses: &[f64]| -> Vec<i64> { masses.iter().map(|x| ((x * unit) as i64).max(1)).collect() };
        let (mut rows, mut columns) = (whole(&self.a), whole(&self.b));
        let surplus = rows.iter().sum::<i64>() - columns.iter().sum::<i64>();
        let (short, by) = if surplus > 0 { (&mut columns, surplus) } else { (&mut rows, -surplus) };
        if let Some(largest) = short.iter_mut().max() {
            *largest += by;
        }
        let perturbed = n as i64 + 1;
        rows.iter_mut().for_each(|units| *units = *units * perturbed + 1);
        columns.iter_mut().for_each(|units| *units *= perturbed);
        columns[root] += n as i64;
        (rows, columns)
    }

    /// A flow between two of the rows and columns kept, as an entry of the plan: none where rounding left what should be
    /// nothing.
    pub(crate) fn entry<T: CostValue>(
        &self,
        support: &Support<'_, T>,
        row: usize,
        column: usize,
        flow: f64,
    ) -> Option<(usize, usize, f64)> {
        let counts = flow > 1e-12 * self.a[row].min(self.b[column]);
        counts.then(|| (support.rows[row], support.columns[column], flow * self.scale))
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
