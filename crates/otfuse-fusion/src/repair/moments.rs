//! Statistics of the channels of a value.

use otfuse_graph::Tensor;

/// Mean and variance of each channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    pub(super) fn add(&mut self, tensor: &Tensor, axis: usize) {
        let (shape, values) = (tensor.shape(), tensor.as_f32().unwrap_or_default());
        let (channels, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>().max(1));
        self.sums.resize(channels, 0.0);
        self.squares.resize(channels, 0.0);
        self.count += (values.len() / channels.max(1)) as f64;
        for (index, chunk) in values.chunks_exact(inner).enumerate() {
            let channel = index % channels;
            self.sums[channel] += chunk.iter().map(|&value| f64::from(value)).sum::<f64>();
            self.squares[channel] += chunk.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        }
    }

    pub(super) fn channels(&self) -> usize {
        self.sums.len()
    }

    pub(super) fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count.max(1.0)).collect()
    }

    pub(super) fn variances(&self) -> Vec<f64> {
        let mean_squares = self.squares.iter().map(|square| square / self.count.max(1.0));
        self.means().iter().zip(mean_squares).map(|(mean, square)| (square - mean * mean).max(0.0)).collect()
    }
}
