//! Samples of a batch mixed among each other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::error::{TrainError, check};
use crate::random;

/// The largest parameter of the distribution of shares; beyond it all are one half.
const MOST: f64 = 100.0;

/// How the samples of a batch are mixed with others of it. Where both kinds are on, each batch is mixed in one way, both
/// equally probable. Everything follows from the seed, the epoch and the number of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Mixing {
    /// Each sample becomes `s x + (1 - s) y`, y another of the batch and s drawn once for the batch from the distribution
    /// Beta(alpha, alpha); 0 for none (H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, equation 1).
    pub mixup: f64,
    /// A rectangle of each image is that of another image of the batch: its sides are `sqrt(1 - s)` times the image's, its
    /// centre is anywhere, and what lies outside is cut off; s as for mixup; 0 for none (S. Yun et al., "CutMix:
    /// Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019, equations 1 and 2).
    pub cutmix: f64,
}

/// How a batch was mixed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mixed {
    /// The sample that each was mixed with, by its place in the batch.
    pub(super) partners: Vec<usize>,
    /// The share of the sample itself, from 0 to 1.
    pub(super) share: f64,
}

impl Mixing {
    pub(super) fn is_none(self) -> bool {
        self.mixup == 0.0 && self.cutmix == 0.0
    }

    pub(super) fn validate(self) -> Result<(), TrainError> {
        let holds = |alpha: f64| (0.0..=MOST).contains(&alpha);
        check("mixup", "a number from 0 to 100", self.mixup, holds(self.mixup))?;
        check("cutmix", "a number from 0 to 100", self.cutmix, holds(self.cutmix))
    }

    /// Mixes samples of a shape that lie one after the other; `None` where none are on.
    pub(super) fn apply(
        self,
        shape: &[usize],
        (seed, epoch, batch): (u64, usize, usize),
        samples: &mut [f32],
    ) -> Option<Mixed> {
        let size: usize = shape.iter().product();
        if self.is_none() || size == 0 || samples.len() < size {
            return None;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // The first streams order and change the samples.
        random.set_stream(u64::MAX - epoch as u64);
        random.set_word_pos((batch as u128) << 40);
        let mut partners: Vec<usize> = (0..samples.len() / size).collect();
        random::shuffle(&mut partners, &mut random);
        let is_cut = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (true, true) => random.next_u32() & 1 == 1,
            (_, is_cut) => is_cut,
        };
        let share = beta(if is_cut { self.cutmix } else { self.mixup }, &mut random);
        let others = samples.to_vec();
        let pairs = samples.chunks_exact_mut(size).zip(&partners).map(|(sample, &of)| {
            let other = &others[of * size..(of + 1) * size];
            (sample, other)
        });
        if !is_cut {
            let (own, foreign) = (share as f32, (1.0 - share) as f32);
            pairs.for_each(|(sample, other)| {
                sample.iter_mut().zip(other).for_each(|(to, from)| *to = own * *to + foreign * from);
            });
            return Some(Mixed { partners, share });
        }
        let &[_, height, width] = shape else { return None };
        let [rows, columns] = [height, width].map(|length| side(length, share, &mut random));
        for (sample, other) in pairs {
            for (to, from) in sample.chunks_exact_mut(height * width).zip(other.chunks_exact(height * width)) {
                for row in rows.clone() {
                    let at = row * width + columns.start..row * width + columns.end;
                    to[at.clone()].copy_from_slice(&from[at]);
                }
            }
        }
        let share = 1.0 - (rows.len() * columns.len()) as f64 / (height * width) as f64;
        Some(Mixed { partners, share })
    }
}

/// The side of the rectangle along an axis: with its centre anywhere, as far as it is inside.
fn side(length: usize, share: f64, random: &mut ChaCha8Rng) -> std::ops::Range<usize> {
    let centre = (random.next_u64() % length as u64) as isize;
    let half = (0.5 * (1.0 - share).max(0.0).sqrt() * length as f64) as isize;
    let inside = |at: isize| at.clamp(0, length as isize) as usize;
    inside(centre - half)..inside(centre + half)
}

/// Strictly between 0 and 1.
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// A number of the distribution Beta(alpha, alpha): of powers of uniform numbers whose sum is at most 1 (M. D. Jöhnk 1964) up
/// to alpha 1, beyond by rejection below the density at one half.
fn beta(alpha: f64, random: &mut ChaCha8Rng) -> f64 {
    loop {
        if alpha > 1.0 {
            let at = uniform(random);
            if uniform(random).ln() <= (alpha - 1.0) * (4.0 * at * (1.0 - at)).ln() {
                return at;
            }
            continue;
        }
        // Logarithms, since the powers underflow for a small alpha.
        let [one, other] = [uniform(random), uniform(random)].map(|it| it.ln() / alpha);
        if one.exp() + other.exp() <= 1.0 {
            return 1.0 / (1.0 + (other - one).exp());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_moments_of_the_distribution() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for alpha in [0.2, 1.0, 4.0] {
            let drawn: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut random)).collect();
            let mean = drawn.iter().sum::<f64>() / 20_000.0;
            let variance = drawn.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((variance - expected).abs() < 0.05 * expected, "{alpha}: {variance}");
        }
        assert!((0..100).all(|_| beta(1e-9, &mut random).is_finite()));
    }

    #[test]
    fn images_are_mixed_in_one_of_two_ways() {
        let shape = [1, 8, 8];
        let images: Vec<f32> = (0..4_u8).flat_map(|image| [f32::from(image); 64]).collect();
        let both = Mixing { mixup: 1.0, cutmix: 1.0 };
        let mut cut = 0;
        for batch in 0..100 {
            let mut mixed = images.clone();
            let how = both.apply(&shape, (5, 2, batch), &mut mixed).unwrap();
            let mut again = images.clone();
            assert_eq!(both.apply(&shape, (5, 2, batch), &mut again).as_ref(), Some(&how));
            assert_eq!(mixed, again);
            cut += usize::from(mixed.iter().all(|value| value.fract() == 0.0));
            for (at, image) in mixed.chunks_exact(64).enumerate() {
                let mean = f64::from(image.iter().sum::<f32>()) / 64.0;
                let expected = how.share * at as f64 + (1.0 - how.share) * how.partners[at] as f64;
                assert!((mean - expected).abs() < 1e-5, "{batch}, {at}: {mean}, not {expected}");
            }
        }
        assert!((35..65).contains(&cut), "{cut}");
        assert_eq!(Mixing::default().apply(&shape, (5, 2, 0), &mut images.clone()), None);
    }
}
