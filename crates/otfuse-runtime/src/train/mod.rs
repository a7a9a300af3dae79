//! Fits the weights of a graph to labelled samples, or to what other networks say of samples, by gradient descent.
//!
//! Gradients go through the same interpreter that evaluates networks. Batch normalisation uses the statistics of each batch
//! and keeps running ones, as in PyTorch; Dropout, which graphs hold as Identity, does nothing.

mod augment;
mod batches;
mod error;
mod fisher;
mod hold;
mod judge;
pub(crate) mod loss;
mod mix;
mod model;
mod optimizer;
mod parameters;
mod schedule;
mod settings;
mod state;
mod vjp;
mod work;

use std::thread;
use std::time::{Duration, Instant};

use otfuse_graph::Graph;

pub use augment::Augmentation;
pub use error::TrainError;
pub use fisher::{Expectation, fisher_diagonal};
pub use hold::Hold;
pub use loss::Distillation;
pub use mix::Mixing;
pub use optimizer::Optimizer;
pub use parameters::trainable;
pub use schedule::Schedule;
pub use settings::TrainSettings;
pub use vjp::vector_jacobian_product;
pub use work::Work;

use crate::batch::{SampleLayout, fixed_batch_size};
use crate::dataset::{Dataset, Targets};
use crate::device::Kind;
use crate::{Answers, Cpu, Divergence, Evaluation, Executable, Host, RuntimeBackend, RuntimeError, evaluate};
use batches::{Source, hold_out};
use judge::{Judge, Judged};
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
    /// The last divergence from the teachers on the samples held out, where these alone are learned from.
    pub divergence: Option<Divergence>,
}

/// What is known of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// The mean loss over its batches, as they were trained on.
    pub loss: f64,
    /// The learning rate of its last step.
    pub learning_rate: f64,
    /// The network after it on the samples held out, if there are any; not where teachers alone are learned from.
    pub validation: Option<Evaluation>,
    /// How far the network after it is from the mean of the teachers on the samples held out, where these alone are learned
    /// from.
    pub divergence: Option<Divergence>,
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
    /// lowest loss there; where teachers alone are learned from, the one that diverges least from them; the last one where
    /// none are held out. `None` if there was no epoch, or none better than the start.
    pub best: Option<usize>,
    /// The network before training on the samples held out, where it was a candidate.
    pub start: Option<Evaluation>,
    /// The divergence of the network before training, where it was a candidate and teachers alone are learned from.
    pub start_divergence: Option<Divergence>,
    /// The step in which the loss or the weights became no numbers, counted from 0, where training ended there and the best
    /// state before it is the result.
    pub diverged: Option<usize>,
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
    /// What the weights are held at.
    pub hold: Option<Hold<'a>>,
    /// Samples to measure the network on after every epoch; nothing is chosen by them.
    pub watched: Option<&'a Dataset>,
    /// Whether the network before training is a candidate: it is the result unless an epoch is better on the samples held
    /// out. A training that diverges then ends with the best state, and without an error.
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
/// Networks that follow teachers alone (`weight` 1) need no labels: they minimise the cross-entropy to the mean of the
/// teachers' probabilities, or the squared error to the mean of their numbers, and epochs are chosen by the
/// Kullback-Leibler divergence from that mean on the samples held out.
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
        extras.distillation.as_ref().map_or(Ok(()), Distillation::validate)?;
        extras.hold.as_ref().map_or(Ok(()), Hold::validate)?;
        let follows = extras.distillation.as_ref().is_some_and(Distillation::is_alone);
        if !dataset.is_labelled() && !follows {
            return Err(RuntimeError::NoTargets { data: dataset.name().to_owned(), purpose: "training" }.into());
        }
        check_changes(dataset, settings, follows)?;
        let (kept, held) = hold_out(dataset.len(), settings.validation, settings.seed);
        let fixed = fixed_batch_size(graph);
        let size = fixed.unwrap_or(settings.batch_size).max(1);
        let batches = if fixed.is_some() { kept.len() / size } else { kept.len().div_ceil(size) };
        if batches == 0 {
            return Err(TrainError::NoSamples);
        }
        let executable = Executable::new(graph, host)?;
        let answers = Answers::recognised(&executable, dataset)?;
        let mut model = Model::<B>::new(graph, answers.clone(), settings.batch_statistics, device, host.limits())?;
        if let Some(hold) = &extras.hold {
            model.hold(hold, device);
        }
        let own = own_classes(dataset, settings, follows)?;
        let (augmentation, mixing) = (settings.augmentation, settings.mixing);
        let layout = SampleLayout::of(graph, dataset)?;
        let seed = settings.seed;
        let source = Source { dataset, layout: &layout, indices: &kept, size, batches, augmentation, mixing, seed };
        let fingerprint = fingerprint(graph, dataset, settings, &extras);
        let judge = (!held.is_empty())
            .then(|| Judge::new(dataset.chosen(&held), &answers, extras.distillation.as_ref()))
            .transpose()?;
        let start = match &judge {
            Some(judge) if extras.start_counts => judge.measured(&executable)?,
            _ => None,
        };
        drop(executable);
        let position = Position::default();
        let mut run = Run { model, settings, host, device, position, start, fingerprint, own, diverged: None };
        if let Some(bytes) = extras.checkpoints.as_ref().and_then(|checkpoints| checkpoints.resume) {
            run.position = state::restore(&mut run.model, bytes, &run.fingerprint, device)?;
        }
        while run.position.epoch < settings.epochs {
            let done = run.epoch(source, &mut extras, observe);
            match done.and_then(|()| run.finish_epoch(judge.as_ref(), extras.watched)) {
                Err(TrainError::Diverged { step, .. }) if run.start.is_some() => {
                    run.diverged = Some(step);
                    break;
                }
                done => done?,
            }
            run.save(&mut extras.checkpoints)?;
        }
        run.trained(graph, held.len())
    }
}

