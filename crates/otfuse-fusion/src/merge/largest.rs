//! The largest of many numbers, without sorting or keeping them.

use super::blocks::{BLOCK, each_block};
use crate::error::FusionError;

/// Numbers from 0 on as integers in the same order.
pub(super) fn key(value: f64) -> u32 {
    // The bits of floats that are not negative are in order; what is no number is the largest.
    (value as f32).abs().to_bits()
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
            let (equal, greater) =
                (block.iter().filter(|key| **key == border), block.iter().filter(|key| **key > border));
            Ok((equal.count(), greater.count()))
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

    /// Says of each key of a block, which begins at `first`, whether it is among the largest.
    pub fn of_block(&self, first: usize, keys: &[u32]) -> Vec<bool> {
        let mut equal = self.before.get(first / BLOCK).copied().unwrap_or_default();
        let is_one = |&key: &u32| match key.cmp(&self.border) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => {
                equal += 1;
                self.of_border.contains(&(equal - 1))
            }
        };
        keys.iter().map(is_one).collect()
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
    let mut counts = vec![0_usize; 1 << HALF];
    let of_blocks = |first: usize, count: usize| {
        let mut block = vec![0; count];
        keys(first, &mut block)?;
        Ok(block.into_iter().filter_map(&part).collect::<Vec<u32>>())
    };
    // A few blocks at a time, so that not all parts are kept.
    const AT_ONCE: usize = 64 * BLOCK;
    for start in (0..length).step_by(AT_ONCE) {
        let found = each_block(AT_ONCE.min(length - start), |first, count| of_blocks(start + first, count))?;
        found.into_iter().flatten().for_each(|part| counts[part as usize] += 1);
    }
    let mut below = below;
    for (part, count) in counts.iter().enumerate() {
        if below + count > place {
            return Ok((part as u32, below));
        }
        below += count;
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
                let mut expected = vec![false; length];
                order[..count].iter().for_each(|&at| expected[at] = true);
                let blocks = values.chunks(BLOCK).enumerate();
                let found: Vec<bool> = blocks.flat_map(|(at, block)| found.of_block(at * BLOCK, block)).collect();
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
