//! How well a network does.

mod answers;
mod tally;

use std::ops::Range;

use crate::dataset::Dataset;
use crate::head::Labels;
use crate::{Executable, RuntimeError, run_batched};
pub use answers::Answers;
use tally::Tally;

/// How well a network does on a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The fraction of labels that are the most probable class, from 0 to 1 (of equal classes the first counts). Language
    /// models have a label for each token: the next one; dense classifiers one for each place. No number (NaN) where targets
    /// are numbers.
    pub accuracy: f64,
    /// The mean cross-entropy of a label in nats; the mean squared error where targets are numbers.
    pub loss: f64,
    /// The number of samples.
    pub samples: usize,
    /// Of dense classifiers: intersection over union, averaged over the classes that occur.
    pub mean_iou: Option<f64>,
    /// Of numbers: the mean absolute error.
    pub mean_absolute_error: Option<f64>,
    /// Of numbers: the share of the variance that is explained (R^2), averaged over the columns of a table of targets; none
    /// where the targets do not vary.
    pub r2: Option<f64>,
}

impl Evaluation {
    /// Whether a network does better than another: by accuracy, then loss; by loss alone where targets are numbers.
    pub fn is_better(&self, other: &Self) -> bool {
        match self.accuracy.is_nan() {
            true => self.loss < other.loss,
            false => (self.accuracy, -self.loss) > (other.accuracy, -other.loss),
        }
    }

    /// `exp(loss)`: between how many equally probable tokens a language model wavers.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// What a network says: the probability of each class for each sample, for each token or each place of each sample; numbers,
/// where the targets are numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Probabilities {
    classes: usize,
    /// Logarithms, row by row: they do not underflow. The numbers themselves where targets are numbers.
    logarithms: Vec<f64>,
    /// Whether these are numbers, not probabilities.
    is_numbers: bool,
}

impl Probabilities {
    /// The most probable class of each sample or token, the first of equal ones.
    pub fn best(&self) -> Vec<usize> {
        let rows = self.logarithms.chunks_exact(self.classes.max(1));
        rows.map(|row| (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best }))
            .collect()
    }

    /// As [`best`](Self::best), among these classes alone. Panics if there is none of them.
    pub fn best_among(&self, classes: &[usize]) -> Vec<usize> {
        let best = |row: &[f64]| {
            let better = |best: usize, &class: &usize| if row[class] > row[best] { class } else { best };
            classes.iter().fold(classes[0], better)
        };
        self.logarithms.chunks_exact(self.classes.max(1)).map(best).collect()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether these are numbers to be compared with numbers, and no probabilities.
    pub fn is_numbers(&self) -> bool {
        self.is_numbers
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
        if first.is_numbers {
            let sum =
                |at: usize| members.iter().zip(weights).map(|(member, weight)| member.logarithms[at] * weight).sum();
            let logarithms = (0..first.logarithms.len()).map(sum).collect();
            return Some(Self { classes: first.classes, logarithms, is_numbers: true });
        }
        let weights: Vec<f64> = weights.iter().map(|weight| weight.ln()).collect();
        let weighted =
            |at: usize| members.iter().zip(&weights).map(move |(member, weight)| member.logarithms[at] + weight);
        let logarithms = (0..first.logarithms.len()).map(|at| log_sum_exp(weighted(at))).collect();
        Some(Self { classes: first.classes, logarithms, is_numbers: false })
    }

    /// How far others are from these; `None` if their sizes or kinds differ.
    ///
    /// The mean over the rows of `sum_c p_c (log p_c - log q_c)`, p being these and q the others, and the share of rows whose
    /// most probable class is the same; of numbers the mean squared difference.
    pub fn divergence(&self, others: &Self) -> Option<Divergence> {
        let rows = self.logarithms.len() / self.classes.max(1);
        let is_alike = others.classes == self.classes
            && others.logarithms.len() == self.logarithms.len()
            && others.is_numbers == self.is_numbers;
        if rows == 0 || !is_alike {
            return None;
        }
        let pairs = self.logarithms.iter().zip(&others.logarithms);
        if self.is_numbers {
            let total: f64 = pairs.map(|(p, q)| (p - q) * (p - q)).sum();
            return Some(Divergence { mean: total / self.logarithms.len() as f64, agreement: None });
        }
        // 0 log 0 is 0.
        let total: f64 = pairs.map(|(p, q)| if *p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) }).sum();
        let same = self.best().into_iter().zip(others.best()).filter(|(one, other)| one == other).count();
        // Rounding may fall below 0; what is no number stays none.
        let mean = if total < 0.0 { 0.0 } else { total / rows as f64 };
        Some(Divergence { mean, agreement: Some(same as f64 / rows as f64) })
    }

    /// Compares with what is known of the samples. Fails if nothing is, or if a class is beyond those of the network.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<Evaluation, RuntimeError> {
        let mut tally = Tally::new(dataset)?;
        tally.add(&self.logarithms, self.classes, 0..dataset.len())?;
        Ok(tally.evaluation())
    }
}

