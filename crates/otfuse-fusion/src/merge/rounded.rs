//! Whole tensors in a type of 16 bits, each operation rounded to it, as tools compute that keep tensors in the files' type.

use rayon::prelude::*;

use super::operands::Operands;
use crate::error::FusionError;

/// Numbers of the type, and what rounds to it.
pub(super) struct Rounded<'a> {
    pub tensor: &'a Operands<'a>,
}

/// The elements of a tensor.
pub(super) type Elements = Vec<f32>;

/// Elements that are worked on at a time.
const CHUNK: usize = 1 << 14;

impl Rounded<'_> {
    pub fn round(&self, value: f64) -> f64 {
        self.tensor.rounded(value)
    }

    /// A model's elements, or its differences from the base.
    pub fn read(&self, model: usize, from_base: bool) -> Result<Elements, FusionError> {
        let mut made = vec![0.0; self.tensor.len()];
        made.par_chunks_mut(CHUNK).enumerate().try_for_each(|(at, chunk)| {
            let first = at * CHUNK;
            let base = if from_base { self.tensor.base_values(first, chunk.len())? } else { None };
            let mut values = vec![0.0; chunk.len()];
            self.tensor.differences(model, base.as_deref(), first, &mut values)?;
            chunk.iter_mut().zip(values).for_each(|(into, value)| *into = value as f32);
            Ok::<(), FusionError>(())
        })?;
        Ok(made)
    }

    /// `operation` of each pair of elements, rounded.
    pub fn map(&self, a: &[f32], b: &[f32], operation: impl Fn(f64, f64) -> f64 + Sync) -> Elements {
        let mut made = vec![0.0; a.len()];
        made.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK))).for_each(|(into, (a, b))| {
            let mut values: Vec<f64> = a.iter().zip(b).map(|(&a, &b)| operation(f64::from(a), f64::from(b))).collect();
            self.tensor.round(&mut values);
            into.iter_mut().zip(values).for_each(|(into, value)| *into = value as f32);
        });
        made
    }

    /// `operation` of each element, rounded.
    pub fn each(&self, a: &[f32], operation: impl Fn(f64) -> f64 + Sync) -> Elements {
        self.map(a, a, |a, _| operation(a))
    }

    /// The norm, not rounded.
    pub fn norm(&self, a: &[f32]) -> f64 {
        self.sum(a, |value| value * value).sqrt()
    }

    /// The inner product, not rounded.
    pub fn product(&self, a: &[f32], b: &[f32]) -> f64 {
        let sums: Vec<f64> = a
            .par_chunks(CHUNK)
            .zip(b.par_chunks(CHUNK))
            .map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum())
            .collect();
        sums.into_iter().sum()
    }

    /// The inner product of elements whose products are rounded, rounded.
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f64 {
        self.round(self.sum(&self.map(a, b, |a, b| a * b), |value| value))
    }

    /// The sum in the order of chunks, whatever the number of threads.
    fn sum(&self, a: &[f32], of: impl Fn(f64) -> f64 + Sync) -> f64 {
        let sums: Vec<f64> =
            a.par_chunks(CHUNK).map(|chunk| chunk.iter().map(|&value| of(f64::from(value))).sum()).collect();
        sums.into_iter().sum()
    }
}
