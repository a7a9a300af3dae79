//! How a network is trained.

use super::TrainError;

/// Settings of stochastic gradient descent.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// Passes over the data set.
    pub epochs: usize,
    /// Samples of one step, at least 1. A network that fixes its batch size overrides it.
    pub batch_size: usize,
    /// Factor of the steps, positive.
    pub learning_rate: f64,
    /// Share of the last step kept in the next, from 0 up to 1.
    pub momentum: f64,
    /// Factor of the weights added to their gradients, 0 or more.
    pub weight_decay: f64,
    /// Seed of the order of the samples.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self { epochs: 10, batch_size: 64, learning_rate: 0.05, momentum: 0.9, weight_decay: 0.0, seed: 0 }
    }
}

impl TrainSettings {
    /// Fails with the first setting that is out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let checks = [
            ("batch_size", "at least 1", self.batch_size as f64, self.batch_size >= 1),
            (
                "learning_rate",
                "a positive number",
                self.learning_rate,
                self.learning_rate > 0.0 && self.learning_rate.is_finite(),
            ),
            ("momentum", "0 up to 1", self.momentum, (0.0..1.0).contains(&self.momentum)),
            ("weight_decay", "0 or more", self.weight_decay, self.weight_decay >= 0.0 && self.weight_decay.is_finite()),
        ];
        for (setting, expected, found, holds) in checks {
            if !holds {
                return Err(TrainError::Setting { setting, expected, found });
            }
        }
        Ok(())
    }
}
