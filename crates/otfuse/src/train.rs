//! Networks trained: from scratch, further, or to follow others.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use otfuse_formats::file::atomic_write;
use otfuse_graph::{Graph, ValueId};
use otfuse_runtime::train::{
    Augmentation, Checkpoints, Distillation, Epoch, Extras, Hold, Mixing, Optimizer, Progress, Schedule, TrainError,
    TrainSettings, train_on,
};
use otfuse_runtime::{Evaluation, Executable, evaluate};
use serde::{Deserialize, Serialize};

use crate::choices::choices;
use crate::files::shown;
use crate::fitting::{fitted, labelled};
use crate::learning::Knowledge;
use crate::measure::{Distance, Measure, Measured};
use crate::options::options;
use crate::{Context, Dataset, Error, Model, Registry, Result, Samples, SplitName, architecture_for};

/// The time between two saved states within an epoch.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Learning rate of sgd from scratch.
const RATE: f64 = 0.05;
/// Learning rate of sgd from a trained network: lower.
const TUNING_RATE: f64 = 0.01;
/// Norm of the gradients of a trained network whose statistics are kept: a batch then bounds no more what a step does, and
/// the first steps of a network that was fused can be so large that none comes back from them.
const KEPT_NORM: f64 = 5.0;

choices!(
    /// What turns gradients into steps.
    OptimizerName {
        /// Stochastic gradient descent with momentum
        Sgd = "sgd",
        /// Adam
        Adam = "adam",
        /// Adam with decoupled weight decay
        AdamW = "adamw",
    }
);

options!(
    /// How networks are trained.
    TrainOptions {
        /// Passes over the training samples; 10.
        epochs ("epochs"): usize,
        /// Samples of a step; 128.
        batch_size ("batch-size"): usize,
        /// What turns gradients into steps; sgd.
        optimizer ("optimizer"): OptimizerName,
        /// Learning rate, the largest of the schedule; 0.05 with sgd (0.01 from a trained network), 0.001 with adam and adamw.
        lr ("lr"): f64,
        /// Momentum of sgd; 0.9.
        momentum ("momentum"): f64,
        /// Nesterov's momentum.
        nesterov ("nesterov"): bool,
        /// Factor of the weights in their gradients; 0.
        weight_decay ("weight-decay"): f64,
        /// Learning rate over time: constant, cosine, onecycle, or `step:EPOCHS,FACTOR`; constant.
        schedule ("schedule"): String,
        /// Share of each target that is spread over all classes; 0.
        label_smoothing ("label-smoothing"): f64,
        /// Cut a random part out of each image padded by this many pixels; 0.
        crop ("crop"): usize,
        /// Mirror half of the images.
        flip ("flip"): bool,
        /// Mix samples with others of their batch, in shares drawn from Beta(alpha, alpha); with `cutmix` too, in every other
        /// batch or so; 0.
        mixup ("mixup"): f64,
        /// Put rectangles of other images into images, their area drawn with Beta(alpha, alpha); 0.
        cutmix ("cutmix"): f64,
        /// Decay of an exponential average of the weights over the steps, which is what is measured and kept; 0 for none.
        ema ("ema"): f64,
        /// Gradients whose common norm is larger are scaled down to it; none, 5 with `freeze-statistics` from a trained network.
        clip_norm ("clip-norm"): f64,
        /// Steps over which the learning rate rises to that of the schedule; 0.
        warm_up ("warm-up"): usize,
        /// Share of the training samples held out to choose the best epoch; with 0 the last epoch is kept; 0.1.
        validation ("validation"): f64,
        /// Measure the test samples after every epoch too; nothing is chosen by them.
        watch_test ("watch-test"): bool,
        /// Keep the statistics of batch normalisation.
        freeze_statistics ("freeze-statistics"): bool,
        /// Compute the loss over the classes that the training samples have, so that scores of others stay as they are.
        own_classes ("own-classes"): bool,
        /// Hold the weights where they begin, each by its importance for what the network has learned: the strength of elastic
        /// weight consolidation, 1 for what Bayes' rule says; needs NETWORK.knowledge; 0.
        hold ("hold"): f64,
        /// Only the first so many training samples.
        limit ("limit"): usize,
        /// Seed of everything random; 0.
        seed ("seed"): u64,
    }
);

