//! How well a classifier does.

use crate::dataset::Dataset;
use crate::head::Labels;
use crate::{Executable, Head, RuntimeError, run_batched};

/// Accuracy and loss on a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The fraction of labels that are the most probable class, from 0 to 1 (of equal classes the first counts). Language
    /// models have a label for each token: the next one.
    pub accuracy: f64,
    /// The mean cross-entropy of a label in nats.
    pub loss: f64,
    /// The number of samples.
    pub samples: usize,
}

impl Evaluation {
    /// `exp(loss)`: between how many equally probable tokens a language model wavers.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// The probability of each class for each sample, or for each token of each sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    classes: usize,
    /// Logarithms, row by row: they do not underflow.
    logarithms: Vec<f64>,
}

impl Probabilities {
    /// The most probable class of each sample or token, the first of equal ones.
    pub fn best(&self) -> Vec<usize> {
        let rows = self.logarithms.chunks_exact(self.classes.max(1));
        rows.map(|row| (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }))
            .collect()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Logarithms of the probabilities, (samples x tokens) x classes.
    pub fn logarithms(&self) -> &[f64] {
        &self.logarithms
    }

    /// The probabilities of a sample, or of a token.
    pub fn sample(&self, index: usize) -> impl Iterator<Item = f64> {
        let start = index * self.classes;
        self.logarithms[start..start + self.classes].iter().map(|logarithm| logarithm.exp())
    }

    /// The ensemble: the mean of the members' probabilities. `None` without members or if their sizes differ.
    pub fn mean(members: &[Self]) -> Option<Self> {
        Self::mixture(members, &vec![1.0 / members.len().max(1) as f64; members.len()])
    }

    /// The ensemble with a weight for each member, adding up to 1. `None` without members, if their sizes differ or if
    /// there is not one weight, from 0 on, for each.
    pub fn mixture(members: &[Self], weights: &[f64]) -> Option<Self> {
        let first = members.first()?;
        let agree =
            |member: &Self| member.classes == first.classes && member.logarithms.len() == first.logarithms.len();
        let valid = weights.len() == members.len() && weights.iter().all(|&weight| weight >= 0.0);
        if !valid || !members.iter().all(agree) {
            return None;
        }
        let weights: Vec<f64> = weights.iter().map(|weight| weight.ln()).collect();
        let weighted =
            |at: usize| members.iter().zip(&weights).map(move |(member, weight)| member.logarithms[at] + weight);
        let logarithms = (0..first.logarithms.len()).map(|at| log_sum_exp(weighted(at))).collect();
        Some(Self { classes: first.classes, logarithms })
    }

    /// Compares with the true classes. Fails if a class is beyond those of the network.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<Evaluation, RuntimeError> {
        let mismatch =
            |expected: String, found: String| RuntimeError::Output { output: "probabilities".into(), expected, found };
        let rows = self.logarithms.chunks_exact(self.classes.max(1));
        if rows.len() != dataset.labels().len() {
            return Err(mismatch(format!("{} rows", dataset.labels().len()), rows.len().to_string()));
        }
        let needed = dataset.labels().iter().max().map_or(0, |&label| label as usize + 1);
        let too_few = || mismatch(format!("at least {needed} classes, as the data set has"), self.classes.to_string());
        let (mut right, mut loss) = (0usize, 0.0);
        for (row, &label) in rows.zip(dataset.labels()) {
            let label = label as usize;
            let logarithm = row.get(label).ok_or_else(too_few)?;
            let best = (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            right += usize::from(best == label);
            loss -= logarithm;
        }
        let labels = dataset.labels().len().max(1) as f64;
        Ok(Evaluation { accuracy: right as f64 / labels, loss: loss / labels, samples: dataset.len() })
    }
}

/// `log(sum(exp(x)))` without overflow.
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.map(|value| (value - most).exp()).sum::<f64>().ln()
}

/// The probabilities that a network gives to the samples of a data set: the softmax of its scores, whether or not the
/// network ends in one (see [`Head`]). `observe` is told how many of how many samples are done.
pub fn predict(
    executable: &Executable,
    dataset: &Dataset,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Probabilities, RuntimeError> {
    let head = Head::find(executable.graph())?;
    let mut probabilities = Probabilities { classes: 0, logarithms: Vec::new() };
    run_batched(executable, dataset, &[head.logits], None, |range, mut values| {
        let scores = values.remove(&head.logits);
        let scores = scores.ok_or_else(|| head.wrong("scores".into(), "none".into()))?;
        let labels = Labels { samples: range.len(), per_sample: dataset.labels_per_sample() };
        let (rows, classes) = head.rows(&scores, labels)?;
        probabilities.classes = classes;
        for row in rows.chunks_exact(classes) {
            let row = row.iter().map(|&score| f64::from(score));
            let normalizer = log_sum_exp(row.clone());
            if !normalizer.is_finite() {
                let found = row.clone().find(|score| !score.is_finite()).unwrap_or(normalizer);
                return Err(head.wrong("finite scores".into(), found.to_string()));
            }
            probabilities.logarithms.extend(row.map(|score| score - normalizer));
        }
        observe(range.end, dataset.len());
        Ok(())
    })?;
    Ok(probabilities)
}

/// Accuracy and mean cross-entropy of a network on a data set.
pub fn evaluate(
    executable: &Executable,
    dataset: &Dataset,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, RuntimeError> {
    predict(executable, dataset, observe)?.evaluate(dataset)
}
