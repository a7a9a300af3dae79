//! A fusion, its options resolved: what the product does where nothing is said.

use otfuse_fusion::merge::{Base, Statistics};
use otfuse_fusion::{
    ActivationPoint, ActivationStatistic, Alignment, Answer, Consensus, FeatureSource, MarginalKind, Matching, Members,
    Merging, Residual, Settings, SweepOrder, SweepStart,
};
use otfuse_transport::{Epsilon, GroundCost, GroundMetric, SinkhornSettings, Solver};

use crate::choices::Choice;
use crate::error::fusion_error;
use crate::merging::Told;
use crate::{
    ConsensusName, Context, CostName, EffortName, Error, FuseOptions, InputShapes, MarginalName, MembersName,
    MergeName, MethodName, ModeName, Model, OrderName, PointName, PresetName, RepairName, ResidualName, Result,
    SolverName, StartName, StatisticName, SymmetryName,
};

/// The most samples whose activations are matched unless activations were asked for: all are held at once.
const MATCHING_SAMPLES: usize = 500;
/// Bytes that sweeps and repairs hold for each weight beside the networks themselves.
const BYTES_A_WEIGHT: u64 = 8;
/// How strongly least squares holds weights at the averaged ones, if nothing else is said.
const RIDGE: f64 = 0.03;
/// Strength of the entropy, as a multiple of the mean cost.
const EPSILON: f64 = 0.05;

/// Fits of a layer behind its activation function.
const ROUNDS: usize = 5;

/// Options as they are used.
#[derive(Clone)]
pub(crate) struct Plan {
    pub settings: Settings,
    pub effort: EffortName,
    pub symmetry: SymmetryName,
    pub merge: MergeName,
    /// What it is told.
    pub told: Told,
    pub anchor: usize,
    pub align_outputs: bool,
    /// Whether weights may be other than finite.
    pub allow_nonfinite: bool,
    pub mode: ModeName,
    pub point: PointName,
    pub statistic: StatisticName,
    pub repair: RepairName,
    pub ridge: f64,
    pub importance: f64,
    /// Whether important neurons cost more where activations are matched.
    pub importance_cost: bool,
    pub answer: Answer,
    /// Fits behind activation functions.
    pub rounds: usize,
    #[cfg_attr(not(feature = "training"), allow(dead_code))]
    pub repair_steps: Option<usize>,
    pub samples: usize,
    /// Samples whose activations are matched.
    pub matching_samples: usize,
    pub check: usize,
    pub solver: SolverName,
    pub epsilon: f64,
    pub marginals: MarginalName,
    pub residual: ResidualName,
    pub width_budget: Option<f64>,
    /// Below 1.
    pub narrow: Option<f64>,
    pub seed: u64,
    /// What the proof is made on.
    pub shapes: InputShapes,
}

/// What is known of the data when options are resolved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A network is made.
    Fuse { has_data: bool },
    /// Averages are only measured, with all weights: neurons are matched by weights and nothing is repaired, unless said.
    Measure { has_data: bool },
}

impl Purpose {
    fn has_data(self) -> bool {
        match self {
            Self::Fuse { has_data } | Self::Measure { has_data } => has_data,
        }
    }
}

fn positive(name: &str, value: f64, hint: &str) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(Error::input(format!("`{name}` {value}: expected a positive number")).hint(hint))
}

const DATA_HINT: &str = "name a data set: `data` mnist:DIR, `data` cifar10:DIR, `data` npz:FILE or `data` digits";

