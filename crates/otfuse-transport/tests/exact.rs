//! The exact solvers against brute force, against each other and against their own certificates.

mod support;

use otfuse_transport::{CostMatrix, Marginals, Problem, Solver, TransportPlan};
use proptest::prelude::*;
use support::{assert_optimal, cheapest_permutation, costs, marginals, problems, sequence};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn assignment_is_the_cheapest_permutation(cost in (1..=6_usize).prop_flat_map(|n| costs(n, n))) {
        let scale = cost.max_abs();
        let expected = cheapest_permutation(&cost);
        let problem = Problem::uniform(cost).unwrap();
        let solution = Solver::Exact.solve(&problem).unwrap();
        assert_optimal(&problem, &solution);
        prop_assert!(matches!(solution.plan, TransportPlan::Permutation(_)));
        prop_assert!((solution.cost - expected).abs() <= 1e-12 * scale);
    }

    #[test]
    fn every_problem_gets_a_proof(problem in problems(12)) {
        let solution = Solver::Exact.solve(&problem).unwrap();
        assert_optimal(&problem, &solution);
        let (n, m) = problem.cost().shape();
        let entries = solution.plan.entries().count();
        prop_assert!(entries < n + m);
        prop_assert!(solution.plan.entries().all(|(row, column, _)| row < n && column < m));
    }

    #[test]
    fn rows_and_columns_can_change_places(problem in problems(9)) {
        let solution = Solver::Exact.solve(&problem).unwrap();
        let scale = problem.cost().max_abs();
        let (cost, a, b) = problem.into_parts();
        let mirrored = Problem::new(cost.transpose(), b, a).unwrap();
        let transposed = Solver::Exact.solve(&mirrored).unwrap();
        prop_assert!((solution.cost - transposed.cost).abs() <= 1e-11 * scale);
        prop_assert!((solution.plan.transpose().cost(mirrored.cost()).unwrap() - solution.cost).abs() <= 1e-12 * scale);
    }

    /// Nearly uniform masses take the simplex method where uniform ones take the assignment.
    #[test]
    fn simplex_agrees_with_assignment(cost in (2..=20_usize).prop_flat_map(|n| costs(n, n))) {
        let (n, scale) = (cost.rows(), cost.max_abs());
        let mut weights = vec![1.0; n];
        weights[n / 2] += 1e-15;
        let almost = Marginals::from_weights(&weights).unwrap();
        prop_assert!(!almost.is_uniform());
        let simplex = Solver::Exact.solve(&Problem::new(cost.clone(), almost.clone(), almost).unwrap()).unwrap();
        let assignment = Solver::Exact.solve(&Problem::uniform(cost).unwrap()).unwrap();
        prop_assert!(matches!(simplex.plan, TransportPlan::Sparse(_)));
        prop_assert!((simplex.cost - assignment.cost).abs() <= 1e-11 * scale);
    }

    /// A rectangular uniform problem is an assignment of copies.
    #[test]
    fn rectangular_agrees_with_copies(cost in (1..=4_usize, 1..=4_usize).prop_flat_map(|(n, k)| costs(n, n * k))) {
        let (n, m) = cost.shape();
        let copies = m / n;
        let square: Vec<f64> = (0..m).flat_map(|row| cost.row(row / copies).to_vec()).collect();
        let square = Solver::Exact.solve(&Problem::uniform(CostMatrix::new(m, m, square).unwrap()).unwrap()).unwrap();
        let scale = cost.max_abs();
        let solution = Solver::Exact.solve(&Problem::uniform(cost).unwrap()).unwrap();
        prop_assert!((solution.cost - square.cost).abs() <= 1e-11 * scale);
    }

    #[test]
    fn equal_costs_leave_everything_in_place(n in 1..40_usize, value in -1e6..1e6_f64) {
        let problem = Problem::uniform(CostMatrix::new(n, n, vec![value; n * n]).unwrap()).unwrap();
        let solution = Solver::Exact.solve(&problem).unwrap();
        prop_assert_eq!(&solution.plan, &TransportPlan::identity(n).unwrap());
    }

    #[test]
    fn masses_do_not_depend_on_their_unit(a in marginals(7), b in marginals(5), cost in costs(7, 5), unit in 1e-3..1e3_f64) {
        let scaled: Vec<f64> = a.as_slice().iter().map(|mass| mass * unit).collect();
        let scaled = Marginals::from_weights(&scaled).unwrap();
        let scale = cost.max_abs();
        let first = Solver::Exact.solve(&Problem::new(cost.clone(), a, b.clone()).unwrap()).unwrap();
        let second = Solver::Exact.solve(&Problem::new(cost, scaled, b).unwrap()).unwrap();
        prop_assert!((first.cost - second.cost).abs() <= 1e-11 * scale);
    }
}

