//! Random changes of training samples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::dataset::{Dataset, Targets};

/// What is done to images before they are trained on. Everything follows from the seed, the epoch and the sample's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Augmentation {
    /// Images are padded with zeros (after normalisation, so with the mean) by this many pixels on each side, and a
    /// random part of their own size is cut out; 0 for none.
    pub crop: usize,
    /// Images are mirrored left to right with a probability of one half.
    pub flip: bool,
}

impl Augmentation {
    /// Changes the sample `sample` of shape `shape`, channels x height x width; others are left as they are.
    pub(super) fn apply(&self, shape: &[usize], seed: u64, epoch: usize, index: usize, sample: &mut [f32]) {
        if shape.len() != 3 {
            return;
        }
        if self.crop == 0 && !self.flip {
            return;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Stream 0 of a seed orders the samples.
        random.set_stream(1 + epoch as u64);
        random.set_word_pos(4 * index as u128);
        let range = 2 * self.crop as u64 + 1;
        let mut offset = || (random.next_u32() as u64 % range) as isize - self.crop as isize;
        let (down, right) = (offset(), offset());
        let mirrored = self.flip && random.next_u32() & 1 == 1;
        shifted(shape, (down, right), mirrored, sample);
    }

    /// All samples of a data set changed, each by a random part and all of them mirrored, whatever is known of them forgotten.
    /// `None` where samples are no images.
    pub fn changed(&self, dataset: &Dataset) -> Option<Dataset> {
        let shape = dataset.sample_shape();
        let size: usize = shape.iter().product();
        if shape.len() != 3 || size == 0 || dataset.vocabulary().is_some() || dataset.arrays().count() != 1 {
            return None;
        }
        let mut values = dataset.samples(0..dataset.len());
        let moves = Self { flip: false, ..*self };
        for (index, sample) in values.chunks_exact_mut(size).enumerate() {
            moves.apply(shape, 0, 0, index, sample);
            if self.flip {
                shifted(shape, (0, 0), true, sample);
            }
        }
        Dataset::with_targets(dataset.name(), shape.to_vec(), values, Targets::None).ok()
    }
}

/// Moves an image, with zeros where nothing is, and mirrors it.
fn shifted(shape: &[usize], (down, right): (isize, isize), mirrored: bool, sample: &mut [f32]) {
    let &[channels, height, width] = shape else { return };
    let source = sample.to_vec();
    for channel in 0..channels {
        for row in 0..height {
            for column in 0..width {
                let from_column = if mirrored { width - 1 - column } else { column };
                let (y, x) = (row as isize + down, from_column as isize + right);
                let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                let value = if inside { source[(channel * height + y as usize) * width + x as usize] } else { 0.0 };
                sample[(channel * height + row) * width + column] = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_moved_and_mirrored() {
        let shape = [1, 4, 4];
        let image: Vec<f32> = (1..=16_u8).map(f32::from).collect();
        let changed = |augmentation: Augmentation, index| {
            let mut sample = image.clone();
            augmentation.apply(&shape, 7, 3, index, &mut sample);
            sample
        };
        let none = Augmentation::default();
        assert_eq!(changed(none, 0), image);
        let flip = Augmentation { flip: true, ..none };
        let mirrored: Vec<f32> = image.chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
        let flipped = (0..100).filter(|&index| changed(flip, index) == mirrored).count();
        assert!((30..70).contains(&flipped), "{flipped}");
        assert!((0..100).all(|index| [&image, &mirrored].contains(&&changed(flip, index))));
        let crop = Augmentation { crop: 1, flip: false };
        let all: std::collections::BTreeSet<String> =
            (0..100).map(|index| format!("{:?}", changed(crop, index))).collect();
        assert_eq!(all.len(), 9);
        assert_eq!(changed(crop, 5), changed(crop, 5));
    }

    #[test]
    fn what_is_no_image_stays() {
        let mut sample = vec![1.0, 2.0];
        Augmentation { crop: 2, flip: true }.apply(&[2], 0, 0, 0, &mut sample);
        assert_eq!(sample, [1.0, 2.0]);
    }
}
