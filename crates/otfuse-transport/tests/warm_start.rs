//! Starting from potentials: any will do, and good ones save work.

mod support;

use otfuse_transport::{CostMatrix, Epsilon, Potentials, Problem, SinkhornSettings, Solver, Termination};
use proptest::prelude::*;
use support::{assert_optimal, problems, sequence};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_start_gives_an_optimum(problem in problems(10), size in prop_oneof![Just(0.0), Just(1.0), Just(1e300)], seed in any::<u64>()) {
        let (n, m) = problem.cost().shape();
        let g = sequence(m, seed).into_iter().map(|x| (x - 0.5) * size).collect();
        let warm = Solver::Exact.solve_from(&problem, &Potentials { f: vec![0.0; n], g }).unwrap();
        assert_optimal(&problem, &warm);
        let cold = Solver::Exact.solve(&problem).unwrap();
        prop_assert!((warm.cost - cold.cost).abs() <= 1e-11 * problem.cost().max_abs());
        let again = Solver::Exact.solve_from(&problem, &cold.potentials).unwrap();
        assert_optimal(&problem, &again);
        prop_assert!((again.cost - cold.cost).abs() <= 1e-11 * problem.cost().max_abs());
    }

    #[test]
    fn sinkhorn_ends_in_the_same_plan(problem in problems(8), seed in any::<u64>()) {
        let (n, m) = problem.cost().shape();
        let settings = SinkhornSettings { epsilon: Epsilon::RelativeToMax(0.2), tolerance: 1e-12, ..SinkhornSettings::default() };
        let solver = Solver::Sinkhorn(settings);
        let cold = solver.solve(&problem).unwrap();
        let g = sequence(m, seed).into_iter().map(|x| x * problem.cost().max_abs()).collect();
        for start in [cold.potentials.clone(), Potentials { f: vec![0.0; n], g }] {
            let warm = solver.solve_from(&problem, &start).unwrap();
            for (x, y) in cold.plan.to_dense().iter().zip(warm.plan.to_dense()) {
                prop_assert!((x - y).abs() <= 1e-9, "{} {}", x, y);
            }
        }
    }
}

#[test]
fn a_solution_needs_no_more_iterations() {
    let data = sequence(300 * 200, 1);
    let problem = Problem::uniform(CostMatrix::new(300, 200, data).unwrap()).unwrap();
    let solver = Solver::Sinkhorn(SinkhornSettings::default());
    let cold = solver.solve(&problem).unwrap();
    let warm = solver.solve_from(&problem, &cold.potentials).unwrap();
    assert!(matches!(warm.termination, Termination::Converged { iterations: 1, .. }), "{:?}", warm.termination);
}

#[test]
fn wrong_potentials_are_refused() {
    let problem = Problem::uniform(CostMatrix::new(1, 2, vec![1.0, 2.0]).unwrap()).unwrap();
    for (f, g) in [(vec![0.0; 2], vec![0.0; 2]), (vec![0.0], vec![0.0]), (vec![0.0], vec![0.0, f64::NAN])] {
        assert!(Solver::Exact.solve_from(&problem, &Potentials { f, g }).is_err());
    }
}
