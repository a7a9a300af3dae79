//! Networks measured on labelled samples.

use std::cell::Cell;

use otfuse_graph::Graph;
use otfuse_runtime::{
    Answers, Divergence, Evaluation, Executable, Probabilities, RuntimeError, evaluate, predict, predict_as,
};
use serde::{Deserialize, Serialize};

use crate::context::Stage;
use crate::{Context, Error, Result, Samples};

/// The most steps from 0 to 1.
const MOST_STEPS: usize = 1001;

/// How well a network does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// From 0 to 1; no number (NaN, and left out of JSON) where targets are numbers.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub accuracy: f64,
    /// Mean cross-entropy in nats; the mean squared error where targets are numbers.
    pub loss: f64,
    /// Of dense classifiers: intersection over union, averaged over the classes that occur.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_iou: Option<f64>,
    /// Of numbers: the mean absolute error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<f64>,
    /// Of numbers: the share of the variance that is explained (R^2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
}

impl From<Evaluation> for Measure {
    fn from(evaluation: Evaluation) -> Self {
        let Evaluation { accuracy, loss, mean_iou, mean_absolute_error, r2, .. } = evaluation;
        Self { accuracy, loss, mean_iou, mean_absolute_error, r2 }
    }
}

impl Measure {
    /// Whether targets are numbers, so that there is no accuracy.
    pub fn is_of_numbers(&self) -> bool {
        self.accuracy.is_nan()
    }

    /// Higher is better: the accuracy; of numbers the share of the variance that is explained, or less the squared error.
    pub fn score(&self) -> f64 {
        if self.is_of_numbers() { self.r2.unwrap_or(-self.loss) } else { self.accuracy }
    }

    /// The measure of a table with room for one: the accuracy in percent; of numbers the mean squared error.
    pub fn headline(&self) -> String {
        if self.is_of_numbers() { format!("{:.5}", self.loss) } else { format!("{:.2} %", 100.0 * self.accuracy) }
    }

    /// What [`headline`](Self::headline) is.
    pub fn headline_name(&self) -> &'static str {
        if self.is_of_numbers() { "mean squared error" } else { "accuracy" }
    }

    /// Names and values of all that is measured, as in tables.
    pub fn columns(&self) -> Vec<(&'static str, String)> {
        let number = |name: &'static str, value: Option<f64>| value.map(|value| (name, format!("{value:.4}")));
        if self.is_of_numbers() {
            let others = [number("absolute error", self.mean_absolute_error), number("R2", self.r2)];
            return [Some(("squared error", format!("{:.5}", self.loss)))]
                .into_iter()
                .chain(others)
                .flatten()
                .collect();
        }
        let (accuracy, loss) = (("accuracy", self.headline()), ("loss", format!("{:.4}", self.loss)));
        let iou = self.mean_iou.map(|iou| ("mean IoU", format!("{:.2} %", 100.0 * iou)));
        [Some(accuracy), iou, Some(loss)].into_iter().flatten().collect()
    }
}

/// How far what one network says of samples is from what another says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// The mean Kullback-Leibler divergence in nats, the other's probabilities being the true ones; of numbers the mean
    /// squared difference.
    pub divergence: f64,
    /// The share of samples, tokens or places that both give the same class, from 0 to 1; none of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
}

impl From<Divergence> for Distance {
    fn from(found: Divergence) -> Self {
        Self { divergence: found.mean, agreement: found.agreement }
    }
}

impl Distance {
    /// Both in words.
    pub fn headline(&self) -> String {
        match self.agreement {
            Some(agreement) => format!("KL {:.4}, agreement {:.2} %", self.divergence, 100.0 * agreement),
            None => format!("squared difference {:.5}", self.divergence),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_nothing(value: &f64) -> bool {
    value.is_nan()
}

fn nothing() -> f64 {
    f64::NAN
}

impl std::ops::Deref for Measured {
    type Target = Measure;

    fn deref(&self) -> &Measure {
        &self.measure
    }
}

/// How well a network does on so many samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How well.
    #[serde(flatten)]
    pub measure: Measure,
    /// Of language models: the exponential of the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// The number of samples.
    pub samples: usize,
}

impl Measured {
    pub(crate) fn new(evaluation: &Evaluation, is_language: bool) -> Self {
        Self {
            measure: (*evaluation).into(),
            perplexity: is_language.then(|| evaluation.perplexity()),
            samples: evaluation.samples,
        }
    }
}

/// How far the loss rises above the plane through the losses of the parents, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Barrier {
    /// In nats; 0 if it rises nowhere.
    pub loss: f64,
    /// The weights of the parents there.
    pub weights: Vec<f64>,
}

/// The largest loss beyond the mean of the parents' losses with the same weights (J. Frankle et al., "Linear mode
/// connectivity and the lottery ticket hypothesis", ICML 2020, for two networks).
pub(crate) fn barrier<'a>(losses: impl IntoIterator<Item = (&'a [f64], f64)>, parents: &[f64]) -> Barrier {
    let mut highest = Barrier { loss: 0.0, weights: Vec::new() };
    for (weights, loss) in losses {
        let line: f64 = weights.iter().zip(parents).map(|(weight, loss)| weight * loss).sum();
        if loss - line > highest.loss || highest.weights.is_empty() {
            highest = Barrier { loss: (loss - line).max(0.0), weights: weights.to_vec() };
        }
    }
    highest
}

