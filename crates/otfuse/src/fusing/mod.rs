//! Networks fused into one: the product's main job, from options to a result that is proved, repaired and measured.

mod comparison;
mod coverage;
#[cfg(feature = "training")]
mod distilled;
mod fused;
mod group;
mod order;
pub(crate) mod plan;
mod refusal;
mod rehearsal;
mod report;
mod rotation;
mod sources;
mod vocabulary;
mod ways;

use std::borrow::{Borrow, Cow};
use std::cell::OnceCell;
use std::path::PathBuf;

use otfuse_fusion::{PruneSettings, prune};
use otfuse_graph::{DataType, Graph, Tensor, ValueId};
use otfuse_runtime::dataset::NoiseLaw;

use self::comparison::Checked;
use self::fused::Outcome;
use self::order::canonical_order;
use self::plan::{Plan, Purpose, spare_memory};
use self::vocabulary::Matched;
use self::ways::Attempt;
use crate::depth::{self, Depths};
use crate::error::fusion_error;
use crate::fitting::{bounded, fitted};
use crate::latent::Latents;
use crate::measure::Clock;
use crate::model::hashes;
use crate::prune::warn_of_skipped;
use crate::{Context, Dataset, Error, FuseOptions, MethodName, Model, PresetName, RepairName, Result, Samples};

pub use comparison::{Comparison, Parent};
pub use coverage::{Coverage, NotAligned};
#[cfg(feature = "training")]
pub use distilled::DistilledNetwork;
pub use fused::Fused;
pub(crate) use group::Group;
pub use rehearsal::Rehearsal;
pub use report::{FuseReport, FuseSamples, FuseSeconds, FuseSettings, FusedGroup, FusedModel, Sweeps};
pub(crate) use rotation::Turned;
pub use sources::names_file;
pub use ways::TriedWay;

/// Networks to be fused, and how. What is not said has the product's default, so that this does what `otfuse fuse` does,
/// to the byte: with samples neurons are matched by their activations and layers fitted by least squares, without by their
/// weights until nothing changes, and the variance of layers is repaired from the weights alone; the neuron groups of all
/// models are proved first.
///
/// ```no_run
/// # fn main() -> Result<(), otfuse::Error> {
/// use otfuse::{Context, Dataset, Fuse, Model};
///
/// let context = Context::new();
/// let (a, b) = (Model::open("a.onnx")?, Model::open("b.onnx")?);
/// let data = Dataset::open("cifar10:data")?;
/// let fused = Fuse::new([&a, &b]).samples(data.train()?).run(&context)?;
/// fused.save("fused.onnx")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Fuse {
    models: Vec<Model>,
    options: FuseOptions,
    source: Option<Source>,
    compared: Option<Samples>,
    /// How the noise of free inputs is distributed, where that is known.
    law: Option<NoiseLaw>,
}

/// Where samples come from.
#[derive(Clone, Debug)]
enum Source {
    Data(Box<Dataset>),
    Samples(Samples),
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Data(data) => data.name(),
            Self::Samples(samples) => samples.name(),
        }
    }

    fn train(&self) -> Result<Samples> {
        match self {
            Self::Data(data) => data.train(),
            Self::Samples(samples) => Ok(samples.clone()),
        }
    }
}

/// Training samples, read once where several need them.
struct Training<'s> {
    source: &'s Source,
    samples: OnceCell<Samples>,
}

impl<'s> Training<'s> {
    fn of(source: &'s Source) -> Self {
        Self { source, samples: OnceCell::new() }
    }

    fn samples(&self) -> Result<&Samples> {
        match self.samples.get() {
            Some(samples) => Ok(samples),
            None => self.source.train().map(|samples| self.samples.get_or_init(|| samples)),
        }
    }
}

/// Samples as far as they are needed, out of a data set that is read once.
#[derive(Default)]
pub(crate) struct Prepared {
    /// Those whose activations are matched.
    pub(crate) matching: Option<Samples>,
    /// Those that layers are fitted on, and what a merge has to know is measured on.
    pub(crate) all: Option<Samples>,
}