options!(
    /// How a network follows others.
    DistillOptions {
        /// Architecture of a student from scratch, as [`train`] takes it.
        student ("student"): String,
        /// What scores are divided by before they become probabilities; 4.
        temperature ("temperature"): f64,
        /// Weight of the teachers in the loss, 0 to 1; the labels have the rest, and with 1 are not looked at; 0.9, and 1 where
        /// samples have no labels.
        teacher_weight ("teacher-weight"): f64,
    }
);

/// A schedule by name.
///
/// # Errors
/// A name that is not understood.
pub fn schedule(text: &str) -> Result<Schedule> {
    match text {
        "constant" => return Ok(Schedule::Constant),
        "cosine" => return Ok(Schedule::Cosine),
        "onecycle" => return Ok(Schedule::OneCycle { warmup: 0.3 }),
        _ => {}
    }
    let parts = text.strip_prefix("step:").and_then(|parts| parts.split_once(','));
    let step = parts.and_then(|(epochs, factor)| {
        Some(Schedule::Step { epochs: epochs.parse().ok()?, factor: factor.parse().ok()? })
    });
    step.ok_or_else(|| {
        Error::input(format!(
            "`schedule` {text}: expected constant, cosine, onecycle or step:EPOCHS,FACTOR (for example step:30,0.5)"
        ))
        .hint("the learning rate over time")
    })
}

impl TrainOptions {
    /// The settings, where none is said those of a training that begins so.
    fn settings(&self, begin: Begin) -> Result<TrainSettings> {
        let is_tuned = begin == Begin::Trained;
        let sgd_rate = if is_tuned { TUNING_RATE } else { RATE };
        let is_kept = self.freeze_statistics.unwrap_or(false);
        let (betas, epsilon) = ((0.9, 0.999), 1e-8);
        let (momentum, nesterov) = (self.momentum.unwrap_or(0.9), self.nesterov.unwrap_or(false));
        let (optimizer, rate) = match self.optimizer.unwrap_or(OptimizerName::Sgd) {
            OptimizerName::Sgd => (Optimizer::Sgd { momentum, nesterov }, sgd_rate),
            OptimizerName::Adam => (Optimizer::Adam { betas, epsilon }, 1e-3),
            OptimizerName::AdamW => (Optimizer::AdamW { betas, epsilon }, 1e-3),
        };
        Ok(TrainSettings {
            epochs: self.epochs.unwrap_or(10),
            batch_size: self.batch_size.unwrap_or(128),
            optimizer,
            learning_rate: self.lr.unwrap_or(rate),
            schedule: schedule(self.schedule.as_deref().unwrap_or("constant"))?,
            weight_decay: self.weight_decay.unwrap_or(0.0),
            label_smoothing: self.label_smoothing.unwrap_or(0.0),
            augmentation: Augmentation { crop: self.crop.unwrap_or(0), flip: self.flip.unwrap_or(false) },
            mixing: Mixing { mixup: self.mixup.unwrap_or(0.0), cutmix: self.cutmix.unwrap_or(0.0) },
            warm_up: self.warm_up.unwrap_or(0),
            clip_norm: self.clip_norm.or((is_tuned && is_kept).then_some(KEPT_NORM)),
            average: self.ema.unwrap_or(0.0),
            validation: self.validation.unwrap_or(0.1),
            batch_statistics: !is_kept,
            own_classes: self.own_classes.unwrap_or(false),
            seed: self.seed.unwrap_or(0),
        })
    }
}

/// What a training begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// Random weights.
    Scratch,
    /// Those of a trained network, which is a candidate for the result.
    Trained,
}

/// What a network is trained and measured on.
#[derive(Clone, Debug)]
pub struct TrainData {
    /// Samples to train on.
    pub train: Samples,
    /// Samples that are measured after every epoch; nothing is chosen by them.
    pub watched: Option<Samples>,
    /// Samples that the result is measured on.
    pub test: Option<Samples>,
}

impl TrainData {
    /// Those of a data set: its training samples, and its test samples where it has some.
    ///
    /// # Errors
    /// Samples that cannot be read.
    pub fn of(data: &Dataset, options: &TrainOptions) -> Result<Self> {
        let (train, test) = (data.samples(SplitName::Train, options.limit)?, data.test_if_any()?);
        let watched = match (options.watch_test.unwrap_or(false), &test) {
            (false, _) => None,
            (true, Some(test)) if !data.is_part() => Some(test.clone()),
            (true, _) => Some(data.whole().test()?),
        };
        Ok(Self { train, watched, test })
    }
}