impl Plan {
    /// Options for so many models.
    pub(crate) fn resolve(options: &FuseOptions, models: &[Model], purpose: Purpose) -> Result<Self> {
        let count = models.len();
        if count < 2 {
            return Err(Error::input(format!("fusing takes at least two models, found {count}")).hint("name them all"));
        }
        let anchor = options.anchor.or(options.base).unwrap_or(count - 1);
        if anchor >= count {
            let message = format!("`anchor` {anchor}: there are models 0 to {} only", count - 1);
            return Err(Error::input(message).hint("models are counted from 0"));
        }
        let has_data = purpose.has_data();
        let width_budget = options.width_budget.or(options.target_width.filter(|&width| width > 1.0));
        let (mode, repair) = (mode_of(options, purpose), repair_of(options, width_budget, purpose));
        check_samples(options, mode, repair, has_data)?;
        check_numbers(options, width_budget, repair)?;
        let (point, statistic) = recorded(options);
        let settings = Settings {
            weights: weights(options, count, anchor)?,
            features: features(mode, point, statistic, options.activation_share.unwrap_or(0.5)),
            ..settings(options)
        };
        let paths: Vec<_> = models.iter().map(|model| model.path().to_owned()).collect();
        let merge = options.merge.unwrap_or(MergeName::Mean);
        let told = Told::of(merge.method(), options, models, anchor)?;
        let normalised = settings.normalised_weights(count);
        let checked = normalised.and_then(|weights| told.merging().check(&weights));
        checked.map_err(|error| fusion_error(&error, &paths, anchor))?;
        let is_paper = options.preset == Some(PresetName::Paper);
        let samples = options.samples.unwrap_or(1000);
        let effort = options.effort.unwrap_or(EffortName::Default);
        let is_tuned = effort != EffortName::Quick && is_open(options);
        Ok(Self {
            effort,
            symmetry: symmetry_of(options, effort),
            merge,
            told,
            anchor,
            allow_nonfinite: options.allow_nonfinite == Some(true),
            align_outputs: (is_paper || options.align_outputs.unwrap_or(false))
                && settings.alignment == Alignment::Transport,
            mode,
            point,
            statistic,
            repair,
            ridge: options.ridge.unwrap_or(RIDGE),
            importance: options.importance.unwrap_or(4.0),
            // Of three and more models each is matched with the anchor alone, whose neurons matter less then.
            importance_cost: options.importance_cost.unwrap_or(is_tuned && count == 2),
            answer: match options.class_shares.unwrap_or(is_tuned) {
                true => Answer::ClassShares,
                false => Answer::Ensemble,
            },
            rounds: options.repair_rounds.unwrap_or(if is_tuned { ROUNDS } else { 0 }),
            repair_steps: options.repair_steps,
            samples,
            matching_samples: match options.mode.unwrap_or(ModeName::Auto) {
                ModeName::Auto => samples.min(MATCHING_SAMPLES),
                _ => samples,
            },
            check: options.check.unwrap_or(1000),
            solver: options.solver.unwrap_or(SolverName::Exact),
            epsilon: options.epsilon.unwrap_or(EPSILON),
            marginals: options.marginals.unwrap_or(MarginalName::Uniform),
            residual: options.residual.unwrap_or(ResidualName::Sums),
            width_budget,
            narrow: options.target_width.filter(|&width| width < 1.0),
            seed: options.seed.unwrap_or(0),
            shapes: options.shape.clone().unwrap_or_default(),
            settings,
        })
    }

    /// What is done otherwise than in another plan for so many models, each with what the other does in parentheses.
    pub(crate) fn differences(&self, other: &Self, models: usize) -> Vec<String> {
        let shown = |plan: &Self| {
            [
                ("mode", plan.mode.to_string()),
                ("activation point", if plan.records() { plan.point.to_string() } else { "-".into() }),
                ("samples matched", if plan.records() { plan.matching_samples.to_string() } else { "-".into() }),
                ("cost", plan.cost().to_string()),
                ("sweeps", plan.settings.matching.max_sweeps.to_string()),
                ("merge", plan.merge.to_string()),
                ("repair", plan.repair.to_string()),
                (
                    "samples repaired on",
                    if plan.repair.needs_samples() { plan.samples.to_string() } else { "-".into() },
                ),
            ]
        };
        let pairs = shown(self).into_iter().zip(shown(other));
        // What only one of them does at all is said by the others.
        let differing = pairs.filter(|((_, here), (_, there))| here != there && here != "-" && there != "-");
        let mut found: Vec<String> =
            differing.map(|((name, here), (_, there))| format!("{name} {here} (`otfuse fuse`: {there})")).collect();
        if models > 2 {
            found.push("the models in the order given (`otfuse fuse`: in an order and with weights of its own)".into());
        }
        found
    }

