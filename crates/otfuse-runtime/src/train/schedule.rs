//! How the learning rate changes over time.

use std::f64::consts::PI;

use super::error::{TrainError, check};

/// A schedule of the learning rate, as PyTorch's of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub enum Schedule {
    /// Always the same.
    #[default]
    Constant,
    /// Multiplied by `factor` after every `epochs` epochs.
    Step {
        /// Epochs between two changes, at least 1.
        epochs: usize,
        /// Positive.
        factor: f64,
    },
    /// Half a period of a cosine, from the full rate down to 0, step by step (Loshchilov and Hutter 2017, without
    /// restarts).
    Cosine,
    /// Up from a 25th of the full rate over the first `warmup` of all steps, then down to a 250 000th of it, along
    /// cosines (Smith and Topin 2018).
    OneCycle {
        /// The share of the steps in which the rate rises, between 0 and 1.
        warmup: f64,
    },
}

impl Schedule {
    pub(super) fn validate(&self) -> Result<(), TrainError> {
        match *self {
            Self::Constant | Self::Cosine => Ok(()),
            Self::Step { epochs, factor } => {
                check("schedule epochs", "at least 1", epochs as f64, epochs >= 1)?;
                check("schedule factor", "a positive number", factor, factor > 0.0 && factor.is_finite())
            }
            Self::OneCycle { warmup } => {
                check("schedule warm-up", "between 0 and 1", warmup, warmup > 0.0 && warmup < 1.0)
            }
        }
    }

    /// What the learning rate is multiplied with in step `step` of `steps`, `steps_per_epoch` to an epoch.
    pub fn factor(&self, step: usize, steps: usize, steps_per_epoch: usize) -> f64 {
        let between = |from: f64, to: f64, at: f64| to + (from - to) * (1.0 + (PI * at).cos()) / 2.0;
        match *self {
            Self::Constant => 1.0,
            Self::Step { epochs, factor } => {
                let changes = step / steps_per_epoch.max(1) / epochs.max(1);
                factor.powi(i32::try_from(changes).unwrap_or(i32::MAX))
            }
            Self::Cosine => between(1.0, 0.0, step as f64 / steps.max(1) as f64),
            Self::OneCycle { warmup } => {
                let (at, last) = (step as f64, steps.saturating_sub(1).max(1) as f64);
                let peak = (warmup * steps as f64 - 1.0).max(0.0);
                if at <= peak && peak > 0.0 {
                    between(1.0 / 25.0, 1.0, at / peak)
                } else {
                    between(1.0, 1.0 / 25.0 / 1e4, (at - peak) / (last - peak).max(1.0))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `torch.optim.lr_scheduler` (2.9): OneCycleLR(max_lr=1, total_steps=20, pct_start=0.3).
    #[test]
    fn one_cycle_is_that_of_pytorch() {
        let schedule = Schedule::OneCycle { warmup: 0.3 };
        let expected = [(0, 0.04), (1, 0.131_671_84), (5, 1.0), (6, 0.987_430_98), (12, 0.5), (19, 4e-6)];
        for (step, rate) in expected {
            let found = schedule.factor(step, 20, 5);
            assert!((found - rate).abs() < 2e-2, "{step}: {found} {rate}");
        }
        assert!((schedule.factor(5, 20, 5) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(19, 20, 5) - 4e-6).abs() < 1e-12);
    }

    #[test]
    fn rates_fall_as_they_should() {
        let step = Schedule::Step { epochs: 2, factor: 0.5 };
        assert_eq!([0, 19, 20, 40].map(|at| step.factor(at, 50, 10)), [1.0, 1.0, 0.5, 0.25]);
        assert_eq!(Schedule::Cosine.factor(0, 10, 5), 1.0);
        assert!((Schedule::Cosine.factor(5, 10, 5) - 0.5).abs() < 1e-12);
        assert!(Schedule::Step { epochs: 0, factor: 0.5 }.validate().is_err());
        assert!(Schedule::OneCycle { warmup: 1.0 }.validate().is_err());
    }
}
