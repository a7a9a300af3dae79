//! Networks of several models, matched and proved.

use std::path::PathBuf;

use otfuse_formats::memory_limit;
use otfuse_fusion::{
    Activations, Aligned, Alignment, Apart, FeatureSource, Fusion, FusionError, Networks, Progress, RepairError,
    align_all, fuse_partially,
};
use otfuse_graph::{Facts, Graph, NeuronGroups};
use otfuse_runtime::RuntimeError;

use super::plan::Plan;
use super::{Prepared, Turned, refusal};
use crate::activations::{RecordError, SampleRunner, record_activations, record_with_importance, repaired};
use crate::error::fusion_error;
use crate::verify::{broken, verify_groups_at};
use crate::{Context, Error, Model, RepairName, Result, VerifyError};

/// Networks of several models, matched: what everything that aligns works on.
pub(crate) struct Group {
    pub networks: Networks,
    /// What errors call them.
    pub(super) paths: Vec<PathBuf>,
    pub(super) groups: Vec<NeuronGroups>,
}

impl Group {
    /// The networks of the models, and of a narrow copy of the anchor behind them; refuses weights that are not finite
    /// unless the plan lets them through.
    pub(crate) fn open(models: &[Model], narrow: Option<&Graph>, plan: &Plan) -> Result<Self> {
        let found =
            Self::matched(models, narrow, plan)?.map_err(|(error, paths)| fusion_error(&error, &paths, plan.anchor))?;
        if plan.allow_nonfinite {
            found.networks.admit_nonfinite();
        }
        found.networks.check_finite().map_err(|error| found.error(&error))?;
        Ok(found)
    }

    /// Refuses groups of so many neurons that what it costs to match them, a number for each pair, does not fit into half of the
    /// machine's memory.
    pub(crate) fn check_costs(&self, plan: &Plan) -> Result<()> {
        if plan.settings.alignment == Alignment::None {
            return Ok(());
        }
        let networks = &self.networks;
        for (id, group) in networks.groups().iter() {
            let to = networks.size(networks.anchor(), id) as u64;
            let from = (0..networks.len()).filter(|&model| model != networks.anchor());
            let Some(most) = from.map(|model| networks.size(model, id) as u64).max() else { continue };
            let (asked, allowed) = (most.saturating_mul(to).saturating_mul(8), memory_limit());
            if asked > allowed {
                let graph = networks.graph(networks.anchor());
                let first = group.members.first().map(|member| &graph.value(member.initializer).name);
                let name = first.map_or_else(String::new, |name| format!(" of '{name}'"));
                return Err(Error::budget(format!(
                    "matching {most} neurons{name} with {to} takes {asked} bytes, of which {allowed} are allowed"
                ))
                .of(&self.paths[networks.anchor()])
                .hint("a machine with more memory, or `method` average, which matches nothing"));
            }
        }
        Ok(())
    }

    /// The same, with the error of networks that do not fit together as it is.
    pub(crate) fn matched(
        models: &[Model],
        narrow: Option<&Graph>,
        plan: &Plan,
    ) -> Result<std::result::Result<Self, (FusionError, Vec<PathBuf>)>> {
        models.iter().try_for_each(refusal::check)?;
        let mut paths: Vec<PathBuf> = models.iter().map(|model| model.path().to_owned()).collect();
        let mut graphs: Vec<&Graph> = models.iter().map(Model::graph).collect::<Result<_>>()?;
        let mut groups: Vec<NeuronGroups> =
            models.iter().map(|model| model.groups().cloned()).collect::<Result<_>>()?;
        if let Some(narrow) = narrow {
            paths.push(PathBuf::from("the anchor made narrower"));
            graphs.push(narrow);
            groups.push(NeuronGroups::of(narrow).map_err(Error::input)?);
        }
        let networks = if plan.align_outputs {
            Networks::with_free_outputs(&graphs, plan.anchor)
        } else {
            let analysed: Vec<(&Graph, &NeuronGroups)> = graphs.iter().copied().zip(&groups).collect();
            Networks::analysed(&analysed, plan.anchor)
        };
        Ok(match networks {
            Ok(networks) => Ok(Self { networks, paths, groups }),
            Err(error) => Err((error, paths)),
        })
    }