    /// The base, where the merge takes one.
    #[cfg(feature = "experiment")]
    pub(crate) fn base(&self) -> Option<usize> {
        self.told.merging().base()
    }

    /// How aligned tensors become one.
    pub(crate) fn merging(&self) -> Merging {
        self.told.merging()
    }

    /// Whether the neurons are matched by activations.
    pub(crate) fn records(&self) -> bool {
        self.settings.alignment == Alignment::Transport && self.mode != ModeName::Weights
    }

    /// Whether the merge has to know something of samples.
    pub(crate) fn measures(&self) -> bool {
        self.merge.method().needs() != Statistics::None
    }

    /// The distance between neurons.
    pub(crate) fn cost(&self) -> CostName {
        match self.settings.ground_cost.metric {
            GroundMetric::SquaredEuclidean => CostName::Sqeuclidean,
            GroundMetric::Cosine => CostName::Cosine,
            _ => CostName::Euclidean,
        }
    }
}

/// The weights of the largest network.
pub(super) fn weights_of_largest(models: &[Model]) -> Result<usize> {
    let counts = models.iter().map(|model| Ok(model.graph()?.parameter_count()));
    counts.collect::<Result<Vec<_>>>().map(|counts| counts.into_iter().max().unwrap_or(0))
}

/// Whether networks of so many weights are fused with little memory.
pub(super) fn is_large(weights: usize, context: &Context) -> bool {
    (weights as u64).saturating_mul(BYTES_A_WEIGHT) > context.memory_limit()
}

/// Lets networks that are too large for the context's memory be matched by one forward sweep and not be repaired, where
/// the options leave that open and there are no samples: later sweeps and repairs hold whole networks, in single precision.
pub(crate) fn spare_memory(
    options: &mut FuseOptions,
    models: &[Model],
    has_data: bool,
    context: &Context,
) -> Result<()> {
    let is_free = is_open(options)
        && !has_data
        && options.width_budget.is_none()
        && options.target_width.is_none_or(|width| width <= 1.0);
    let (sweeps, repairs) = (options.sweeps.is_none(), options.repair.unwrap_or(RepairName::Auto) == RepairName::Auto);
    let largest = weights_of_largest(models)?;
    if !is_large(largest, context) || !is_free || !(sweeps || repairs) {
        return Ok(());
    }
    if sweeps {
        options.sweeps = Some(0);
    }
    if repairs {
        options.repair = Some(RepairName::None);
    }
    context.warn(&format!(
        "{largest} weights: matched by one forward sweep and not repaired, to save memory; `sweeps` 40 and `repair` data-free \
         do as for smaller networks"
    ));
    Ok(())
}

fn check_samples(options: &FuseOptions, mode: ModeName, repair: RepairName, has_data: bool) -> Result<()> {
    let needs = options.merge.map_or(Statistics::None, |merge| merge.method().needs());
    let merge = options.merge.unwrap_or(MergeName::Mean);
    if needs == Statistics::Fisher && !cfg!(feature = "training") {
        return Err(Error::input(format!("`merge` {merge}: this build has no training, which computes gradients"))
            .hint("`merge` regmean needs none"));
    }
    if needs != Statistics::None && !has_data {
        return Err(Error::input(format!("`merge` {merge} needs samples, of which no labels are looked at"))
            .hint(format!("{DATA_HINT}; or `samples_from` parents, which lets the networks make some")));
    }
    if mode != ModeName::Weights && !has_data {
        return Err(Error::input(format!("`mode` {} needs samples", mode.name())).hint(DATA_HINT));
    }
    if repair.needs_samples() && !has_data {
        return Err(Error::input("this `repair` needs samples")
            .hint("name a data set: `data` mnist:DIR, cifar10:DIR, npz:FILE or digits; data-free needs none"));
    }
    if options.samples == Some(0) {
        return Err(Error::input("`samples` 0: at least one sample is needed").hint("the default is 1000"));
    }
    Ok(())
}

