//! A network under training.

use std::collections::HashMap;

use burn_autodiff::Autodiff;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend, Scalar};
use otfuse_graph::{Graph, GraphEditor, NodeId, Operator, Tensor, ValueId};

use super::batches::Batch;
use super::hold::{Held, Hold};
use super::loss::{Distillation, cross_entropy, mixed_rows, rows, squared_error, teacher_rows};
use super::optimizer::{Memory, Step};
use super::{TrainError, trainable};
use crate::dataset::Targets;
use crate::head::Labels;
use crate::host::Limits;
use crate::interpreter::{Array, BatchStatistics, Floats, Program, Value, batch_with_own_statistics};
use crate::{Answers, RuntimeBackend, RuntimeError, passes_gradients};

/// A score this much lower has no probability.
const NEVER: f32 = 1e9;

/// The share of a batch's statistics in the running ones, as PyTorch's default.
const STATISTICS_MOMENTUM: f64 = 0.1;

/// A weight under training.
pub(super) struct Parameter<B: RuntimeBackend> {
    pub(super) id: ValueId,
    pub(super) shape: Vec<usize>,
    pub(super) value: FloatTensor<B>,
    pub(super) memory: Memory<B>,
    /// The average over the steps, where one is kept.
    pub(super) average: Option<FloatTensor<B>>,
}

/// Running statistics of a batch normalisation: means or variances.
pub(super) struct Running<B: RuntimeBackend> {
    pub(super) id: ValueId,
    pub(super) shape: Vec<usize>,
    pub(super) value: FloatTensor<B>,
    /// The average over the steps, where one is kept.
    pub(super) average: Option<FloatTensor<B>>,
}

/// Gradients by each parameter; `None` where the loss does not depend on it.
pub(super) type Gradients<B> = Vec<Option<FloatTensor<B>>>;

/// A network under training.
pub(super) struct Model<B: RuntimeBackend> {
    program: Program<Autodiff<B>>,
    pub(super) parameters: Vec<Parameter<B>>,
    /// Means and variances in turn.
    pub(super) running: Vec<Running<B>>,
    /// Where a batch normalisation's statistics are among `running`.
    normalisations: HashMap<NodeId, usize>,
    answers: Answers,
    /// What each parameter is held at; none where nothing is.
    held: Vec<Option<Held<B>>>,
}

/// How the loss is computed from scores.
pub(super) struct Objective<'a> {
    pub(super) label_smoothing: f64,
    pub(super) distillation: Option<&'a Distillation<'a>>,
    /// Whether the loss looks at each class; at all without.
    pub(super) own: Option<&'a [bool]>,
}

impl<B: RuntimeBackend> Model<B> {
    pub(super) fn new(
        graph: &Graph,
        answers: Answers,
        batch_statistics: bool,
        device: &B::Device,
        limits: &Limits,
    ) -> Result<Self, TrainError> {
        // Integers have no gradient in any case.
        let passes = |operator: &Operator| {
            passes_gradients(operator) || matches!(operator, Operator::Binary(_) | Operator::Opaque { .. })
        };
        if let Some((_, node)) = graph.nodes().find(|(_, node)| !passes(&node.operator)) {
            let (node, operator) = (node.name.clone(), node.operator.name().to_owned());
            return Err(TrainError::NoGradient { node, operator });
        }
        let program = Program::<Autodiff<B>>::new(graph, device, limits)?;
        let floats = |id| match program.constant(id) {
            Some(Value::Floats(value)) => Some(value.clone()),
            _ => None,
        };
        let mut parameters = Vec::new();
        for id in trainable(graph) {
            if let Some(value) = floats(id) {
                let (shape, value) = (value.shape().to_vec(), Autodiff::<B>::inner(value.into_tensor()));
                parameters.push(Parameter { id, shape, value, memory: [None, None], average: None });
            }
        }
        if parameters.is_empty() {
            return Err(TrainError::NoParameters);
        }
        let (mut running, mut normalisations) = (Vec::new(), HashMap::new());
        for (id, node) in graph.nodes().filter(|_| batch_statistics) {
            let inputs = (node.input(3), node.input(4));
            if let (Operator::BatchNormalization { .. }, (Some(mean), Some(variance))) = (&node.operator, inputs)
                && let (Some(of_mean), Some(of_variance)) = (floats(mean), floats(variance))
            {
                normalisations.insert(id, running.len());
                for (id, value) in [(mean, of_mean), (variance, of_variance)] {
                    let (shape, value) = (value.shape().to_vec(), Autodiff::<B>::inner(value.into_tensor()));
                    running.push(Running { id, shape, value, average: None });
                }
            }
        }
        Ok(Self { program, parameters, running, normalisations, answers, held: Vec::new() })
    }