    /// The same networks once more: their graphs are shared.
    pub(crate) fn again(&self) -> Self {
        Self { networks: self.networks.clone(), paths: self.paths.clone(), groups: self.groups.clone() }
    }

    /// What a model is called.
    pub(crate) fn path(&self, model: usize) -> String {
        self.paths.get(model).map_or_else(String::new, |path| path.display().to_string())
    }

    pub(crate) fn error(&self, error: &FusionError) -> Error {
        fusion_error(error, &self.paths, self.networks.anchor())
    }

    /// An error of running a model's network.
    pub(crate) fn run_error(&self, model: usize, error: RuntimeError) -> Error {
        let error = Error::from(error);
        match self.paths.get(model) {
            Some(path) => error.of(path),
            None => error,
        }
    }

    /// Proves the groups of every model; `false` if the networks cannot be run, which is said.
    pub(crate) fn prove(&self, plan: &Plan, context: &Context) -> Result<bool> {
        let stage = context.stage("proving neuron groups", self.networks.len());
        for (model, path) in self.paths.iter().enumerate() {
            let graph = self.networks.graph(model);
            let hint = "`no_verify` fuses all the same";
            let facts = Facts::of(graph).map_err(Error::input)?;
            plan.shapes.check(graph, &facts).map_err(|error| error.of(path))?;
            match verify_groups_at(graph, self.groups[model].clone(), &plan.shapes, plan.seed, context.host()) {
                Ok(verification) if verification.is_ok() => {}
                Ok(verification) => return Err(broken(graph, &verification).of(path).hint(hint)),
                Err(VerifyError::Runtime(error @ RuntimeError::Unsupported { .. })) => {
                    drop(stage);
                    context.warn(&format!("{}: the neuron groups are not proved: {error}", path.display()));
                    return Ok(false);
                }
                Err(error) => return Err(Error::from(error).of(path)),
            }
            stage.step();
        }
        Ok(true)
    }

