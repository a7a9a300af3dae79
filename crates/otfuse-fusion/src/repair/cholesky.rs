//! Symmetric positive definite systems in double precision.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::cholesky::llt::solve::{solve_in_place_scratch, solve_in_place_with_conj};
use faer::{Conj, MatMut, MatRef, Par};

/// The factor of the row-major symmetric `n x n` matrix whose lower triangle `matrix` has, in its place. `None` if it is not
/// positive definite. `n^3 / 3` operations; the result does not depend on the number of threads.
pub(crate) fn factor(matrix: &mut [f64], n: usize) -> Option<()> {
    let parallel = Par::rayon(rayon::current_num_threads());
    let mut factor = MatMut::from_row_major_slice_mut(matrix, n, n);
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, parallel, Default::default()));
    let stack = MemStack::new(&mut memory);
    cholesky_in_place(factor.as_mut(), Default::default(), parallel, stack, Default::default()).ok()?;
    Some(())
}

/// Solves `A x = b` for each of the `m` columns of the row-major `n x m` matrix `b`, in place, where `factor` is that of `A`.
/// `2 n^2 m` operations; the result does not depend on the number of threads.
pub(crate) fn solve(factor: &[f64], n: usize, b: &mut [f64], m: usize) {
    let parallel = Par::rayon(rayon::current_num_threads());
    let mut memory = MemBuffer::new(solve_in_place_scratch::<f64>(n, m, parallel));
    let right = MatMut::from_row_major_slice_mut(b, n, m);
    let factor = MatRef::from_row_major_slice(factor, n, n);
    solve_in_place_with_conj(factor, Conj::No, right, parallel, MemStack::new(&mut memory));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_of_all_sizes_are_solved() {
        for n in [1, 5, 95, 96, 97, 250] {
            let entry = |i: usize, j: usize| ((i * 31 + j * 17) % 23) as f64 / 23.0 - 0.5;
            let mut matrix = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    let dot: f64 = (0..n).map(|k| entry(i, k) * entry(j, k)).sum();
                    matrix[i * n + j] = dot + if i == j { 1.0 } else { 0.0 };
                }
            }
            let expected: Vec<f64> = (0..n * 3).map(|index| entry(index, 7)).collect();
            let mut b = vec![0.0; n * 3];
            for i in 0..n {
                for c in 0..3 {
                    b[i * 3 + c] = (0..n).map(|j| matrix[i * n + j] * expected[j * 3 + c]).sum();
                }
            }
            factor(&mut matrix, n).unwrap();
            solve(&matrix, n, &mut b, 3);
            assert!(b.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-8), "n = {n}");
        }
        assert!(factor(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(factor(&mut [f64::NAN], 1).is_none());
    }

    #[test]
    fn solutions_do_not_depend_on_the_number_of_threads() {
        let n = 300;
        let entry =
            |i: usize, j: usize| ((i * 31 + j * 17) % 23) as f64 / 23.0 + if i == j { 2.0 * n as f64 } else { 0.0 };
        let solved = |threads: usize| {
            let mut matrix: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n) + entry(at % n, at / n)).collect();
            let mut b: Vec<f64> = (0..n * 5).map(|at| entry(at, 3)).collect();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                factor(&mut matrix, n).unwrap();
                solve(&matrix, n, &mut b, 5);
            });
            b
        };
        assert_eq!(solved(1), solved(3));
    }
}