fn check_numbers(options: &FuseOptions, width_budget: Option<f64>, repair: RepairName) -> Result<()> {
    if repair == RepairName::Distill && !cfg!(feature = "training") {
        return Err(
            Error::input("`repair` distill: this build has no training").hint("`repair` least-squares needs none")
        );
    }
    if options.repair_steps == Some(0) {
        return Err(
            Error::input("`repair_steps` 0: at least one step is needed").hint("`repair` least-squares takes none")
        );
    }
    if options.repair_steps.is_some() && repair != RepairName::Distill {
        return Err(Error::input(format!("`repair_steps` goes with `repair` distill, not {repair}"))
            .hint("`repair` distill, or `effort` thorough with samples"));
    }
    if let Some(ridge) = options.ridge {
        positive("ridge", ridge, &format!("the default is {RIDGE}"))?;
    }
    if let Some(importance) = options.importance
        && !(importance >= 0.0 && importance.is_finite())
    {
        return Err(
            Error::input(format!("`importance` {importance}: expected a number from 0 on")).hint("the default is 4")
        );
    }
    if let Some(share) = options.activation_share
        && !(0.0..=1.0).contains(&share)
    {
        return Err(Error::input(format!("`activation_share` {share}: expected a number from 0 to 1"))
            .hint("0 goes by weights alone, 1 by activations alone; the default is 0.5"));
    }
    if let Some(width) = options.target_width {
        positive("target_width", width, "0.5 halves every group of neurons; 1 is the anchor's width")?;
    }
    let excluded = [
        ("target_width", options.target_width.is_some(), "width_budget", options.width_budget.is_some()),
        ("width_budget", width_budget.is_some(), "aligned_only", options.aligned_only == Some(true)),
        ("target_width", options.target_width.is_some(), "aligned_only", options.aligned_only == Some(true)),
        ("width_budget", width_budget.is_some(), "method", options.method == Some(MethodName::Average)),
        ("width_budget", width_budget.is_some(), "merge", options.merge.is_some_and(|merge| merge != MergeName::Mean)),
        ("t", options.t.is_some(), "weights", options.weights.is_some()),
        ("merge", takes_tasks(options), "aligned_only", options.aligned_only == Some(true)),
    ];
    if let Some((one, _, other, _)) = excluded.into_iter().find(|&(_, one, _, other)| one && other) {
        return Err(Error::input(format!("`{one}` and `{other}` exclude each other")).hint("leave one of them out"));
    }
    if let Some(epsilon) = options.epsilon {
        positive("epsilon", epsilon, "the default is 0.05; smaller is closer to the exact solution")?;
    }
    Ok(())
}

/// Whether differences from a base are merged.
pub(super) fn takes_tasks(options: &FuseOptions) -> bool {
    options.merge.is_some_and(|merge| merge.method().base() == Base::Required)
}

fn weights(options: &FuseOptions, models: usize, anchor: usize) -> Result<Vec<f64>> {
    // Weights of task vectors are no shares.
    if takes_tasks(options) {
        return Ok(Vec::new());
    }
    let mut weights = options.weights.clone().unwrap_or_default().0;
    if let Some(t) = options.t {
        if models != 2 || !(0.0..=1.0).contains(&t) {
            return Err(Error::input(format!(
                "`t` {t}: expected a number from 0 to 1 and two models, found {models} models"
            ))
            .hint("`t` is the share of the second model; `weights` takes one number for each"));
        }
        weights = vec![1.0 - t, t];
    }
    if options.aligned_only == Some(true) {
        if models != 2 || !weights.is_empty() {
            return Err(Error::input(format!(
                "`aligned_only` takes two models and no `weights`, found {models} models"
            ))
            .hint("it writes the model that is not the anchor, its neurons in the anchor's order"));
        }
        weights = vec![1.0; 2];
        weights[anchor] = 0.0;
    }
    Ok(weights)
}