    /// The mean loss of a batch and its gradients; moves the running statistics.
    pub(super) fn gradients(
        &mut self,
        batch: Batch,
        objective: &Objective<'_>,
    ) -> Result<(f32, Gradients<B>), TrainError> {
        let tracked: Vec<FloatTensor<Autodiff<B>>> = self
            .parameters
            .iter()
            .map(|parameter| {
                let leaf = Autodiff::<B>::from_inner(parameter.value.clone());
                Autodiff::<B>::float_set_require_grad(leaf, true)
            })
            .collect();
        for (parameter, tensor) in self.parameters.iter().zip(&tracked) {
            let value = Floats::new(tensor.clone()).reshaped(&parameter.shape);
            self.program.set_constant(parameter.id, Value::Floats(value));
        }
        let (scores, seen) = self.scores(&batch.inputs)?;
        let loss = self.loss(&scores, batch, objective)?;
        let value = loss.to_scalar().map_err(|fault| fault.at("loss", "cross-entropy"))?;
        let gradients = Autodiff::<B>::backward(loss.into_tensor());
        let gradients = tracked.iter().map(|tensor| Autodiff::<B>::grad(tensor, &gradients)).collect();
        self.move_statistics(seen);
        // Nothing else reads the weights now, so that the step can be made in place.
        self.parameters.iter().for_each(|parameter| self.program.release(parameter.id));
        Ok((value, gradients))
    }

    /// The scores of a batch, and the statistics that batch normalisations took of it.
    #[allow(clippy::type_complexity)]
    fn scores(
        &self,
        inputs: &[(ValueId, Tensor)],
    ) -> Result<(Floats<Autodiff<B>>, Vec<(usize, BatchStatistics<Autodiff<B>>)>), RuntimeError> {
        let graph = self.program.graph();
        let mut given = Vec::with_capacity(inputs.len());
        for (id, tensor) in inputs {
            let value = Value::from_tensor(tensor, self.program.device());
            given.push((*id, value.map_err(|fault| fault.at(&graph.value(*id).name, "input"))?));
        }
        let mut seen = Vec::new();
        let mut values =
            self.program.compute_replacing(given, &[self.answers.head().logits], &mut |id, operator, operands| {
                let (Operator::BatchNormalization { epsilon }, Some(&at)) = (operator, self.normalisations.get(&id))
                else {
                    return None;
                };
                Some(batch_with_own_statistics(*epsilon, operands).map(|(y, statistics)| {
                    seen.push((at, statistics));
                    vec![Value::Floats(y)]
                }))
            })?;
        match values.remove(&self.answers.head().logits) {
            Some(Value::Floats(scores)) => Ok((scores, seen)),
            _ => Err(self.answers.head().wrong("floats".into(), "integers".into())),
        }
    }

    fn loss(
        &self,
        scores: &Floats<Autodiff<B>>,
        batch: Batch,
        objective: &Objective<'_>,
    ) -> Result<Floats<Autodiff<B>>, RuntimeError> {
        let distillation = objective.distillation;
        let teachers = match distillation {
            Some(distillation) => {
                let graph = self.program.graph();
                let named = batch.inputs.iter().map(|(id, tensor)| (graph.value(*id).name.clone(), tensor.clone()));
                let named: Vec<_> = named.collect();
                Some((distillation, teacher_rows(distillation, &named, &self.answers, batch.count)?))
            }
            None => None,
        };
        let rest = 1.0 - distillation.map_or(0.0, |it| it.weight);
        let together = |one: Option<Floats<Autodiff<B>>>, other: Floats<Autodiff<B>>| match one {
            Some(one) => one.map(|one| Autodiff::<B>::float_add(one, other.into_tensor())),
            None => other,
        };
        if self.answers.is_numbers() {
            let head = self.answers.head();
            head.numbers(scores.shape(), batch.count, self.answers.shape())?;
            let of_numbers = (rest > 0.0).then(|| squared_error(scores, batch.numbers, rest));
            return match (teachers, of_numbers) {
                (None, Some(loss)) => Ok(loss),
                (Some((it, (rows, _))), of_numbers) => {
                    let count: usize = scores.shape().iter().product();
                    if rows.len() != count {
                        return Err(head.wrong(format!("{} numbers, as a teacher has", rows.len()), count.to_string()));
                    }
                    Ok(together(of_numbers, squared_error(scores, rows, it.weight)))
                }
                (None, None) => Err(head.wrong("numbers to be met".into(), "none".into())),
            };
        }
        let of_labels = (rest > 0.0).then(|| self.of_labels(scores, &batch, objective, rest)).transpose()?;
        match (teachers, of_labels) {
            (None, Some(loss)) => Ok(loss),
            (Some((it, (targets, found))), of_labels) => {
                let (scores, shape) = self.rows(scores, batch.count)?;
                if found != shape[1] || targets.len() != shape[0] * shape[1] {
                    return Err(self
                        .answers
                        .head()
                        .wrong(format!("{found} classes, as a teacher has"), shape[1].to_string()));
                }
                let of_teachers = cross_entropy(&scores, targets, shape, it.temperature, it.weight);
                Ok(together(of_labels, of_teachers))
            }
            (None, None) => Err(self.answers.head().wrong("labels".into(), "none".into())),
        }
    }