/// Where the state of a training is kept until it ends, so that the same training goes on where it was interrupted.
#[derive(Clone, Debug, Default)]
pub struct TrainState {
    /// The file; none is kept without.
    pub file: Option<PathBuf>,
    /// Begin anew, whatever state there is.
    pub restart: bool,
}

/// A network that was trained.
pub struct Trained {
    model: Model,
    state: Option<PathBuf>,
    /// The network.
    pub graph: Graph,
    /// How the training went.
    pub report: TrainReport,
}

/// How a training went.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// Where the network was written.
    pub output: String,
    /// The data set.
    pub data: String,
    /// Samples trained on.
    pub samples: usize,
    /// Samples held out to choose the epoch.
    pub held_out: usize,
    /// The settings that are easily forgotten.
    pub settings: UsedTraining,
    /// Epoch by epoch.
    pub epochs: Vec<TrainedEpoch>,
    /// The network that a finetuning or a distillation began with, on the samples held out: a candidate like the epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Measured>,
    /// How far it is from the mean of the teachers there, where these alone are learned from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_distance: Option<Distance>,
    /// The step in which the training went astray, where it ended there with the best state before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverged: Option<usize>,
    /// The epoch that was kept, counted from 1; 0 for the network that it began with.
    pub best_epoch: Option<usize>,
    /// The result on the test samples, which nothing was chosen by.
    pub test: Option<Measured>,
    /// The time it took.
    pub seconds: f64,
    /// Samples in a second.
    pub images_per_second: f64,
}

/// Settings of a training as they were used.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct UsedTraining {
    pub optimizer: OptimizerName,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub batch_size: usize,
    pub seed: u64,
}

/// An epoch of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainedEpoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the batches.
    pub loss: f64,
    /// Its learning rate at the end.
    pub learning_rate: f64,
    /// On the samples held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Measured>,
    /// How far it is from the mean of the teachers there, where these alone are learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<Distance>,
    /// On the watched samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Measured>,
}

/// A network before training, by an architecture's name, sizes and samples: see [`architecture_for`].
///
/// # Errors
/// A name that is not understood; samples that the network does not take.
pub fn untrained(architecture: &str, samples: &Samples, options: &TrainOptions) -> Result<Model> {
    let file = architecture_for(architecture, samples, options.seed.unwrap_or(0))?;
    Ok(Model::of(file, Path::new(architecture)))
}

/// Trains a network from scratch ([`untrained`] makes it).
///
/// # Errors
/// Settings that are out of range, samples that the network does not take, a training that diverges.
pub fn train(
    model: &Model,
    data: &TrainData,
    options: &TrainOptions,
    state: &TrainState,
    context: &Context,
) -> Result<Trained> {
    context.install(|| trained(model, data, options, Begin::Scratch, None, state, context))
}

/// Trains a trained network further.
///
/// # Errors
/// As [`train`].
pub fn finetune(
    model: &Model,
    data: &TrainData,
    options: &TrainOptions,
    state: &TrainState,
    context: &Context,
) -> Result<Trained> {
    model.told(context)?;
    let found = context.install(|| trained(model, data, options, Begin::Trained, None, state, context));
    found.map_err(|error| if error.file.is_some() { error } else { error.of(model.path()) })
}

/// What a student begins with.
#[derive(Clone, Debug)]
pub enum Student {
    /// An untrained network.
    New(Model),
    /// A trained one: a parent, or a fused network.
    Start(Model),
}

/// Trains a network to follow the mean of others' probabilities (G. Hinton et al., "Distilling the knowledge in a neural
/// network", 2015). With `teacher-weight` 1 samples need no labels.
///
/// # Errors
/// As [`train`]; teachers that cannot be run on the samples.
pub fn distill(
    teachers: &[Model],
    student: &Student,
    data: &TrainData,
    following: &DistillOptions,
    options: &TrainOptions,
    state: &TrainState,
    context: &Context,
) -> Result<Trained> {
    let (model, begin) = match student {
        Student::New(model) => (model, Begin::Scratch),
        Student::Start(model) => (model, Begin::Trained),
    };
    model.told(context)?;
    let mut executables = Vec::with_capacity(teachers.len());
    for teacher in teachers {
        let executable = Executable::new(teacher.told(context)?, context.host());
        executables.push(executable.map_err(|error| Error::from(error).of(teacher.path()))?);
    }
    let weight = following.teacher_weight.unwrap_or_else(|| {
        if data.train.is_labelled() {
            return 0.9;
        }
        context.note(&format!("{}: without labels the teachers alone are followed", data.train.name()));
        1.0
    });
    let temperature = following.temperature.unwrap_or(4.0);
    let distillation = Distillation { teachers: &executables, shares: &[], temperature, weight };
    trained(model, data, options, begin, Some(distillation), state, context)
}

