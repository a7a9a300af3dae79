//! Fits the weights of a graph to labelled samples by gradient descent.
//!
//! Gradients go through the same interpreter that evaluates networks. Batch normalisation keeps the statistics that
//! the graph holds (its scale and bias are trained); Dropout, which graphs hold as Identity, does nothing.

mod error;
mod parameters;
mod settings;

use burn_autodiff::Autodiff;
use burn_backend::AutodiffBackend;
use burn_backend::ops::{ActivationOps, FloatTensorOps};
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Graph, GraphEditor, Tensor, ValueId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

pub use error::TrainError;
pub use parameters::trainable;
pub use settings::TrainSettings;

use crate::batch::{SampleLayout, fixed_batch_size};
use crate::dataset::Dataset;
use crate::interpreter::{Array, Floats, Value};
use crate::{Default32, DefaultDevice, Descent, Executable, Head, RuntimeBackend, RuntimeError};

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps of the whole training.
    pub steps: usize,
    /// The epoch that the step belongs to, from 0.
    pub epoch: usize,
    /// The mean loss of the step's batch.
    pub loss: f64,
}

/// A network after training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The graph with its new weights, in the types that they had.
    pub graph: Graph,
    /// The mean loss over the batches of each epoch, as they were trained on.
    pub losses: Vec<f64>,
}

/// Trains on the default backend; see [`train_on`].
pub fn train(
    graph: &Graph,
    dataset: &Dataset,
    settings: &TrainSettings,
    observe: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    train_on::<Default32>(graph, dataset, settings, &DefaultDevice::default(), observe)
}

/// Minimises the cross-entropy by stochastic gradient descent with momentum (as PyTorch's `SGD` defines it), in
/// batches of samples shuffled anew for each epoch by a generator seeded with `settings.seed`.
///
/// The last batch of an epoch is smaller; a network that fixes its batch size is trained in batches of that size and
/// leaves out the rest. Fails if the settings are out of range, if the network has no trainable weights, or if it is
/// not a classifier of the data set.
pub fn train_on<B: RuntimeBackend>(
    graph: &Graph,
    dataset: &Dataset,
    settings: &TrainSettings,
    device: &B::Device,
    observe: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    settings.validate()?;
    if dataset.is_empty() {
        return Err(TrainError::NoSamples);
    }
    let mut model = Model::<B>::new(graph, dataset.sample_shape(), device)?;
    let fixed = fixed_batch_size(graph);
    let size = fixed.unwrap_or(settings.batch_size).max(1);
    let batches = if fixed.is_some() { dataset.len() / size } else { dataset.len().div_ceil(size) };
    if batches == 0 {
        return Err(TrainError::NoSamples);
    }
    let steps = batches * settings.epochs;
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut order: Vec<usize> = (0..dataset.len()).collect();
    let mut losses = Vec::with_capacity(settings.epochs);
    for epoch in 0..settings.epochs {
        shuffle(&mut order, &mut random);
        let mut total = 0.0;
        for (batch, indices) in order.chunks(size).take(batches).enumerate() {
            let step = epoch * batches + batch;
            let labels: Vec<u32> = indices.iter().map(|&index| dataset.labels()[index]).collect();
            let samples = dataset.samples(indices.iter().copied());
            let (loss, gradients) = model.gradients(samples, &labels)?;
            if !loss.is_finite() {
                return Err(TrainError::Diverged { step, loss });
            }
            model.update(gradients, settings)?;
            total += f64::from(loss);
            observe(Progress { step: step + 1, steps, epoch, loss: loss.into() });
        }
        losses.push(total / batches as f64);
    }
    Ok(Trained { graph: model.into_graph()?, losses })
}

/// Fisher and Yates's shuffle.
fn shuffle(order: &mut [usize], random: &mut ChaCha8Rng) {
    for last in (1..order.len()).rev() {
        let other = (random.next_u64() % (last as u64 + 1)) as usize;
        order.swap(last, other);
    }
}

/// A weight under training.
struct Parameter<B: RuntimeBackend> {
    id: ValueId,
    shape: Vec<usize>,
    value: FloatTensor<B>,
    velocity: Option<FloatTensor<B>>,
}

/// A network under training.
struct Model<B: RuntimeBackend> {
    executable: Executable<Autodiff<B>>,
    parameters: Vec<Parameter<B>>,
    head: Head,
    layout: SampleLayout,
}