/// Where activations are taken, and what is kept of them.
fn recorded(options: &FuseOptions) -> (PointName, StatisticName) {
    let point = match options.mode.unwrap_or(ModeName::Auto) {
        ModeName::Auto => PointName::Post,
        _ => PointName::Pre,
    };
    let point = options.activation_point.unwrap_or(point);
    (point, options.activation_features.unwrap_or(StatisticName::Raw))
}

/// How the models are aligned; features and weights aside.
fn settings(options: &FuseOptions) -> Settings {
    let base = base(options);
    Settings {
        alignment: match options.method.unwrap_or(MethodName::Ot) {
            MethodName::Ot => Alignment::Transport,
            MethodName::Average => Alignment::None,
        },
        residual: match options.residual.unwrap_or(ResidualName::Sums) {
            ResidualName::Sums => Residual::Sums,
            ResidualName::Uniform => Residual::Uniform,
            ResidualName::Scaled => Residual::Scaled,
            ResidualName::Neurons => Residual::Neurons,
        },
        ground_cost: ground_cost(options, &base),
        solver: match options.solver.unwrap_or(SolverName::Exact) {
            SolverName::Exact => Solver::Exact,
            SolverName::Sinkhorn => Solver::Sinkhorn(SinkhornSettings {
                epsilon: Epsilon::RelativeToMean(options.epsilon.unwrap_or(EPSILON)),
                ..SinkhornSettings::default()
            }),
        },
        marginals: match options.marginals.unwrap_or(MarginalName::Uniform) {
            MarginalName::Uniform => MarginalKind::Uniform,
            MarginalName::L1 => MarginalKind::L1,
            MarginalName::L2 => MarginalKind::L2,
        },
        matching: matching(options, &base.matching),
        ..base
    }
}

/// The settings of the preset, or those of the product.
fn base(options: &FuseOptions) -> Settings {
    let is_soft = options.solver.is_some_and(|solver| solver != SolverName::Exact)
        || options.marginals.is_some_and(|marginals| marginals != MarginalName::Uniform);
    match options.preset {
        // Soft plans and unequal masses seldom come to rest, and a sweep with them is dear.
        None if is_soft => Settings { matching: Matching::default(), ..Settings::recommended() },
        None => Settings::recommended(),
        Some(PresetName::Forward) => Settings::default(),
        Some(PresetName::Paper) => Settings::paper(),
        Some(PresetName::GitRebasin) => Settings::git_rebasin(),
        Some(PresetName::Converged) => Settings::converged(),
    }
}

/// Whether no preset and no plain average is asked for.
pub(super) fn is_open(options: &FuseOptions) -> bool {
    options.preset.is_none() && options.method.unwrap_or(MethodName::Ot) == MethodName::Ot
}

/// What describes neurons.
fn mode_of(options: &FuseOptions, purpose: Purpose) -> ModeName {
    let is_free = is_open(options);
    match options.mode.unwrap_or(ModeName::Auto) {
        ModeName::Auto if is_free && purpose == (Purpose::Fuse { has_data: true }) => ModeName::Activations,
        ModeName::Auto => ModeName::Weights,
        mode => mode,
    }
}

/// Which symmetries align the networks: presets, plain averages, quick work and options that say how neurons are matched
/// know permutations alone, and so do results of other widths.
fn symmetry_of(options: &FuseOptions, effort: EffortName) -> SymmetryName {
    let is_matching = is_open(options)
        && options.mode.unwrap_or(ModeName::Auto) == ModeName::Auto
        && options.solver.unwrap_or(SolverName::Exact) == SolverName::Exact
        && options.marginals.unwrap_or(MarginalName::Uniform) == MarginalName::Uniform
        && options.residual.is_none()
        && options.cost.is_none()
        && options.sweeps.is_none()
        && [options.start.is_some(), options.members.is_some(), options.order.is_some(), options.starts.is_some()]
            == [false; 4]
        && options.consensus.is_none()
        && options.align_outputs != Some(true);
    let is_as_wide = options.width_budget.is_none() && options.target_width.is_none_or(|width| width == 1.0);
    // Rows that only the anchor has stay in its own coordinates.
    let is_free = is_matching && is_as_wide && options.aligned_only != Some(true) && options.vocabulary.is_none();
    match options.symmetry {
        Some(SymmetryName::Permutations) => SymmetryName::Permutations,
        _ if !is_free => SymmetryName::Permutations,
        None if effort == EffortName::Quick => SymmetryName::Permutations,
        _ => SymmetryName::Auto,
    }
}

