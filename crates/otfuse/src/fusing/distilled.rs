//! The last repair: the fused network follows its parents on the same unlabelled samples.

use std::time::Instant;

use otfuse_graph::{Graph, Operator};
use otfuse_runtime::train::{
    Augmentation, Distillation, Extras, Mixing, Optimizer, Progress, Schedule, TrainError, TrainSettings, Work,
    train_on,
};
use otfuse_runtime::{Answers, Executable, Probabilities};
use serde::Serialize;

use super::plan::Plan;
use crate::measure::{Distance, ensemble};
use crate::{Context, Error, Result, Samples};

/// What scores are divided by before they become probabilities that are followed.
const TEMPERATURE: f64 = 2.0;
/// The share of the samples that the epoch is chosen on.
const HELD_OUT: f64 = 0.1;
/// Samples of a step.
const BATCH: usize = 50;
/// Steps in which the learning rate rises.
const WARM_UP: usize = 20;
/// Norm that gradients are scaled down to.
const NORM: f64 = 5.0;
/// Products that are added up, in all steps together: some minutes on two cores. A number and no time, so that the same
/// inputs give the same bytes on every machine.
const WORK: u64 = 28_000_000_000_000;
/// Numbers of inner values that a batch may have at once.
const MOST_VALUES: u64 = 1 << 28;
/// The most epochs, where the work would allow more.
const EPOCHS: usize = 160;
/// The same of networks whose steps are scaled by the size of gradients, which need fewer.
const FEW_EPOCHS: usize = 40;
/// Fewer epochs leave a network whose images are mixed worse than it was: it needs them to come back from the first steps.
const FEWEST_EPOCHS: usize = 20;
/// The same of networks whose steps are scaled.
const FEWEST_SCALED: usize = 2;
/// The share of samples of which the parents still say the same when images are changed, for these changes to be natural.
const NATURAL: f64 = 0.85;
/// Parts of an image's side that it is moved by, from the largest on.
const MOVES: [usize; 2] = [8, 16];

/// How a fused network was distilled.
#[derive(Clone, Debug, Serialize)]
pub struct DistilledNetwork {
    /// Samples that were learned from.
    pub samples: usize,
    /// Samples that the epoch was chosen on.
    pub held_out: usize,
    /// Steps.
    pub steps: usize,
    /// Passes over the samples.
    pub epochs: usize,
    /// The epoch that was kept, counted from 1; 0 for the network before, which is a candidate.
    pub best_epoch: usize,
    /// Samples of a step.
    pub batch_size: usize,
    /// The largest learning rate.
    pub learning_rate: f64,
    /// Pixels that images were moved by at most.
    pub crop: usize,
    /// Whether half of the images were mirrored.
    pub flip: bool,
    /// Whether images were mixed among each other.
    pub mixed: bool,
    /// Products that are added up in a step.
    pub multiply_adds: u64,
    /// The network before, from the mean of its parents, on the samples held out.
    pub before: Distance,
    /// The result, from the mean of its parents, on the samples held out.
    pub after: Distance,
    /// The step in which training went astray and ended, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverged: Option<usize>,
    /// The time it took.
    pub seconds: f64,
}

/// The parents and what is learned from them.
struct Lesson<'a> {
    start: &'a Graph,
    parents: Vec<Executable>,
    shares: &'a [f64],
    samples: &'a Samples,
    context: &'a Context,
}

/// How the network learns.
struct Course {
    settings: TrainSettings,
    steps: usize,
    work: u64,
}

