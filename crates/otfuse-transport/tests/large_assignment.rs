//! Assignments of a size at which rows are remembered by their best columns only.

mod support;

use otfuse_transport::{
    CostMatrix, Features, GroundCost, GroundMetric, Marginals, Potentials, Problem, Solver, TransportError,
    assign_features, certificate, cost_matrix,
};
use support::{KINDS, assert_optimal, kind, sequence};

fn solve(n: usize, data: Vec<f64>) -> f64 {
    let problem = Problem::uniform(CostMatrix::new(n, n, data).unwrap()).unwrap();
    let solution = Solver::Exact.solve(&problem).unwrap();
    assert_optimal(&problem, &solution);
    let warm = Potentials { f: vec![0.0; n], g: sequence(n, 5) };
    let warm = Solver::Exact.solve_from(&problem, &warm).unwrap();
    assert_optimal(&problem, &warm);
    assert!((warm.cost - solution.cost).abs() <= 1e-11 * problem.cost().max_abs());
    solution.cost
}

#[test]
fn structured_costs_get_a_proof() {
    let n = 700;
    let noise = sequence(n * n, 11);
    let point = sequence(2 * n, 12);
    let pair = |cost: &dyn Fn(usize, usize) -> f64| (0..n * n).map(|at| cost(at / n, at % n)).collect::<Vec<_>>();
    solve(n, noise.clone());
    // Few levels: most rows have more best columns than a list takes.
    solve(n, noise.iter().map(|c| (c * 3.0).floor()).collect());
    solve(n, noise.iter().map(|c| (c * 300.0).floor()).collect());
    // Points on a line, where prices move far.
    solve(n, pair(&|i, j| (point[i] - 2.0 * point[n + j]).abs()));
    solve(n, pair(&|i, j| (point[i] - 2.0 * point[n + j]).powi(2)));
    // Products: every row likes the same columns best.
    solve(n, pair(&|i, j| (i + 1) as f64 * (j + 1) as f64));
    solve(n, pair(&|i, j| -((i + 1) as f64) * (j + 1) as f64));
    // Sorted by column, so that neighbours are alike; a third of the rows and columns are equal.
    solve(n, pair(&|i, j| if i % 3 == 0 || j % 3 == 0 { 0.5 } else { noise[i * n + j] }));
    assert_eq!(solve(n, vec![2.0; n * n]), 2.0);
}

#[test]
fn every_kind_gets_a_proof() {
    for n in [33, 64, 150, 400] {
        for number in 0..KINDS {
            let problem = Problem::uniform(CostMatrix::new(n, n, kind(number, n, n, 7)).unwrap()).unwrap();
            assert_optimal(&problem, &Solver::Exact.solve(&problem).unwrap());
        }
    }
}

#[test]
fn every_kind_of_transport_gets_a_proof() {
    for (n, m) in [(150, 149), (160, 80), (90, 200)] {
        for number in 0..KINDS {
            let cost = CostMatrix::new(n, m, kind(number, n, m, 8)).unwrap();
            let problem = Problem::uniform(cost.clone()).unwrap();
            assert_optimal(&problem, &Solver::Exact.solve(&problem).unwrap());
            // A third of the rows has nothing.
            let a: Vec<f64> = sequence(n, 9).iter().map(|mass| (mass - 1.0 / 3.0).max(0.0)).collect();
            let (a, b) = (Marginals::from_weights(&a).unwrap(), Marginals::from_weights(&sequence(m, 10)).unwrap());
            let problem = Problem::new(cost, a, b).unwrap();
            assert_optimal(&problem, &Solver::Exact.solve(&problem).unwrap());
        }
    }
}

/// Costs in single precision, of which products have Monge's property only nearly.
#[test]
fn every_kind_in_single_precision_gets_a_proof() {
    let n = 300;
    for number in 0..KINDS {
        let single = kind(number, n, n, 11).into_iter().map(|c| c as f32).collect();
        let problem = Problem::uniform(CostMatrix::from_f32(n, n, single).unwrap()).unwrap();
        let solution = Solver::Exact.solve(&problem).unwrap();
        let proof = certificate(&problem, &solution).unwrap();
        assert!(
            proof.dual_infeasibility <= 0.0 && solution.gap <= 1e-11 * problem.cost().max_abs(),
            "{number}: {proof:?}"
        );
    }
}

