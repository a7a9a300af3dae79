//! How a network is trained.

use super::augment::Augmentation;
use super::error::{TrainError, check};
use super::mix::Mixing;
use super::optimizer::Optimizer;
use super::schedule::Schedule;

/// Settings of training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSettings {
    /// Passes over the data set.
    pub epochs: usize,
    /// Samples of one step, at least 1. A network that fixes its batch size overrides it.
    pub batch_size: usize,
    /// What turns gradients into steps.
    pub optimizer: Optimizer,
    /// Factor of the steps, positive: the largest that the schedule reaches.
    pub learning_rate: f64,
    /// How the learning rate changes over time.
    pub schedule: Schedule,
    /// Factor of the weights added to their gradients (with [`Optimizer::AdamW`], taken off the weights), 0 or more.
    pub weight_decay: f64,
    /// The share of each target's probability that is spread evenly over all classes, from 0 up to 1.
    pub label_smoothing: f64,
    /// Random changes of the training samples.
    pub augmentation: Augmentation,
    /// How the samples of a batch are mixed among each other.
    pub mixing: Mixing,
    /// Steps over which the learning rate rises in a straight line to what the schedule says, 0 or more.
    pub warm_up: usize,
    /// Gradients whose common norm is larger are scaled down to it; positive.
    pub clip_norm: Option<f64>,
    /// The decay of an exponential average of the weights (and running statistics), which takes their place where the
    /// network is measured and in the result, from 0, for none, up to 1; in step t no more than (1 + t) / (10 + t), so
    /// that the weights at the beginning are soon forgotten.
    pub average: f64,
    /// The share of the samples that is held out, from 0 up to 1; the weights of the epoch that does best on it are
    /// kept. With 0 the last epoch's weights are.
    pub validation: f64,
    /// Whether batch normalisation uses the statistics of each batch and updates the running ones (momentum 0.1, as
    /// PyTorch's default), or keeps those of the graph.
    pub batch_statistics: bool,
    /// Whether the loss looks at the classes that the samples have alone: scores of others are neither raised nor lowered.
    pub own_classes: bool,
    /// Seed of the order of the samples, of what is held out, of the augmentation and of the mixing.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 64,
            optimizer: Optimizer::default(),
            learning_rate: 0.05,
            schedule: Schedule::Constant,
            weight_decay: 0.0,
            label_smoothing: 0.0,
            augmentation: Augmentation::default(),
            mixing: Mixing::default(),
            warm_up: 0,
            clip_norm: None,
            average: 0.0,
            validation: 0.0,
            batch_statistics: true,
            own_classes: false,
            seed: 0,
        }
    }
}

impl TrainSettings {
    /// Fails with the first setting that is out of range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let not_negative = |value: f64| value >= 0.0 && value.is_finite();
        let fraction = |value: f64| (0.0..1.0).contains(&value);
        let rate = self.learning_rate;
        check("batch_size", "at least 1", self.batch_size as f64, self.batch_size >= 1)?;
        check("learning_rate", "a positive number", rate, rate > 0.0 && rate.is_finite())?;
        check("weight_decay", "0 or more", self.weight_decay, not_negative(self.weight_decay))?;
        check("label_smoothing", "0 up to 1", self.label_smoothing, fraction(self.label_smoothing))?;
        check("validation", "0 up to 1", self.validation, fraction(self.validation))?;
        check("ema", "0 up to 1", self.average, fraction(self.average))?;
        if let Some(norm) = self.clip_norm {
            check("clip_norm", "a positive number", norm, norm > 0.0 && norm.is_finite())?;
        }
        self.mixing.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}
