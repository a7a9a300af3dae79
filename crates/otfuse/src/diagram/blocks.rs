//! Units that repeat.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::{Unit, UnitKind};

/// Units `start..start + length`, followed by copies of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first unit.
    pub start: usize,
    /// The number of units of a copy.
    pub length: usize,
    /// The number of copies, 2 or more.
    pub count: usize,
}

/// A single unit is folded only if there are many of it.
const LEAST_OF_ONE: usize = 3;

impl Block {
    /// Whether a unit is in one of the copies.
    pub fn contains(&self, unit: usize) -> bool {
        (self.start..self.start + self.length * self.count).contains(&unit)
    }
}

/// Units beyond which nothing is looked for that repeats.
const MOST_UNITS: usize = 4000;

/// Units that are looked at in all. Networks with copies take a few for each pair of units; one that takes more was made to.
const MOST_WORK: usize = 1 << 28;

/// What repeats, from the front; of several ways the one that covers most units, and of these the shortest block.
pub(super) fn of(units: &[Unit]) -> Vec<Block> {
    let mut blocks = Vec::new();
    if units.len() > MOST_UNITS {
        return blocks;
    }
    let reads: usize = units.iter().map(|unit| unit.inputs.len()).sum();
    let units = &Units { units, weight: 1 + reads / units.len().max(1), work: Cell::new(0) };
    let mut start = 0;
    while start < units.len() && units.work.get() < MOST_WORK {
        let left = units.len() - start;
        let candidates = (1..=left / 2).filter_map(|length| {
            let count = copies(units, start, length);
            let least = if length == 1 { LEAST_OF_ONE } else { 2 };
            (count >= least).then_some(Block { start, length, count })
        });
        let best = candidates.max_by_key(|block| (block.count * block.length, usize::MAX - block.length));
        match best {
            // A block that begins later may cover more, or as much and end where branches meet.
            Some(block) if !is_better_later(units, &block) => {
                start += block.length * block.count;
                blocks.push(block);
            }
            _ => start += 1,
        }
    }
    blocks
}

/// Units, and how many were looked at so far.
struct Units<'a> {
    units: &'a [Unit],
    /// What a unit costs: with what it reads, in the mean.
    weight: usize,
    work: Cell<usize>,
}

impl std::ops::Deref for Units<'_> {
    type Target = [Unit];

    fn deref(&self) -> &[Unit] {
        self.units
    }
}

impl Units<'_> {
    /// Whether all of so many units are as wanted; those that were looked at are counted.
    fn all<T>(&self, mut units: impl ExactSizeIterator<Item = T>, mut wanted: impl FnMut(T) -> bool) -> bool {
        let count = units.len();
        let other = units.position(|unit| !wanted(unit));
        self.work.set(self.work.get() + self.weight * other.map_or(count, |at| at + 1));
        other.is_none()
    }
}

fn is_better_later(units: &Units<'_>, block: &Block) -> bool {
    let worth = |block: &Block| {
        let (first, last) = (&units[block.start], &units[block.start + block.length - 1]);
        let is_whole = first.kind != UnitKind::Join && last.kind == UnitKind::Join;
        (block.count * block.length, is_whole)
    };
    (1..block.length).any(|shift| {
        let start = block.start + shift;
        let later = Block { start, count: copies(units, start, block.length), ..*block };
        start + block.length <= units.len() && worth(&later) > worth(block)
    })
}

/// How many copies of the units from `start` on follow one another, the first included.
fn copies(units: &Units<'_>, start: usize, length: usize) -> usize {
    let mut count = 1;
    while start + (count + 1) * length <= units.len() && is_copy(units, start, length, count) {
        count += 1;
    }
    // What is read behind the last copy must come from the last copy, and inner results be read inside only.
    while count > 1 && !is_closed(units, start, length, count) {
        count -= 1;
    }
    count
}

/// Whether copy `copy` has the units of the first one, which read each other in the same way. What the first copy reads
/// from outside, each other one reads from the copy before or all read from the same place; units that read one
/// thing in the first copy do so in every copy.
fn is_copy(units: &Units<'_>, start: usize, length: usize, copy: usize) -> bool {
    let offset = copy * length;
    // What the first copy reads from outside, and what stands in its place here: one thing each way.
    let mut outside: BTreeMap<usize, usize> = BTreeMap::new();
    let mut replaced: BTreeMap<usize, usize> = BTreeMap::new();
    let mut pairs =
        move |a: usize, b: usize| *outside.entry(a).or_insert(b) == b && *replaced.entry(b).or_insert(a) == a;
    units.all(start..start + length, |index| {
        let (first, second, other) = (&units[index], &units[index + length], &units[index + offset]);
        let ports = [UnitKind::Input, UnitKind::Output];
        if ports.contains(&first.kind) || first.label != other.label || first.kind != other.kind {
            return false;
        }
        let sources = first.inputs.iter().zip(&second.inputs).zip(&other.inputs);
        first.inputs.len() == other.inputs.len()
            && sources.into_iter().all(|((&a, &of_second), &b)| {
                let from_before = b >= start + offset - length && b < start + offset;
                match (a >= start, of_second >= start) {
                    (true, _) => a + offset == b,
                    (false, true) => from_before && pairs(a, b),
                    (false, false) => a == b && pairs(a, b),
                }
            })
    })
}

/// Whether what stands outside reads the last copy alone.
fn is_closed(units: &Units<'_>, start: usize, length: usize, count: usize) -> bool {
    let end = start + length * count;
    let last = end - length;
    units.all(units[end..].iter(), |unit| unit.inputs.iter().all(|&input| input < start || input >= last))
        && (1..count).all(|copy| {
            let from = start + copy * length;
            units.all(units[from..from + length].iter(), |unit| {
                unit.inputs.iter().all(|&input| input < start || input + length >= from)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(label: &str, inputs: &[usize]) -> Unit {
        let (kind, label) = (UnitKind::Layer, label.to_owned());
        Unit { kind, label, inputs: inputs.to_vec(), carries: Vec::new(), inside: Vec::new(), weights: String::new() }
    }

    #[test]
    fn repeated_units_are_folded() {
        let block = |at: usize| [unit("norm", &[at]), unit("mlp", &[at + 1]), unit("+", &[at, at + 2])];
        let mut units = vec![unit("in", &[])];
        units.extend(block(0).into_iter().chain(block(3)).chain(block(6)));
        units.push(unit("out", &[9]));
        assert_eq!(of(&units), [Block { start: 1, length: 3, count: 3 }]);
        // The second copy's sum reads something else.
        units[6].inputs = vec![1, 5];
        assert_eq!(of(&units), []);
        // What stands behind reads the first copy.
        let mut units = vec![unit("in", &[])];
        units.extend(block(0).into_iter().chain(block(3)));
        units.push(unit("out", &[3, 6]));
        assert_eq!(of(&units), []);
    }
}