/// How far what one network says is from what another says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// The mean Kullback-Leibler divergence in nats, from 0 on; the mean squared difference of numbers.
    pub mean: f64,
    /// The share of samples, tokens or places that both give the same class; none of numbers.
    pub agreement: Option<f64>,
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
/// network ends in one (see [`Head`](crate::Head)); its first output as it is where the targets are numbers. `observe` is
/// told how many of how many samples are done.
pub fn predict(
    executable: &Executable,
    dataset: &Dataset,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Probabilities, RuntimeError> {
    predict_as(executable, dataset, &Answers::of(executable.graph(), dataset)?, observe)
}

/// As [`predict`], with the network's outputs taken for what `answers` says; what is known of the samples is not looked at.
pub fn predict_as(
    executable: &Executable,
    dataset: &Dataset,
    answers: &Answers,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Probabilities, RuntimeError> {
    let mut found = Probabilities { classes: 0, logarithms: Vec::new(), is_numbers: answers.is_numbers() };
    said(executable, dataset, answers, observe, &mut |values, classes, _| {
        found.classes = classes;
        found.logarithms.extend(values);
        Ok(())
    })?;
    Ok(found)
}

/// What a network says of samples, batch by batch: rows with their number of columns, and the samples' range.
fn said(
    executable: &Executable,
    dataset: &Dataset,
    answers: &Answers,
    observe: &mut dyn FnMut(usize, usize),
    each: &mut dyn FnMut(Vec<f64>, usize, Range<usize>) -> Result<(), RuntimeError>,
) -> Result<(), RuntimeError> {
    let head = answers.head();
    run_batched(executable, dataset, &[head.logits], None, |range, mut values| {
        let scores = values.remove(&head.logits);
        let scores = scores.ok_or_else(|| head.wrong("scores".into(), "none".into()))?;
        if answers.is_numbers() {
            let columns = head.numbers(scores.shape(), range.len(), answers.shape())?;
            let values = scores.to_f32().ok_or_else(|| head.wrong("floats".into(), scores.data_type().to_string()))?;
            each(values.into_iter().map(f64::from).collect(), columns, range.clone())?;
            observe(range.end, dataset.len());
            return Ok(());
        }
        let (rows, classes) = head.rows(&scores, Labels { samples: range.len(), shape: answers.shape() })?;
        let mut logarithms = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(classes) {
            let row = row.iter().map(|&score| f64::from(score));
            let normalizer = log_sum_exp(row.clone());
            if !normalizer.is_finite() {
                let found = row.clone().find(|score| !score.is_finite()).unwrap_or(normalizer);
                return Err(head.wrong("finite scores".into(), found.to_string()));
            }
            logarithms.extend(row.map(|score| score - normalizer));
        }
        each(logarithms, classes, range.clone())?;
        observe(range.end, dataset.len());
        Ok(())
    })
}

/// How well a network does on a data set: accuracy and mean cross-entropy where samples have classes, the mean squared error
/// where they have numbers.
pub fn evaluate(
    executable: &Executable,
    dataset: &Dataset,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Evaluation, RuntimeError> {
    let mut tally = Tally::new(dataset)?;
    let answers = Answers::of(executable.graph(), dataset)?;
    said(executable, dataset, &answers, observe, &mut |rows, columns, range| tally.add(&rows, columns, range))?;
    Ok(tally.evaluation())
}