#[test]
fn larger_problems_get_a_proof() {
    for (n, m, levels) in
        [(200, 200, 0.0), (200, 200, 5.0), (150, 100, 0.0), (60, 200, 3.0), (97, 101, 0.0), (128, 64, 2.0)]
    {
        let round = |c: f64| if levels > 0.0 { (c * levels).floor() } else { c };
        let data = sequence(n * m, 42).into_iter().map(round).collect();
        let problem = Problem::uniform(CostMatrix::new(n, m, data).unwrap()).unwrap();
        assert_optimal(&problem, &Solver::Exact.solve(&problem).unwrap());
        let (cost, _, b) = problem.into_parts();
        let a = Marginals::from_weights(&sequence(n, 7)).unwrap();
        let problem = Problem::new(cost, a, b).unwrap();
        assert_optimal(&problem, &Solver::Exact.solve(&problem).unwrap());
    }
}

#[test]
fn a_hidden_permutation_is_found() {
    let n = 120;
    let points = sequence(n, 3);
    let shuffled: Vec<usize> = (0..n).map(|i| (i * 49 + 5) % n).collect();
    let data =
        (0..n).flat_map(|i| shuffled.iter().map(|&k| (points[i] - points[k]).abs()).collect::<Vec<_>>()).collect();
    let problem = Problem::uniform(CostMatrix::new(n, n, data).unwrap()).unwrap();
    let solution = Solver::Exact.solve(&problem).unwrap();
    let permutation = solution.plan.to_permutation().unwrap();
    assert!(permutation.iter().enumerate().all(|(i, &j)| shuffled[j] == i));
    assert_eq!(solution.cost, 0.0);
    assert!(solution.gap < 1e-15);
}

#[test]
fn wrong_sizes_are_refused() {
    let cost = || CostMatrix::new(2, 3, vec![0.0; 6]).unwrap();
    let (two, three) = (Marginals::uniform(2).unwrap(), Marginals::uniform(3).unwrap());
    assert!(Problem::new(cost(), two.clone(), three.clone()).is_ok());
    assert!(Problem::new(cost(), three, two).is_err());
    assert!(CostMatrix::new(usize::MAX, 2, vec![]).is_err());
    assert!(CostMatrix::new(0, 2, vec![]).is_err());
    assert!(CostMatrix::new(1, 2, vec![f64::MAX, f64::MIN]).is_err());
    assert!(Marginals::from_weights(&[1.0, -1.0]).is_err());
    assert!(Marginals::from_weights(&[1.0, f64::NAN]).is_err());
    assert!(Marginals::from_weights(&[]).is_err());
    assert!(Marginals::from_probabilities(&[0.5, 0.6]).is_err());
    assert!(Marginals::from_weights(&[f64::MAX, f64::MAX / 2.0]).is_ok());
}

/// Whole-numbered costs are the same in both precisions, and so is everything that follows from them.
#[test]
fn single_precision_gives_the_same_solutions() {
    for (n, m) in [(40, 40), (40, 24), (17, 50)] {
        let data: Vec<f64> = sequence(n * m, 9).into_iter().map(|c| (c * 1000.0).floor()).collect();
        let single = CostMatrix::from_f32(n, m, data.iter().map(|&c| c as f32).collect()).unwrap();
        let double = Problem::uniform(CostMatrix::new(n, m, data).unwrap()).unwrap();
        let single = Problem::uniform(single).unwrap();
        for solver in [Solver::Exact, Solver::Sinkhorn(otfuse_transport::SinkhornSettings::default())] {
            assert_eq!(solver.solve(&double).unwrap(), solver.solve(&single).unwrap());
        }
    }
    assert!(CostMatrix::from_f32(1, 1, vec![f32::NAN]).is_err());
}
