//! What `train`, `finetune` and `distill` share: options, saved states, the report.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use otfuse_formats::Model;
use otfuse_formats::file::atomic_write;
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{
    Augmentation, Checkpoints, Distillation, Epoch, Extras, Optimizer, Schedule, TrainError, TrainSettings, Trained,
    train_on,
};
use otfuse_runtime::{Device, Evaluation, Executable, evaluate};
use serde::Serialize;

use super::Failure;
use super::arguments::{Data, SplitName};
use super::failure::runtime_failure;
use super::models::{count, dataset, save, shown};
use super::output::table;
use super::progress::TrainingBar;

/// The time between two saved states within an epoch.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// Options of training.
#[derive(Args, Debug, Clone)]
pub struct Training {
    /// Where to write the result; the extension chooses the format (.onnx, .safetensors, .pt ...)
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Data,
    /// Passes over the training samples
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub epochs: usize,
    /// Samples of a step
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub batch_size: usize,
    /// What turns gradients into steps
    #[arg(long, value_enum, default_value_t = OptimizerName::Sgd)]
    pub optimizer: OptimizerName,
    /// Learning rate, the largest of the schedule; 0.05 with sgd (0.01 from a trained network), 0.001 with adam and adamw
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Momentum of sgd
    #[arg(long, value_name = "M", default_value_t = 0.9, allow_negative_numbers = true)]
    pub momentum: f64,
    /// Nesterov's momentum
    #[arg(long)]
    pub nesterov: bool,
    /// Factor of the weights in their gradients
    #[arg(long, value_name = "D", default_value_t = 0.0, allow_negative_numbers = true)]
    pub weight_decay: f64,
    /// Learning rate over time: constant, cosine, onecycle, or step:EPOCHS,FACTOR
    #[arg(long, value_name = "KIND", default_value = "constant", value_parser = schedule)]
    pub schedule: Schedule,
    /// Share of each target that is spread over all classes
    #[arg(long, value_name = "S", default_value_t = 0.0, allow_negative_numbers = true)]
    pub label_smoothing: f64,
    /// Cut a random part out of each image padded by this many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub crop: usize,
    /// Mirror half of the images
    #[arg(long)]
    pub flip: bool,
    /// Share of the training samples held out to choose the best epoch; with 0 the last epoch is kept
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, allow_negative_numbers = true)]
    pub validation: f64,
    /// Measure the test samples after every epoch too; nothing is chosen by them
    #[arg(long)]
    pub watch_test: bool,
    /// Keep the statistics of batch normalisation
    #[arg(long)]
    pub freeze_statistics: bool,
    /// Use only the first N training samples
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the state of the training is kept until it ends, so that the same command goes on where it was
    /// interrupted; OUT.state if not given
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Begin anew, whatever state there is
    #[arg(long)]
    pub restart: bool,
    /// Whether the result is measured elsewhere, not here.
    #[arg(skip)]
    pub unmeasured: bool,
}

/// Optimizers by name.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// Adam
    Adam,
    /// Adam with decoupled weight decay
    AdamW,
}

fn schedule(text: &str) -> Result<Schedule, String> {
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
    step.ok_or_else(|| "expected constant, cosine, onecycle or step:EPOCHS,FACTOR (for example step:30,0.5)".into())
}

impl Training {
    /// The settings, with the learning rate that sgd has where none is given.
    fn settings(&self, sgd_rate: f64) -> TrainSettings {
        let (betas, epsilon) = ((0.9, 0.999), 1e-8);
        let (optimizer, rate) = match self.optimizer {
            OptimizerName::Sgd => (Optimizer::Sgd { momentum: self.momentum, nesterov: self.nesterov }, sgd_rate),
            OptimizerName::Adam => (Optimizer::Adam { betas, epsilon }, 1e-3),
            OptimizerName::AdamW => (Optimizer::AdamW { betas, epsilon }, 1e-3),
        };
        TrainSettings {
            epochs: self.epochs,
            batch_size: self.batch_size,
            optimizer,
            learning_rate: self.lr.unwrap_or(rate),
            schedule: self.schedule,
            weight_decay: self.weight_decay,
            label_smoothing: self.label_smoothing,
            augmentation: Augmentation { crop: self.crop, flip: self.flip },
            validation: self.validation,
            batch_statistics: !self.freeze_statistics,
            seed: self.seed,
        }
    }

    fn state_path(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| {
            let mut name = self.output.clone().into_os_string();
            name.push(".state");
            name.into()
        })
    }

    /// The samples to train on.
    pub fn samples(&self) -> Result<Dataset, Failure> {
        dataset(&self.data, SplitName::Train, self.limit)
    }
}

/// What a training says of itself.
#[derive(Serialize)]
pub struct Report {
    output: String,
    data: String,
    /// Samples trained on, and held out to choose the epoch.
    samples: usize,
    held_out: usize,
    settings: Used,
    epochs: Vec<Row>,
    /// Counted from 1.
    best_epoch: Option<usize>,
    /// The result on the test samples, which nothing was chosen by.
    test: Option<Measured>,
    seconds: f64,
    images_per_second: f64,
}

/// The settings that are not in the command's name.
#[derive(Serialize)]
struct Used {
    optimizer: OptimizerName,
    learning_rate: f64,
    weight_decay: f64,
    batch_size: usize,
    seed: u64,
}

#[derive(Serialize)]
struct Row {
    epoch: usize,
    loss: f64,
    learning_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Measured>,
    /// After this epoch, with --watch-test.
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Measured>,
}

#[derive(Serialize, Clone, Copy)]
struct Measured {
    accuracy: f64,
    loss: f64,
    /// Of language models.
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    samples: usize,
}

