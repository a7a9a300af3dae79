//! From features to costs.
//!
//! All metrics come from squared distances between rows that were scaled to unit length where asked for: `1 - cos` is
//! half the squared distance of unit vectors. These come from the Gram expansion `|x|^2 + |y|^2 - 2 <x, y>` with one
//! matrix product, in double precision, a block of features at a time. Features are centred at their mean first, which
//! moves no distance and removes what all rows have in common. Where the expansion still cancels, the pair is
//! computed again from differences, so near-equal rows keep their full relative accuracy and equal rows are at 0.
//!
//! The products of very large tables are in single precision within a block of features, and added up in double precision. Their
//! squared distances are off by some 1e-7 of `|x|^2 + |y|^2`, which decides between pairs that are alike to that degree
//! alone; nearer pairs are computed from differences sooner.

use rayon::prelude::*;

use crate::cost::CostMatrix;
use crate::error::{TransportError, check_shape};
use crate::features::Features;
use crate::kernels::Kernels;
use crate::matrix::{Matrix, Update, product};
use crate::metric::{GroundCost, GroundMetric};

/// Features in a block: its double precision copy is all that is held beside the result.
const BLOCK: usize = 256;
/// Rows of the result in a task, at least and at most: each prepares the other side's block anew. What they are depends on the
/// shape alone, so that the order of additions does not depend on the number of threads.
const TILE: usize = 64;
const LARGE_TILE: usize = 512;
/// Tasks that a result is divided into, at least, where its tiles are large.
const TASKS: usize = 16;
/// Fewer rows than this are not worth the preparation of a matrix product.
const FEW: usize = 4;
/// Squared distances below this fraction of `|x|^2 + |y|^2` are computed from differences.
const CANCELLATION: f64 = 1e-5;
/// Multiplications from which on blocks are multiplied in single precision, and what is taken for cancellation then.
const SINGLE: usize = 1 << 35;
const SINGLE_CANCELLATION: f64 = 1e-2;

/// The costs between all rows of `left` and all rows of `right`: `n x m` for `n x d` and `m x d` features.
///
/// `O(n m d)` time in a matrix product on rayon's threads; beside the result, memory for 256 features of every row.
/// The result is the same whatever the number of threads.
///
/// # Errors
/// Different numbers of features, or a result too large for the address space or the memory.
///
/// ```
/// use otfuse_transport::{Features, GroundMetric, cost_matrix};
/// let left = Features::new(2, 2, &[0.0, 0.0, 3.0, 4.0])?;
/// let right = Features::new(1, 2, &[3.0, 4.0])?;
/// let cost = cost_matrix(GroundMetric::Euclidean, &left, &right)?;
/// assert_eq!(cost.as_slice(), [5.0, 0.0]);
/// # Ok::<(), otfuse_transport::TransportError>(())
/// ```
pub fn cost_matrix(
    ground: impl Into<GroundCost>,
    left: &Features<'_>,
    right: &Features<'_>,
) -> Result<CostMatrix, TransportError> {
    let (n, m, dimension) = (left.rows(), right.rows(), left.dimension());
    if dimension != right.dimension() {
        return Err(TransportError::Dimension { left: dimension, right: right.dimension() });
    }
    let what = "cost matrix";
    let entries = check_shape(what, n, m)?;
    // The system is asked whether it has so much, before it is an error that nobody catches.
    let room = Vec::<f64>::new().try_reserve_exact(entries);
    room.map_err(|_| TransportError::TooLarge { what, rows: n, columns: m })?;
    CostMatrix::new(n, m, costs(ground.into(), left, right))
}

/// [`cost_matrix`] as a row-major buffer, for tables of the same dimension.
pub(crate) fn costs(ground: GroundCost, left: &Features<'_>, right: &Features<'_>) -> Vec<f64> {
    let GroundCost { metric, normalize } = ground;
    let (n, m, dimension) = (left.rows(), right.rows(), left.dimension());
    let unit = normalize || metric == GroundMetric::Cosine;
    let (mut left, mut right) = (Side::new(left, unit), Side::new(right, unit));
    let mut squares = vec![0.0; n * m];
    if n < FEW {
        for (i, row) in squares.chunks_exact_mut(m).enumerate() {
            row.par_iter_mut().with_min_len(TILE).enumerate().for_each_init(Scratch::default, |scratch, (j, value)| {
                *value = left.cost(i, &right, j, metric, direct(&left, i, &right, j, scratch));
            });
        }
        return squares;
    }
    let tile = n.div_ceil(TASKS).clamp(TILE, LARGE_TILE);
    let is_single = n.saturating_mul(m).saturating_mul(dimension) >= SINGLE;
    for start in (0..dimension).step_by(BLOCK) {
        let width = BLOCK.min(dimension - start);
        left.load(start, width);
        right.load(start, width);
        let mean = mean(&left, &right, width);
        left.centre(&mean);
        right.centre(&mean);
        if is_single {
            let [left, right] = [&left, &right].map(Side::rounded);
            squares.par_chunks_mut(tile * m).zip(left.par_chunks(tile * width)).for_each_init(
                Vec::new,
                |products, (into, rows)| {
                    products.resize(into.len(), 0.0);
                    let (rows, right) = (Matrix::row_major(rows, width), Matrix::row_major(&right, width).transposed());
                    product(products, m, [into.len() / m, width, m], rows, right, Update::Replace);
                    into.iter_mut().zip(products).for_each(|(sum, &mut product)| *sum += f64::from(product));
                },
            );
            continue;
        }
        squares.par_chunks_mut(tile * m).zip(left.block.par_chunks(tile * width)).for_each(|(into, rows)| {
            add_products(into, rows, &right.block, width);
        });
    }
    let cancellation = if is_single { SINGLE_CANCELLATION } else { CANCELLATION };
    squares.par_chunks_mut(m).enumerate().for_each_init(Scratch::default, |scratch, (i, row)| {
        for (j, value) in row.iter_mut().enumerate() {
            let size = left.squared[i] + right.squared[j];
            let mut square = size - 2.0 * *value;
            if square <= cancellation * size {
                square = direct(&left, i, &right, j, scratch);
            }
            *value = left.cost(i, &right, j, metric, square);
        }
    });
    squares
}