    /// The activations of all models on the same samples, where the plan asks for them.
    pub(crate) fn activations(
        &self,
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Option<Vec<Activations>>> {
        let Some(samples) = samples.matching.as_ref().filter(|_| plan.records()) else { return Ok(None) };
        let (FeatureSource::Activations { point, statistic } | FeatureSource::Both { point, statistic, .. }) =
            plan.settings.features
        else {
            return Ok(None);
        };
        let stage = context.stage("recording activations", self.networks.len());
        let record = |model: usize| {
            let (networks, host) = (&self.networks, context.host());
            let found = match plan.importance_cost {
                true => record_with_importance(networks, model, (point, statistic), samples, host),
                false => record_activations(networks, model, point, statistic, samples, host),
            };
            stage.step();
            found.map_err(|error| match error {
                RecordError::Runtime(error) => self.run_error(model, error),
                RecordError::Fusion(error) => self.error(&error),
            })
        };
        (0..self.networks.len()).map(record).collect::<Result<_>>().map(Some)
    }

    /// The networks aligned as the plan says: turned into one set of coordinates, where they were, or matched with what their
    /// neurons say of the samples; with what the merge has to know of these, whatever the weights.
    pub(crate) fn aligned_as(
        &self,
        turned: Option<&Turned>,
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Aligned> {
        let aligned = match turned {
            Some(turned) => turned.aligned(plan, context)?,
            None => self.aligned(plan, self.activations(plan, samples, context)?.as_deref(), context)?,
        };
        self.measured(aligned, &vec![1.0; self.networks.len()], plan, samples, context)
    }

    /// Aligned networks with what the plan's merge has to know of the samples of those that count.
    pub(crate) fn measured(
        &self,
        aligned: Aligned,
        weights: &[f64],
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Aligned> {
        let Some(samples) = samples.all.as_ref().filter(|_| plan.measures()) else { return Ok(aligned) };
        let (asked, allowed) = (aligned.measured_bytes(&plan.merging(), weights), context.memory_limit());
        if asked > allowed {
            let message = format!(
                "what `merge` {} has to know of the samples takes {asked} bytes, of which {allowed} are allowed",
                plan.merging().method().name()
            );
            return Err(Error::budget(message)
                .of(&self.paths[self.networks.anchor()])
                .hint("`memory` allows more, as 16GiB; `merge` mean needs nothing"));
        }
        let stage = context.stage("measuring models on samples", 0);
        let mut observe = |done, total| {
            stage.at(done, total);
            context.flow()
        };
        let runner = SampleRunner::new(samples, context.host());
        let found = aligned.measured(&plan.merging(), weights, &runner, &mut observe);
        drop(stage);
        context.check()?;
        found.map_err(|error| self.repair_error(error))
    }

    /// The networks, their neurons aligned to the anchor's.
    pub(crate) fn aligned(
        &self,
        plan: &Plan,
        activations: Option<&[Activations]>,
        context: &Context,
    ) -> Result<Aligned> {
        let networks = &self.networks;
        let stage = context.stage("aligning neuron groups", networks.groups().len() * (networks.len() - 1));
        let observe = |progress| {
            if matches!(progress, Progress::Aligned { .. }) {
                stage.step();
            }
            context.flow()
        };
        align_all(networks, &plan.settings, activations, &observe).map_err(|error| self.error(&error))
    }

    /// The networks as they are, to be merged index by index; none if their shapes differ.
    pub(crate) fn unaligned(&self, plan: &Plan, context: &Context) -> Result<Option<Aligned>> {
        if !self.networks.equal_sizes() {
            return Ok(None);
        }
        let settings = otfuse_fusion::Settings { alignment: Alignment::None, ..plan.settings.clone() };
        let found = align_all(&self.networks, &settings, None, &|_| context.flow());
        found.map(Some).map_err(|error| self.error(&error))
    }

    /// The fused network, repaired as the plan says.
    pub(crate) fn repaired(
        &self,
        fusion: &Fusion,
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Graph> {
        self.repaired_as((&self.networks, fusion), plan, samples, context)
    }

    /// The same, of networks that need not be these.
    fn repaired_as(
        &self,
        (networks, fusion): (&Networks, &Fusion),
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Graph> {
        let stage = context.stage("repairing layers", networks.groups().len());
        let mut observe = |done, total| {
            stage.at(done, total);
            context.flow()
        };
        let kind = plan.repair.repair(plan.ridge, plan.importance, plan.answer, plan.rounds);
        let samples = samples.all.as_ref().filter(|_| plan.repair.needs_samples());
        repaired(networks, fusion, kind, samples, context.host(), &mut observe)
            .map_err(|error| self.repair_error(error))
    }

    /// The fused network at another width, repaired as the plan says.
    pub(crate) fn resized(
        &self,
        fusion: &Fusion,
        (budget, apart): (f64, Apart),
        plan: &Plan,
        samples: &Prepared,
        context: &Context,
    ) -> Result<Graph> {
        let found = fuse_partially(&self.networks, fusion, budget, apart).map_err(|error| self.error(&error))?;
        match (&found.parts, plan.repair) {
            (_, RepairName::None) => Ok(found.graph),
            (Some((networks, fusion)), _) => self.repaired_as((networks, fusion), plan, samples, context),
            (None, _) => {
                context.warn("neurons stay apart in a way that no repair knows: nothing is repaired");
                Ok(found.graph)
            }
        }
    }

    pub(crate) fn repair_error(&self, error: RepairError) -> Error {
        match error {
            RepairError::Runtime { model, source } => match source.downcast::<RuntimeError>() {
                Ok(error) => self.run_error(model, *error),
                Err(error) => Error::input(error),
            },
            RepairError::Fusion(error) => self.error(&error),
            error @ RepairError::Singular { .. } => Error::run(&error).hint("`ridge` 0.03 is the default"),
            error => Error::input(&error).hint("name a data set: `data` mnist:DIR, cifar10:DIR, npz:FILE or digits"),
        }
    }
}