    /// Scores as rows, and their shape.
    fn rows(
        &self,
        scores: &Floats<Autodiff<B>>,
        samples: usize,
    ) -> Result<(Floats<Autodiff<B>>, [usize; 2]), RuntimeError> {
        let counts = Labels { samples, shape: self.answers.shape() };
        let arrangement = self.answers.head().arrangement(scores.shape(), counts)?;
        let count = counts.count();
        Ok((rows(scores, arrangement, count), [count, arrangement.columns()]))
    }

    /// The cross-entropy of the labels, times `weight`.
    fn of_labels(
        &self,
        scores: &Floats<Autodiff<B>>,
        batch: &Batch,
        objective: &Objective<'_>,
        weight: f64,
    ) -> Result<Floats<Autodiff<B>>, RuntimeError> {
        let labels = &batch.labels;
        let (scores, shape) = self.rows(scores, batch.count)?;
        let void = labels.iter().filter(|&&label| label == Targets::VOID).count();
        // The mean is over the labels that count.
        let share = labels.len() as f64 / (labels.len() - void).max(1) as f64;
        let targets =
            mixed_rows(labels, batch.mixed.as_ref(), shape[1], objective.label_smoothing).ok_or_else(|| {
                let known = labels.iter().filter(|&&label| label != Targets::VOID);
                let needed = known.max().map_or(0, |&label| label as usize + 1);
                self.answers
                    .head()
                    .wrong(format!("at least {needed} classes, as the data set has"), shape[1].to_string())
            })?;
        let (scores, targets) = match objective.own {
            Some(own) => among(own, scores, targets, shape),
            None => (scores, targets),
        };
        Ok(cross_entropy(&scores, targets, shape, 1.0, share * weight))
    }

    fn move_statistics(&mut self, seen: Vec<(usize, BatchStatistics<Autodiff<B>>)>) {
        let times = |tensor, factor: f64| B::float_mul_scalar(tensor, Scalar::Float(factor));
        for (at, statistics) in seen {
            // The variance of the population is estimated without bias.
            let unbiased = statistics.count as f64 / (statistics.count.max(2) - 1) as f64;
            let mean = Autodiff::<B>::inner(statistics.mean);
            let variance = times(Autodiff::<B>::inner(statistics.variance), unbiased);
            for (running, new) in self.running[at..at + 2].iter_mut().zip([mean, variance]) {
                let kept = times(running.value.clone(), 1.0 - STATISTICS_MOMENTUM);
                running.value = B::float_add(kept, times(new, STATISTICS_MOMENTUM));
            }
        }
    }

    /// Moves every parameter by one step.
    pub(super) fn update(&mut self, gradients: Gradients<B>, step: &Step) {
        let moved = |(parameter, gradient): (Parameter<B>, Option<FloatTensor<B>>)| {
            let Parameter { id, shape, mut value, mut memory, average } = parameter;
            if let Some(gradient) = gradient {
                value = step.take::<B>(value, gradient, &mut memory);
            }
            Parameter { id, shape, value, memory, average }
        };
        self.parameters = std::mem::take(&mut self.parameters).into_iter().zip(gradients).map(moved).collect();
    }

    /// Holds parameters where they are now.
    pub(super) fn hold(&mut self, hold: &Hold<'_>, device: &B::Device) {
        self.held = self.parameters.iter().map(|it| Held::of(hold, it.id, &it.value, &it.shape, device)).collect();
    }