impl Prepared {
    pub(crate) fn of<S: Borrow<Samples>>(
        plan: &Plan,
        train: impl FnOnce() -> Result<S>,
        is_ordered: bool,
    ) -> Result<Self> {
        let needs_all = plan.repair.needs_samples() || plan.measures() || is_ordered;
        if !plan.records() && !needs_all {
            return Ok(Self::default());
        }
        let train = train()?;
        let train = train.borrow();
        Ok(Self {
            matching: plan.records().then(|| train.spread(plan.matching_samples)),
            all: needs_all.then(|| train.spread(plan.samples)),
        })
    }

    /// Says how many samples there are: as many as were asked for, or fewer.
    fn count(&self, used: &mut FuseSamples) {
        let matching = self.matching.as_ref().map_or(0, |samples| samples.len());
        (used.count, used.matched) = (self.all.as_ref().map_or(matching, |samples| samples.len()), matching);
    }
}

impl Fuse {
    /// Two or more networks; the last one is the anchor.
    pub fn new<'m>(models: impl IntoIterator<Item = &'m Model>) -> Self {
        let models = models.into_iter().cloned().collect();
        Self { models, options: FuseOptions::default(), source: None, compared: None, law: None }
    }

    /// All options at once; those that were set before stay where these leave something open.
    #[must_use]
    pub fn options(mut self, options: FuseOptions) -> Self {
        self.options = options.or(self.options);
        self
    }

    /// Unlabelled samples for activations and repair (labels are not looked at).
    #[must_use]
    pub fn samples(mut self, samples: Samples) -> Self {
        self.source = Some(Source::Samples(samples));
        self
    }

    /// Labelled samples on which parents, ensemble, plain average and result are compared.
    #[must_use]
    pub fn compare_on(mut self, samples: Samples) -> Self {
        self.compared = Some(samples);
        self
    }

    /// A data set: its training samples as [`samples`](Self::samples), its test samples to [compare](Self::compare_on) on.
    #[must_use]
    pub fn data(mut self, data: &Dataset) -> Self {
        self.source = Some(Source::Data(Box::new(data.clone())));
        self
    }

    /// The model, counted from 0, that the others are aligned to and whose shapes and format the result has.
    #[must_use]
    pub fn anchor(mut self, model: usize) -> Self {
        self.options.anchor = Some(model);
        self
    }

    /// Averaging weight of each model.
    #[must_use]
    pub fn weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.options.weights = Some(weights.into().into());
        self
    }

    /// How the neurons are brought into one order.
    #[must_use]
    pub fn method(mut self, method: MethodName) -> Self {
        self.options.method = Some(method);
        self
    }

    /// Named settings.
    #[must_use]
    pub fn preset(mut self, preset: PresetName) -> Self {
        self.options.preset = Some(preset);
        self
    }

    /// What is repaired after merging.
    #[must_use]
    pub fn repair(mut self, repair: RepairName) -> Self {
        self.options.repair = Some(repair);
        self
    }

    /// The network whose shapes and format the result has, as far as it is known before work starts.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn expected_anchor(&self) -> Result<&Model> {
        let placed = self.placed()?;
        Ok(&self.models[Plan::resolve(&placed.options, &self.models, self.purpose())?.anchor])
    }

    /// The same fusion, whose anchor has the depth that was asked for.
    fn placed(&self) -> Result<Self> {
        let mut placed = self.clone();
        if let Some(anchor) = depth::anchor(&self.models, &self.options)? {
            placed.options.anchor = Some(anchor);
        }
        Ok(placed)
    }

    fn purpose(&self) -> Purpose {
        Purpose::Fuse { has_data: self.source.is_some() || self.implies_noise() || self.asks_for_samples() }
    }

    /// Resolves all options, reads the samples and puts three and more models into an order of their own, so that the order
    /// in which they are named makes no difference.
    ///
    /// # Errors
    /// Options that contradict each other; samples or files that cannot be read; a damaged test split.
    pub fn plan(&self, context: &Context) -> Result<FusePlan> {
        context.install(|| self.placed()?.with_noise(context)?.sourced(context))
    }

    fn planned(&self, context: &Context) -> Result<FusePlan> {
        let (mut models, mut options) = (self.models.clone(), self.options.clone());
        let first = Plan::resolve(&options, &models, self.purpose())?;
        let words = self.words(&mut models, first.anchor, context)?;
        // A base, and what is told of single models, are of the models as they were named.
        let is_told = plan::takes_tasks(&options) || options.base.is_some() || options.parameters.is_some();
        let is_free = options.anchor.is_none()
            && !is_told
            && matches!(options.preset, None | Some(PresetName::Converged))
            && models.len() > 2;
        let read = self.source.as_ref().map(Training::of);
        let refs: Vec<&Model> = models.iter().collect();
        let samples = match &read {
            Some(read) => Prepared::of(&first, || fitted(Cow::Borrowed(read.samples()?), &refs, context), is_free)?,
            None => Prepared::default(),
        };
        let checked = self.checked(first.check, read.as_ref(), context)?;
        if is_free && let Some(found) = canonical_order(&models, samples.all.as_ref(), context)? {
            models = found.order.iter().map(|&model| models[model].clone()).collect();
            let is_plain = options.preset.is_none() && options.method.is_none_or(|method| method == MethodName::Ot);
            match &mut options.weights {
                Some(weights) if !weights.0.is_empty() => {
                    weights.0 = found.order.iter().map(|&model| weights.0[model]).collect();
                }
                weights if is_plain => *weights = found.weights.map(Into::into).or(weights.take()),
                _ => {}
            }
        }
        spare_memory(&mut options, &models, self.source.is_some(), context)?;
        let plan = Plan::resolve(&options, &models, self.purpose())?;
        let latents = Latents::matched(&mut models, &plan, (options.free_inputs.as_deref(), self.law), context)?;
        let depths = Depths::matched(&mut models, &plan, &options, &samples, context)?;
        let data = self.source.as_ref().map(|source| source.name().to_owned());
        Ok(FusePlan {
            models,
            options,
            plan,
            samples,
            checked,
            data,
            words,
            latents,
            depths,
            #[cfg(feature = "training")]
            contest: None,
        })
    }

    /// Brings the tokens of all models into one order where that was asked for.
    fn words(&self, models: &mut [Model], anchor: usize, context: &Context) -> Result<Matched> {
        let Some(how) = self.options.vocabulary else {
            vocabulary::warn_of_others(models, anchor, context);
            return Ok(Matched::default());
        };
        if self.options.aligned_only == Some(true) || self.options.target_width.is_some() {
            return Err(Error::input("`vocabulary` does not go with `aligned_only` or `target_width`")
                .hint("leave one of them out"));
        }
        vocabulary::matched(models, anchor, how, context)
    }

    /// The samples to compare on: the test samples, or the training samples of a data set that has no others.
    fn checked(&self, count: usize, read: Option<&Training<'_>>, context: &Context) -> Result<Option<Checked>> {
        if let Some(samples) = &self.compared {
            return Ok(Some(Checked { samples: samples.clone(), split: "test" }));
        }
        let Some(read) = read.filter(|_| count > 0) else { return Ok(None) };
        let Source::Data(data) = read.source else { return Ok(None) };
        let (samples, split) = match data.test_if_any()? {
            Some(samples) => (samples, "test"),
            None => (read.samples()?.clone(), "train"),
        };
        if !samples.is_labelled() {
            context
                .note(&format!("{}: without labels the networks are not compared; fusing needs none", samples.name()));
            return Ok(None);
        }
        let refs: Vec<&Model> = self.models.iter().collect();
        // What there is to say was said of the training samples.
        let quiet = context.clone().observer(|_: &crate::Event<'_>| {});
        let samples = fitted(Cow::Owned(samples), &refs, &quiet)?.into_owned();
        Ok(Some(Checked { samples: bounded(samples.spread(count)), split }))
    }

    /// Fuses.
    ///
    /// # Errors
    /// As [`plan`](Self::plan) and [`FusePlan::run`].
    pub fn run(&self, context: &Context) -> Result<Fused> {
        self.plan(context)?.run(context)
    }
}