fn trained(
    model: &Model,
    data: &TrainData,
    options: &TrainOptions,
    begin: Begin,
    distillation: Option<Distillation<'_>>,
    state: &TrainState,
    context: &Context,
) -> Result<Trained> {
    let settings = options.settings(begin)?;
    if distillation.as_ref().is_none_or(|it| it.weight < 1.0) {
        labelled(&data.train, "training")?;
    }
    let train = &*fitted(Cow::Borrowed(&data.train), &[model], context)?;
    let start_counts = begin == Begin::Trained;
    if start_counts && settings.validation <= 0.0 {
        context.note(
            "`validation` 0: no samples are held out, so that the last epoch is kept, better than the start or not",
        );
    }
    let importance = held(model, options.hold.filter(|strength| *strength != 0.0), start_counts, train.len())?;
    let hold = importance.as_ref().map(|(strength, importance)| Hold { strength: *strength, importance });
    let start = Instant::now();
    let resume = match &state.file {
        Some(file) if !state.restart => saved_state(file)?,
        _ => None,
    };
    let name = if resume.is_some() { "training (resumed)" } else { "training" };
    let stage = context.stage(name, 0);
    let mut trained_on = 0;
    let watched = measurable(data.watched.as_ref()).map(|it| fitted_quietly(it, model, context)).transpose()?;
    let result = {
        let mut write = |bytes: &[u8]| {
            let Some(file) = &state.file else { return Ok(()) };
            let written = atomic_write(file, |writer| std::io::Write::write_all(writer, bytes));
            written.map_err(|error| error.to_string())
        };
        let checkpoints = Checkpoints { resume: resume.as_deref(), every: SAVE_EVERY, save: &mut write };
        let checkpoints = state.file.is_some().then_some(checkpoints);
        let extras = Extras { distillation, checkpoints, hold, watched: watched.as_deref(), start_counts };
        train_on(model.graph()?, train, &settings, extras, context.host(), &mut |progress| {
            trained_on += progress.samples;
            let remark = remark(&progress, trained_on as f64 / start.elapsed().as_secs_f64());
            stage.tell(progress.step, progress.steps, &remark);
        })
    };
    drop(stage);
    let trained = result.map_err(|error| failure(error, state.file.as_deref()))?;
    let seconds = start.elapsed().as_secs_f64();
    if let Some(step) = trained.diverged {
        context.warn(&format!(
            "the training went astray in step {step}; the best state before it is kept. A smaller `lr` or `clip-norm` may help"
        ));
    }
    let test = measurable(data.test.as_ref())
        .map(|samples| test(&trained.graph, &*fitted_quietly(samples, model, context)?, context))
        .transpose()?;
    let images_per_second = trained_on as f64 / seconds;
    let report = TrainReport { test, seconds, images_per_second, ..described(&trained, train, options, &settings) };
    Ok(Trained { model: model.clone(), state: state.file.clone(), graph: trained.graph, report })
}

/// A strength, and the importance of each element of the weights.
type Held = (f64, BTreeMap<ValueId, Vec<f32>>);

/// How strongly each weight is held at what the network has learned before, where that was asked for.
fn held(model: &Model, strength: Option<f64>, has_learned: bool, samples: usize) -> Result<Option<Held>> {
    let Some(strength) = strength else { return Ok(None) };
    if !has_learned {
        return Err(Error::input("`hold`: a network from scratch has learned nothing yet")
            .hint("`otfuse finetune` holds a network with what it has learned beside it"));
    }
    let knowledge = Knowledge::of(model)?;
    Ok(Some((strength, knowledge.importance(model.graph()?, samples))))
}

