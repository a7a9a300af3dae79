//! How much mass goes from every row to every column.

use crate::cost::CostMatrix;
use crate::error::{TransportError, check_length, check_shape};
use crate::kernels::Kernels;
use crate::permutation::Permutation;
use crate::value::CostValue;

/// A transport plan of `n` rows and `m` columns, in the form that suits it.
#[derive(Debug, Clone, PartialEq)]
pub enum TransportPlan {
    /// Row `i` sends its mass `1/n` to one column.
    Permutation(Permutation),
    /// Few entries, at most `n + m - 1` from the exact solver.
    Sparse(SparsePlan),
    /// Every entry, from Sinkhorn's algorithm.
    Dense(DensePlan),
}

/// The non-zero entries of a plan, sorted by row, then column.
#[derive(Debug, Clone, PartialEq)]
pub struct SparsePlan {
    rows: usize,
    columns: usize,
    entries: Vec<(usize, usize, f64)>,
}

impl SparsePlan {
    /// A plan from its entries `(row, column, mass)` in any order; entries of the same place are added, zeros dropped.
    ///
    /// # Errors
    /// An empty shape, an entry outside it, a mass that is negative, NaN or infinite.
    pub fn new(rows: usize, columns: usize, mut entries: Vec<(usize, usize, f64)>) -> Result<Self, TransportError> {
        check_shape("plan", rows, columns)?;
        let fits = |&(row, column, mass): &(usize, usize, f64)| {
            row < rows && column < columns && mass >= 0.0 && mass.is_finite()
        };
        if let Some(&(row, column, mass)) = entries.iter().find(|entry| !fits(entry)) {
            return Err(TransportError::Entry { row, column, mass, rows, columns });
        }
        entries.retain(|entry| entry.2 > 0.0);
        entries.sort_by_key(|entry| (entry.0, entry.1));
        entries.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 += next.2;
            }
            same
        });
        Ok(Self { rows, columns, entries })
    }

    /// The entries `(row, column, mass)`, sorted.
    pub fn entries(&self) -> &[(usize, usize, f64)] {
        &self.entries
    }
}

/// All entries of a plan, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct DensePlan {
    rows: usize,
    columns: usize,
    masses: Vec<f64>,
}

impl DensePlan {
    /// A plan from its row-major entries.
    ///
    /// # Errors
    /// An empty shape, a buffer of another length, a mass that is negative, NaN or infinite.
    pub fn new(rows: usize, columns: usize, masses: Vec<f64>) -> Result<Self, TransportError> {
        check_length("plan", check_shape("plan", rows, columns)?, masses.len())?;
        if Kernels::new().are_masses(&masses) {
            return Ok(Self { rows, columns, masses });
        }
        match masses.iter().position(|&mass| !(mass >= 0.0 && mass.is_finite())) {
            None => Ok(Self { rows, columns, masses }),
            Some(at) => {
                Err(TransportError::Entry { row: at / columns, column: at % columns, mass: masses[at], rows, columns })
            }
        }
    }

    /// The entries, row-major.
    pub fn as_slice(&self) -> &[f64] {
        &self.masses
    }

    /// The entries of one row.
    ///
    /// # Panics
    /// Where `row` is out of range.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.masses[row * self.columns..(row + 1) * self.columns]
    }
}

impl TransportPlan {
    /// The plan that leaves everything where it is.
    ///
    /// # Errors
    /// `n` is zero.
    pub fn identity(n: usize) -> Result<Self, TransportError> {
        Permutation::identity(n).map(Self::Permutation)
    }