/// A fusion that is ready to be run.
pub struct FusePlan {
    models: Vec<Model>,
    pub(crate) options: FuseOptions,
    plan: Plan,
    samples: Prepared,
    checked: Option<Checked>,
    data: Option<String>,
    words: Matched,
    /// Where the models are made of noise.
    latents: Option<Latents>,
    /// Where the models are of unequal depth.
    depths: Option<Depths>,
    /// Samples that the models made, and the fusion without them.
    #[cfg(feature = "training")]
    contest: Option<crate::making::Contest>,
}

impl FusePlan {
    /// The network whose shapes and format the result has.
    pub fn anchor(&self) -> &Model {
        &self.originals()[self.plan.anchor]
    }

    /// Proves the models' neuron groups, aligns, merges, repairs and measures.
    ///
    /// # Errors
    /// Networks that do not fit together or cannot be run, weights that are not finite, a proof that fails.
    pub fn run(self, context: &Context) -> Result<Fused> {
        context.install(|| self.contested(context))
    }

    /// The fusion itself.
    pub(crate) fn execute(mut self, context: &Context) -> Result<Fused> {
        self.models.iter().flat_map(Model::notes).for_each(|note| context.warn(&note));
        let single_precision = warn_of_precision(&self.models, context)?;
        let mut clock = Clock::start();
        let given_anchor = self.plan.anchor;
        if let Some(dtype) = self.options.dtype {
            let anchor = match &mut self.depths {
                Some(depths) if depths.is_shortened() => &mut depths.originals[given_anchor],
                _ => &mut self.models[given_anchor],
            };
            *anchor = anchor.retyped(dtype.data_type())?;
        }
        if self.plan.allow_nonfinite {
            self.models[given_anchor] = self.models[given_anchor].admitting_nonfinite()?;
        }
        let anchor = self.models[given_anchor].clone();
        let narrow = self.narrow(context)?;
        let group = Group::open(&self.models, narrow.as_ref(), &self.plan)?;
        group.check_costs(&self.plan)?;
        let failure = |error| group.error(&error);
        let weights = self.plan.settings.normalised_weights(group.networks.len()).map_err(failure)?;
        self.check_parts(&weights)?;
        let coverage = Coverage::of(&group, &self.plan);
        coverage.check(&self.options)?;
        self.warn_of_statistics(&group, &weights, context);
        let read = clock.lap();

        let verified = !self.options.no_verify.unwrap_or(false) && group.prove(&self.plan, context)?;
        let verify = clock.lap();
        let turned = Turned::of(&self.models, &group, &self.plan, context)?;
        let mut anchor = turned.as_ref().map_or(anchor, |turned| turned.models[given_anchor].clone());
        if turned.is_some()
            && self.plan.repair == RepairName::DataFree
            && self.options.repair != Some(RepairName::DataFree)
        {
            // Heads averaged as products take its place.
            self.plan.repair = RepairName::None;
        }
        let (way, tried) = self.best(self.ways(&group, turned.as_ref(), &weights)?, turned.as_ref(), context)?;
        let choosing = clock.lap();
        let Attempt { outcome, mut alignments, seconds } =
            self.attempt(&way, turned.as_ref(), &self.samples, context)?;
        clock.lap();
        let outcome = self.shortened(outcome, &mut anchor, context)?;
        #[cfg(feature = "training")]
        let mut distillation = None;
        let outcome = match outcome {
            Outcome::Whole(graph) => {
                #[cfg(feature = "training")]
                let graph = self.followed(graph, &group, &weights, &mut distillation, context)?;
                let graph = if self.words.is_whole() { graph } else { self.words.restored(graph, &anchor)? };
                Outcome::Whole(graph)
            }
            streamed => streamed,
        };
        let [recording, align, average, repair] = seconds;
        let (align, repair) = (align + choosing, repair + clock.lap());
        let comparison = match (&outcome, &self.checked) {
            (Outcome::Whole(graph), Some(on)) => {
                Comparison::measure(&group.networks, graph, &self.models, on, context)?
            }
            _ => None,
        };
        let measured = clock.lap();
        if let Some(comparison) = &comparison {
            comparison.warn(context);
        }
        // A narrower copy was the anchor of the alignment, not of the result, and has no weight.
        let weights = &weights[..self.models.len()];
        // Side by side; the report then finds them there.
        hashes(&self.models)?;
        let mut settings = FuseSettings::of(way.plan(), &self.options, self.data.as_deref(), given_anchor, weights);
        if let Some(used) = &mut settings.samples {
            self.samples.count(used);
        }
        let mut report = FuseReport::of(
            FuseSettings { verified, single_precision, ..settings },
            &self.options,
            self.originals(),
            &alignments,
        )?;
        #[cfg(feature = "training")]
        {
            report.distillation = distillation;
        }
        report.depth = self.depths.as_ref().map(|depths| depths.report.clone());
        if let Some(latents) = &self.latents {
            report.inputs.clone_from(&latents.report);
            for alignment in &mut alignments {
                alignment.inputs.clone_from(&latents.maps[alignment.model]);
            }
        }
        report.ways = tried;
        report.comparison = comparison;
        report.coverage = coverage;
        report.seconds = FuseSeconds {
            read,
            verify,
            activations: recording,
            align,
            average,
            repair,
            write: 0.0,
            hash: clock.lap(),
            comparison: measured,
        };
        context.check()?;
        let models = self.originals().to_vec();
        Ok(Fused { anchor, models, outcome, report, alignments, made: None })
    }