/// Weights of the second of two networks: a number of steps, or the weights themselves; `option` is named in errors.
pub(crate) fn steps_of(option: &str, text: &str) -> Result<Vec<f64>> {
    let wrong = || {
        let message =
            format!("`{option}` {text}: expected a number of steps from 2 to {MOST_STEPS}, or weights from 0 to 1");
        Error::input(message).hint(format!("for example `{option}` 11, or `{option}` 0,0.25,0.5,0.75,1"))
    };
    if let Ok(steps) = text.trim().parse::<usize>() {
        if !(2..=MOST_STEPS).contains(&steps) {
            return Err(wrong());
        }
        return Ok((0..steps).map(|step| step as f64 / (steps - 1) as f64).collect());
    }
    let weight = |part: &str| part.trim().parse().ok().filter(|weight: &f64| (0.0..=1.0).contains(weight));
    text.split(',').map(weight).collect::<Option<Vec<f64>>>().ok_or_else(wrong)
}

/// Evaluates many networks in one stage.
pub(crate) struct Meter<'c> {
    context: &'c Context,
    stage: Stage,
    done: Cell<usize>,
    total: usize,
}

impl<'c> Meter<'c> {
    /// For so many samples in all, over all networks.
    pub(crate) fn new(context: &'c Context, samples: usize) -> Self {
        Self { context, stage: context.stage("evaluating", samples), done: Cell::new(0), total: samples }
    }

    /// The probabilities that a network gives to the samples.
    pub(crate) fn probabilities(&self, graph: &Graph, samples: &Samples) -> Result<Probabilities, RuntimeError> {
        let executable = Executable::new(graph, self.context.host())?;
        let before = self.done.get();
        let found = predict(&executable, samples, &mut |done, _| self.stage.at(before + done, self.total))?;
        self.done.set(before + samples.len());
        Ok(found)
    }

    /// How well a network does; what it says is not kept.
    pub(crate) fn evaluation(&self, graph: &Graph, samples: &Samples) -> Result<Evaluation, RuntimeError> {
        let executable = Executable::new(graph, self.context.host())?;
        let before = self.done.get();
        let found = evaluate(&executable, samples, &mut |done, _| self.stage.at(before + done, self.total))?;
        self.done.set(before + samples.len());
        Ok(found)
    }

    /// Accuracy and loss of a network.
    pub(crate) fn measure(&self, graph: &Graph, samples: &Samples) -> Result<Measure> {
        Ok(self.evaluation(graph, samples)?.into())
    }
}

/// The probabilities that a network gives to the samples.
pub(crate) fn probabilities(
    graph: &Graph,
    samples: &Samples,
    context: &Context,
) -> Result<Probabilities, RuntimeError> {
    Meter::new(context, samples.len()).probabilities(graph, samples)
}

/// What networks say of samples in the mean, by their shares, their outputs taken for what `answers` says; nothing where these
/// are of other numbers of classes.
pub(crate) fn ensemble(
    networks: &[Executable],
    shares: &[f64],
    samples: &Samples,
    answers: &Answers,
) -> Result<Option<Probabilities>, RuntimeError> {
    let said = |network: &Executable| predict_as(network, samples, &answers.on(network.graph())?, &mut |_, _| {});
    let members = networks.iter().map(said).collect::<Result<Vec<_>, RuntimeError>>()?;
    Ok(Probabilities::mixture(&members, shares))
}

/// Seconds since the last lap.
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn lap(&mut self) -> f64 {
        let now = std::time::Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_a_number_of_steps_or_a_list() {
        let parse = |text| steps_of("steps", text);
        assert_eq!(parse("3").ok(), Some(vec![0.0, 0.5, 1.0]));
        assert_eq!(parse("0.5").ok(), Some(vec![0.5]));
        assert_eq!(parse("0.2, 1").ok(), Some(vec![0.2, 1.0]));
        for wrong in ["", "1", "0", "1002", "-1", "0,2", "a", "nan", "0.1,"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_barrier_is_what_rises_above_the_line() {
        let (first, middle, last) = ([1.0, 0.0], [0.5, 0.5], [0.0, 1.0]);
        let losses = [(&first[..], 1.0), (&middle[..], 2.5), (&last[..], 3.0)];
        assert_eq!(barrier(losses, &[1.0, 3.0]), Barrier { loss: 0.5, weights: vec![0.5, 0.5] });
        assert_eq!(barrier([(&middle[..], 1.0)], &[1.0, 3.0]).loss, 0.0);
    }
}