impl<B: RuntimeBackend> Model<B> {
    fn new(graph: &Graph, sample_shape: &[usize], device: &B::Device) -> Result<Self, TrainError> {
        let executable = Executable::<Autodiff<B>>::new(graph, device)?;
        let mut parameters = Vec::new();
        for id in trainable(graph) {
            if let Some(Value::Floats(value)) = executable.constant(id) {
                parameters.push(Parameter {
                    id,
                    shape: value.shape().to_vec(),
                    value: Autodiff::<B>::inner(value.tensor()),
                    velocity: None,
                });
            }
        }
        if parameters.is_empty() {
            return Err(TrainError::NoParameters);
        }
        Ok(Self { executable, parameters, head: Head::find(graph)?, layout: SampleLayout::fit(graph, sample_shape)? })
    }

    /// The mean cross-entropy of a batch and its gradient by each parameter (`None` where it does not depend on it).
    #[allow(clippy::type_complexity)]
    fn gradients(
        &mut self,
        samples: Vec<f32>,
        labels: &[u32],
    ) -> Result<(f32, Vec<Option<FloatTensor<B>>>), TrainError> {
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
            self.executable.set_constant(parameter.id, Value::Floats(value));
        }
        let scores = self.scores(samples, labels.len())?;
        let loss = self.cross_entropy(scores, labels)?;
        let value = loss.to_scalar().map_err(|fault| fault.at("loss", "cross-entropy"))?;
        let gradients = Autodiff::<B>::backward(loss.into_tensor());
        let gradients = tracked.iter().map(|tensor| Autodiff::<B>::grad(tensor, &gradients)).collect();
        Ok((value, gradients))
    }

    fn scores(&self, samples: Vec<f32>, count: usize) -> Result<Floats<Autodiff<B>>, RuntimeError> {
        let batch = self.layout.batch(samples, count);
        let input = Value::from_tensor(&batch, self.executable.device()).map_err(|fault| fault.at("input", "input"))?;
        let graph = self.executable.graph();
        let mut values = self.executable.compute(vec![(graph.inputs()[0], input)], &[self.head.logits])?;
        match values.remove(&self.head.logits) {
            Some(Value::Floats(scores)) => Ok(scores),
            _ => Err(self.head.wrong("floats".into(), "integers".into())),
        }
    }

    fn cross_entropy(&self, scores: Floats<Autodiff<B>>, labels: &[u32]) -> Result<Floats<Autodiff<B>>, RuntimeError> {
        let classes = self.head.classes(scores.shape(), labels.len())?;
        let mut targets = vec![0.0; labels.len() * classes];
        for (row, &label) in labels.iter().enumerate() {
            if label as usize >= classes {
                return Err(self.head.wrong(format!("more than {label} classes"), classes.to_string()));
            }
            targets[row * classes + label as usize] = -1.0 / labels.len() as f32;
        }
        let shape = [labels.len(), classes];
        let targets = Floats::<Autodiff<B>>::from_vec(targets, &shape, self.executable.device());
        let logarithms = scores.reshaped(&shape).map(|scores| Autodiff::<B>::log_softmax(scores, 1));
        Ok(Floats::new(Autodiff::<B>::float_sum(Autodiff::<B>::float_mul(
            logarithms.into_tensor(),
            targets.into_tensor(),
        ))))
    }

    /// `v = momentum v + (gradient + decay w)`, `w = w - rate v`.
    fn update(&mut self, gradients: Vec<Option<FloatTensor<B>>>, settings: &TrainSettings) -> Result<(), TrainError> {
        let TrainSettings { learning_rate: rate, momentum, weight_decay: decay, .. } = *settings;
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let (velocity, step) = (parameter.velocity.take(), Descent { rate, momentum, decay });
            let (value, velocity) = B::descend(parameter.value.clone(), velocity, gradient, &step);
            parameter.value = value;
            parameter.velocity = (momentum != 0.0).then_some(velocity);
        }
        Ok(())
    }

    fn into_graph(self) -> Result<Graph, TrainError> {
        let graph = self.executable.graph().clone();
        let mut weights = Vec::with_capacity(self.parameters.len());
        for parameter in self.parameters {
            let values =
                Floats::<B>::new(parameter.value).into_vec().map_err(|fault| fault.at("weights", "training"))?;
            let data_type = graph.initializer(parameter.id).map(Tensor::data_type);
            if let Some(data_type) = data_type {
                weights.push((parameter.id, Tensor::from_f32_as(data_type, &parameter.shape, values)));
            }
        }
        let mut editor = GraphEditor::edit(graph);
        for (id, tensor) in weights {
            editor.set_tensor(id, tensor);
        }
        Ok(editor.finish()?)
    }
}

#[cfg(test)]
mod tests;