/// The report of a training, without its times and the test.
fn described(
    trained: &otfuse_runtime::train::Trained,
    train: &Samples,
    options: &TrainOptions,
    settings: &TrainSettings,
) -> TrainReport {
    let is_language = train.is_language();
    let has_start = trained.start.is_some() || trained.start_divergence.is_some();
    TrainReport {
        output: String::new(),
        data: train.name().to_owned(),
        samples: train.len() - trained.held_out,
        held_out: trained.held_out,
        settings: UsedTraining {
            optimizer: options.optimizer.unwrap_or(OptimizerName::Sgd),
            learning_rate: settings.learning_rate,
            weight_decay: settings.weight_decay,
            batch_size: settings.batch_size,
            seed: settings.seed,
        },
        epochs: trained.history.iter().enumerate().map(|(at, epoch)| row(at, epoch, is_language)).collect(),
        start: trained.start.map(|start| Measured::new(&start, is_language)),
        start_distance: trained.start_divergence.map(Into::into),
        diverged: trained.diverged,
        best_epoch: trained.best.map(|epoch| epoch + 1).or(has_start.then_some(0)),
        test: None,
        seconds: 0.0,
        images_per_second: 0.0,
    }
}

/// Test samples of which something is known.
fn measurable(samples: Option<&Samples>) -> Option<&Samples> {
    samples.filter(|samples| samples.is_labelled())
}

/// As the training samples, of which was said what there is to say.
fn fitted_quietly<'s>(samples: &'s Samples, model: &Model, context: &Context) -> Result<Cow<'s, Samples>> {
    fitted(Cow::Borrowed(samples), &[model], &context.clone().observer(|_: &crate::Event<'_>| {}))
}

/// How a training stands, in words.
fn remark(progress: &Progress, speed: f64) -> String {
    let validation = match (progress.validation, progress.divergence) {
        (Some(found), _) => format!(", validation {}", Measure::from(found).headline()),
        (None, Some(found)) => format!(", {} on samples held out", Distance::from(found).headline()),
        (None, None) => String::new(),
    };
    format!("epoch {}, loss {:.4}{validation}, {speed:.0} samples/s", progress.epoch + 1, progress.loss)
}

fn row(index: usize, epoch: &Epoch, is_language: bool) -> TrainedEpoch {
    let measured = |evaluation: Option<Evaluation>| evaluation.map(|it| Measured::new(&it, is_language));
    let (validation, test) = (measured(epoch.validation), measured(epoch.watched));
    let distance = epoch.divergence.map(Into::into);
    TrainedEpoch { epoch: index + 1, loss: epoch.loss, learning_rate: epoch.learning_rate, validation, distance, test }
}

fn saved_state(path: &Path) -> Result<Option<Vec<u8>>> {
    match otfuse_formats::read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(Error::input(error).of(path).hint("the state of an interrupted training; `restart` begins anew"))
        }
    }
}

fn failure(error: TrainError, state: Option<&Path>) -> Error {
    match error {
        TrainError::State { .. } => Error::input(error)
            .of(state.unwrap_or(Path::new("")))
            .hint("it is of a training with other settings, data or weights; `restart` begins anew"),
        TrainError::Runtime(error) => error.into(),
        TrainError::Setting { .. } => Error::input(error).hint("see --help for what the option takes"),
        TrainError::NoSamples => Error::input(error).hint("a smaller `batch_size` or `validation` leaves more"),
        TrainError::Targets { .. } => {
            Error::input(error).hint("`otfuse finetune` without `crop`, `flip`, `mixup` and `cutmix` takes them")
        }
        TrainError::Samples { .. } => Error::input(error).hint("without `mixup` and `cutmix` they are trained on"),
        TrainError::Save(_) => Error::run(error).hint("`state` FILE chooses another place"),
        TrainError::Diverged { .. } => Error::run(error).hint("try a smaller `lr`"),
        error => Error::input(error),
    }
}

fn test(graph: &Graph, samples: &Samples, context: &Context) -> Result<Measured> {
    let executable = Executable::new(graph, context.host())?;
    let evaluation = evaluate(&executable, samples, &mut |_, _| {})?;
    Ok(Measured::new(&evaluation, samples.is_language()))
}

impl Trained {
    /// Stages the network to be written; the extension chooses the format.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path) -> Result<()> {
        self.report.output = shown(path);
        self.model.write(&self.graph, registry.outputs(), path)
    }

    /// Writes the network, whole or not at all.
    ///
    /// # Errors
    /// A path that cannot be written, or is the network that the training began with.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let (model, path) = (self.model.clone(), path.as_ref());
        Registry::alone(&[&model], &model, path, |registry| self.write(registry, path))
    }

    /// Removes the state of the training, which is of no use once the network is written.
    pub fn forget_state(&self) {
        if let Some(state) = &self.state {
            // That it cannot be removed harms nobody.
            let _ = std::fs::remove_file(state);
        }
    }
}
