//! Leaving out rows and columns without mass.

use std::borrow::Cow;

use crate::cost::CostMatrix;
use crate::problem::Problem;
use crate::value::CostValue;

/// A problem reduced to the rows and columns that carry mass; borrowed where all do.
pub(crate) struct Support<'a, T: CostValue> {
    /// Indices of the rows kept, ascending.
    pub(crate) rows: Vec<usize>,
    /// Indices of the columns kept, ascending.
    pub(crate) columns: Vec<usize>,
    /// Costs between them.
    pub(crate) cost: Cow<'a, CostMatrix<T>>,
    /// Masses of the rows kept, all positive.
    pub(crate) a: Vec<f64>,
    /// Masses of the columns kept, all positive.
    pub(crate) b: Vec<f64>,
}

impl<'a, T: CostValue> Support<'a, T> {
    pub(crate) fn new(problem: &'a Problem<T>) -> Self {
        let kept = |masses: &[f64]| -> Vec<usize> { (0..masses.len()).filter(|&at| masses[at] > 0.0).collect() };
        let (a, b, cost) = (problem.a().as_slice(), problem.b().as_slice(), problem.cost());
        let (rows, columns) = (kept(a), kept(b));
        let all = rows.len() == a.len() && columns.len() == b.len();
        Self {
            cost: if all { Cow::Borrowed(cost) } else { Cow::Owned(cost.select(&rows, &columns)) },
            a: rows.iter().map(|&row| a[row]).collect(),
            b: columns.iter().map(|&column| b[column]).collect(),
            rows,
            columns,
        }
    }

    /// Potentials of all columns of `cost`, the whole matrix, from those of the rows and columns kept: a column without
    /// mass gets the largest value that is feasible against the rows kept.
    pub(crate) fn extend_columns(&self, cost: &CostMatrix<T>, f: &[f64], g: &[f64]) -> Vec<f64> {
        if self.columns.len() == cost.columns() {
            return g.to_vec();
        }
        let mut all = vec![f64::INFINITY; cost.columns()];
        for (&row, f) in self.rows.iter().zip(f) {
            all.iter_mut().zip(cost.row(row)).for_each(|(g, c)| *g = g.min((*c).into() - f));
        }
        self.columns.iter().zip(g).for_each(|(&column, &g)| all[column] = g);
        all
    }
}
