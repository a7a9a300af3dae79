//! What epochs are chosen by.

use super::{Distillation, Epoch, TrainError};
use crate::dataset::Dataset;
use crate::{Answers, Divergence, Evaluation, Executable, Probabilities, RuntimeError, evaluate, predict_as};

/// The most scores of held-out samples that are kept; beyond it fewer samples are measured.
const MOST_SCORES: usize = 1 << 25;

/// Samples held out, and what counts on them: accuracy and loss, or the divergence from the teachers where these alone are
/// learned from.
pub(super) struct Judge {
    samples: Dataset,
    /// What the teachers say in the mean, and what outputs are taken for.
    followed: Option<(Probabilities, Answers)>,
}

/// How well a network does on them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) validation: Option<Evaluation>,
    pub(super) divergence: Option<Divergence>,
}

impl From<&Epoch> for Judged {
    fn from(epoch: &Epoch) -> Self {
        Self { validation: epoch.validation, divergence: epoch.divergence }
    }
}

impl Judged {
    pub(super) fn is_better(&self, other: &Self) -> bool {
        if let (Some(found), Some(best)) = (self.divergence, other.divergence) {
            return found.mean < best.mean;
        }
        match (self.validation, other.validation) {
            (Some(found), Some(best)) => found.is_better(&best),
            (found, best) => found.is_some() && best.is_none(),
        }
    }
}

impl Judge {
    /// Runs the teachers on the samples, where these alone count.
    pub(super) fn new(
        samples: Dataset,
        answers: &Answers,
        distillation: Option<&Distillation<'_>>,
    ) -> Result<Self, TrainError> {
        let Some(distillation) = distillation.filter(|it| it.is_alone()) else {
            return Ok(Self { samples, followed: None });
        };
        let mut samples = samples;
        let mut members: Vec<Probabilities> = Vec::new();
        for teacher in distillation.teachers {
            let answers = answers.on(teacher.graph())?;
            if members.is_empty() {
                let one = predict_as(teacher, &samples.clone().truncated(1), &answers, &mut |_, _| {})?;
                samples = samples.truncated((MOST_SCORES / one.logarithms().len().max(1)).max(1));
            }
            members.push(predict_as(teacher, &samples, &answers, &mut |_, _| {})?);
        }
        let ensemble = Probabilities::mixture(&members, &distillation.shares()).ok_or_else(|| {
            let (expected, found) = ("teachers of the same outputs".to_owned(), "outputs that differ".to_owned());
            answers.head().wrong(expected, found)
        })?;
        Ok(Self { samples, followed: Some((ensemble, answers.clone())) })
    }

    /// Measures a network. `None` where its scores are no numbers any more.
    pub(super) fn measured(&self, network: &Executable) -> Result<Option<Judged>, TrainError> {
        let found = match &self.followed {
            None => evaluate(network, &self.samples, &mut |_, _| {})
                .map(|found| Judged { validation: Some(found), divergence: None }),
            Some((ensemble, answers)) => predict_as(network, &self.samples, answers, &mut |_, _| {}).and_then(|said| {
                let wrong = || answers.head().wrong("outputs as the teachers have".into(), "others".into());
                let divergence = ensemble.divergence(&said).ok_or_else(wrong)?;
                Ok(Judged { validation: None, divergence: Some(divergence) })
            }),
        };
        match found {
            Err(RuntimeError::Output { expected, .. }) if expected == "finite scores" => Ok(None),
            Ok(Judged { divergence: Some(Divergence { mean, .. }), .. }) if !mean.is_finite() => Ok(None),
            found => Ok(Some(found?)),
        }
    }
}
