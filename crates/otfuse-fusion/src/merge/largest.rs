//! The largest of many numbers, without sorting or keeping them.

use rayon::prelude::*;

use super::blocks::{BLOCK, each_block};
use super::kernels;
use crate::error::FusionError;

/// Numbers from 0 on as integers in the same order.
pub(super) fn key(value: f64) -> u32 {
    // The bits of floats that are not negative are in order; what is no number is the largest.
    (value as f32).abs().to_bits()
}

/// The [`key`] of each absolute value.
pub(super) fn keys_of(values: &[f64], into: &mut [u32]) {
    kernels::wide(|| {
        for (into, value) in into.iter_mut().zip(values) {
            *into = (*value as f32).to_bits() & 0x7fff_ffff;
        }
    });
}

/// Any numbers as integers in the same order.
pub(super) fn signed_key(value: f64) -> u32 {
    let bits = (value as f32).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The value of a signed key.
pub(super) fn signed_value(key: u32) -> f64 {
    f64::from(f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key }))
}

/// Fills a block with keys: where it begins, and its place.
pub(super) type Keys<'a> = dyn Fn(usize, &mut [u32]) -> Result<(), FusionError> + Sync + 'a;

/// Keys that are counted at a time.
const AT_ONCE: usize = 64 * BLOCK;

/// The half of a key that is counted first.
const HALF: u32 = 16;

/// Which of equal numbers count as larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ties {
    /// The first in order.
    First,
    /// The last in order.
    Last,
}

/// Which of many numbers are the `count` largest.
pub(super) struct Largest {
    /// The least key that is among them.
    border: u32,
    /// Which of those that are equal to it are among them, by their places among themselves.
    of_border: std::ops::Range<usize>,
    /// For each block, how many of these stand before it.
    before: Vec<usize>,
}

impl Largest {
    /// Finds the `count` largest of `length`, of equal ones the first, in three passes.
    pub fn of(length: usize, count: usize, keys: &Keys<'_>) -> Result<Self, FusionError> {
        Self::with_ties(length, count, keys, Ties::First)
    }

    /// The same, with equal ones in this order.
    pub fn with_ties(length: usize, count: usize, keys: &Keys<'_>, ties: Ties) -> Result<Self, FusionError> {
        if count == 0 || length == 0 {
            return Ok(Self { border: u32::MAX, of_border: 0..0, before: Vec::new() });
        }
        let (upper, below) = rank(length, length - count.min(length), 0, keys, |key| Some(key >> HALF))?;
        let in_upper = |key: u32| (key >> HALF == upper).then_some(key & 0xffff);
        let (lower, _) = rank(length, length - count.min(length), below, keys, in_upper)?;
        let border = upper << HALF | lower;
        let counts = each_block(length, |first, count| {
            let mut block = vec![0; count];
            keys(first, &mut block)?;
            Ok(kernels::wide(|| {
                let (mut equal, mut greater) = (0_u32, 0_u32);
                for key in &block {
                    equal += u32::from(*key == border);
                    greater += u32::from(*key > border);
                }
                (equal as usize, greater as usize)
            }))
        })?;
        let (equal, greater) = counts.iter().fold((0, 0), |sum, found| (sum.0 + found.0, sum.1 + found.1));
        let wanted = count.min(length) - greater;
        let before = counts.iter().scan(0, |before, (equal, _)| Some(std::mem::replace(before, *before + equal)));
        let of_border = match ties {
            Ties::First => 0..wanted,
            Ties::Last => equal - wanted..equal,
        };
        Ok(Self { border, of_border, before: before.collect() })
    }

