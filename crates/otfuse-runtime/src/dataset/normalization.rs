//! How pixels become what a network was trained on.

use super::DatasetError;

/// `(x - mean) / deviation` for each channel, where x runs from 0 to 1 for bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl std::fmt::Display for Normalization {
    /// `MEANS/DEVIATIONS`, as it is read.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        write!(f, "{}/{}", list(&self.mean), list(&self.deviation))
    }
}

impl Normalization {
    /// Leaves samples as they are.
    pub fn none() -> Self {
        Self::new(&[0.0], &[1.0])
    }

    /// The statistics of MNIST's training images.
    pub fn mnist() -> Self {
        Self::new(&[0.1307], &[0.3081])
    }

    /// The statistics of CIFAR-10's training images that most published networks use.
    pub fn cifar10() -> Self {
        Self::new(&[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.2010])
    }

    /// The statistics of ImageNet that most published networks use.
    pub fn imagenet() -> Self {
        Self::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
    }

    pub(super) fn new(mean: &[f32], deviation: &[f32]) -> Self {
        Self { mean: mean.to_vec(), deviation: deviation.to_vec() }
    }

    /// Reads `none`, `mnist`, `cifar10`, `imagenet`, or means and deviations: `0.5/0.5`, `m,m,m/s,s,s`. Deviations
    /// must be positive, and there must be as many as means.
    pub fn parse(text: &str) -> Result<Self, DatasetError> {
        let wrong = || DatasetError::Normalization {
            found: text.to_owned(),
            expected: "none, mnist, cifar10, imagenet or means/deviations such as 0.5,0.5,0.5/0.2,0.2,0.2".into(),
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "none" => return Ok(Self::none()),
            "mnist" => return Ok(Self::mnist()),
            "cifar10" => return Ok(Self::cifar10()),
            "imagenet" => return Ok(Self::imagenet()),
            _ => {}
        }
        let numbers = |list: &str| -> Option<Vec<f32>> {
            list.split(',').map(|number| number.trim().parse().ok().filter(|number: &f32| number.is_finite())).collect()
        };
        let (mean, deviation) = text.split_once('/').ok_or_else(wrong)?;
        let mean = numbers(mean).ok_or_else(wrong)?;
        let deviation = numbers(deviation).ok_or_else(wrong)?;
        if mean.len() != deviation.len() || deviation.iter().any(|&deviation| deviation <= 0.0) {
            return Err(wrong());
        }
        Ok(Self { mean, deviation })
    }

    /// The number of channels that it is for; 1 stands for any number.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The axis of the channels in a sample (the first, else the last), if the sample has as many channels.
    pub(super) fn channel_axis(&self, shape: &[usize]) -> Option<usize> {
        match (self.mean.len(), shape) {
            (1, _) => Some(0),
            (channels, [first, ..]) if *first == channels => Some(0),
            (channels, [.., last]) if *last == channels => Some(shape.len() - 1),
            _ => None,
        }
    }

    pub(super) fn apply(&self, shape: &[usize], sample: &mut [f32]) {
        if *self == Self::none() {
            return;
        }
        let axis = self.channel_axis(shape).unwrap_or(0);
        let inner: usize = shape.iter().skip(axis + 1).product::<usize>().max(1);
        for (at, value) in sample.iter_mut().enumerate() {
            let channel = (at / inner) % shape.get(axis).copied().unwrap_or(1).max(1);
            let channel = if self.mean.len() == 1 { 0 } else { channel };
            *value = (*value - self.mean[channel]) / self.deviation[channel];
        }
    }
}

#[cfg(test)]
mod tests;