/// A fused network after it learned to say what its parents say in the mean, on unlabelled samples; the network itself where
/// no epoch comes closer to that on samples held out.
///
/// Images are moved and mirrored where that is nothing to the parents, and mixed among each other (L. Beyer et al.,
/// "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022). Takes as many steps as `repair-steps`
/// says, else as many as a fixed number of products allows.
///
/// # Errors
/// Networks that no gradients pass or that cannot be run.
pub(super) fn distilled(
    start: &Graph,
    parents: &[&Graph],
    shares: &[f64],
    samples: &Samples,
    plan: &Plan,
    context: &Context,
) -> Result<Option<(Graph, DistilledNetwork)>> {
    let clock = Instant::now();
    let (mut executables, mut kept) = (Vec::new(), Vec::new());
    for (&parent, &share) in parents.iter().zip(shares).filter(|(_, share)| **share > 0.0) {
        executables.push(Executable::new(parent, context.host())?);
        kept.push(share);
    }
    let lesson = Lesson { start, parents: executables, shares: &kept, samples, context };
    let Some(course) = lesson.course(plan)? else { return Ok(None) };
    let stage = context.stage("following the parents", course.steps);
    let extras = Extras { distillation: Some(lesson.distillation()), start_counts: true, ..Extras::default() };
    let found = train_on(start, samples, &course.settings, extras, context.host(), &mut |progress| {
        stage.tell(progress.step, progress.steps, &remark(&progress, clock.elapsed().as_secs_f64()));
    });
    drop(stage);
    let trained = found.map_err(|error| match error {
        TrainError::Runtime(error) => error.into(),
        error => Error::input(error).hint("`repair` least-squares needs no gradients"),
    })?;
    if let Some(step) = trained.diverged {
        context.warn(&format!("distillation went astray in step {step}; the best network before it is kept"));
    }
    let before = trained.start_divergence.map(Distance::from);
    let best = trained.best.and_then(|epoch| trained.history[epoch].divergence).map(Distance::from);
    let (Some(before), settings) = (before, course.settings) else { return Ok(None) };
    let epochs = trained.history.len();
    let report = DistilledNetwork {
        samples: samples.len() - trained.held_out,
        held_out: trained.held_out,
        steps: course.steps,
        epochs,
        best_epoch: trained.best.map_or(0, |epoch| epoch + 1),
        batch_size: settings.batch_size,
        learning_rate: settings.learning_rate,
        crop: settings.augmentation.crop,
        flip: settings.augmentation.flip,
        mixed: settings.mixing != Mixing::default(),
        multiply_adds: course.work,
        before,
        after: best.unwrap_or(before),
        diverged: trained.diverged,
        seconds: clock.elapsed().as_secs_f64(),
    };
    Ok(Some((trained.graph, report)))
}

/// Whether steps are scaled by the size of gradients: of networks that look up tokens, attend, or normalise each sample by
/// itself, in which gradients of different weights are of very different sizes.
fn is_gentle(graph: &Graph) -> bool {
    graph.nodes().any(|(_, node)| match &node.operator {
        Operator::LayerNormalization { .. } | Operator::Attention(_) => true,
        Operator::Gather { axis: 0 } => {
            let table = node.input(0).and_then(|id| graph.initializer(id));
            table.is_some_and(|table| table.data_type().is_float() && table.shape().len() > 1)
        }
        _ => false,
    })
}

/// How it stands, in words.
fn remark(progress: &Progress, seconds: f64) -> String {
    let distance = progress.divergence.map_or_else(String::new, |it| format!(", {}", Distance::from(it).headline()));
    let left = seconds / progress.step.max(1) as f64 * (progress.steps - progress.step.min(progress.steps)) as f64;
    let left = if left < 90.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) };
    format!("loss {:.4}{distance}, {left} left", progress.loss)
}