    /// 1 for each key of a block that is among the largest, 0 for the others. The block begins at `first`.
    pub fn of_block(&self, first: usize, keys: &[u32]) -> Vec<f64> {
        let (border, mut made) = (self.border, vec![0.0; keys.len()]);
        let equal = kernels::wide(|| {
            let mut equal = 0_u32;
            for (made, &key) in made.iter_mut().zip(keys) {
                *made = if key > border { 1.0 } else { 0.0 };
                equal += u32::from(key == border);
            }
            equal
        });
        if equal > 0 && !self.of_border.is_empty() {
            let before = self.before.get(first / BLOCK).copied().unwrap_or_default();
            let equals = made.iter_mut().zip(keys).filter(|(_, key)| **key == border);
            for (place, (made, _)) in (before..).zip(equals) {
                *made = f64::from(u8::from(self.of_border.contains(&place)));
            }
        }
        made
    }
}

/// The value at this place from below, of those that `part` gives, with the number of all that are known to be below these, and how
/// many are below it.
fn rank(
    length: usize,
    place: usize,
    below: usize,
    keys: &Keys<'_>,
    part: impl Fn(u32) -> Option<u32> + Sync,
) -> Result<(u32, usize), FusionError> {
    // Whole numbers are added, in whatever order.
    let counted = |at: usize| -> Result<Vec<u32>, FusionError> {
        let mut counts = vec![0_u32; 1 << HALF];
        let (begin, end) = (at * AT_ONCE, length.min((at + 1) * AT_ONCE));
        let mut block = vec![0; BLOCK];
        for first in (begin..end).step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(end - first)];
            keys(first, block)?;
            block.iter().filter_map(|&key| part(key)).for_each(|part| counts[part as usize] += 1);
        }
        Ok(counts)
    };
    let counts = (0..length.div_ceil(AT_ONCE)).into_par_iter().map(counted).try_reduce(Vec::new, |mut a, b| {
        if a.is_empty() {
            return Ok(b);
        }
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        Ok(a)
    })?;
    let mut below = below;
    for (part, count) in counts.iter().enumerate() {
        if below + *count as usize > place {
            return Ok((part as u32, below));
        }
        below += *count as usize;
    }
    Ok((u32::MAX >> HALF, below))
}

/// The key at a place, from 0, in ascending order.
pub(super) fn at_place(length: usize, place: usize, keys: &Keys<'_>) -> Result<u32, FusionError> {
    let (upper, below) = rank(length, place, 0, keys, |key| Some(key >> HALF))?;
    let (lower, _) = rank(length, place, below, keys, |key| (key >> HALF == upper).then_some(key & 0xffff))?;
    Ok(upper << HALF | lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split_mix::SplitMix;

    #[test]
    fn signed_keys_are_in_order() {
        let values = [f64::NEG_INFINITY, -2.0, -1e-30, 0.0, 1e-30, 3.5];
        assert!(values.windows(2).all(|pair| signed_key(pair[0]) < signed_key(pair[1])));
        assert!(values.iter().all(|&value| signed_value(signed_key(value)) == f64::from(value as f32)));
    }

    #[test]
    fn the_largest_are_those_that_sorting_finds() {
        for (length, distinct) in [(1, 5), (1000, 7), (3 * BLOCK + 11, 50_000), (2 * BLOCK, 3)] {
            let mut stream = SplitMix(length as u64);
            let values: Vec<u32> = (0..length).map(|_| key((stream.next() % distinct) as f64 / 3.0)).collect();
            let keys = |first: usize, into: &mut [u32]| {
                into.copy_from_slice(&values[first..first + into.len()]);
                Ok(())
            };
            let mut order: Vec<usize> = (0..length).collect();
            order.sort_by_key(|&at| std::cmp::Reverse(values[at]));
            for count in [0, 1, length / 3, length - 1, length] {
                let found = Largest::of(length, count, &keys).unwrap();
                let mut expected = vec![0.0; length];
                order[..count].iter().for_each(|&at| expected[at] = 1.0);
                let blocks = values.chunks(BLOCK).enumerate();
                let found: Vec<f64> = blocks.flat_map(|(at, block)| found.of_block(at * BLOCK, block)).collect();
                assert!(found == expected, "{length} {count}");
            }
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for place in [0, length / 4, length / 2, length - 1] {
                assert_eq!(at_place(length, place, &keys).unwrap(), sorted[place]);
            }
        }
    }
}
