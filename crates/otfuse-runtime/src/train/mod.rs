//! Fits the weights of a graph to labelled samples by gradient descent.
//!
//! Gradients go through the same interpreter that evaluates networks. Batch normalisation uses the statistics of each batch
//! and keeps running ones, as in PyTorch; Dropout, which graphs hold as Identity, does nothing.

mod augment;
mod batches;
mod error;
pub(crate) mod loss;
mod model;
mod optimizer;
mod parameters;
mod schedule;
mod settings;
mod state;
mod vjp;

use std::thread;
use std::time::{Duration, Instant};

use otfuse_graph::Graph;

pub use augment::Augmentation;
pub use error::TrainError;
pub use loss::Distillation;
pub use optimizer::Optimizer;
pub use parameters::trainable;
pub use schedule::Schedule;
pub use settings::TrainSettings;
pub use vjp::vector_jacobian_product;

use crate::batch::{SampleLayout, fixed_batch_size};
use crate::dataset::{Dataset, Targets};
use crate::device::Kind;
use crate::{Cpu, Evaluation, Executable, Host, RuntimeBackend, RuntimeError, evaluate};
use batches::{Source, hold_out};
use error::check;
use model::{Model, Objective, numbers};
use optimizer::Step;
use state::Position;

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
    /// Samples of the step's batch.
    pub samples: usize,
    /// The last evaluation on the samples held out.
    pub validation: Option<Evaluation>,
}

/// What is known of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// The mean loss over its batches, as they were trained on.
    pub loss: f64,
    /// The learning rate of its last step.
    pub learning_rate: f64,
    /// The network after it on the samples held out, if there are any.
    pub validation: Option<Evaluation>,
    /// The network after it on the samples that are watched, if there are any.
    pub watched: Option<Evaluation>,
}

/// A network after training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The graph with its new weights, in the types that they had.
    pub graph: Graph,
    /// All epochs.
    pub history: Vec<Epoch>,
    /// The epoch that the weights are of: of those with the highest accuracy on the samples held out, the one with the
    /// lowest loss there; the last one where none are held out. `None` if there was no epoch, or none better than the start.
    pub best: Option<usize>,
    /// The network before training on the samples held out, where it was a candidate.
    pub start: Option<Evaluation>,
    /// How many samples were held out.
    pub held_out: usize,
}

/// Keeps the state of training, so that it can be interrupted at any time.
pub struct Checkpoints<'a> {
    /// A state saved before by the same training: the same settings, network and data set.
    pub resume: Option<&'a [u8]>,
    /// The time between two states; one is saved after each epoch too.
    pub every: Duration,
    /// Saves a state; an error ends training.
    pub save: &'a mut dyn FnMut(&[u8]) -> Result<(), String>,
}

/// What training may do beside its settings.
#[derive(Default)]
pub struct Extras<'a> {
    /// Teachers.
    pub distillation: Option<Distillation<'a>>,
    /// Saved states.
    pub checkpoints: Option<Checkpoints<'a>>,
    /// Samples to measure the network on after every epoch; nothing is chosen by them.
    pub watched: Option<&'a Dataset>,
    /// Whether the network before training is a candidate: it is the result unless an epoch is better on the samples held
    /// out.
    pub start_counts: bool,
}

/// [`train_on`] without teachers or saved states.
pub fn train(
    graph: &Graph,
    dataset: &Dataset,
    settings: &TrainSettings,
    host: &Host,
    observe: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    train_on(graph, dataset, settings, Extras::default(), host, observe)
}

/// Minimises the cross-entropy (the mean squared error where targets are numbers) by stochastic gradient descent, in batches of samples shuffled anew for each epoch.
///
/// The last batch of an epoch is smaller; a network that fixes its batch size is trained in batches of that size and
/// leaves out the rest. The result follows from graph, data set and settings alone. Fails if the settings are out of
/// range, if the network has no trainable weights or is not a classifier of the data set, if a saved state belongs to
/// another training, if the loss is no number any more, or at the host's limits. Teachers have hosts of their own.
pub fn train_on(
    graph: &Graph,
    dataset: &Dataset,
    settings: &TrainSettings,
    extras: Extras<'_>,
    host: &Host,
    observe: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    let request = Request { graph, dataset, settings, extras, host };
    match host.device().kind() {
        Kind::Cpu => request.train::<Cpu>(&burn_flex::FlexDevice, observe),
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        Kind::Gpu(device) => request.train::<crate::device::Gpu>(device, observe),
    }
}