impl Lesson<'_> {
    fn distillation(&self) -> Distillation<'_> {
        Distillation { teachers: &self.parents, shares: self.shares, temperature: TEMPERATURE, weight: 1.0 }
    }

    /// How the network learns; `None`, which is said, where the work allows too few steps.
    fn course(&self, plan: &Plan) -> Result<Option<Course>> {
        let Self { start, samples, context, .. } = *self;
        let executable = Executable::new(start, context.host())?;
        let own = Work::of(&executable, samples)?;
        let mut values = own.values;
        // Gradients by inputs and by weights take as much again, each.
        let mut a_sample = 3 * own.multiply_adds;
        for parent in &self.parents {
            let work = Work::of(parent, samples)?;
            values = values.max(work.values);
            a_sample += work.multiply_adds;
        }
        let has = |wanted: &dyn Fn(&Operator) -> bool| start.nodes().any(|(_, node)| wanted(&node.operator));
        let has_statistics = has(&|operator| matches!(operator, Operator::BatchNormalization { .. }));
        let is_gentle = !has_statistics && is_gentle(start);
        let batch_size = BATCH.min((MOST_VALUES / values.max(1)).max(1) as usize);
        let held_out = (HELD_OUT * samples.len() as f64).round() as usize;
        let batches = (samples.len() - held_out).div_ceil(batch_size).max(1);
        let work = a_sample * batch_size as u64;
        let most = usize::try_from(WORK / work.max(1)).unwrap_or(usize::MAX);
        let epochs = match plan.repair_steps {
            Some(steps) => steps.div_ceil(batches).max(1),
            None => (most / batches).min(if is_gentle { FEW_EPOCHS } else { EPOCHS }),
        };
        let fewest = if is_gentle { FEWEST_SCALED } else { FEWEST_EPOCHS };
        if (epochs < fewest && plan.repair_steps.is_none()) || held_out == 0 {
            context.note(&format!(
                "no distillation: {} samples and networks of {} products a sample leave too few steps; `repair-steps` says how many",
                samples.len(),
                own.multiply_adds
            ));
            return Ok(None);
        }
        let augmentation = self.natural(&executable)?;
        let is_image = matches!(samples.sample_shape(), [_, height, width] if height * width > 1);
        let alpha = if is_image && !is_gentle { 1.0 } else { 0.0 };
        let (betas, epsilon) = ((0.9, 0.999), 1e-8);
        let (optimizer, learning_rate, weight_decay) = match (is_gentle, has_statistics) {
            (true, _) => (Optimizer::AdamW { betas, epsilon }, 0.001, 0.0),
            (false, true) => (Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.02, 5e-4),
            (false, false) => (Optimizer::Sgd { momentum: 0.9, nesterov: true }, 0.005, 5e-4),
        };
        let settings = TrainSettings {
            epochs,
            batch_size,
            optimizer,
            learning_rate,
            schedule: Schedule::Cosine,
            weight_decay,
            augmentation,
            mixing: Mixing { mixup: alpha, cutmix: alpha },
            warm_up: WARM_UP,
            clip_norm: Some(NORM),
            validation: HELD_OUT,
            seed: plan.seed,
            ..TrainSettings::default()
        };
        Ok(Some(Course { settings, steps: epochs * batches, work }))
    }

    /// The changes of images that are nothing to the parents: of those that are, a network would learn what they say of things
    /// that never come.
    fn natural(&self, executable: &Executable) -> Result<Augmentation> {
        let none = Augmentation::default();
        let &[_, height, width] = self.samples.sample_shape() else { return Ok(none) };
        let samples = self.samples.spread(200);
        let answers = Answers::recognised(executable, &samples)?;
        if answers.is_numbers() || !answers.shape().is_empty() {
            return Ok(none);
        }
        let plain = self.ensemble(&samples, &answers)?;
        let is_natural = |change: Augmentation| -> Result<bool> {
            let Some(changed) = change.changed(&samples) else { return Ok(false) };
            let said = self.ensemble(&changed, &answers)?;
            Ok(plain.divergence(&said).and_then(|it| it.agreement).is_some_and(|it| it >= NATURAL))
        };
        let flip = is_natural(Augmentation { flip: true, ..none })?;
        let mut crop = 0;
        for part in MOVES {
            let pixels = height.min(width) / part;
            if crop == 0 && pixels > 0 && is_natural(Augmentation { crop: pixels, ..none })? {
                crop = pixels;
            }
        }
        Ok(Augmentation { crop, flip })
    }

    /// What the parents say in the mean.
    fn ensemble(&self, samples: &Samples, answers: &Answers) -> Result<Probabilities> {
        let found = ensemble(&self.parents, self.shares, samples, answers)?;
        found.ok_or_else(|| Error::input("the parents' outputs differ"))
    }
}
