//! A network under training.

use std::collections::HashMap;

use burn_autodiff::Autodiff;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend, Scalar};
use otfuse_graph::{Graph, GraphEditor, NodeId, Operator, Tensor, ValueId};

use super::batches::Batch;
use super::loss::{Distillation, cross_entropy, rows, squared_error, target_rows, teacher_rows};
use super::optimizer::{Memory, Step};
use super::{TrainError, trainable};
use crate::dataset::{Dataset, Targets};
use crate::head::Labels;
use crate::host::Limits;
use crate::interpreter::{Array, BatchStatistics, Floats, Program, Value, batch_with_own_statistics};
use crate::{Head, RuntimeBackend, RuntimeError, passes_gradients};

/// The share of a batch's statistics in the running ones, as PyTorch's default.
const STATISTICS_MOMENTUM: f64 = 0.1;

/// A weight under training.
pub(super) struct Parameter<B: RuntimeBackend> {
    pub(super) id: ValueId,
    pub(super) shape: Vec<usize>,
    pub(super) value: FloatTensor<B>,
    pub(super) memory: Memory<B>,
}

/// Running statistics of a batch normalisation: means or variances.
pub(super) struct Running<B: RuntimeBackend> {
    pub(super) id: ValueId,
    pub(super) shape: Vec<usize>,
    pub(super) value: FloatTensor<B>,
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
    head: Head,
    /// The shape of a sample's labels; empty for one a sample.
    of_sample: Vec<usize>,
    is_numbers: bool,
}

/// How the loss is computed from scores.
pub(super) struct Objective<'a> {
    pub(super) label_smoothing: f64,
    pub(super) distillation: Option<&'a Distillation<'a>>,
}

impl<B: RuntimeBackend> Model<B> {
    pub(super) fn new(
        graph: &Graph,
        dataset: &Dataset,
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
                parameters.push(Parameter { id, shape, value, memory: [None, None] });
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
                    running.push(Running { id, shape, value });
                }
            }
        }
        let is_numbers = matches!(dataset.targets(), Targets::Numbers { .. });
        let head = if is_numbers { Head::output(graph)? } else { Head::find(graph)? };
        let of_sample = match dataset.targets() {
            Targets::Numbers { shape, .. } => shape.clone(),
            _ => Labels::of(dataset, 0).shape.to_vec(),
        };
        Ok(Self { program, parameters, running, normalisations, head, of_sample, is_numbers })
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
        let loss = if self.is_numbers {
            self.head.numbers(scores.shape(), batch.count, &self.of_sample)?;
            squared_error(&scores, batch.numbers)
        } else {
            let counts = Labels { samples: batch.count, shape: &self.of_sample };
            self.loss(&scores, &batch.inputs, (&batch.labels, counts), objective)?
        };
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
            self.program.compute_replacing(given, &[self.head.logits], &mut |id, operator, operands| {
                let (Operator::BatchNormalization { epsilon }, Some(&at)) = (operator, self.normalisations.get(&id))
                else {
                    return None;
                };
                Some(batch_with_own_statistics(*epsilon, operands).map(|(y, statistics)| {
                    seen.push((at, statistics));
                    vec![Value::Floats(y)]
                }))
            })?;
        match values.remove(&self.head.logits) {
            Some(Value::Floats(scores)) => Ok((scores, seen)),
            _ => Err(self.head.wrong("floats".into(), "integers".into())),
        }
    }

    fn loss(
        &self,
        scores: &Floats<Autodiff<B>>,
        inputs: &[(ValueId, Tensor)],
        (labels, counts): (&[u32], Labels<'_>),
        objective: &Objective<'_>,
    ) -> Result<Floats<Autodiff<B>>, RuntimeError> {
        let arrangement = self.head.arrangement(scores.shape(), counts)?;
        let classes = arrangement.columns();
        let shape = [labels.len(), classes];
        let scores = &rows(scores, arrangement, labels.len());
        let void = labels.iter().filter(|&&label| label == Targets::VOID).count();
        // The mean is over the labels that count.
        let share = labels.len() as f64 / (labels.len() - void).max(1) as f64;
        let targets = target_rows(labels, classes, objective.label_smoothing).ok_or_else(|| {
            let needed =
                labels.iter().filter(|&&label| label != Targets::VOID).max().map_or(0, |&label| label as usize + 1);
            self.head.wrong(format!("at least {needed} classes, as the data set has"), classes.to_string())
        })?;
        let Some(distillation) = objective.distillation else {
            return Ok(cross_entropy(scores, targets, shape, 1.0, share));
        };
        let of_labels = cross_entropy(scores, targets, shape, 1.0, share * (1.0 - distillation.weight));
        let graph = self.program.graph();
        let named = inputs.iter().map(|(id, tensor)| (graph.value(*id).name.clone(), tensor.clone()));
        let targets = teacher_rows(distillation, &named.collect::<Vec<_>>(), counts, classes)?;
        let of_teachers = cross_entropy(scores, targets, shape, distillation.temperature, distillation.weight);
        Ok(of_labels.map(|loss| Autodiff::<B>::float_add(loss, of_teachers.into_tensor())))
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
            let Parameter { id, shape, mut value, mut memory } = parameter;
            if let Some(gradient) = gradient {
                value = step.take::<B>(value, gradient, &mut memory);
            }
            Parameter { id, shape, value, memory }
        };
        self.parameters = std::mem::take(&mut self.parameters).into_iter().zip(gradients).map(moved).collect();
    }

    /// Puts in weights and statistics, in this order.
    pub(super) fn set(&mut self, values: Vec<Vec<f32>>, device: &B::Device) {
        let parameters = self.parameters.iter_mut().map(|it| (&it.shape, &mut it.value));
        let running = self.running.iter_mut().map(|it| (&it.shape, &mut it.value));
        for ((shape, value), numbers) in parameters.chain(running).zip(values) {
            *value = Floats::<B>::from_vec(numbers, shape, device).into_tensor();
        }
    }

    /// The graph with the present weights and statistics, in the types that they had.
    pub(super) fn graph(&self) -> Result<Graph, TrainError> {
        let mut editor = GraphEditor::edit(self.program.graph().clone());
        let parameters = self.parameters.iter().map(|parameter| (parameter.id, &parameter.value));
        let values = parameters.chain(self.running.iter().map(|running| (running.id, &running.value)));
        for (id, value) in values {
            let numbers = numbers::<B>(value)?;
            if let Some(tensor) = self.program.graph().initializer(id) {
                editor.set_tensor(id, Tensor::from_f32_as(tensor.data_type(), tensor.shape(), numbers));
            }
        }
        Ok(editor.finish()?)
    }
}

/// The numbers of a tensor on the device.
pub(super) fn numbers<B: RuntimeBackend>(tensor: &FloatTensor<B>) -> Result<Vec<f32>, TrainError> {
    let values = Floats::<B>::new(tensor.clone()).into_vec();
    Ok(values.map_err(|fault| fault.at("weights", "training"))?)
}