/// The classes that the samples have, where the loss is to look at these alone.
fn own_classes(dataset: &Dataset, settings: &TrainSettings, follows: bool) -> Result<Option<Vec<bool>>, TrainError> {
    if !settings.own_classes {
        return Ok(None);
    }
    if follows || !matches!(dataset.targets(), Targets::Classes { .. }) {
        let (expected, found) = ("labels of classes, for a loss over the classes that occur", "none, or numbers");
        return Err(TrainError::Targets { expected, found });
    }
    let mut own = vec![false; dataset.classes()];
    for &label in dataset.labels().iter().filter(|&&label| label != Targets::VOID) {
        own[label as usize] = true;
    }
    Ok(Some(own))
}

/// Fails where samples are to be changed in ways that their targets, or they themselves, do not allow.
fn check_changes(dataset: &Dataset, settings: &TrainSettings, follows: bool) -> Result<(), TrainError> {
    let is_changed = settings.augmentation != Augmentation::default();
    let is_classified = matches!(dataset.targets(), Targets::Classes { .. });
    let has_places = !is_classified || (dataset.is_dense() && !dataset.is_language());
    if !follows && has_places && (is_changed || !settings.mixing.is_none()) {
        let (expected, found) = ("one class a sample, since images are cut, mirrored or mixed", "targets with places");
        return Err(TrainError::Targets { expected, found });
    }
    if settings.mixing.is_none() {
        return Ok(());
    }
    let wrong = |expected, found| Err(TrainError::Samples { expected, found });
    if dataset.vocabulary().is_some() || dataset.arrays().count() != 1 {
        return wrong("one array of numbers a sample, to be mixed", "tokens, or several arrays");
    }
    match dataset.sample_shape() {
        [_, height, width] if height * width > 0 => Ok(()),
        _ if settings.mixing.cutmix > 0.0 => wrong("images (channels x height x width) for cutmix", "others"),
        _ => Ok(()),
    }
}

