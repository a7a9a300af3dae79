//! What was fused, how, and what came out.

use otfuse_fusion::ModelAlignment;
use serde::Serialize;

use super::comparison::Comparison;
use super::coverage::Coverage;
#[cfg(feature = "training")]
use super::distilled::DistilledNetwork;
use super::plan::Plan;
use super::ways::TriedWay;
use crate::choices::Choice;
use crate::depth::DepthReport;
use crate::latent::MatchedInput;
use crate::{
    CostName, FuseOptions, MarginalName, MergeName, MethodName, ModeName, Model, PointName, PresetName, RepairName,
    ResidualName, Result, SolverName, StatisticName,
};

/// What was fused, how, and what came out.
#[derive(Clone, Debug, Serialize)]
pub struct FuseReport {
    /// How the neurons were brought into one order.
    pub method: MethodName,
    /// All settings as they were used.
    pub settings: FuseSettings,
    /// The networks.
    pub models: Vec<FusedModel>,
    /// Where the result was written.
    pub output: String,
    /// How much of the network is aligned, and why the rest is not.
    pub coverage: Coverage,
    /// What was matched.
    pub groups: Vec<FusedGroup>,
    /// How the sweeps after the first one went.
    pub sweeps: Vec<Sweeps>,
    /// How the network followed its parents, with the repair distill.
    #[cfg(feature = "training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<DistilledNetwork>,
    /// Latent inputs whose noise was turned first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<MatchedInput>,
    /// Which layers went together, where the networks are of unequal depth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<DepthReport>,
    /// The ways that were tried before one was taken, where there were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<TriedWay>,
    /// All networks on labelled samples, where there are any.
    pub comparison: Option<Comparison>,
    /// Samples that the models made themselves, where they did.
    #[cfg(feature = "training")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<crate::MadeReport>,
    /// Time by stage.
    pub seconds: FuseSeconds,
}

/// How the sweeps after the first one went.
#[derive(Clone, Debug, Serialize)]
pub struct Sweeps {
    /// The model that was aligned.
    pub model: usize,
    /// Sweeps.
    pub count: usize,
    /// Whether the last one changed nothing.
    pub converged: bool,
    /// What falls, after each sweep.
    pub objective: Vec<f64>,
}

impl Sweeps {
    fn of(alignment: &ModelAlignment) -> Self {
        let objective = alignment.objective.clone();
        Self { model: alignment.model, count: alignment.sweeps, converged: alignment.converged, objective }
    }
}

/// All settings of a fusion as they were used, in words too: [`FuseOptions`] says what each means.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct FuseSettings {
    pub preset: Option<PresetName>,
    pub mode: ModeName,
    pub residual: ResidualName,
    pub cost: CostName,
    pub sweeps: usize,
    pub normalize_features: bool,
    pub solver: SolverName,
    pub epsilon: Option<f64>,
    pub marginals: MarginalName,
    pub anchor: usize,
    pub weights: Vec<f64>,
    /// Where it is not the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeName>,
    pub align_outputs: bool,
    pub bias_features: bool,
    pub published_scaling: bool,
    pub aligned_only: bool,
    pub width_budget: Option<f64>,
    pub target_width: Option<f64>,
    pub repair: RepairName,
    pub ridge: Option<f64>,
    pub importance: Option<f64>,
    pub samples: Option<FuseSamples>,
    /// Whether weights of double precision were aligned and averaged in single precision; they are written in their own type.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub single_precision: bool,
    /// Whether the neuron groups of all models were proved.
    pub verified: bool,
}

/// The samples that activations and repair were computed on.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct FuseSamples {
    pub data: String,
    pub split: &'static str,
    /// As many as there were, at most as many as were asked for.
    pub count: usize,
    /// Those whose activations were matched.
    pub matched: usize,
    pub point: PointName,
    pub features: StatisticName,
}

/// A network that was fused.
#[derive(Clone, Debug, Serialize)]
pub struct FusedModel {
    /// As it was given.
    pub path: String,
    /// Of the file.
    pub sha256: String,
    /// Learned numbers.
    pub parameters: usize,
    /// Its averaging weight.
    pub weight: f64,
}

/// A neuron group of a model, matched with the anchor's.
#[derive(Clone, Debug, Serialize)]
pub struct FusedGroup {
    /// The model.
    pub model: usize,
    /// The group's first weight.
    pub name: String,
    /// Neurons of the model.
    pub size: usize,
    /// Neurons of the anchor.
    pub anchor_size: usize,
    /// What the plan costs.
    pub cost: f64,
    /// How far the cost may be from the least one.
    pub gap: f64,
    /// How the solver ended.
    pub termination: String,
    /// The share of neurons with one clear partner.
    pub matched_fraction: f64,
}

/// Seconds by stage.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct FuseSeconds {
    pub read: f64,
    pub verify: f64,
    pub activations: f64,
    pub align: f64,
    pub average: f64,
    pub repair: f64,
    pub write: f64,
    pub hash: f64,
    pub comparison: f64,
}