/// One of the two feature tables with its block in work.
struct Side<'a> {
    features: &'a Features<'a>,
    /// What a row is multiplied with: 1, or 1 over its length (0 for a zero row).
    scale: Vec<f64>,
    /// The block's scaled features, row-major.
    block: Vec<f64>,
    /// Squared length of every centred row, over the blocks so far.
    squared: Vec<f64>,
}

impl<'a> Side<'a> {
    fn new(features: &'a Features<'a>, unit: bool) -> Self {
        let rows = features.rows();
        let scale = if unit {
            let length = |scratch: &mut Scratch, row| 1.0 / squared_length(features, row, scratch).sqrt();
            let scales = (0..rows).into_par_iter().map_init(Scratch::default, length);
            scales.map(|scale| if scale.is_finite() { scale } else { 0.0 }).collect()
        } else {
            vec![1.0; rows]
        };
        Self { features, scale, block: Vec::new(), squared: vec![0.0; rows] }
    }

    /// The cost of a pair of rows from their squared distance.
    #[inline]
    fn cost(&self, i: usize, right: &Self, j: usize, metric: GroundMetric, square: f64) -> f64 {
        match metric {
            GroundMetric::Euclidean => square.sqrt(),
            GroundMetric::SquaredEuclidean => square,
            GroundMetric::Cosine if self.scale[i] == 0.0 || right.scale[j] == 0.0 => 1.0,
            GroundMetric::Cosine => (0.5 * square).min(2.0),
        }
    }

    fn load(&mut self, start: usize, width: usize) {
        self.block.resize(self.features.rows() * width, 0.0);
        let (features, scale) = (self.features, &self.scale);
        let rows = self.block.par_chunks_mut(width).enumerate();
        rows.for_each(|(row, into)| features.read(row, start, scale[row], into));
    }

    fn centre(&mut self, mean: &[f64]) {
        let kernels = Kernels::new();
        let rows = self.block.par_chunks_mut(mean.len()).zip(&mut self.squared);
        rows.for_each(|(row, squared)| {
            row.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
            *squared += kernels.dot(row, row);
        });
    }
}

impl Side<'_> {
    /// The block in single precision.
    fn rounded(&self) -> Vec<f32> {
        self.block.par_iter().with_min_len(BLOCK * TILE).map(|&value| value as f32).collect()
    }
}

/// Mean of the blocks' rows, of both sides together.
fn mean(left: &Side<'_>, right: &Side<'_>, width: usize) -> Vec<f64> {
    let kernels = Kernels::new();
    let mut mean = vec![0.0; width];
    let weight = 1.0 / (left.scale.len() + right.scale.len()) as f64;
    for row in left.block.chunks_exact(width).chain(right.block.chunks_exact(width)) {
        kernels.add_scaled(weight, row, &mut mean);
    }
    mean
}

/// `into += rows right^T` for row-major blocks of `width` features.
fn add_products(into: &mut [f64], rows: &[f64], right: &[f64], width: usize) {
    let (n, m) = (rows.len() / width, right.len() / width);
    let (rows, right) = (Matrix::row_major(rows, width), Matrix::row_major(right, width));
    product(into, m, [n, width, m], rows, right.transposed(), Update::Add);
}

/// Room for a block of two rows.
struct Scratch([f64; BLOCK], [f64; BLOCK]);

impl Default for Scratch {
    fn default() -> Self {
        Self([0.0; BLOCK], [0.0; BLOCK])
    }
}

fn squared_length(features: &Features<'_>, row: usize, scratch: &mut Scratch) -> f64 {
    let kernels = Kernels::new();
    let blocks = (0..features.dimension()).step_by(BLOCK).map(|start| {
        let block = &mut scratch.0[..BLOCK.min(features.dimension() - start)];
        features.read(row, start, 1.0, block);
        kernels.dot(block, block)
    });
    blocks.sum()
}

