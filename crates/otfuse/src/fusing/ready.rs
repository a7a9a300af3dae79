//! A fusion that is ready to be run, and the run.

use std::path::PathBuf;

use otfuse_fusion::{ModelAlignment, PruneSettings, prune};
use otfuse_graph::{DataType, Graph, Tensor, ValueId};

use super::comparison::{Checked, Comparison};
use super::coverage::{self, Coverage};
#[cfg(feature = "training")]
use super::distilled::{self, DistilledNetwork};
use super::fused::{Fused, Outcome};
use super::group::Group;
use super::plan::Plan;
use super::prepared::Prepared;
use super::report::{FuseReport, FuseSeconds, FuseSettings};
use super::rotation::Turned;
use super::vocabulary::Matched;
use super::ways::{Attempt, Way};
use crate::depth::Depths;
use crate::error::fusion_error;
use crate::latent::Latents;
use crate::measure::Clock;
use crate::model::hashes;
use crate::prune::warn_of_skipped;
use crate::{Context, Error, FuseOptions, Model, RepairName, Result};

/// A fusion that is ready to be run.
pub struct FusePlan {
    pub(super) models: Vec<Model>,
    pub(crate) options: FuseOptions,
    pub(super) plan: Plan,
    pub(super) samples: Prepared,
    pub(super) checked: Option<Checked>,
    pub(super) data: Option<String>,
    pub(super) words: Matched,
    /// Where the models are made of noise.
    pub(super) latents: Option<Latents>,
    /// Where the models are of unequal depth.
    pub(super) depths: Option<Depths>,
    /// Samples that the models made, and the fusion without them.
    #[cfg(feature = "training")]
    pub(super) contest: Option<crate::making::Contest>,
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
        let anchor = self.written_as()?;
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
        let comparison = self.compared(&outcome, &group, context)?;
        let measured = clock.lap();
        // A narrower copy was the anchor of the alignment, not of the result, and has no weight.
        let weights = &weights[..self.models.len()];
        let mut report =
            self.described((&way, given_anchor), weights, (verified, single_precision), &mut alignments)?;
        #[cfg(feature = "training")]
        {
            report.distillation = distillation;
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

    /// The model that the result is written as: of the data type that was asked for, and with numbers that are not finite
    /// where they are allowed.
    fn written_as(&mut self) -> Result<Model> {
        let at = self.plan.anchor;
        if let Some(dtype) = self.options.dtype {
            let anchor = match &mut self.depths {
                Some(depths) if depths.is_shortened() => &mut depths.originals[at],
                _ => &mut self.models[at],
            };
            *anchor = anchor.retyped(dtype.data_type())?;
        }
        if self.plan.allow_nonfinite {
            self.models[at] = self.models[at].admitting_nonfinite()?;
        }
        Ok(self.models[at].clone())
    }

    /// A whole result beside its parents, with a warning where it is far behind them.
    fn compared(&self, outcome: &Outcome, group: &Group, context: &Context) -> Result<Option<Comparison>> {
        let (Outcome::Whole(graph), Some(on)) = (outcome, &self.checked) else { return Ok(None) };
        let comparison = Comparison::measure(&group.networks, graph, &self.models, on, context)?;
        if let Some(comparison) = &comparison {
            comparison.warn(context);
        }
        Ok(comparison)
    }

    /// The report of a way with its anchor, without what was measured: whether the groups were proved, and whether weights of
    /// double precision were computed with in single precision.
    fn described(
        &self,
        (way, anchor): (&Way, usize),
        weights: &[f64],
        (verified, single_precision): (bool, bool),
        alignments: &mut [ModelAlignment],
    ) -> Result<FuseReport> {
        // Side by side; the report then finds them there.
        hashes(&self.models)?;
        let mut settings = FuseSettings::of(way.plan(), &self.options, self.data.as_deref(), anchor, weights);
        if let Some(used) = &mut settings.samples {
            self.samples.count(used);
        }
        let settings = FuseSettings { verified, single_precision, ..settings };
        let mut report = FuseReport::of(settings, &self.options, self.originals(), alignments)?;
        report.depth = self.depths.as_ref().map(|depths| depths.report.clone());
        if let Some(latents) = &self.latents {
            report.inputs.clone_from(&latents.report);
            for alignment in alignments {
                alignment.inputs.clone_from(&latents.maps[alignment.model]);
            }
        }
        Ok(report)
    }

    /// The models as they were given.
    pub(super) fn originals(&self) -> &[Model] {
        let of_depths = || self.depths.as_ref().map_or(self.models.as_slice(), |depths| &depths.originals);
        self.latents.as_ref().map_or_else(of_depths, |latents| &latents.originals)
    }

    /// The result without the blocks that the anchor does not have, and the anchor that it is written as.
    pub(super) fn shortened(&mut self, outcome: Outcome, anchor: &mut Model, context: &Context) -> Result<Outcome> {
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
    pub(super) fn followed(
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
    pub(super) fn check_parts(&self, weights: &[f64]) -> Result<()> {
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
    pub(super) fn warn_of_statistics(&self, group: &Group, weights: &[f64], context: &Context) {
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
    pub(super) fn narrow(&mut self, context: &Context) -> Result<Option<Graph>> {
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
