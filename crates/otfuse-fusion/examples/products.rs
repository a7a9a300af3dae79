//! Times the matrix products that fitting layers by least squares cannot do without, by the library's own products on all threads,
//! and prints seconds as JSON.
//!
//! usage: products ROWSxINPUTSxOUTPUTSxROUNDS ...
//!
//! For each layer the products of its inputs with themselves (half of them, which are symmetric) and with its outputs, and for
//! each round those of inputs and weights and of inputs and steps. Rows beyond some thousands are timed by their share.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

/// Rows that are multiplied at once, as least squares does.
const CHUNK: usize = 512;
/// Rows that are timed.
const MOST_ROWS: usize = 4096;
/// Rows of a result that one task computes.
const PART: usize = 256;

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at % 251) as f32 / 251.0 - 0.5).collect()
}

/// Seconds of `left' right` with `rows x a` and `rows x b`, added up chunk by chunk.
fn inner(rows: usize, (left, a): (&[f32], usize), (right, b): (&[f32], usize)) -> f64 {
    let mut result = vec![0.0_f32; a * b];
    seconds(|| {
        for start in (0..rows).step_by(CHUNK) {
            let count = CHUNK.min(rows - start);
            result.par_chunks_mut(PART * b).enumerate().for_each(|(at, result)| {
                let left = Matrix::row_major(&left[start * a + at * PART..], a).transposed();
                let right = Matrix::row_major(&right[start * b..], b);
                product(result, b, [result.len() / b, count, b], left, right, Update::Add);
            });
        }
    })
}

/// Seconds of `left right` with `rows x a` and `a x b`.
fn outer(rows: usize, left: &[f32], (right, a, b): (&[f32], usize, usize)) -> f64 {
    let mut result = vec![0.0_f32; rows * b];
    seconds(|| {
        result.par_chunks_mut(PART * b).enumerate().for_each(|(at, result)| {
            let left = Matrix::row_major(&left[at * PART * a..], a);
            product(result, b, [result.len() / b, a, b], left, Matrix::row_major(right, b), Update::Replace);
        });
    })
}

/// Of the best of three passes.
fn seconds(mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..3).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    let mut total = 0.0;
    for layer in std::env::args().skip(1) {
        let lengths: Vec<usize> = layer.split('x').map(|length| length.parse().expect("a number")).collect();
        let &[rows, inputs, outputs, rounds] = lengths.as_slice() else {
            panic!("expected four numbers, found {layer}")
        };
        let timed = rows.min(MOST_ROWS);
        let (x, y, weights) = (numbers(timed * inputs), numbers(timed * outputs), numbers(inputs * outputs));
        let gram = inner(timed, (&x, inputs), (&x, inputs)) / 2.0;
        let cross = inner(timed, (&x, inputs), (&y, outputs));
        let sums = if rounds > 0 { outer(timed, &x, (&weights, inputs, outputs)) } else { 0.0 };
        let all = gram + cross + rounds as f64 * (sums + cross);
        total += all * rows as f64 / timed as f64;
    }
    println!("{}", serde_json::json!({ "seconds": total }));
}