impl Measured {
    fn new(evaluation: Evaluation, is_language: bool) -> Self {
        Self {
            accuracy: evaluation.accuracy,
            loss: evaluation.loss,
            perplexity: is_language.then(|| evaluation.perplexity()),
            samples: evaluation.samples,
        }
    }
}

/// Trains `model` and writes it.
pub fn run(
    model: &Model,
    training: &Training,
    sgd_rate: f64,
    distillation: Option<Distillation<'_>>,
    samples: &Dataset,
) -> Result<Report, Failure> {
    let settings = training.settings(sgd_rate);
    let start = Instant::now();
    let state = training.state_path();
    let resume = if training.restart { None } else { saved_state(&state)? };
    let watched = training.watch_test.then(|| dataset(&training.data.whole(), SplitName::Test, None)).transpose()?;
    let bar = TrainingBar::new(resume.is_some());
    let mut trained_on = 0;
    let result = {
        let mut write = |bytes: &[u8]| {
            let written = atomic_write(&state, |file| std::io::Write::write_all(file, bytes));
            written.map_err(|error| error.to_string())
        };
        let checkpoints = Checkpoints { resume: resume.as_deref(), every: SAVE_EVERY, save: &mut write };
        let extras = Extras { distillation, checkpoints: Some(checkpoints), watched: watched.as_ref() };
        let device = Device::default();
        train_on(&model.graph, samples, &settings, extras, &device, &mut |progress| {
            trained_on += progress.samples;
            bar.at(&progress, start.elapsed().as_secs_f64(), trained_on);
        })
    };
    drop(bar);
    let trained = result.map_err(|error| failure(&error, &state))?;
    save(model, &trained.graph, &training.output)?;
    // The state is of no use any more; that it cannot be removed harms nobody.
    let _ = std::fs::remove_file(&state);
    let seconds = start.elapsed().as_secs_f64();
    let test = if training.unmeasured { None } else { test(&trained, training)? };
    Ok(Report {
        output: shown(&training.output),
        data: samples.name().to_owned(),
        samples: samples.len() - trained.held_out,
        held_out: trained.held_out,
        settings: Used {
            optimizer: training.optimizer,
            learning_rate: settings.learning_rate,
            weight_decay: settings.weight_decay,
            batch_size: settings.batch_size,
            seed: settings.seed,
        },
        epochs: trained.history.iter().enumerate().map(|(at, epoch)| row(at, epoch, samples.is_language())).collect(),
        best_epoch: trained.best.map(|epoch| epoch + 1),
        test,
        seconds,
        images_per_second: trained_on as f64 / seconds,
    })
}

fn row(index: usize, epoch: &Epoch, is_language: bool) -> Row {
    let measured = |evaluation: Option<Evaluation>| evaluation.map(|it| Measured::new(it, is_language));
    let (validation, test) = (measured(epoch.validation), measured(epoch.watched));
    Row { epoch: index + 1, loss: epoch.loss, learning_rate: epoch.learning_rate, validation, test }
}

fn saved_state(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::input(format!("{}: {error}", path.display()))
            .hint("the state of an interrupted training; --restart begins anew")),
    }
}

fn failure(error: &TrainError, state: &Path) -> Failure {
    match error {
        TrainError::State { .. } => Failure::input(error)
            .of(state)
            .hint("it is of a training with other settings, data or weights; --restart begins anew"),
        TrainError::Runtime(error) => runtime_failure(error),
        TrainError::Setting { .. } => Failure::input(error).hint("see --help for what the option takes"),
        TrainError::NoSamples => Failure::input(error).hint("a smaller --batch-size or --validation leaves more"),
        TrainError::Save(_) => Failure::run(error).hint("--state FILE chooses another place"),
        TrainError::Diverged { .. } => Failure::run(error).hint("try a smaller --lr"),
        _ => Failure::input(error),
    }
}

/// The result on the test samples, where the data set has some.
fn test(trained: &Trained, training: &Training) -> Result<Option<Measured>, Failure> {
    let Ok(samples) = dataset(&training.data, SplitName::Test, None) else { return Ok(None) };
    let executable = Executable::new(&trained.graph, &Device::default());
    let evaluation = executable.and_then(|executable| evaluate(&executable, &samples, &mut |_, _| {}));
    let evaluation = evaluation.map_err(|error| runtime_failure(&error))?;
    Ok(Some(Measured::new(evaluation, samples.is_language())))
}

/// The report as text.
pub fn text(report: &Report) -> String {
    let percent = |value: f64| format!("{:.2} %", 100.0 * value);
    let rows = report.epochs.iter().map(|row| {
        let best = if report.best_epoch == Some(row.epoch) && report.held_out > 0 { "*" } else { "" };
        let validation = row.validation.map_or_else(String::new, |it| percent(it.accuracy));
        let (loss, rate) = (format!("{:.4}", row.loss), format!("{:.5}", row.learning_rate));
        vec![row.epoch.to_string(), loss, rate, validation, best.to_owned()]
    });
    let columns = ["epoch", "loss", "rate", "validation", ""];
    let mut text = table(&columns, &columns, rows);
    let held = if report.held_out > 0 {
        format!("{} held out to choose the epoch (*)", count(report.held_out, "sample"))
    } else {
        "none held out: the last epoch is kept".to_owned()
    };
    let (trained, speed) = (count(report.samples, "sample"), report.images_per_second);
    text += &format!("\ntrained on {trained} of {}, {held}; {speed:.0} samples/s", report.data);
    if let Some(test) = report.test {
        text += &format!("\ntest accuracy {} on {}", percent(test.accuracy), count(test.samples, "sample"));
        if let Some(perplexity) = test.perplexity {
            text += &format!(", perplexity {perplexity:.3}");
        }
    }
    text + &format!("\nwritten to {}", report.output)
}
