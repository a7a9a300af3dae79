//! Solvers on Euclidean costs between uniformly distributed points.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use otfuse_transport::{CostMatrix, Features, GroundMetric, Problem, SinkhornSettings, Solver, cost_matrix};

const DIMENSION: usize = 64;

fn points(rows: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..rows * DIMENSION).map(|_| next()).collect()
}

fn cost(n: usize, m: usize) -> CostMatrix {
    let (x, y) = (points(n, 1), points(m, 2));
    let left = Features::new(n, DIMENSION, &x).expect("finite features");
    let right = Features::new(m, DIMENSION, &y).expect("finite features");
    cost_matrix(GroundMetric::Euclidean, &left, &right).expect("same dimension")
}

fn solvers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("solve");
    group.sample_size(10);
    for (n, m) in [(512, 512), (1024, 1024), (512, 256), (1024, 768)] {
        let problem = Problem::uniform(cost(n, m)).expect("a valid problem");
        let shape = format!("{n}x{m}");
        for (name, solver) in [("exact", Solver::Exact), ("sinkhorn", Solver::Sinkhorn(SinkhornSettings::default()))] {
            group.bench_with_input(BenchmarkId::new(name, &shape), &problem, |bencher, problem| {
                bencher.iter(|| solver.solve(black_box(problem)));
            });
        }
    }
    group.finish();
    criterion.bench_function("cost_matrix/1024x1024", |bencher| bencher.iter(|| cost(1024, 1024)));
}

criterion_group!(benches, solvers);
criterion_main!(benches);