impl FuseSeconds {
    /// Stages by name, in the order of the alphabet.
    pub fn entries(&self) -> [(&'static str, f64); 9] {
        [
            ("activations", self.activations),
            ("align", self.align),
            ("average", self.average),
            ("comparison", self.comparison),
            ("hash", self.hash),
            ("read", self.read),
            ("repair", self.repair),
            ("verify", self.verify),
            ("write", self.write),
        ]
    }
}

impl FuseSettings {
    /// The settings that were used, by name in the order of the alphabet, for people.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        fn number(value: f64) -> String {
            format!("{value:?}")
        }
        let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let weights: Vec<String> = self.weights.iter().copied().map(number).collect();
        let samples = self.samples.as_ref();
        let entries = [
            ("align outputs", Some(yes(self.align_outputs))),
            ("aligned only", Some(yes(self.aligned_only))),
            ("anchor", Some(self.anchor.to_string())),
            ("bias features", Some(yes(self.bias_features))),
            ("cost", Some(self.cost.to_string())),
            ("epsilon", self.epsilon.map(number)),
            ("importance", self.importance.map(number)),
            ("marginals", Some(self.marginals.to_string())),
            ("merge", self.merge.map(|merge| merge.to_string())),
            ("mode", Some(self.mode.to_string())),
            ("normalize features", Some(yes(self.normalize_features))),
            ("preset", self.preset.map(|preset| preset.to_string())),
            ("published scaling", Some(yes(self.published_scaling))),
            ("repair", Some(self.repair.to_string())),
            ("precision", self.single_precision.then(|| "single, of double".to_owned())),
            ("residual", Some(self.residual.to_string())),
            ("ridge", self.ridge.map(number)),
            ("samples, count", samples.map(|samples| samples.count.to_string())),
            ("samples, data", samples.map(|samples| samples.data.clone())),
            ("samples, features", samples.map(|samples| samples.features.to_string())),
            ("samples, point", samples.map(|samples| samples.point.to_string())),
            ("samples, split", samples.map(|samples| samples.split.to_owned())),
            ("solver", Some(self.solver.to_string())),
            ("sweeps", Some(self.sweeps.to_string())),
            ("target width", self.target_width.map(number)),
            ("verified", Some(yes(self.verified))),
            ("weights", Some(weights.join(", "))),
            ("width budget", self.width_budget.map(number)),
        ];
        entries.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    pub(super) fn of(plan: &Plan, options: &FuseOptions, data: Option<&str>, anchor: usize, weights: &[f64]) -> Self {
        let is_fitted = matches!(plan.repair, RepairName::LeastSquares | RepairName::Distill);
        let uses_samples = plan.mode != ModeName::Weights || plan.repair.needs_samples() || plan.measures();
        Self {
            preset: options.preset,
            mode: plan.mode,
            residual: plan.residual,
            cost: plan.cost(),
            sweeps: plan.settings.matching.max_sweeps,
            normalize_features: plan.settings.ground_cost.normalize,
            solver: plan.solver,
            epsilon: (plan.solver == SolverName::Sinkhorn).then_some(plan.epsilon),
            marginals: plan.marginals,
            anchor,
            weights: weights.to_vec(),
            merge: Some(plan.merge).filter(|merge| *merge != MergeName::Mean),
            align_outputs: plan.align_outputs,
            bias_features: plan.settings.bias_features,
            published_scaling: plan.settings.published_scaling,
            aligned_only: options.aligned_only.unwrap_or(false),
            width_budget: plan.width_budget,
            target_width: options.target_width,
            repair: plan.repair,
            ridge: is_fitted.then_some(plan.ridge),
            importance: is_fitted.then_some(plan.importance),
            samples: data.filter(|_| uses_samples).map(|data| FuseSamples {
                data: data.to_owned(),
                split: "train",
                count: plan.samples,
                matched: if plan.records() { plan.matching_samples } else { 0 },
                point: plan.point,
                features: plan.statistic,
            }),
            single_precision: false,
            verified: false,
        }
    }
}

impl FuseReport {
    pub(super) fn of(
        settings: FuseSettings,
        options: &FuseOptions,
        models: &[Model],
        alignments: &[ModelAlignment],
    ) -> Result<Self> {
        let mut inputs = Vec::with_capacity(models.len());
        for (model, &weight) in models.iter().zip(&settings.weights) {
            let parameters = model.graph()?.parameter_count();
            inputs.push(FusedModel { path: model.shown(), sha256: model.sha256()?.to_owned(), parameters, weight });
        }
        let groups = alignments.iter().flat_map(|alignment| {
            alignment.groups.iter().map(|group| FusedGroup {
                model: alignment.model,
                name: group.name.clone(),
                size: group.size,
                anchor_size: group.anchor_size,
                cost: group.cost,
                gap: group.gap,
                termination: group.termination.clone(),
                matched_fraction: group.matched_fraction,
            })
        });
        Ok(Self {
            method: options.method.unwrap_or(MethodName::ALL[0].0),
            settings,
            models: inputs,
            output: String::new(),
            coverage: Coverage::default(),
            groups: groups.collect(),
            sweeps: alignments.iter().filter(|alignment| alignment.sweeps > 0).map(Sweeps::of).collect(),
            #[cfg(feature = "training")]
            distillation: None,
            inputs: Vec::new(),
            depth: None,
            ways: Vec::new(),
            comparison: None,
            #[cfg(feature = "training")]
            made: None,
            seconds: FuseSeconds::default(),
        })
    }
}