/// What [`train_on`] is given.
struct Request<'a, 'e> {
    graph: &'a Graph,
    dataset: &'a Dataset,
    settings: &'a TrainSettings,
    extras: Extras<'e>,
    host: &'a Host,
}

impl Request<'_, '_> {
    fn train<B: RuntimeBackend>(
        self,
        device: &B::Device,
        observe: &mut dyn FnMut(Progress),
    ) -> Result<Trained, TrainError> {
        let Self { graph, dataset, settings, mut extras, host } = self;
        settings.validate()?;
        if let Some(Distillation { temperature, weight, .. }) = extras.distillation {
            check("temperature", "a positive number", temperature, temperature > 0.0 && temperature.is_finite())?;
            check("teacher weight", "0 to 1", weight, (0.0..=1.0).contains(&weight))?;
        }
        if !dataset.is_labelled() {
            return Err(RuntimeError::NoTargets { data: dataset.name().to_owned(), purpose: "training" }.into());
        }
        let is_classified = matches!(dataset.targets(), Targets::Classes { .. });
        if extras.distillation.is_some() && !is_classified {
            return Err(TrainError::Targets {
                expected: "classes, whose probabilities a student follows",
                found: "numbers",
            });
        }
        let is_changed = settings.augmentation != Augmentation::default();
        if is_changed && (!is_classified || (dataset.is_dense() && !dataset.is_language())) {
            let (expected, found) = ("one class a sample, since images are cut or mirrored", "targets with places");
            return Err(TrainError::Targets { expected, found });
        }
        let (kept, held) = hold_out(dataset.len(), settings.validation, settings.seed);
        let fixed = fixed_batch_size(graph);
        let size = fixed.unwrap_or(settings.batch_size).max(1);
        let batches = if fixed.is_some() { kept.len() / size } else { kept.len().div_ceil(size) };
        if batches == 0 {
            return Err(TrainError::NoSamples);
        }
        let model = Model::<B>::new(graph, dataset, settings.batch_statistics, device, host.limits())?;
        let augmentation = settings.augmentation;
        let layout = SampleLayout::of(graph, dataset)?;
        let source =
            Source { dataset, layout: &layout, indices: &kept, size, batches, augmentation, seed: settings.seed };
        let fingerprint = fingerprint(graph, dataset, settings, &extras);
        let validation = (!held.is_empty()).then(|| dataset.chosen(&held));
        let start = match &validation {
            Some(samples) if extras.start_counts => {
                Some(evaluate(&Executable::new(graph, host)?, samples, &mut |_, _| {})?)
            }
            _ => None,
        };
        let mut run = Run { model, settings, host, device, position: Position::default(), start, fingerprint };
        if let Some(bytes) = extras.checkpoints.as_ref().and_then(|checkpoints| checkpoints.resume) {
            run.position = state::restore(&mut run.model, bytes, &run.fingerprint, device)?;
        }
        while run.position.epoch < settings.epochs {
            run.epoch(source, &mut extras, observe)?;
            run.finish_epoch(validation.as_ref(), extras.watched)?;
            run.save(&mut extras.checkpoints)?;
        }
        run.trained(graph, held.len())
    }
}

/// What must agree for a saved state to be used.
fn fingerprint(graph: &Graph, dataset: &Dataset, settings: &TrainSettings, extras: &Extras<'_>) -> String {
    let distillation = extras.distillation.as_ref();
    let teachers = distillation.map(|it| (it.teachers.len(), it.temperature, it.weight));
    // FNV-1a over the labels and the initial weights: cheap, and unlikely to agree by chance.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    dataset.labels().iter().flat_map(|label| label.to_le_bytes()).for_each(&mut mix);
    for (_, tensor) in graph.initializers() {
        tensor.bytes().iter().copied().for_each(&mut mix);
    }
    format!(
        "{settings:?} {:?} {} samples of {} {teachers:?} {hash:016x} {}",
        graph.outputs(),
        dataset.len(),
        dataset.name(),
        extras.watched.map_or(0, Dataset::len)
    )
}

/// Training in work.
struct Run<'a, B: RuntimeBackend> {
    model: Model<B>,
    settings: &'a TrainSettings,
    host: &'a Host,
    /// What the backend calls the host's device.
    device: &'a B::Device,
    position: Position,
    /// The network before training on the samples held out, where it is a candidate.
    start: Option<Evaluation>,
    fingerprint: String,
}

