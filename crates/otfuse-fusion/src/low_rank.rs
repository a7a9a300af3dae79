//! Matrices as products of two thin ones.

use crate::rotation::dense::Dense;

/// Singular values up to this share of the largest are rounding.
const NOTHING: f64 = 1e-7;

/// How many singular values are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truncation {
    /// The largest, so many of them.
    Rank(usize),
    /// As few of the largest as have this share of the sum of their squares, from 0 to 1.
    Energy(f64),
}

/// `left right`, near to a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// Row-major `rows x rank`.
    pub left: Vec<f64>,
    /// Row-major `rank x columns`.
    pub right: Vec<f64>,
    /// The number of singular values that are kept, 1 at least.
    pub rank: usize,
    /// The share of the sum of squares of all elements that is kept.
    pub energy: f64,
}

/// The nearest matrix of its rank to a row-major `rows x columns` matrix (C. Eckart, G. Young, "The approximation of one
/// matrix by another of lower rank", Psychometrika 1936), as a product whose factors have each singular value by half:
/// `U sqrt(S)` and `sqrt(S) V^t`. `None` if a number is not finite, or there is none. `O(rows columns min(rows, columns))` on
/// one thread.
pub fn low_rank(data: Vec<f64>, rows: usize, columns: usize, truncation: Truncation) -> Option<LowRank> {
    if data.is_empty() || data.len() != rows * columns {
        return None;
    }
    let found = Dense { rows, columns, data }.decomposed()?;
    let count = found.values.len();
    let squares: Vec<f64> = found.values.iter().map(|value| value * value).collect();
    let total: f64 = squares.iter().sum();
    let largest = found.values.first().copied().unwrap_or_default();
    let significant = found.values.iter().filter(|value| **value > NOTHING * largest).count().max(1);
    let rank = match truncation {
        Truncation::Rank(rank) => rank.clamp(1, count),
        Truncation::Energy(share) => {
            let mut sum = 0.0;
            let reached = squares.iter().position(|square| {
                sum += square;
                sum >= share * total
            });
            reached.map_or(significant, |at| at + 1).min(significant)
        }
    };
    let root: Vec<f64> = found.values[..rank].iter().map(|value| value.max(0.0).sqrt()).collect();
    let left = (0..rows * rank).map(|at| found.left.get(at / rank, at % rank) * root[at % rank]).collect();
    let right =
        (0..rank * columns).map(|at| found.right.get(at % columns, at / columns) * root[at / columns]).collect();
    let energy = if total > 0.0 { squares[..rank].iter().sum::<f64>() / total } else { 1.0 };
    Some(LowRank { left, right, rank, energy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(found: &LowRank, rows: usize, columns: usize) -> Vec<f64> {
        let entry = |at: usize| {
            let (row, column) = (at / columns, at % columns);
            (0..found.rank).map(|k| found.left[row * found.rank + k] * found.right[k * columns + column]).sum()
        };
        (0..rows * columns).map(entry).collect()
    }

    #[test]
    fn what_is_kept_is_the_energy_that_is_said() {
        let (rows, columns) = (7, 5);
        let data: Vec<f64> = (0..rows * columns).map(|at| (1.3 * (at * at) as f64).sin() + 0.1 * at as f64).collect();
        let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let mut last = f64::INFINITY;
        for rank in 1..=columns {
            let found = low_rank(data.clone(), rows, columns, Truncation::Rank(rank)).unwrap();
            let error: Vec<f64> = product(&found, rows, columns).iter().zip(&data).map(|(a, b)| a - b).collect();
            let lost = square(&error) / square(&data);
            assert!((1.0 - found.energy - lost).abs() < 1e-12 && lost < last, "{rank}: {lost} {}", found.energy);
            last = lost;
            let same = low_rank(data.clone(), rows, columns, Truncation::Energy(found.energy - 1e-9)).unwrap();
            assert_eq!(same.rank, rank);
        }
        assert!(last < 1e-24);
    }

    #[test]
    fn a_matrix_of_low_rank_is_one() {
        let data: Vec<f64> = (0..30).map(|at| f64::from(at / 5 + 1) * f64::from(at % 5 + 2)).collect();
        let found = low_rank(data, 6, 5, Truncation::Energy(1.0)).unwrap();
        assert_eq!(found.rank, 1);
        assert_eq!(low_rank(vec![f64::NAN; 4], 2, 2, Truncation::Rank(1)), None);
        assert_eq!(low_rank(vec![0.0; 4], 2, 2, Truncation::Energy(0.9)).map(|found| found.rank), Some(1));
    }
}
