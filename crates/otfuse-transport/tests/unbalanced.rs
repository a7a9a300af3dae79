//! Marginals kept by a penalty: against POT (golden files), against the optimality conditions, and in its limits.

mod support;

use otfuse_transport::{CostMatrix, Epsilon, Marginals, Problem, SinkhornSettings, Solver, TransportPlan};
use proptest::prelude::*;
use serde_json::Value;
use support::problems;

fn settings(epsilon: Epsilon, row_penalty: f64, column_penalty: f64) -> SinkhornSettings {
    SinkhornSettings { epsilon, row_penalty, column_penalty, tolerance: 1e-12, ..SinkhornSettings::default() }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn plans_equal_the_golden_ones() {
    let cases: Value = serde_json::from_str(include_str!("golden/unbalanced.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let table = |key: &str| case[key].as_array().unwrap().iter().flat_map(numbers).collect::<Vec<_>>();
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let cost = CostMatrix::new(a.len(), b.len(), table("cost")).unwrap();
        let marginals = |masses: &[f64]| Marginals::from_probabilities(masses).unwrap();
        let problem = Problem::new(cost, marginals(&a), marginals(&b)).unwrap();
        let number = |key: &str| case[key].as_f64().unwrap();
        let settings = settings(Epsilon::Absolute(number("epsilon")), number("row_penalty"), number("column_penalty"));
        let solution = Solver::Sinkhorn(settings).solve(&problem).unwrap();
        assert!(solution.termination.is_success() && solution.gap < 1e-9, "{solution:?}");
        for (found, expected) in solution.plan.to_dense().iter().zip(table("plan")) {
            assert!((found - expected).abs() < 1e-8, "{found} {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// `f = -rho log(marginal / a)`, and so for the columns, is what makes the first derivatives vanish.
    #[test]
    fn potentials_belong_to_the_marginals(problem in problems(10), rho in (0.1..20.0_f64, 0.1..20.0_f64)) {
        let scale = problem.cost().max_abs().max(f64::MIN_POSITIVE);
        let (rows, columns) = (rho.0 * scale, rho.1 * scale);
        let solution = Solver::Sinkhorn(settings(Epsilon::RelativeToMax(0.3), rows, columns)).solve(&problem).unwrap();
        prop_assert!(solution.termination.is_success(), "{:?}", solution.termination);
        prop_assert!(solution.gap <= 1e-9 * scale, "{}", solution.gap);
        let check = |masses: &[f64], found: Vec<f64>, potentials: &[f64], rho: f64| {
            masses.iter().zip(found).zip(potentials).all(|((mass, found), f)| {
                *mass == 0.0 && found == 0.0 || (mass * (-f / rho).exp() - found).abs() <= 1e-9
            })
        };
        prop_assert!(check(problem.a().as_slice(), solution.plan.row_marginals(), &solution.potentials.f, rows));
        prop_assert!(check(problem.b().as_slice(), solution.plan.column_marginals(), &solution.potentials.g, columns));
    }

    #[test]
    fn a_large_penalty_is_an_exact_marginal(problem in problems(8)) {
        let epsilon = Epsilon::RelativeToMax(0.3);
        let scale = problem.cost().max_abs().max(f64::MIN_POSITIVE);
        let balanced = SinkhornSettings { round: false, ..settings(epsilon, f64::INFINITY, f64::INFINITY) };
        let balanced = Solver::Sinkhorn(balanced).solve(&problem).unwrap();
        let penalised = Solver::Sinkhorn(settings(epsilon, 1e7 * scale, 1e7 * scale)).solve(&problem).unwrap();
        for (x, y) in balanced.plan.to_dense().iter().zip(penalised.plan.to_dense()) {
            prop_assert!((x - y).abs() <= 1e-5, "{} {}", x, y);
        }
    }
}

#[test]
fn one_marginal_can_be_kept() {
    let cost = CostMatrix::new(2, 2, vec![0.0, 1.0, 10.0, 10.0]).unwrap();
    let problem = Problem::uniform(cost).unwrap();
    let solve =
        |rows, columns| Solver::Sinkhorn(settings(Epsilon::Absolute(0.1), rows, columns)).solve(&problem).unwrap();
    let free = solve(0.5, 0.5);
    assert!(free.plan.row_marginals()[1] < 1e-3, "a row that is expensive everywhere keeps nothing");
    let kept = solve(f64::INFINITY, 0.5);
    assert!(kept.plan.row_marginals().iter().all(|mass| (mass - 0.5).abs() < 1e-9));
    assert!(matches!(kept.plan, TransportPlan::Dense(_)));
}

#[test]
fn penalties_are_checked() {
    let problem = Problem::uniform(CostMatrix::new(1, 1, vec![1.0]).unwrap()).unwrap();
    for penalty in [0.0, -1.0, f64::NAN] {
        assert!(Solver::Sinkhorn(settings(Epsilon::Absolute(1.0), penalty, 1.0)).solve(&problem).is_err());
        assert!(Solver::Sinkhorn(settings(Epsilon::Absolute(1.0), 1.0, penalty)).solve(&problem).is_err());
    }
}