impl<B: RuntimeBackend> Run<'_, B> {
    /// The batches of the present epoch that are left.
    fn epoch(
        &mut self,
        source: Source<'_>,
        extras: &mut Extras<'_>,
        observe: &mut dyn FnMut(Progress),
    ) -> Result<(), TrainError> {
        let mut saved = Instant::now();
        thread::scope(|scope| {
            let batches = source.start(scope, self.position.epoch, self.position.batch);
            for batch in batches {
                let samples = batch.count;
                let loss = self.step(batch, source.batches, extras.distillation.as_ref())?;
                self.position.total += loss;
                self.position.batch += 1;
                let (epoch, steps) = (self.position.epoch, source.batches * self.settings.epochs);
                let step = epoch * source.batches + self.position.batch;
                let validation = self.position.history.last().and_then(|epoch| epoch.validation);
                observe(Progress { step, steps, epoch, loss, samples, validation });
                let due = extras.checkpoints.as_ref().is_some_and(|it| saved.elapsed() >= it.every);
                if due && self.position.batch < source.batches {
                    self.save(&mut extras.checkpoints)?;
                    saved = Instant::now();
                }
            }
            Ok(())
        })
    }

    /// One step; gives its loss.
    fn step(
        &mut self,
        batch: batches::Batch,
        batches: usize,
        distillation: Option<&Distillation<'_>>,
    ) -> Result<f64, TrainError> {
        let settings = self.settings;
        let step = self.position.epoch * batches + self.position.batch;
        let objective = Objective { label_smoothing: settings.label_smoothing, distillation };
        let (loss, gradients) = self.model.gradients(batch, &objective)?;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { step, loss });
        }
        let learning_rate = self.learning_rate(step, batches);
        let (optimizer, weight_decay) = (settings.optimizer, settings.weight_decay);
        self.model.update(gradients, &Step { optimizer, learning_rate, weight_decay, number: step + 1 });
        Ok(f64::from(loss))
    }

    fn learning_rate(&self, step: usize, batches: usize) -> f64 {
        self.settings.learning_rate * self.settings.schedule.factor(step, batches * self.settings.epochs, batches)
    }

    /// Records the epoch, and its weights if they are the best so far.
    fn finish_epoch(&mut self, validation: Option<&Dataset>, watched: Option<&Dataset>) -> Result<(), TrainError> {
        let (epoch, batches) = (self.position.epoch, self.position.batch);
        let evaluation = self.measured(validation)?;
        let watched = self.measured(watched)?;
        let learning_rate = self.learning_rate((epoch + 1) * batches - 1, batches);
        let loss = self.position.total / batches as f64;
        let best = self.position.best.as_ref().and_then(|(epoch, _)| self.position.history[*epoch].validation);
        let best = best.or(self.start);
        if let Some(found) = evaluation
            && best.is_none_or(|best| found.is_better(&best))
        {
            let parameters = self.model.parameters.iter().map(|parameter| &parameter.value);
            let values = parameters.chain(self.model.running.iter().map(|running| &running.value));
            self.position.best = Some((epoch, values.map(numbers::<B>).collect::<Result<_, _>>()?));
        }
        self.position.history.push(Epoch { loss, learning_rate, validation: evaluation, watched });
        self.position = Position { epoch: epoch + 1, batch: 0, total: 0.0, ..std::mem::take(&mut self.position) };
        Ok(())
    }

    /// The network as it is now on these samples.
    fn measured(&self, samples: Option<&Dataset>) -> Result<Option<Evaluation>, TrainError> {
        let Some(samples) = samples else { return Ok(None) };
        let executable = Executable::new(&self.model.graph()?, self.host)?;
        Ok(Some(evaluate(&executable, samples, &mut |_, _| {})?))
    }

    fn save(&self, checkpoints: &mut Option<Checkpoints<'_>>) -> Result<(), TrainError> {
        let Some(checkpoints) = checkpoints else { return Ok(()) };
        let bytes = state::save(&self.model, &self.position, &self.fingerprint)?;
        (checkpoints.save)(&bytes).map_err(TrainError::Save)
    }

    fn trained(mut self, graph: &Graph, held_out: usize) -> Result<Trained, TrainError> {
        let start = self.start;
        if start.is_some() && self.position.best.is_none() {
            let (graph, history) = (graph.clone(), self.position.history);
            return Ok(Trained { graph, history, best: None, start, held_out });
        }
        let last = self.position.history.len().checked_sub(1);
        let best = match self.position.best.take() {
            Some((epoch, values)) => {
                self.model.set(values, self.device);
                Some(epoch)
            }
            None => last,
        };
        Ok(Trained { graph: self.model.graph()?, history: self.position.history, best, start, held_out })
    }
}

#[cfg(test)]
mod tests;