/// What must agree for a saved state to be used.
fn fingerprint(graph: &Graph, dataset: &Dataset, settings: &TrainSettings, extras: &Extras<'_>) -> String {
    let distillation = extras.distillation.as_ref();
    let teachers = distillation.map(|it| (it.shares(), it.temperature, it.weight));
    // FNV-1a over the labels and the initial weights: cheap, and unlikely to agree by chance.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    dataset.labels().iter().flat_map(|label| label.to_le_bytes()).for_each(&mut mix);
    for (_, tensor) in graph.initializers() {
        tensor.bytes().iter().copied().for_each(&mut mix);
    }
    let importance = extras.hold.iter().flat_map(|hold| hold.importance.values().flatten());
    importance.flat_map(|value| value.to_le_bytes()).for_each(&mut mix);
    let held = extras.hold.as_ref().map_or_else(String::new, |hold| format!(" held {}", hold.strength));
    format!(
        "{settings:?} {:?} {} samples of {} {teachers:?} {hash:016x} {}{held}",
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
    start: Option<Judged>,
    fingerprint: String,
    /// The classes that the loss looks at; all without.
    own: Option<Vec<bool>>,
    /// The step in which training went astray.
    diverged: Option<usize>,
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
                let last = self.position.history.last();
                let validation = last.and_then(|epoch| epoch.validation);
                let divergence = last.and_then(|epoch| epoch.divergence);
                observe(Progress { step, steps, epoch, loss, samples, validation, divergence });
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
        let own = self.own.as_deref();
        let objective = Objective { label_smoothing: settings.label_smoothing, distillation, own };
        let (loss, mut gradients) = self.model.gradients(batch, &objective)?;
        if !loss.is_finite() {
            return Err(TrainError::Diverged { step, loss });
        }
        if let Some(most) = settings.clip_norm {
            let norm = Model::<B>::clip(&mut gradients, most)?;
            if !norm.is_finite() {
                return Err(TrainError::Diverged { step, loss: norm as f32 });
            }
        }
        let learning_rate = self.learning_rate(step, batches);
        let (optimizer, weight_decay) = (settings.optimizer, settings.weight_decay);
        self.model.update(gradients, &Step { optimizer, learning_rate, weight_decay, number: step + 1 });
        self.model.pull(optimizer.reach(learning_rate));
        if settings.average > 0.0 {
            self.model.average(settings.average.min((1 + step) as f64 / (10 + step) as f64));
        }
        Ok(f64::from(loss))
    }

    fn learning_rate(&self, step: usize, batches: usize) -> f64 {
        let settings = self.settings;
        let factor = settings.schedule.factor(step, batches * settings.epochs, batches);
        let warm = if step < settings.warm_up { (step + 1) as f64 / settings.warm_up as f64 } else { 1.0 };
        settings.learning_rate * factor * warm
    }

    /// Records the epoch, and its weights if they are the best so far.
    fn finish_epoch(&mut self, judge: Option<&Judge>, watched: Option<&Dataset>) -> Result<(), TrainError> {
        let (epoch, batches) = (self.position.epoch, self.position.batch);
        let last = (epoch + 1) * batches - 1;
        let judged = match judge {
            Some(judge) => {
                let executable = Executable::new(&self.model.graph()?, self.host)?;
                let found = judge.measured(&executable)?;
                Some(found.ok_or(TrainError::Diverged { step: last, loss: f32::NAN })?)
            }
            None => None,
        };
        let watched = self.watched(watched)?;
        let learning_rate = self.learning_rate(last, batches);
        let loss = self.position.total / batches as f64;
        let best = self.position.best.as_ref().map(|(epoch, _)| Judged::from(&self.position.history[*epoch]));
        let best = best.or(self.start);
        if let Some(found) = judged
            && best.is_none_or(|best| found.is_better(&best))
        {
            let values = self.model.measured().map(|(_, value)| numbers::<B>(value));
            self.position.best = Some((epoch, values.collect::<Result<_, _>>()?));
        }
        let (validation, divergence) = judged.map_or((None, None), |it| (it.validation, it.divergence));
        self.position.history.push(Epoch { loss, learning_rate, validation, divergence, watched });
        self.position = Position { epoch: epoch + 1, batch: 0, total: 0.0, ..std::mem::take(&mut self.position) };
        Ok(())
    }

    /// The network as it is now on samples that nothing is chosen by.
    fn watched(&self, samples: Option<&Dataset>) -> Result<Option<Evaluation>, TrainError> {
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
        let is_start = self.start.is_some() && self.position.best.is_none();
        let last = self.position.history.len().checked_sub(1);
        let best = match self.position.best.take() {
            Some((epoch, values)) => {
                self.model.set(values, self.device);
                Some(epoch)
            }
            None => last.filter(|_| !is_start),
        };
        Ok(Trained {
            graph: if is_start { graph.clone() } else { self.model.graph()? },
            history: self.position.history,
            best,
            start: self.start.and_then(|start| start.validation),
            start_divergence: self.start.and_then(|start| start.divergence),
            diverged: self.diverged,
            held_out,
        })
    }
}

#[cfg(test)]
mod tests;