    /// Moves parameters towards where they are held, as far as a step of this reach goes.
    pub(super) fn pull(&mut self, reach: f64) {
        for (parameter, held) in self.parameters.iter_mut().zip(&self.held) {
            if let Some(held) = held {
                parameter.value = held.pulled(parameter.value.clone(), reach);
            }
        }
    }

    /// Scales gradients down to a common norm where theirs is larger; gives that norm, infinite or no number where one of
    /// the gradients is.
    pub(super) fn clip(gradients: &mut Gradients<B>, most: f64) -> Result<f64, TrainError> {
        let mut squares = 0.0;
        // One after the other, so that the sum is the same for any number of threads.
        for gradient in gradients.iter().flatten() {
            squares += numbers::<B>(gradient)?.into_iter().map(|it| f64::from(it) * f64::from(it)).sum::<f64>();
        }
        let norm = squares.sqrt();
        if norm.is_finite() && norm > most {
            let factor = Scalar::Float(most / norm);
            for gradient in gradients.iter_mut() {
                *gradient = gradient.take().map(|gradient| B::float_mul_scalar(gradient, factor));
            }
        }
        Ok(norm)
    }

    /// Moves the averages towards the present weights and statistics; the first time they begin there.
    pub(super) fn average(&mut self, decay: f64) {
        let parameters = self.parameters.iter_mut().map(|it| (&it.value, &mut it.average));
        let running = self.running.iter_mut().map(|it| (&it.value, &mut it.average));
        for (value, average) in parameters.chain(running) {
            let times = |tensor, factor: f64| B::float_mul_scalar(tensor, Scalar::Float(factor));
            let new = match average.take() {
                Some(old) => B::float_add(times(old, decay), times(value.clone(), 1.0 - decay)),
                None => value.clone(),
            };
            *average = Some(new);
        }
    }

    /// The weights and statistics that the network is measured with, in this order: the averages where some are kept.
    pub(super) fn measured(&self) -> impl Iterator<Item = (ValueId, &FloatTensor<B>)> {
        let parameters = self.parameters.iter().map(|it| (it.id, it.average.as_ref().unwrap_or(&it.value)));
        parameters.chain(self.running.iter().map(|it| (it.id, it.average.as_ref().unwrap_or(&it.value))))
    }

    /// Puts in weights and statistics, in this order, without averages.
    pub(super) fn set(&mut self, values: Vec<Vec<f32>>, device: &B::Device) {
        let parameters = self.parameters.iter_mut().map(|it| (&it.shape, &mut it.value, &mut it.average));
        let running = self.running.iter_mut().map(|it| (&it.shape, &mut it.value, &mut it.average));
        for ((shape, value, average), numbers) in parameters.chain(running).zip(values) {
            *value = Floats::<B>::from_vec(numbers, shape, device).into_tensor();
            *average = None;
        }
    }

    /// The graph with the weights and statistics that it is measured with, in the types that they had.
    pub(super) fn graph(&self) -> Result<Graph, TrainError> {
        let mut editor = GraphEditor::edit(self.program.graph().clone());
        for (id, value) in self.measured() {
            let numbers = numbers::<B>(value)?;
            if let Some(tensor) = self.program.graph().initializer(id) {
                editor.set_tensor(id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), numbers));
            }
        }
        Ok(editor.finish()?)
    }
}

/// Scores and targets among some classes alone: others have no probability and no part in the loss.
fn among<B: RuntimeBackend>(
    own: &[bool],
    scores: Floats<Autodiff<B>>,
    mut targets: Vec<f32>,
    [rows, classes]: [usize; 2],
) -> (Floats<Autodiff<B>>, Vec<f32>) {
    let is_own = |class: usize| own.get(class).copied().unwrap_or(false);
    let mask = (0..rows * classes).map(|at| if is_own(at % classes) { 0.0 } else { -NEVER }).collect();
    let mask = Floats::<Autodiff<B>>::from_vec(mask, &[rows, classes], &scores.device());
    targets.iter_mut().enumerate().filter(|(at, _)| !is_own(at % classes)).for_each(|(_, target)| *target = 0.0);
    (scores.map(|scores| Autodiff::<B>::float_add(scores, mask.into_tensor())), targets)
}

/// The numbers of a tensor on the device.
pub(super) fn numbers<B: RuntimeBackend>(tensor: &FloatTensor<B>) -> Result<Vec<f32>, TrainError> {
    let values = Floats::<B>::new(tensor.clone()).into_vec();
    Ok(values.map_err(|fault| fault.at("weights", "training"))?)
}
