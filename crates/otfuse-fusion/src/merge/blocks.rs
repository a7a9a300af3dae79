//! Large tensors gone through in blocks: by all threads, with results that do not depend on their number.

use rayon::prelude::*;

use super::kernels;
use super::operands::Operands;
use crate::error::FusionError;

/// Elements of a block: a few models' blocks in double precision stay in a core's cache.
pub const BLOCK: usize = 1 << 14;

/// Makes the elements from a place on, a multiple of [`BLOCK`], at most [`BLOCK`] of them.
pub type Finish<'a> = Box<dyn Fn(usize, &mut [f64]) -> Result<(), FusionError> + Sync + 'a>;

/// Where the blocks of so many elements begin, and how long they are.
pub(super) fn blocks(length: usize) -> impl IndexedParallelIterator<Item = (usize, usize)> {
    (0..length.div_ceil(BLOCK)).into_par_iter().map(move |at| (at * BLOCK, BLOCK.min(length - at * BLOCK)))
}

/// What `of_block` says of each block (where it begins, and its length), in order.
pub(super) fn each_block<T: Send>(
    length: usize,
    of_block: impl Fn(usize, usize) -> Result<T, FusionError> + Sync,
) -> Result<Vec<T>, FusionError> {
    blocks(length).map(|(first, count)| of_block(first, count)).collect()
}

/// Inner products of some models' values, or of their differences from the base: the lower triangle is that of `models`, row by
/// row, the upper one its mirror.
pub(super) fn products(tensor: &Operands<'_>, models: &[usize], from_base: bool) -> Result<Vec<Vec<f64>>, FusionError> {
    products_by(tensor, models, from_base, kernels::dot)
}

/// The same, with an inner product of one's own.
pub(super) fn products_by(
    tensor: &Operands<'_>,
    models: &[usize],
    from_base: bool,
    dot: impl Fn(&[f64], &[f64]) -> f64 + Sync,
) -> Result<Vec<Vec<f64>>, FusionError> {
    let count = models.len();
    let of_blocks = each_block(tensor.len(), |first, length| {
        let base = if from_base { tensor.base_values(first, length)? } else { None };
        let mut values = vec![vec![0.0; length]; count];
        for (into, &model) in values.iter_mut().zip(models) {
            tensor.differences(model, base.as_deref(), first, into)?;
        }
        let mut sums = vec![0.0; count * count];
        for a in 0..count {
            for b in 0..=a {
                sums[a * count + b] = dot(&values[a], &values[b]);
            }
        }
        Ok(sums)
    })?;
    let mut sums = vec![0.0; count * count];
    of_blocks.iter().for_each(|of_block| sums.iter_mut().zip(of_block).for_each(|(sum, of_block)| *sum += of_block));
    let product = |a: usize, b: usize| sums[a.max(b) * count + a.min(b)];
    let found = (0..count).map(|a| (0..count).map(|b| product(a, b)).collect()).collect();
    Ok(found)
}

/// An inner product, the elements' products rounded to the files' type as tools do that compute in it.
pub(super) fn dot(tensor: &Operands<'_>, a: &[f64], b: &[f64]) -> f64 {
    if !tensor.is_narrow() || std::ptr::eq(a, b) {
        return kernels::dot(a, b);
    }
    let mut products: Vec<f64> = a.to_vec();
    kernels::zip(&mut products, b, |a, b| a * b);
    tensor.round(&mut products);
    products.iter().sum()
}

/// `sum_k factors[k] * values_k`, of some models or of their differences from the base, which is added.
pub(super) fn combination<'a>(
    tensor: &'a Operands<'a>,
    models: Vec<usize>,
    factors: Vec<f64>,
    from_base: bool,
) -> Finish<'a> {
    Box::new(move |first, into| {
        let base = if from_base { tensor.base_values(first, into.len())? } else { None };
        let mut values = vec![0.0; into.len()];
        into.fill(0.0);
        for (&model, &factor) in models.iter().zip(&factors).filter(|(_, factor)| **factor != 0.0) {
            tensor.differences(model, base.as_deref(), first, &mut values)?;
            kernels::zip(into, &values, |into, value| into + factor * value);
        }
        if let Some(base) = base {
            kernels::zip(into, &base, |into, base| into + base);
        }
        Ok(())
    })
}

/// One model's values as they are.
pub(super) fn copy<'a>(tensor: &'a Operands<'a>, model: usize) -> Finish<'a> {
    Box::new(move |first, into| tensor.read(model, first, into))
}
