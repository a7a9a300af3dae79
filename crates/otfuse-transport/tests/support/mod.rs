//! Random problems, and the plain answers that solvers are checked against.
#![allow(dead_code)]

use otfuse_transport::{CostMatrix, Marginals, Problem, Solution, certificate};
use proptest::prelude::*;

/// Costs of many kinds: real, few whole numbers (ties), equal rows, sums and products of factors, huge, tiny, with constant
/// rows, all equal.
pub fn costs(rows: usize, columns: usize) -> impl Strategy<Value = CostMatrix> {
    let entries = rows * columns;
    let real = prop::collection::vec(-1.0..1.0_f64, entries);
    let whole = prop::collection::vec(0..4_i32, entries).prop_map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
    let factors = (prop::collection::vec(-3..4_i32, rows), prop::collection::vec(-1.0..1.0_f64, columns));
    let pairs = (factors, 0..3_usize).prop_map(move |((x, y), kind)| {
        let pair = |x: f64, y: f64| [x + y, x * y, (x - y) * (x - y)][kind];
        x.iter().flat_map(|&x| y.iter().map(move |&y| pair(f64::from(x), y))).collect::<Vec<_>>()
    });
    let sorts = (prop::collection::vec(-1.0..1.0_f64, 2 * columns), prop::collection::vec(0..2_usize, rows));
    let copies = sorts.prop_map(move |(sorts, of)| {
        of.into_iter().flat_map(|sort| sorts[sort * columns..(sort + 1) * columns].to_vec()).collect::<Vec<_>>()
    });
    let base = prop_oneof![3 => real, 3 => whole, 2 => pairs, 2 => copies, 1 => Just(vec![7.0; entries])];
    let scale = prop_oneof![4 => Just(1.0), 1 => Just(1e12), 1 => Just(1e-12), 1 => Just(1e297), 1 => Just(1e-300)];
    let offset = prop_oneof![4 => Just(0.0), 1 => Just(100.0)];
    (base, scale, offset, prop::option::weighted(0.2, 0..rows)).prop_map(move |(base, scale, offset, constant)| {
        let mut data: Vec<f64> = base.into_iter().map(|c| (c + offset) * scale).collect();
        if let Some(row) = constant {
            data[row * columns..(row + 1) * columns].fill(scale);
        }
        CostMatrix::new(rows, columns, data).unwrap()
    })
}

/// Masses: uniform, whole-numbered with zeros, or real.
pub fn marginals(len: usize) -> impl Strategy<Value = Marginals> {
    let whole = prop::collection::vec(0..4_i32, len).prop_map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
    let real = prop::collection::vec(0.0..1.0_f64, len);
    let skewed = prop::collection::vec(-30.0..0.0_f64, len).prop_map(|v| v.into_iter().map(f64::exp).collect());
    prop_oneof![
        2 => Just(vec![1.0; len]),
        2 => whole,
        2 => real,
        1 => skewed,
    ]
    .prop_filter_map("masses that are all zero", |weights| Marginals::from_weights(&weights).ok())
}

/// Any problem of up to `largest` rows and columns.
pub fn problems(largest: usize) -> impl Strategy<Value = Problem> {
    (1..=largest, 1..=largest)
        .prop_flat_map(|(n, m)| (costs(n, m), marginals(n), marginals(m)))
        .prop_map(|(cost, a, b)| Problem::new(cost, a, b).unwrap())
}

/// The least mean cost over all permutations.
pub fn cheapest_permutation(cost: &CostMatrix) -> f64 {
    fn search(cost: &CostMatrix, row: usize, taken: u32) -> f64 {
        if row == cost.rows() {
            return 0.0;
        }
        let free = (0..cost.columns()).filter(|column| taken & (1 << column) == 0);
        free.map(|column| cost.get(row, column) + search(cost, row + 1, taken | 1 << column))
            .fold(f64::INFINITY, f64::min)
    }
    search(cost, 0, 0) / cost.rows() as f64
}

/// The optimality conditions of an exact solution, all to rounding.
pub fn assert_optimal(problem: &Problem, solution: &Solution) {
    let scale = problem.cost().max_abs();
    let proof = certificate(problem, solution).unwrap();
    assert!(proof.dual_infeasibility <= 0.0, "{proof:?}");
    assert!(proof.row_error <= 1e-12 && proof.column_error <= 1e-12, "{proof:?}");
    assert!(solution.gap >= 0.0 && solution.gap <= 1e-11 * scale, "gap {} at scale {scale}", solution.gap);
    assert!(solution.termination == otfuse_transport::Termination::Optimal);
    assert!((proof.primal - solution.cost).abs() <= 1e-12 * scale);
}

/// A pseudo-random sequence between 0 and 1.
pub fn sequence(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..len).map(|_| next()).collect()
}

/// Costs of one of the kinds that [`KINDS`] numbers, of points, factors or numbers from a sequence.
pub fn kind(kind: usize, n: usize, m: usize, seed: u64) -> Vec<f64> {
    let noise = sequence(n * m, seed);
    let (x, y) = (sequence(3 * n, seed ^ 1), sequence(3 * m, seed ^ 2));
    let distance = |i: usize, j: usize, dimension: usize| {
        (0..dimension).map(|k| (x[3 * i + k] - y[3 * j + k]).powi(2)).sum::<f64>()
    };
    let cost = |i: usize, j: usize| {
        let z = noise[i * m + j];
        match kind {
            0 => z,
            1 => (10.0 * z).floor(),
            2 => (2.0 * z).floor(),
            3 => f64::from(u8::from(z * m as f64 > 3.0)),
            4 => distance(i, j, 1),
            5 => distance(i, j, 2).sqrt(),
            6 => distance(i, j, 3),
            7 => x[i] * y[j],
            8 => f64::from((x[i] * y[j]) as f32),
            9 => x[i] + y[j] + 1e-3 * z,
            10 => sequence(m, (i % 7) as u64)[j] + 1e-6 * z,
            11 => z + if y[j] < 0.3 { 1e3 } else { 0.0 },
            12 => (-8.0 * z.max(1e-9).ln()).exp(),
            13 => (x[i] + y[j] + 0.1 * z).sqrt(),
            14 => {
                if (i * 7 + 3) % n == j {
                    0.1 * z
                } else {
                    1.0 + z
                }
            }
            _ => {
                if i * 8 / n == j * 8 / m {
                    0.5 * z
                } else {
                    1.0 + 0.5 * z
                }
            }
        }
    };
    (0..n * m).map(|at| cost(at / m, at % m)).collect()
}

/// How many kinds there are.
pub const KINDS: usize = 16;
