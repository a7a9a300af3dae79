//! How alike two layers represent the same samples: linear centred kernel alignment.

use otfuse_transport::matrix::{Matrix, Update, product};

/// Columns that are worked on at once.
const COLUMNS: usize = 1024;

/// The inner products of centred samples in the space of a layer's features: samples x samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    samples: usize,
    values: Vec<f64>,
}

impl Gram {
    /// From a row-major table of `samples` rows; takes `O(samples^2 x features)` time, in double precision. `None` if the
    /// table is empty, has no whole rows or holds numbers that are not finite.
    pub fn new(samples: usize, features: &[f32]) -> Option<Self> {
        if samples == 0 || features.is_empty() || !features.len().is_multiple_of(samples) {
            return None;
        }
        let width = features.len() / samples;
        let mut values = vec![0.0; samples * samples];
        let mut block = Vec::new();
        for start in (0..width).step_by(COLUMNS) {
            let columns = (width - start).min(COLUMNS);
            block.clear();
            block.resize(samples * columns, 0.0);
            let mut means = vec![0.0; columns];
            for (row, of_sample) in block.chunks_exact_mut(columns).zip(features.chunks_exact(width)) {
                for ((value, mean), &found) in row.iter_mut().zip(&mut means).zip(&of_sample[start..]) {
                    *value = f64::from(found);
                    *mean += *value / samples as f64;
                }
            }
            for row in block.chunks_exact_mut(columns) {
                row.iter_mut().zip(&means).for_each(|(value, mean)| *value -= mean);
            }
            let block = Matrix::row_major(&block, columns);
            let shape = [samples, columns, samples];
            product(&mut values, samples, shape, block, block.transposed(), Update::Add);
        }
        values.iter().all(|value| value.is_finite()).then_some(Self { samples, values })
    }

    /// Linear CKA, from 0 to 1: `|Y'X|^2 / (|X'X| |Y'Y|)` for centred features X and Y (S. Kornblith et al., "Similarity of
    /// neural network representations revisited", ICML 2019, section 3). Equal for features that are turned or scaled as a
    /// whole. `None` if the numbers of samples differ or a layer says the same of all samples.
    pub fn similarity(&self, other: &Self) -> Option<f64> {
        if self.samples != other.samples {
            return None;
        }
        let product = |a: &Self, b: &Self| a.values.iter().zip(&b.values).map(|(a, b)| a * b).sum::<f64>();
        let scale = (product(self, self) * product(other, other)).sqrt();
        (scale > 0.0 && scale.is_finite()).then(|| (product(self, other) / scale).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turned_scaled_and_shifted_features_are_the_same() {
        let x: Vec<f32> = vec![1.0, 2.0, -1.0, 0.5, 3.0, 1.0, 0.0, -2.0];
        let y: Vec<f32> = x.chunks(2).flat_map(|row| [3.0 * row[1] + 7.0, -3.0 * row[0]]).collect();
        let (x, y) = (Gram::new(4, &x).unwrap(), Gram::new(4, &y).unwrap());
        assert!((x.similarity(&y).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_answer_is_none() {
        assert!(Gram::new(0, &[]).is_none() && Gram::new(2, &[1.0]).is_none());
        assert!(Gram::new(1, &[f32::NAN]).is_none());
        let constant = Gram::new(2, &[1.0, 1.0]).unwrap();
        assert_eq!(constant.similarity(&constant), None);
        assert_eq!(constant.similarity(&Gram::new(1, &[1.0]).unwrap()), None);
    }
}
