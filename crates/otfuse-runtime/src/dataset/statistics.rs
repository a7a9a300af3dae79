//! How large the numbers of samples are.

use super::{Dataset, Normalization, Values};

/// Mean, deviation and range of the numbers of samples as networks get them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Statistics {
    /// The root of the mean square: about 1 where samples were normalised.
    pub fn size(&self) -> f64 {
        self.mean.hypot(self.deviation)
    }
}

impl Dataset {
    /// The normalisation that brings at most `most` samples, spread evenly, to the mean 0 and the deviation 1 in each
    /// channel of images, else over all numbers. `None` where [`statistics`](Self::statistics) has none, or nothing varies.
    pub fn own_normalization(&self, most: usize) -> Option<Normalization> {
        let plain = self.normalized(Normalization::none())?;
        plain.statistics(1)?;
        let count = most.min(self.len());
        let values = plain.samples((0..count).map(|index| index * self.len() / count));
        let (channels, inner) = match *self.sample_shape() {
            [channels @ (1 | 3), height, width] => (channels, height * width),
            _ => (1, self.columns[0].size()),
        };
        let mut sums = vec![[0.0_f64; 3]; channels];
        for (at, &value) in values.iter().enumerate() {
            let value = f64::from(value);
            let [count, sum, squares] = &mut sums[at / inner.max(1) % channels];
            (*count, *sum, *squares) = (*count + 1.0, *sum + value, *squares + value * value);
        }
        let rounded = |value: f64| ((value * 1e4).round() / 1e4) as f32;
        let mean: Vec<f32> = sums.iter().map(|[count, sum, _]| rounded(sum / count)).collect();
        let deviation =
            |[count, sum, squares]: &[f64; 3]| rounded((squares / count - (sum / count).powi(2)).max(0.0).sqrt());
        let deviation: Vec<f32> = sums.iter().map(deviation).collect();
        deviation.iter().all(|&deviation| deviation > 0.0).then(|| Normalization::new(&mean, &deviation))
    }

    /// The statistics of at most `most` samples, spread evenly. `None` for tokens, other whole numbers and no samples: these
    /// have no scale. Where samples are several arrays, of the first.
    pub fn statistics(&self, most: usize) -> Option<Statistics> {
        let is_scaled = matches!(self.columns[0].values, Values::Floats(_) | Values::Bytes { .. });
        let count = most.min(self.len());
        let values = self.samples((0..count).map(|index| index * self.len() / count));
        if !is_scaled || self.vocabulary.is_some() || values.is_empty() {
            return None;
        }
        let share = 1.0 / values.len() as f64;
        let mean = share * values.iter().map(|&value| f64::from(value)).sum::<f64>();
        let variance = share * values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        let least = values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Some(Statistics { mean, deviation: variance.sqrt(), least: least.into(), most: most.into() })
    }
}