/// What is repaired.
fn repair_of(options: &FuseOptions, width_budget: Option<f64>, purpose: Purpose) -> RepairName {
    let is_free = is_open(options) && options.aligned_only != Some(true);
    let is_quick = options.effort == Some(EffortName::Quick);
    match options.repair.unwrap_or(RepairName::Auto) {
        // Neurons that stay apart keep their variance.
        RepairName::Auto if width_budget.is_some() && (is_quick || !purpose.has_data()) => RepairName::None,
        // Repairs bring the result to the mean of all parents, which is not what task vectors are for.
        RepairName::Auto if takes_tasks(options) => RepairName::None,
        RepairName::Auto if !is_free || matches!(purpose, Purpose::Measure { .. }) => RepairName::None,
        RepairName::Auto if purpose.has_data() => {
            // Without training there is nothing better than least squares.
            let distils = options.effort == Some(EffortName::Thorough) && cfg!(feature = "training");
            if distils { RepairName::Distill } else { RepairName::LeastSquares }
        }
        RepairName::Auto => RepairName::DataFree,
        repair => repair,
    }
}

fn features(mode: ModeName, point: PointName, statistic: StatisticName, share: f64) -> FeatureSource {
    let point = match point {
        PointName::Pre => ActivationPoint::PreActivation,
        PointName::Post => ActivationPoint::PostActivation,
    };
    let statistic = match statistic {
        StatisticName::Raw => ActivationStatistic::Raw,
        StatisticName::Moments => ActivationStatistic::Moments,
    };
    match mode {
        ModeName::Auto | ModeName::Weights => FeatureSource::Weights,
        ModeName::Activations => FeatureSource::Activations { point, statistic },
        ModeName::Both => FeatureSource::Both { point, statistic, share },
    }
}

fn ground_cost(options: &FuseOptions, base: &Settings) -> GroundCost {
    GroundCost {
        metric: match options.cost {
            None => base.ground_cost.metric,
            Some(CostName::Euclidean) => GroundMetric::Euclidean,
            Some(CostName::Sqeuclidean) => GroundMetric::SquaredEuclidean,
            Some(CostName::Cosine) => GroundMetric::Cosine,
        },
        normalize: options.normalize_features.unwrap_or(false)
            || (base.ground_cost.normalize && options.cost.is_none_or(|cost| cost == CostName::Euclidean)),
    }
}

/// The preset's way of sweeping, changed where the options say so.
fn matching(options: &FuseOptions, preset: &Matching) -> Matching {
    Matching {
        max_sweeps: options.sweeps.unwrap_or(preset.max_sweeps),
        start: match options.start {
            None => preset.start,
            Some(StartName::Forward) => SweepStart::Forward,
            Some(StartName::Identity) => SweepStart::Identity,
        },
        members: match options.members {
            None => preset.members,
            Some(MembersName::Producers) => Members::Producers,
            Some(MembersName::All) => Members::All,
        },
        order: match options.order {
            None => preset.order,
            Some(OrderName::Topological) => SweepOrder::Topological,
            Some(OrderName::Random) => SweepOrder::Random,
        },
        starts: options.starts.unwrap_or(preset.starts),
        seed: options.seed.unwrap_or(0),
        balance: options.balance.unwrap_or(false) || preset.balance,
        consensus: match options.consensus {
            None => preset.consensus,
            Some(ConsensusName::Anchor) => Consensus::Anchor,
            Some(ConsensusName::Mean) => Consensus::RunningMean,
        },
        consensus_of_activations: options.effort != Some(EffortName::Quick) && is_open(options),
    }
}
