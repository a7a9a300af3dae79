//! Random members of a network's group of symmetries.

use super::carriers::{reorder, turn};
use super::dense::Dense;
use super::structure::Structure;
use super::weights::Weights;
use crate::split_mix::SplitMix;

/// Channels of heads are stretched by factors from one over this number to this number.
const STRETCH: f64 = 1.5;

/// Maps every group of neurons at random: by an orthogonal matrix where that is free, else by a permutation. The channels of
/// heads are stretched, too.
pub(super) fn scramble(structure: &Structure, weights: &mut Weights, seed: u64) {
    let mut numbers = SplitMix(seed ^ 0x5851_f42d_4c95_7f2d);
    for group in &structure.groups {
        let copies = group.within.map_or(1, |outer| structure.groups[outer.index()].size);
        for outer in 0..copies {
            match group.rotation {
                Some(rotation) => {
                    let data = (0..group.size * group.size).map(|_| normal(&mut numbers)).collect();
                    let drawn = Dense { rows: group.size, columns: group.size, data };
                    let map = match rotation.keeps_ones {
                        true => drawn.nearest_keeping_ones(),
                        false => drawn.nearest_orthogonal(),
                    };
                    turn(&group.carriers, weights, outer, &map);
                }
                None => reorder(&group.carriers, weights, outer, &numbers.order(group.size)),
            }
        }
    }
    for product in &structure.products {
        for head in 0..product.heads() {
            let width = structure.groups[product.channels.index()].size;
            let factors: Vec<f64> = (0..width).map(|_| STRETCH.powf(2.0 * numbers.unit() - 1.0)).collect();
            product.stretch(weights, head, &factors);
        }
    }
    scramble_pairs(structure, weights, &mut numbers);
    for gate in &structure.gates {
        let signed = |_| {
            let factor = STRETCH.powf(2.0 * numbers.unit() - 1.0);
            if numbers.next().is_multiple_of(2) { factor } else { -factor }
        };
        let factors: Vec<f64> = (0..structure.groups[gate.group.index()].size).map(signed).collect();
        gate.stretch(weights, &factors);
    }
}

/// Turns the pairs of rotary positions at random, and stretches them.
fn scramble_pairs(structure: &Structure, weights: &mut Weights, numbers: &mut SplitMix) {
    for pairs in &structure.pairs {
        for head in 0..pairs.heads() {
            let angles: Vec<f64> = (0..pairs.width / 2).map(|_| numbers.unit() * std::f64::consts::TAU).collect();
            turn(&pairs.all(), weights, head, &pairs.turning(|pair| (angles[pair].cos(), angles[pair].sin())));
            let factors: Vec<f64> = angles.iter().map(|_| STRETCH.powf(2.0 * numbers.unit() - 1.0)).collect();
            pairs.stretch(weights, head, &factors);
        }
    }
}

/// The sum of twelve uniform numbers less 6: near enough to a normal one, in whose place it stands.
fn normal(numbers: &mut SplitMix) -> f64 {
    (0..12).map(|_| numbers.unit()).sum::<f64>() - 6.0
}