    /// The models as they were given.
    fn originals(&self) -> &[Model] {
        let of_depths = || self.depths.as_ref().map_or(self.models.as_slice(), |depths| &depths.originals);
        self.latents.as_ref().map_or_else(of_depths, |latents| &latents.originals)
    }

    /// The result without the blocks that the anchor does not have, and the anchor that it is written as.
    fn shortened(&mut self, outcome: Outcome, anchor: &mut Model, context: &Context) -> Result<Outcome> {
        let Some(depths) = self.depths.as_mut().filter(|depths| depths.is_shortened()) else { return Ok(outcome) };
        let graph = match outcome {
            Outcome::Whole(graph) => graph,
            Outcome::Streamed { aligned, merge, weights } => aligned.average(&merge, &weights).map_err(Error::input)?,
        };
        let (graph, own) = depths.shortened(&graph, (self.plan.repair, self.plan.rounds), &self.samples, context)?;
        *anchor = own;
        Ok(Outcome::Whole(graph))
    }

    /// The repaired network after it followed its parents, where the plan says so.
    #[cfg(feature = "training")]
    fn followed(
        &self,
        graph: Graph,
        group: &Group,
        weights: &[f64],
        report: &mut Option<DistilledNetwork>,
        context: &Context,
    ) -> Result<Graph> {
        let Some(samples) = self.samples.all.as_ref().filter(|_| self.plan.repair == RepairName::Distill) else {
            return Ok(graph);
        };
        let parents = self.parents(group);
        let shares = &weights[..self.models.len()];
        match distilled::distilled(&graph, &parents, shares, samples, &self.plan, context) {
            Ok(Some((distilled, found))) => {
                *report = Some(found);
                Ok(distilled)
            }
            Ok(None) => Ok(graph),
            Err(error) if matches!(error.kind, crate::ErrorKind::Cancelled | crate::ErrorKind::Budget) => Err(error),
            // Who did not ask for it has a result all the same.
            Err(error) if self.options.repair != Some(RepairName::Distill) => {
                context.warn(&format!("no distillation: {error}"));
                Ok(graph)
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses a parent that would have no part in the result although nobody said so.
    fn check_parts(&self, weights: &[f64]) -> Result<()> {
        let is_said =
            self.options.weights.is_some() || self.options.t.is_some() || self.options.aligned_only == Some(true);
        match (0..self.models.len()).find(|&model| weights[model] == 0.0) {
            Some(model) if !is_said => {
                let message = format!("model {model} has weight 0, and so no part in the result");
                let hint = "leave it out, or say so: `weights` takes one number per model";
                Err(Error::input(message).of(self.models[model].path()).hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// Warns of batch normalisations whose running statistics nothing sets anew.
    fn warn_of_statistics(&self, group: &Group, weights: &[f64], context: &Context) {
        let repair = self.plan.repair;
        let averaged = weights.iter().filter(|weight| **weight != 0.0).count() > 1;
        if repair.needs_samples() || !averaged || self.plan.width_budget.is_some() {
            return;
        }
        let (graph, groups) = (group.networks.graph(group.networks.anchor()), group.networks.groups());
        let is_free =
            |id: &ValueId| groups.layouts(*id).is_some_and(|layouts| layouts.iter().any(|layout| !layout.is_fixed()));
        // A mean and a variance each.
        let count = coverage::statistics(graph).iter().filter(|id| is_free(id)).count().div_ceil(2);
        if count == 0 {
            return;
        }
        let plural = if count == 1 { "" } else { "s" };
        let estimated =
            if repair == RepairName::DataFree { ", their variances estimated from the weights" } else { "" };
        let way = if self.data.is_some() { "`repair` batch-norm or least-squares" } else { "`data` with some samples" };
        context.warn(&format!(
            "{count} batch normalisation{plural}: running statistics are averaged{estimated}; until they are measured \
             anew, accuracy may be far below the parents'. {way} does so (labels are not looked at)"
        ));
    }

    /// The anchor with a share of its neurons, which becomes the anchor: it gives the result its shape, and has no part in
    /// the average. Nothing where the result is as wide as the anchor.
    fn narrow(&mut self, context: &Context) -> Result<Option<Graph>> {
        let Some(width) = self.plan.narrow else { return Ok(None) };
        let anchor = self.anchor();
        let settings = PruneSettings { amount: 1.0 - width, ..PruneSettings::default() };
        let pruning = prune(anchor.graph()?, &settings).map_err(|error| Error::from(error).of(anchor.path()))?;
        warn_of_skipped(&pruning, context);
        let paths: Vec<PathBuf> = self.models.iter().map(|model| model.path().to_owned()).collect();
        let mut weights = self
            .plan
            .settings
            .normalised_weights(self.models.len())
            .map_err(|error| fusion_error(&error, &paths, self.plan.anchor))?;
        weights.push(0.0);
        (self.plan.settings.weights, self.plan.anchor) = (weights, self.models.len());
        Ok(Some(pruning.graph))
    }
}

/// Whether some weights have double precision, which is said: they are computed with in single precision.
fn warn_of_precision(models: &[Model], context: &Context) -> Result<bool> {
    for model in models {
        let graph = model.graph()?;
        let is_double = |(id, tensor): (ValueId, &Tensor)| graph.is_weight(id) && tensor.data_type() == DataType::F64;
        if let Some((id, _)) = graph.initializers().find(|&(id, tensor)| is_double((id, tensor))) {
            context.warn(&format!(
                "{}: weights of float64 ('{}') are aligned and averaged in float32, and written as float64",
                model.shown(),
                graph.value(id).name
            ));
            return Ok(true);
        }
    }
    Ok(false)
}
