//! Sinkhorn's algorithm against the exact solvers and its own optimality conditions.

mod support;

use otfuse_transport::{CostMatrix, Epsilon, Marginals, Problem, SinkhornSettings, Solver, Termination, certificate};
use proptest::prelude::*;
use support::problems;

fn solver(epsilon: Epsilon) -> SinkhornSettings {
    SinkhornSettings { epsilon, ..SinkhornSettings::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rounded_plans_keep_their_marginals_and_bound(problem in problems(12), factor in 0.01..1.0_f64) {
        let settings = SinkhornSettings { max_iterations: 300, ..solver(Epsilon::RelativeToMax(factor)) };
        let solution = Solver::Sinkhorn(settings).solve(&problem).unwrap();
        let exact = Solver::Exact.solve(&problem).unwrap();
        let proof = certificate(&problem, &solution).unwrap();
        let scale = problem.cost().max_abs();
        prop_assert!(proof.row_error <= 1e-12 && proof.column_error <= 1e-12, "{:?}", proof);
        prop_assert!(solution.cost >= exact.cost - 1e-11 * scale);
        prop_assert!(solution.cost - exact.cost <= solution.gap + 1e-11 * scale);
    }

    #[test]
    fn small_epsilon_approaches_the_optimum(problem in problems(6)) {
        let settings = SinkhornSettings { max_iterations: 3000, tolerance: 1e-6, ..solver(Epsilon::RelativeToMax(1e-3)) };
        let solution = Solver::Sinkhorn(settings).solve(&problem).unwrap();
        let exact = Solver::Exact.solve(&problem).unwrap();
        let scale = problem.cost().max_abs();
        // epsilon times the entropy bounds the excess once the marginals are met.
        let error = match solution.termination {
            Termination::Converged { marginal_error, .. } | Termination::MaxIterations { marginal_error, .. } => marginal_error,
            _ => 0.0,
        };
        let bound = 1e-3 * 36.0_f64.ln() + 4.0 * error;
        prop_assert!(solution.cost - exact.cost <= bound * scale, "{} {} {error}", solution.cost, exact.cost);
    }

    #[test]
    fn stages_do_not_change_the_solution(problem in problems(8)) {
        let staged = SinkhornSettings { tolerance: 1e-12, ..solver(Epsilon::RelativeToMax(0.2)) };
        let direct = SinkhornSettings { epsilon_factor: 1.0, ..staged.clone() };
        let (staged, direct) = (Solver::Sinkhorn(staged).solve(&problem).unwrap(), Solver::Sinkhorn(direct).solve(&problem).unwrap());
        for (x, y) in staged.plan.to_dense().iter().zip(direct.plan.to_dense()) {
            prop_assert!((x - y).abs() <= 1e-9, "{x} {y}");
        }
    }
}

#[test]
fn potentials_give_the_plan() {
    let data: Vec<f64> = (0..12).map(|k| f64::from(k * k % 7)).collect();
    let (a, b) = (Marginals::from_weights(&[1.0, 2.0, 3.0]).unwrap(), Marginals::uniform(4).unwrap());
    let problem = Problem::new(CostMatrix::new(3, 4, data).unwrap(), a, b).unwrap();
    let settings = SinkhornSettings { round: false, tolerance: 1e-13, ..solver(Epsilon::Absolute(0.5)) };
    let solution = Solver::Sinkhorn(settings).solve(&problem).unwrap();
    for (i, j, mass) in solution.plan.entries() {
        let exponent = (solution.potentials.f[i] + solution.potentials.g[j] - problem.cost().get(i, j)) / 0.5;
        let expected = problem.a().as_slice()[i] * problem.b().as_slice()[j] * exponent.exp();
        assert!((mass - expected).abs() <= 1e-12);
    }
    assert!(solution.termination.is_success());
}

#[test]
fn an_epsilon_without_stages_may_be_tiny() {
    let n = 20;
    let data = (0..n * n).map(|k| f64::from((k * 37 % 101) as u32)).collect();
    let problem = Problem::uniform(CostMatrix::new(n, n, data).unwrap()).unwrap();
    let settings = SinkhornSettings { epsilon_factor: 1.0, max_iterations: 50, ..solver(Epsilon::Absolute(1e-3)) };
    let solution = Solver::Sinkhorn(settings).solve(&problem).unwrap();
    assert!(solution.plan.to_dense().iter().all(|mass| mass.is_finite()));
    assert!(solution.gap.is_finite());
}

#[test]
fn threads_do_not_matter() {
    let n = 150;
    let data = (0..n * n).map(|k| f64::from((k * 7919 % 1013) as u32)).collect();
    let problem = Problem::uniform(CostMatrix::new(n, n, data).unwrap()).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Solver::Sinkhorn(SinkhornSettings::default()).solve(&problem).unwrap())
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn settings_are_checked() {
    let problem = Problem::uniform(CostMatrix::new(1, 1, vec![1.0]).unwrap()).unwrap();
    let refused = |settings: SinkhornSettings| Solver::Sinkhorn(settings).solve(&problem).is_err();
    assert!(refused(solver(Epsilon::Absolute(0.0))));
    assert!(refused(solver(Epsilon::RelativeToMean(f64::NAN))));
    assert!(refused(SinkhornSettings { epsilon_factor: 1.5, ..SinkhornSettings::default() }));
    assert!(refused(SinkhornSettings { tolerance: -1.0, ..SinkhornSettings::default() }));
    assert!(refused(SinkhornSettings { max_iterations: 0, ..SinkhornSettings::default() }));
    assert!(!refused(SinkhornSettings::default()));
}

#[test]
fn costs_near_the_end_of_the_range_have_a_plan() {
    let mut data = [0.0; 18];
    for (at, cost) in [(1, 3.000_000_000_000_000_3), (3, 2.0), (9, 1.0), (10, 2.0), (16, 2.0)] {
        data[at] = cost * 1e297;
    }
    let a = Marginals::from_weights(&[0.124_220_156_982_049_98, 0.143_315_141_309_003_58, 0.732_464_701_708_946_4])
        .unwrap();
    let b = Marginals::from_weights(&[0.0, 3.0, 0.0, 3.0, 1.0, 0.0]).unwrap();
    let problem = Problem::new(CostMatrix::new(3, 6, data.to_vec()).unwrap(), a, b).unwrap();
    let settings = SinkhornSettings { max_iterations: 3000, tolerance: 1e-6, ..solver(Epsilon::RelativeToMax(1e-3)) };
    let solution = Solver::Sinkhorn(settings).solve(&problem).unwrap();
    let exact = Solver::Exact.solve(&problem).unwrap();
    assert!(solution.cost - exact.cost <= 1e-2 * problem.cost().max_abs());
}
