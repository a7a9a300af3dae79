//! What training minimises.

use otfuse_graph::Tensor;

use crate::RuntimeError;
use crate::dataset::Targets;
use crate::head::{Arrangement, Labels};
use crate::interpreter::{Array, Floats};
use crate::{Executable, Head, RuntimeBackend};

/// Knowledge distillation (Hinton, Vinyals and Dean 2015): beside the labels, a network follows the probabilities of others.
pub struct Distillation<'a> {
    /// The networks to learn from, on any device; the mean of their probabilities counts.
    pub teachers: &'a [Executable],
    /// What scores are divided by before they become probabilities; positive. Higher shows more of the small ones.
    pub temperature: f64,
    /// Weight of the teachers in the loss, from 0 to 1; the labels have the rest.
    pub weight: f64,
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

/// The mean squared difference to numbers, as many as there are outputs.
pub(super) fn squared_error<B: RuntimeBackend>(outputs: &Floats<B>, targets: Vec<f32>) -> Floats<B> {
    let count = targets.len();
    let targets = Floats::<B>::from_vec(targets, &[count], &outputs.device());
    let outputs = outputs.clone().reshaped(&[count]);
    let difference = B::float_sub(outputs.into_tensor(), targets.into_tensor());
    let squares = B::float_mul(difference.clone(), difference);
    Floats::new(B::float_mul_scalar(B::float_sum(squares), burn_backend::Scalar::Float(1.0 / count.max(1) as f64)))
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

/// The mean over teachers of the softmax of a batch's scores at a temperature, row by row.
pub(super) fn teacher_rows(
    distillation: &Distillation<'_>,
    inputs: &[(String, Tensor)],
    labels: Labels<'_>,
    classes: usize,
) -> Result<Vec<f32>, RuntimeError> {
    let mut rows = vec![0.0_f64; labels.count() * classes];
    let share = 1.0 / distillation.teachers.len().max(1) as f64;
    for teacher in distillation.teachers {
        let graph = teacher.graph();
        let head = Head::find(graph)?;
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
        let (scores, found) = head.rows(&scores, labels)?;
        if found != classes {
            return Err(head.wrong(format!("{classes} classes, as the student has"), found.to_string()));
        }
        for (row, scores) in rows.chunks_exact_mut(classes).zip(scores.chunks_exact(classes)) {
            let scaled = || scores.iter().map(|&score| f64::from(score) / distillation.temperature);
            let largest = scaled().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scaled().map(|score| (score - largest).exp()).sum();
            row.iter_mut().zip(scaled()).for_each(|(to, score)| *to += share * (score - largest).exp() / total);
        }
    }
    Ok(rows.into_iter().map(|probability| probability as f32).collect())
}
