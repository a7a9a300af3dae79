//! Anderson acceleration of a fixed-point iteration.

use std::collections::VecDeque;

/// Steps that are remembered.
const DEPTH: usize = 10;
/// What the diagonal of the normal equations is raised by, relative to itself.
const RIDGE: f64 = 1e-12;

/// The recent history of `y -> G(y)`: extrapolates to where the residual `G(y) - y` of the best affine combination of the
/// last steps vanishes (H. Walker and P. Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 49,
/// 2011, in its unconstrained form; all norms are weighted). `O(DEPTH^2)` vector operations a step.
pub(super) struct Anderson {
    weights: Vec<f64>,
    last: Option<(Vec<f64>, Vec<f64>)>,
    /// Differences of successive iterates' images `G(y)` and of their residuals.
    steps: VecDeque<(Vec<f64>, Vec<f64>)>,
}

impl Anderson {
    pub(super) fn new(weights: &[f64]) -> Self {
        Self { weights: weights.to_vec(), last: None, steps: VecDeque::with_capacity(DEPTH) }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.last = None;
        self.steps.clear();
    }

    fn dot(&self, x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).zip(&self.weights).map(|((x, y), w)| x * y * w).sum()
    }

    /// The next iterate after `y` with the image `image = G(y)`; `None` before there is a history.
    pub(super) fn next(&mut self, y: &[f64], image: &[f64]) -> Option<Vec<f64>> {
        let residual: Vec<f64> = image.iter().zip(y).map(|(image, y)| image - y).collect();
        if let Some((old_image, old_residual)) = self.last.take() {
            if self.steps.len() == DEPTH {
                self.steps.pop_front();
            }
            let difference = |new: &[f64], old: &[f64]| new.iter().zip(old).map(|(new, old)| new - old).collect();
            self.steps.push_back((difference(image, &old_image), difference(&residual, &old_residual)));
        }
        let mixture = self.mixture(&residual);
        self.last = Some((image.to_vec(), residual));
        let mut next = image.to_vec();
        for ((step, _), weight) in self.steps.iter().zip(mixture?) {
            next.iter_mut().zip(step).for_each(|(next, step)| *next -= weight * step);
        }
        next.iter().all(|value| value.is_finite()).then_some(next)
    }

    /// The coefficients of the remembered differences of residuals that come closest to `residual`.
    fn mixture(&self, residual: &[f64]) -> Option<Vec<f64>> {
        let k = self.steps.len();
        let lower = |i: usize| -> Vec<f64> {
            let mut row: Vec<f64> = (0..=i).map(|j| self.dot(&self.steps[i].1, &self.steps[j].1)).collect();
            row[i] *= 1.0 + RIDGE;
            row
        };
        let matrix = (0..k).map(lower).collect();
        let right = self.steps.iter().map(|(_, step)| self.dot(step, residual)).collect();
        if k == 0 { None } else { solve(matrix, right) }
    }
}

/// Solves a symmetric positive definite system, given by its lower triangle, by Cholesky's decomposition.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let k = right.len();
    for i in 0..k {
        for j in 0..=i {
            let sum: f64 = matrix[i][j] - (0..j).map(|l| matrix[i][l] * matrix[j][l]).sum::<f64>();
            if i == j {
                if !(sum > 0.0 && sum.is_finite()) {
                    return None;
                }
                matrix[i][i] = sum.sqrt();
            } else {
                matrix[i][j] = sum / matrix[j][j];
            }
        }
    }
    for i in 0..k {
        let sum: f64 = (0..i).map(|l| matrix[i][l] * right[l]).sum();
        right[i] = (right[i] - sum) / matrix[i][i];
    }
    for i in (0..k).rev() {
        let sum: f64 = (i + 1..k).map(|l| matrix[l][i] * right[l]).sum();
        right[i] = (right[i] - sum) / matrix[i][i];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A linear map of as many dimensions as steps are remembered is solved in one sweep.
    #[test]
    fn linear_iterations_end_at_once() {
        let rates = [0.99, 0.9, 0.5, -0.3, 0.999];
        let map = |y: &[f64]| -> Vec<f64> { y.iter().zip(rates).map(|(y, rate)| rate * y + 1.0).collect() };
        let mut anderson = Anderson::new(&[1.0, 2.0, 1.0, 1.0, 0.5]);
        let mut y = vec![0.0; 5];
        for _ in 0..8 {
            let image = map(&y);
            y = anderson.next(&y, &image).unwrap_or(image);
        }
        for (y, rate) in y.iter().zip(rates) {
            assert!((y * (1.0 - rate) - 1.0).abs() < 1e-4, "{y} {rate}");
        }
    }

    #[test]
    fn nothing_comes_of_a_stationary_history() {
        let mut anderson = Anderson::new(&[1.0]);
        assert_eq!(anderson.next(&[1.0], &[1.0]), None);
        assert_eq!(anderson.next(&[1.0], &[1.0]), None);
        anderson.clear();
        assert_eq!(anderson.next(&[1.0], &[2.0]), None);
    }
}
