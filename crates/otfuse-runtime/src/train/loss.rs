//! What training minimises.

use otfuse_graph::Tensor;

use super::error::{TrainError, check};
use crate::RuntimeError;
use crate::dataset::Targets;
use crate::head::{Arrangement, Labels};
use crate::interpreter::{Array, Floats};
use crate::{Answers, Executable, RuntimeBackend};

/// Knowledge distillation (Hinton, Vinyals and Dean 2015): beside the labels, a network follows the probabilities of others.
pub struct Distillation<'a> {
    /// The networks to learn from, on any device; the mean of their probabilities counts.
    pub teachers: &'a [Executable],
    /// The share of each in that mean, adding up to 1; equal where there are none.
    pub shares: &'a [f64],
    /// What scores are divided by before they become probabilities; positive. Higher shows more of the small ones.
    pub temperature: f64,
    /// Weight of the teachers in the loss, from 0 to 1; the labels have the rest. With 1 nothing needs to be known of the
    /// samples, and what is known is not looked at.
    pub weight: f64,
}

impl Distillation<'_> {
    /// The share of each teacher.
    pub(super) fn shares(&self) -> Vec<f64> {
        match self.shares {
            [] => vec![1.0 / self.teachers.len().max(1) as f64; self.teachers.len()],
            shares => shares.to_vec(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), TrainError> {
        let Self { temperature, weight, .. } = *self;
        check("temperature", "a positive number", temperature, temperature > 0.0 && temperature.is_finite())?;
        check("teacher weight", "0 to 1", weight, (0.0..=1.0).contains(&weight))?;
        let shares = self.shares();
        let total: f64 = shares.iter().sum();
        let hold = shares.len() == self.teachers.len()
            && shares.iter().all(|&share| share >= 0.0)
            && (total - 1.0).abs() < 1e-6;
        check("teachers", "shares that add up to 1", total, hold)
    }

    /// Whether the teachers alone count.
    pub(super) fn is_alone(&self) -> bool {
        self.weight >= 1.0
    }
}

/// Labels as rows of probabilities, smoothed, with those of other samples that they were mixed with.
pub(super) fn mixed_rows(
    labels: &[u32],
    mixed: Option<&(Vec<u32>, f64)>,
    classes: usize,
    smoothing: f64,
) -> Option<Vec<f32>> {
    let mut rows = target_rows(labels, classes, smoothing)?;
    if let Some((others, share)) = mixed {
        let (own, foreign) = (*share as f32, (1.0 - share) as f32);
        let others = target_rows(others, classes, smoothing)?;
        rows.iter_mut().zip(others).for_each(|(to, other)| *to = own * *to + foreign * other);
    }
    Some(rows)
}

/// Labels as rows of probabilities, smoothed.
pub(crate) fn target_rows(labels: &[u32], classes: usize, smoothing: f64) -> Option<Vec<f32>> {
    let spread = (smoothing / classes as f64) as f32;
    let mut rows = vec![spread; labels.len() * classes];
    for (row, &label) in rows.chunks_exact_mut(classes).zip(labels) {
        if label == Targets::VOID {
            row.fill(0.0);
            continue;
        }
        *row.get_mut(label as usize)? += (1.0 - smoothing) as f32;
    }
    Some(rows)
}

/// Scores as rows of classes, one for each label: classes that stand in front of places are moved behind them, and a single
/// score becomes that of the second of two classes.
pub(crate) fn rows<B: RuntimeBackend>(scores: &Floats<B>, arrangement: Arrangement, count: usize) -> Floats<B> {
    let Arrangement { classes, places } = arrangement;
    let scores = match places {
        1 => scores.clone(),
        _ => {
            let scores = scores.clone().reshaped(&[count / places, classes, places]);
            scores.map(|scores| B::float_swap_dims(scores, 1, 2))
        }
    };
    let scores = scores.reshaped(&[count, classes]);
    if classes > 1 {
        return scores;
    }
    let zeros = Floats::<B>::full(&[count, 1], 0.0, &scores.device());
    scores.map(|scores| B::float_cat(vec![zeros.into_tensor(), scores], 1))
}

/// The mean squared difference to numbers, as many as there are outputs, times `weight`.
pub(super) fn squared_error<B: RuntimeBackend>(outputs: &Floats<B>, targets: Vec<f32>, weight: f64) -> Floats<B> {
    let count = targets.len();
    let targets = Floats::<B>::from_vec(targets, &[count], &outputs.device());
    let outputs = outputs.clone().reshaped(&[count]);
    let difference = B::float_sub(outputs.into_tensor(), targets.into_tensor());
    let squares = B::float_mul(difference.clone(), difference);
    Floats::new(B::float_mul_scalar(B::float_sum(squares), burn_backend::Scalar::Float(weight / count.max(1) as f64)))
}

/// The mean over the rows of `-sum_c target_c log softmax(scores / temperature)_c`, times `weight temperature^2`, which
/// keeps gradients of different temperatures comparable.
pub(crate) fn cross_entropy<B: RuntimeBackend>(
    scores: &Floats<B>,
    targets: Vec<f32>,
    shape: [usize; 2],
    temperature: f64,
    weight: f64,
) -> Floats<B> {
    let factor = -weight * temperature * temperature / shape[0] as f64;
    let targets = targets.into_iter().map(|target| (f64::from(target) * factor) as f32).collect();
    let targets = Floats::<B>::from_vec(targets, &shape, &scores.device());
    let scores = scores.clone().reshaped(&shape).map(|scores| {
        let scaled = if temperature == 1.0 {
            scores
        } else {
            B::float_mul_scalar(scores, burn_backend::Scalar::Float(1.0 / temperature))
        };
        B::log_softmax(scaled, 1)
    });
    Floats::new(B::float_sum(B::float_mul(scores.into_tensor(), targets.into_tensor())))
}

/// The mean over teachers of what they say of a batch: the softmax of the scores at a temperature, row by row, with the number
/// of columns; of numbers the numbers, in a single row.
pub(super) fn teacher_rows(
    distillation: &Distillation<'_>,
    inputs: &[(String, Tensor)],
    answers: &Answers,
    samples: usize,
) -> Result<(Vec<f32>, usize), RuntimeError> {
    let mut rows: Vec<f64> = Vec::new();
    let mut columns = 0;
    for (teacher, share) in distillation.teachers.iter().zip(distillation.shares()) {
        let graph = teacher.graph();
        let answers = answers.on(graph)?;
        let head = answers.head();
        let mut given = Vec::with_capacity(inputs.len());
        for (position, (name, tensor)) in inputs.iter().enumerate() {
            // A teacher's inputs have the student's names, or else stand in the same places.
            let of_name = graph.inputs().iter().find(|&&id| graph.value(id).name == *name);
            let id = of_name.or_else(|| graph.inputs().get(position)).copied();
            let id = id.ok_or_else(|| RuntimeError::UnknownInput {
                input: name.clone(),
                expected: graph.inputs().iter().map(|&id| graph.value(id).name.clone()).collect(),
            })?;
            given.push((id, tensor.clone()));
        }
        let mut values = teacher.run_for(&given, &[head.logits])?;
        let scores = values.remove(&head.logits).ok_or_else(|| head.wrong("scores".into(), "none".into()))?;
        let (scores, found) = if answers.is_numbers() {
            head.numbers(scores.shape(), samples, answers.shape())?;
            let numbers = scores.to_f32().ok_or_else(|| head.wrong("floats".into(), scores.data_type().to_string()))?;
            let count = numbers.len();
            (numbers, count)
        } else {
            head.rows(&scores, Labels { samples, shape: answers.shape() })?
        };
        if rows.is_empty() {
            (rows, columns) = (vec![0.0; scores.len()], found);
        } else if columns != found || rows.len() != scores.len() {
            return Err(head.wrong(format!("{columns} classes, as the first teacher has"), found.to_string()));
        }
        if answers.is_numbers() {
            rows.iter_mut().zip(scores).for_each(|(to, number)| *to += share * f64::from(number));
            continue;
        }
        for (row, scores) in rows.chunks_exact_mut(columns).zip(scores.chunks_exact(columns)) {
            let scaled = || scores.iter().map(|&score| f64::from(score) / distillation.temperature);
            let largest = scaled().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scaled().map(|score| (score - largest).exp()).sum();
            row.iter_mut().zip(scaled()).for_each(|(to, score)| *to += share * (score - largest).exp() / total);
        }
    }
    Ok((rows.into_iter().map(|probability| probability as f32).collect(), columns))
}