/// Squared distance of two rows from their differences.
fn direct(left: &Side<'_>, i: usize, right: &Side<'_>, j: usize, scratch: &mut Scratch) -> f64 {
    let kernels = Kernels::new();
    let dimension = left.features.dimension();
    let blocks = (0..dimension).step_by(BLOCK).map(|start| {
        let width = BLOCK.min(dimension - start);
        let (x, y) = (&mut scratch.0[..width], &mut scratch.1[..width]);
        left.features.read(i, start, left.scale[i], x);
        right.features.read(j, start, right.scale[j], y);
        kernels.squared_distance(x, y)
    });
    blocks.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize, dimension: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32) / ((1 << 23) as f32) - 1.0
        };
        (0..rows * dimension).map(|_| next()).collect()
    }

    fn plain(ground: GroundCost, x: &[f32], y: &[f32]) -> f64 {
        let length = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let (p, q) = (length(x), length(y));
        let unit = ground.normalize && ground.metric != GroundMetric::Cosine;
        let by = |length: f64| if unit && length > 0.0 { length } else { 1.0 };
        let pairs = || x.iter().zip(y).map(|(&x, &y)| (f64::from(x) / by(p), f64::from(y) / by(q)));
        let square: f64 = pairs().map(|(x, y)| (x - y).powi(2)).sum();
        match ground.metric {
            GroundMetric::Euclidean => square.sqrt(),
            GroundMetric::SquaredEuclidean => square,
            GroundMetric::Cosine if p * q == 0.0 => 1.0,
            GroundMetric::Cosine => 1.0 - pairs().map(|(x, y)| x * y).sum::<f64>() / (p * q),
        }
    }

    #[test]
    fn agrees_with_the_definition() {
        for (n, m, dimension) in [(1, 1, 1), (3, 70, 5), (130, 65, 257), (5, 4, 700)] {
            let (mut x, y) = (table(n, dimension, 1), table(m, dimension, 2));
            x[..dimension].fill(0.0);
            let (left, right) = (Features::new(n, dimension, &x).unwrap(), Features::new(m, dimension, &y).unwrap());
            for metric in [GroundMetric::Euclidean, GroundMetric::SquaredEuclidean, GroundMetric::Cosine] {
                for normalize in [false, true] {
                    let ground = GroundCost { metric, normalize };
                    let cost = cost_matrix(ground, &left, &right).unwrap();
                    for i in 0..n {
                        for j in 0..m {
                            let (a, b) = (&x[i * dimension..][..dimension], &y[j * dimension..][..dimension]);
                            let (found, expected) = (cost.get(i, j), plain(ground, a, b));
                            assert!(
                                (found - expected).abs() <= 1e-10 * expected.max(1.0),
                                "{ground:?} {found} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn near_equal_rows_keep_their_accuracy() {
        let dimension = 300;
        let mut x = table(40, dimension, 3);
        x.iter_mut().for_each(|value| *value += 1000.0);
        let mut y = x.clone();
        y[..dimension].iter_mut().for_each(|value| *value = value.next_up());
        let (left, right) = (Features::new(40, dimension, &x).unwrap(), Features::new(40, dimension, &y).unwrap());
        for metric in [GroundMetric::Euclidean, GroundMetric::SquaredEuclidean, GroundMetric::Cosine] {
            for normalize in [false, true] {
                let ground = GroundCost { metric, normalize };
                let cost = cost_matrix(ground, &left, &right).unwrap();
                assert!((1..40).all(|i| cost.get(i, i) == 0.0), "{ground:?}");
            }
        }
        let cost = cost_matrix(GroundMetric::Euclidean, &left, &right).unwrap();
        let expected = plain(GroundMetric::Euclidean.into(), &x[..dimension], &y[..dimension]);
        assert!((cost.get(0, 0) - expected).abs() <= 1e-12 * expected);
    }

    #[test]
    fn threads_and_parts_do_not_matter() {
        let (x, y) = (table(150, 600, 5), table(90, 600, 6));
        let right = Features::new(90, 600, &y).unwrap();
        let run = |threads: usize, left: &Features<'_>| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| cost_matrix(GroundMetric::Euclidean, left, &right).unwrap())
        };
        let whole = Features::new(150, 600, &x).unwrap();
        let cut =
            |from: usize, to: usize| -> Vec<f32> { x.chunks(600).flat_map(|row| row[from..to].to_vec()).collect() };
        let (first, middle, last) = (cut(0, 100), cut(100, 101), cut(101, 600));
        let parts = Features::joined(150, &[&first, &middle, &[], &last]).unwrap();
        let expected = run(1, &whole);
        assert_eq!(expected, run(4, &whole));
        assert_eq!(expected, run(3, &parts));
    }

    #[test]
    fn features_of_different_length_are_refused() {
        let left = Features::new(1, 2, &[0.0, 1.0]).unwrap();
        let right = Features::new(1, 1, &[0.0]).unwrap();
        let found = cost_matrix(GroundMetric::Cosine, &left, &right);
        assert_eq!(found, Err(TransportError::Dimension { left: 2, right: 1 }));
        assert!(Features::new(1, 1, &[f32::NAN]).is_err());
    }
}
