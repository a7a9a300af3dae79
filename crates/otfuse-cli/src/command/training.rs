//! What `train`, `finetune` and `distill` share: options, the state, the report.

use std::path::PathBuf;

use clap::Args;
use otfuse::{
    Distance, Measured, Model, OptimizerName, Registry, Result, TrainOptions, TrainReport, TrainState, Trained,
};

use crate::arguments::Data;
use crate::choice::{choice, said};
use crate::session::Session;
use crate::table::{count, table};

/// Options of training.
#[derive(Args, Debug, Clone)]
pub struct Training {
    /// Where to write the result; the extension chooses the format (.onnx, .safetensors, .pt ...)
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    pub data: Data,
    /// Passes over the training samples [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Samples of a step [default: 128]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// What turns gradients into steps [default: sgd]
    #[arg(long, value_parser = choice::<OptimizerName>())]
    optimizer: Option<OptimizerName>,
    /// Learning rate, the largest of the schedule; 0.05 with sgd (0.01 from a trained network), 0.001 with adam and adamw
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Nesterov's momentum
    #[arg(long)]
    nesterov: bool,
    /// Factor of the weights in their gradients [default: 0]
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Learning rate over time: constant, cosine, onecycle, or step:EPOCHS,FACTOR [default: constant]
    #[arg(long, value_name = "KIND")]
    schedule: Option<String>,
    /// Share of each target that is spread over all classes [default: 0]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// Cut a random part out of each image padded by this many pixels [default: 0]
    #[arg(long, value_name = "PIXELS")]
    crop: Option<usize>,
    /// Mirror half of the images
    #[arg(long)]
    flip: bool,
    /// Mix samples with others of their batch, in shares drawn from Beta(ALPHA, ALPHA); with --cutmix too, one of the two in
    /// each batch [default: 0]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    mixup: Option<f64>,
    /// Put rectangles of other images of the batch into images, of areas drawn with Beta(ALPHA, ALPHA) [default: 0]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    cutmix: Option<f64>,
    /// Decay of an exponential average of the weights over the steps, which is measured and kept in their place [default: 0]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    ema: Option<f64>,
    /// Scale gradients of a larger norm down to it; 5 with --freeze-statistics from a trained network, else none
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    clip_norm: Option<f64>,
    /// Steps over which the learning rate rises to that of the schedule [default: 0]
    #[arg(long, value_name = "N")]
    warm_up: Option<usize>,
    /// Share of the training samples held out to choose the best epoch; with 0 the last epoch is kept [default: 0.1]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    validation: Option<f64>,
    /// Measure the test samples after every epoch too; nothing is chosen by them
    #[arg(long)]
    watch_test: bool,
    /// Keep the statistics of batch normalisation
    #[arg(long)]
    freeze_statistics: bool,
    /// Compute the loss over the classes that the training samples have, so that scores of others stay as they are
    #[arg(long)]
    own_classes: bool,
    /// Hold the weights where they begin, each by its importance for what the network has learned (elastic weight
    /// consolidation): 1 for what Bayes' rule says; needs the MODEL.knowledge that `fuse --into` writes [default: 0]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    hold: Option<f64>,
    /// Use only the first N training samples
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Seed of everything random [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Where the state of the training is kept until it ends, so that the same command goes on where it was
    /// interrupted; OUT.state if not given
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Begin anew, whatever state there is
    #[arg(long)]
    restart: bool,
}

impl Training {
    /// The options.
    pub fn options(&self) -> TrainOptions {
        TrainOptions {
            epochs: self.epochs,
            batch_size: self.batch_size,
            optimizer: self.optimizer,
            lr: self.lr,
            momentum: self.momentum,
            nesterov: said(self.nesterov),
            weight_decay: self.weight_decay,
            schedule: self.schedule.clone(),
            label_smoothing: self.label_smoothing,
            crop: self.crop,
            flip: said(self.flip),
            mixup: self.mixup,
            cutmix: self.cutmix,
            ema: self.ema,
            clip_norm: self.clip_norm,
            warm_up: self.warm_up,
            validation: self.validation,
            watch_test: said(self.watch_test),
            freeze_statistics: said(self.freeze_statistics),
            own_classes: said(self.own_classes),
            hold: self.hold,
            limit: self.limit,
            seed: self.seed,
        }
    }

    /// Makes known what will be written for a network like `model`; where the state is kept.
    pub fn register(&self, model: &Model, registry: &mut Registry) -> Result<TrainState> {
        let file = self.state.clone().unwrap_or_else(|| {
            let mut name = self.output.clone().into_os_string();
            name.push(".state");
            name.into()
        });
        registry.result("output", &self.output, model)?;
        registry.output("state", &file)?;
        Ok(TrainState { file: Some(file), restart: self.restart })
    }

    /// Writes the network, prints the report and forgets the state.
    pub fn finish(&self, mut trained: Trained, registry: Registry, session: &Session) -> Result<()> {
        trained.write(&registry, &self.output)?;
        registry.commit()?;
        trained.forget_state();
        session.print(&trained.report, text)
    }
}

fn text(report: &TrainReport) -> String {
    let held = |validation: Option<Measured>, distance: Option<Distance>| {
        validation.map(|it| it.headline()).or(distance.map(|it| it.headline()))
    };
    let start = held(report.start, report.start_distance).map(|start| {
        let best = if report.best_epoch == Some(0) { "*" } else { "" };
        vec!["start".to_owned(), String::new(), String::new(), start, best.to_owned()]
    });
    let has_start = start.is_some();
    let rows = report.epochs.iter().map(|row| {
        let best = if report.best_epoch == Some(row.epoch) && report.held_out > 0 { "*" } else { "" };
        let validation = held(row.validation, row.distance).unwrap_or_default();
        let (loss, rate) = (format!("{:.4}", row.loss), format!("{:.5}", row.learning_rate));
        vec![row.epoch.to_string(), loss, rate, validation, best.to_owned()]
    });
    let columns = ["epoch", "loss", "rate", "validation", ""];
    let mut text = table(&columns, &columns, start.into_iter().chain(rows));
    let held = if report.held_out > 0 {
        format!("{} held out to choose the epoch (*)", count(report.held_out, "sample"))
    } else {
        "none held out: the last epoch is kept".to_owned()
    };
    let (trained, speed) = (count(report.samples, "sample"), report.images_per_second);
    text += &format!("\ntrained on {trained} of {}, {held}; {speed:.0} samples/s", report.data);
    if let Some(test) = report.test {
        text += &format!("\ntest {} {} on {}", test.headline_name(), test.headline(), count(test.samples, "sample"));
        if let Some(perplexity) = test.perplexity {
            text += &format!(", perplexity {perplexity:.3}");
        }
    }
    if has_start && report.best_epoch == Some(0) {
        text += "\nno epoch is better on the samples held out than the start, which is kept";
    }
    text + &format!("\nwritten to {}", report.output)
}
