//! What is counted while a network's answers are compared with the targets.

use std::ops::Range;

use super::Evaluation;
use crate::RuntimeError;
use crate::dataset::{Dataset, Targets};

/// Counts over the samples seen so far, in their order.
pub(super) struct Tally<'a> {
    dataset: &'a Dataset,
    samples: usize,
    /// Labels or numbers that count.
    counted: usize,
    right: usize,
    loss: f64,
    absolute: f64,
    /// For each class of a dense data set, places that have it in labels, in answers, and in both.
    overlaps: Vec<[u64; 3]>,
    /// For each column of numbers: their number, sum, sum of squares, sum of squared errors.
    columns: Vec<[f64; 4]>,
}

impl<'a> Tally<'a> {
    /// Nothing seen yet. Fails if nothing is known of the samples.
    pub(super) fn new(dataset: &'a Dataset) -> Result<Self, RuntimeError> {
        if !dataset.is_labelled() {
            return Err(RuntimeError::NoTargets { data: dataset.name().to_owned(), purpose: "measuring" });
        }
        let (overlaps, columns) = (Vec::new(), Vec::new());
        Ok(Self { dataset, samples: 0, counted: 0, right: 0, loss: 0.0, absolute: 0.0, overlaps, columns })
    }

    /// Counts the answers to some samples: rows of logarithms of probabilities, or of numbers.
    pub(super) fn add(&mut self, rows: &[f64], width: usize, range: Range<usize>) -> Result<(), RuntimeError> {
        self.samples += range.len();
        match self.dataset.targets() {
            Targets::None => Ok(()),
            Targets::Classes { labels, .. } => {
                let size = self.dataset.labels_per_sample();
                self.classes(rows, width, &labels[range.start * size..range.end * size])
            }
            Targets::Numbers { .. } => {
                let targets: Vec<f32> = range.flat_map(|index| self.dataset.numbers_of(index)).copied().collect();
                self.numbers(rows, width, &targets)
            }
        }
    }

    fn mismatch(expected: String, found: String) -> RuntimeError {
        RuntimeError::Output { output: "probabilities".into(), expected, found }
    }

    fn classes(&mut self, rows: &[f64], classes: usize, labels: &[u32]) -> Result<(), RuntimeError> {
        let rows = rows.chunks_exact(classes.max(1));
        if rows.len() != labels.len() {
            return Err(Self::mismatch(format!("{} rows", labels.len()), rows.len().to_string()));
        }
        let is_dense = self.dataset.is_dense() && !self.dataset.is_language();
        if is_dense && self.overlaps.len() < classes {
            self.overlaps.resize(classes, [0; 3]);
        }
        for (row, &label) in rows.zip(labels).filter(|(_, label)| **label != Targets::VOID) {
            let label = label as usize;
            let Some(logarithm) = row.get(label) else {
                let needed = self.dataset.classes();
                let expected = format!("at least {needed} classes, as the data set has");
                return Err(Self::mismatch(expected, classes.to_string()));
            };
            let best = (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            self.right += usize::from(best == label);
            self.loss -= logarithm;
            self.counted += 1;
            if is_dense {
                self.overlaps[label][0] += 1;
                self.overlaps[best][1] += 1;
                self.overlaps[label][2] += u64::from(best == label);
            }
        }
        Ok(())
    }

    fn numbers(&mut self, rows: &[f64], width: usize, targets: &[f32]) -> Result<(), RuntimeError> {
        if rows.len() != targets.len() {
            return Err(Self::mismatch(format!("{} numbers", targets.len()), rows.len().to_string()));
        }
        if self.columns.is_empty() {
            self.columns.resize(width.max(1), [0.0; 4]);
        }
        for (at, (&found, &target)) in rows.iter().zip(targets).enumerate() {
            let (target, error) = (f64::from(target), found - f64::from(target));
            self.loss += error * error;
            self.absolute += error.abs();
            let [count, sum, squares, errors] = &mut self.columns[at % width.max(1)];
            (*count, *sum, *squares, *errors) =
                (*count + 1.0, *sum + target, *squares + target * target, *errors + error * error);
        }
        self.counted += targets.len();
        Ok(())
    }

    pub(super) fn evaluation(&self) -> Evaluation {
        let count = self.counted.max(1) as f64;
        let is_numbers = matches!(self.dataset.targets(), Targets::Numbers { .. });
        Evaluation {
            accuracy: if is_numbers { f64::NAN } else { self.right as f64 / count },
            loss: self.loss / count,
            samples: self.samples,
            mean_iou: mean(self.overlaps.iter().filter_map(|&[labels, answers, both]| {
                let union = labels + answers - both;
                (union > 0).then(|| both as f64 / union as f64)
            })),
            mean_absolute_error: is_numbers.then_some(self.absolute / count),
            r2: mean(self.columns.iter().filter_map(|&[count, sum, squares, errors]| {
                let variation = squares - sum * sum / count.max(1.0);
                (variation > 1e-12 * squares).then(|| 1.0 - errors / variation)
            })),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}
