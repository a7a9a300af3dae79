//! Random members of a network's group of symmetries.

use super::carriers::{reorder, turn};
use super::dense::Dense;
use super::structure::Structure;
use super::weights::Weights;

/// Channels of heads are stretched by factors from one over this number to this number.
const STRETCH: f64 = 1.5;

/// Maps every group of neurons at random: by an orthogonal matrix where that is free, else by a permutation. The channels of
/// heads are stretched, too.
pub(super) fn scramble(structure: &Structure, weights: &mut Weights, seed: u64) {
    let mut numbers = Numbers(seed ^ 0x5851_f42d_4c95_7f2d);
    for group in &structure.groups {
        let copies = group.within.map_or(1, |outer| structure.groups[outer.index()].size);
        for outer in 0..copies {
            match group.rotation {
                Some(rotation) => {
                    let data = (0..group.size * group.size).map(|_| numbers.normal()).collect();
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
fn scramble_pairs(structure: &Structure, weights: &mut Weights, numbers: &mut Numbers) {
    for pairs in &structure.pairs {
        for head in 0..pairs.heads() {
            let angles: Vec<f64> = (0..pairs.width / 2).map(|_| numbers.unit() * std::f64::consts::TAU).collect();
            turn(&pairs.all(), weights, head, &pairs.turning(|pair| (angles[pair].cos(), angles[pair].sin())));
            let factors: Vec<f64> = angles.iter().map(|_| STRETCH.powf(2.0 * numbers.unit() - 1.0)).collect();
            pairs.stretch(weights, head, &factors);
        }
    }
}

/// SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1, never 0.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// The sum of twelve uniform numbers less 6: near enough to a normal one, in whose place it stands.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn order(&mut self, size: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..size).collect();
        for last in (1..size).rev() {
            order.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
        order
    }
}