fn table(rows: usize, dimension: usize, seed: u64) -> Vec<f32> {
    sequence(rows * dimension, seed).into_iter().map(|x| x as f32).collect()
}

#[test]
fn features_need_no_costs() {
    let (n, dimension) = (600, 7);
    let (mut x, y) = (table(n, dimension, 1), table(n, dimension, 2));
    x[..dimension * 20].fill(0.0);
    let (left, right) = (Features::new(n, dimension, &x).unwrap(), Features::new(n, dimension, &y).unwrap());
    for metric in [GroundMetric::Euclidean, GroundMetric::SquaredEuclidean, GroundMetric::Cosine] {
        let ground = GroundCost { metric, normalize: metric == GroundMetric::SquaredEuclidean };
        let problem = Problem::uniform(cost_matrix(ground, &left, &right).unwrap()).unwrap();
        let stored = Solver::Exact.solve(&problem).unwrap();
        let computed = assign_features(ground, &left, &right, None).unwrap();
        assert!((stored.cost - computed.cost).abs() <= 1e-12 && computed.gap <= 1e-12, "{}", computed.gap);
        let warm = assign_features(ground, &left, &right, Some(&computed.potentials)).unwrap();
        assert!((stored.cost - warm.cost).abs() <= 1e-12 && warm.gap <= 1e-12);
    }
}

#[test]
fn features_find_themselves() {
    let (n, dimension) = (500, 5);
    let x = table(n, dimension, 4);
    let left = Features::new(n, dimension, &x).unwrap();
    let solution = assign_features(GroundMetric::Euclidean, &left, &left, None).unwrap();
    assert!(solution.plan.to_permutation().unwrap().iter().enumerate().all(|(i, &j)| i == j));
    assert_eq!((solution.cost, solution.gap), (0.0, 0.0));
    let equal = vec![1.0; n * dimension];
    let equal = Features::new(n, dimension, &equal).unwrap();
    let solution = assign_features(GroundMetric::Cosine, &equal, &equal, None).unwrap();
    assert!(solution.plan.to_permutation().unwrap().iter().enumerate().all(|(i, &j)| i == j));
}

#[test]
fn features_that_do_not_match_are_refused() {
    let data = [0.0; 6];
    let (two, three) = (Features::new(2, 3, &data).unwrap(), Features::new(3, 2, &data).unwrap());
    let found = assign_features(GroundMetric::Euclidean, &two, &three, None);
    assert!(matches!(found, Err(TransportError::Length { expected: 2, found: 3, .. })), "{found:?}");
    let other = Features::new(2, 1, &data[..2]).unwrap();
    assert!(matches!(
        assign_features(GroundMetric::Euclidean, &two, &other, None),
        Err(TransportError::Dimension { left: 3, right: 1 })
    ));
}

#[test]
fn threads_do_not_matter() {
    let n = 400;
    let (x, y) = (table(n, 9, 1), table(n, 9, 2));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (left, right) = (Features::new(n, 9, &x).unwrap(), Features::new(n, 9, &y).unwrap());
            let stored = Problem::uniform(cost_matrix(GroundMetric::Euclidean, &left, &right).unwrap()).unwrap();
            let computed = assign_features(GroundMetric::Euclidean, &left, &right, None).unwrap();
            let kinds: Vec<_> = (0..KINDS)
                .map(|number| {
                    let cost = CostMatrix::new(n, n, kind(number, n, n, 12)).unwrap();
                    Solver::Exact.solve(&Problem::uniform(cost).unwrap()).unwrap()
                })
                .collect();
            (Solver::Exact.solve(&stored).unwrap(), computed, kinds)
        })
    };
    assert_eq!(run(1), run(4));
}
