//! Which blocks of two networks go together.

use std::collections::HashMap;

use otfuse_graph::{Block, Graph};

use super::error::DepthError;
use super::likeness::Alike;
use super::template::{Known, Template};

/// How much a place counts against likeness.
const PLACE: f64 = 1.0;

/// A network and its blocks.
pub type Cut<'a> = (&'a Graph, &'a [Block]);

/// Where a block stands in a row of blocks of one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// From the first one on, which is a residual block that changes the form where one stands in front of the row.
    at: usize,
    /// Blocks of the row.
    of: usize,
}

/// The place of each block in its row.
fn place_blocks(blocks: &[Block]) -> Vec<Place> {
    let mut places = Vec::with_capacity(blocks.len());
    let mut start = 0;
    while start < blocks.len() {
        let row = blocks[start..].iter().take_while(|block| block.signature == blocks[start].signature).count();
        let is_led = |before: &Block| before.input.is_some() && before.is_branched && !before.keeps_shape;
        let led = start > 0 && is_led(&blocks[start - 1]) && blocks[start].is_branched;
        let led = usize::from(led);
        places.extend((0..row).map(|at| Place { at: at + led, of: row + led }));
        start += row;
    }
    places
}

/// The pairs of blocks, in order, that make the sum over all pairs of `likeness` largest, where each of the network's own blocks
/// is paired with one of the same form, and the deeper network's others can be put in so that they change nothing. Found by dynamic
/// programming, `O(blocks x blocks)`.
///
/// In a row of equal blocks the first are paired with each other, which change what flows into the row most, and the last with the
/// last; likeness tells where a network is no copy of the other only among pairings that are equally near to that. Measured on
/// ResNet20 and ResNet56, identities right behind the first block are worth one point against spread ones.
///
/// # Errors
/// Networks without such pairs.
pub fn pair_blocks(
    deep: Cut<'_>,
    own: Cut<'_>,
    likeness: &[Vec<Option<Alike>>],
) -> Result<Vec<(usize, usize)>, DepthError> {
    let (known_deep, known_own) = (Known::of(deep.0, deep.1)?, Known::of(own.0, own.1)?);
    let (deep, own) = (deep.1, own.1);
    let (of_deep, of_own) = (place_blocks(deep), place_blocks(own));
    let mut insertions = Insertions { deep: &known_deep, own: &known_own, known: HashMap::new() };
    let cost = |a: usize, b: usize| {
        let alike = likeness.get(a).and_then(|row| row.get(b).copied().flatten())?;
        Some(if alike.is_copy { -1.0 } else { 1.0 - alike.likeness + PLACE * displacement(of_deep[a], of_own[b]) })
    };
    // The least cost of the first so many blocks of each, and whether the last of the deeper one is paired.
    let mut best = vec![vec![(f64::INFINITY, false); own.len() + 1]; deep.len() + 1];
    best[0][0].0 = 0.0;
    for a in 0..deep.len() {
        for b in 0..=own.len().min(a + 1) {
            let paired = b.checked_sub(1).and_then(|to| Some(best[a][to].0 + cost(a, to)?)).unwrap_or(f64::INFINITY);
            let before = best[a][b].0;
            let is_free = before < f64::INFINITY && b > 0 && insertions.are_possible(a, b - 1);
            let inserted = if is_free { before } else { f64::INFINITY };
            best[a + 1][b] = if inserted < paired { (inserted, false) } else { (paired, true) };
        }
    }
    if best[deep.len()][own.len()].0.is_infinite() {
        return Err(DepthError::NoPairs { reason: insertions.reason(&best) });
    }
    let (mut pairs, mut b) = (Vec::with_capacity(own.len()), own.len());
    for a in (0..deep.len()).rev() {
        if best[a + 1][b].1 {
            b -= 1;
            pairs.push((a, b));
        }
    }
    pairs.reverse();
    Ok(pairs)
}

/// How far two places in rows are from one another, counted from the end; the first goes with the first.
fn displacement(a: Place, b: Place) -> f64 {
    match (a.at == 0, b.at == 0) {
        (true, true) => 0.0,
        (false, false) => (a.of - a.at).abs_diff(b.of - b.at) as f64 / a.of.max(b.of) as f64,
        _ => 1.0,
    }
}

/// Which blocks can be put in where.
struct Insertions<'k, 'g> {
    deep: &'k Known<'g>,
    own: &'k Known<'g>,
    known: HashMap<(&'g str, usize), Result<(), String>>,
}

impl<'g> Insertions<'_, 'g> {
    fn found(&mut self, at: usize, place: usize) -> &Result<(), String> {
        let (deep, own) = (self.deep, self.own);
        let name: &'g str = &deep.blocks[at].signature;
        self.known.entry((name, place)).or_insert_with(|| Template::find(deep, own, at, place).map(|_| ()))
    }

    fn are_possible(&mut self, at: usize, place: usize) -> bool {
        self.found(at, place).is_ok()
    }

    /// Where pairing comes to an end.
    fn reason(&mut self, best: &[Vec<(f64, bool)>]) -> String {
        let reached = (0..best.len()).rev().find(|&a| best[a].iter().any(|(cost, _)| cost.is_finite())).unwrap_or(0);
        let Some(block) = self.deep.blocks.get(reached) else {
            return "the other network has blocks that the deeper one lacks".into();
        };
        let (name, place) = (block.name.clone(), best[reached].iter().rposition(|(cost, _)| cost.is_finite()));
        match place.and_then(|place| place.checked_sub(1)) {
            Some(place) => match self.found(reached, place).clone() {
                Err(reason) => format!("block {reached} ('{name}') of the deeper network has no partner, and {reason}"),
                Ok(()) => format!("block {reached} ('{name}') of the deeper network has no partner"),
            },
            None => format!("block {reached} ('{name}') of the deeper network has no partner"),
        }
    }
}

/// Checks pairs that were given: all of the network's own blocks, in order, each with one of its form.
pub(super) fn check(deep: &[Block], own: &[Block], pairs: &[(usize, usize)]) -> Result<(), DepthError> {
    let wrong = |problem: String| Err(DepthError::Pairs { problem });
    if let Some(&(a, b)) = pairs.iter().find(|(a, b)| *a >= deep.len() || *b >= own.len()) {
        return wrong(format!(
            "the pair [{a}, {b}]: the deeper network has {} blocks, the other one {}, counted from 0",
            deep.len(),
            own.len()
        ));
    }
    if let Some(missing) = (0..own.len()).find(|b| pairs.iter().filter(|(_, of)| of == b).count() != 1) {
        return wrong(format!("block {missing} ('{}') must be in one pair", own[missing].name));
    }
    if let Some(turned) = pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0 || pair[0].1 >= pair[1].1) {
        return wrong(format!("the pairs {:?} and {:?} are not in order", turned[0], turned[1]));
    }
    if let Some(&(a, b)) = pairs.iter().find(|(a, b)| deep[*a].signature != own[*b].signature) {
        return wrong(format!("the pair [{a}, {b}]: '{}' and '{}' have other forms", deep[a].name, own[b].name));
    }
    Ok(())
}