    /// `(n, m)`.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Permutation(permutation) => (permutation.len(), permutation.len()),
            Self::Sparse(plan) => (plan.rows, plan.columns),
            Self::Dense(plan) => (plan.rows, plan.columns),
        }
    }

    /// The non-zero entries `(row, column, mass)`, sorted by row, then column.
    pub fn entries(&self) -> Box<dyn Iterator<Item = (usize, usize, f64)> + '_> {
        match self {
            Self::Permutation(permutation) => {
                let mass = 1.0 / permutation.len() as f64;
                Box::new(permutation.iter().enumerate().map(move |(row, &column)| (row, column, mass)))
            }
            Self::Sparse(plan) => Box::new(plan.entries.iter().copied()),
            Self::Dense(plan) => {
                let columns = plan.columns;
                let all = plan.masses.iter().enumerate();
                Box::new(
                    all.filter(|(_, mass)| **mass > 0.0).map(move |(at, &mass)| (at / columns, at % columns, mass)),
                )
            }
        }
    }

    /// Mass that leaves every row.
    pub fn row_marginals(&self) -> Vec<f64> {
        let mut marginals = vec![0.0; self.shape().0];
        self.entries().for_each(|(row, _, mass)| marginals[row] += mass);
        marginals
    }

    /// Mass that arrives at every column.
    pub fn column_marginals(&self) -> Vec<f64> {
        let mut marginals = vec![0.0; self.shape().1];
        self.entries().for_each(|(_, column, mass)| marginals[column] += mass);
        marginals
    }

    /// `sum_ij T_ij c_ij`.
    ///
    /// # Errors
    /// The matrix has another shape than the plan.
    pub fn cost<T: CostValue>(&self, cost: &CostMatrix<T>) -> Result<f64, TransportError> {
        let (rows, columns) = self.shape();
        check_length("rows of the cost matrix", rows, cost.rows())?;
        check_length("columns of the cost matrix", columns, cost.columns())?;
        Ok(match self {
            // One division at the end: the sum of equal or whole-numbered costs stays exact.
            Self::Permutation(permutation) => {
                let total: f64 = permutation.iter().enumerate().map(|(row, &column)| cost.get(row, column)).sum();
                total / rows as f64
            }
            Self::Dense(plan) => {
                let kernels = Kernels::new();
                (0..rows).map(|row| kernels.dot(cost.row(row), plan.row(row))).sum()
            }
            Self::Sparse(_) => self.entries().map(|(row, column, mass)| mass * cost.get(row, column)).sum(),
        })
    }

    /// All `n m` entries, row-major.
    pub fn to_dense(&self) -> Vec<f64> {
        let (rows, columns) = self.shape();
        if let Self::Dense(plan) = self {
            return plan.masses.clone();
        }
        let mut dense = vec![0.0; rows * columns];
        self.entries().for_each(|(row, column, mass)| dense[row * columns + column] = mass);
        dense
    }

    /// Whether every row sends all of its mass to a column of its own, and all masses are equal (within `1e-12`).
    pub fn is_permutation(&self) -> bool {
        self.to_permutation().is_some()
    }

    /// The permutation that this plan is, if it is one: see [`TransportPlan::is_permutation`].
    pub fn to_permutation(&self) -> Option<Permutation> {
        if let Self::Permutation(permutation) = self {
            return Some(permutation.clone());
        }
        let (rows, columns) = self.shape();
        if rows != columns {
            return None;
        }
        let mass = 1.0 / rows as f64;
        let mut targets = vec![usize::MAX; rows];
        for (row, column, found) in self.entries() {
            if (found - mass).abs() <= 1e-12 * mass {
                targets[row] = column;
            } else if found > 1e-12 * mass {
                return None;
            }
        }
        Permutation::new(targets).ok()
    }

    /// The plan from columns to rows.
    #[must_use]
    pub fn transpose(&self) -> Self {
        match self {
            Self::Permutation(permutation) => Self::Permutation(permutation.inverse()),
            Self::Sparse(plan) => {
                let mut entries: Vec<_> = plan.entries.iter().map(|&(row, column, mass)| (column, row, mass)).collect();
                entries.sort_by_key(|entry| (entry.0, entry.1));
                Self::Sparse(SparsePlan { rows: plan.columns, columns: plan.rows, entries })
            }
            Self::Dense(plan) => {
                let mut masses = Vec::with_capacity(plan.masses.len());
                for column in 0..plan.columns {
                    masses.extend(plan.masses[column..].iter().step_by(plan.columns));
                }
                Self::Dense(DensePlan { rows: plan.columns, columns: plan.rows, masses })
            }
        }
    }
}
