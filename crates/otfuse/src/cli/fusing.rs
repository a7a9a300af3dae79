//! What the commands that fuse share: a resolved plan, proofs, activations, repair.

use clap::ValueEnum;
use otfuse_formats::model::Model;
use otfuse_fusion::{
    ActivationPoint, ActivationStatistic, Activations, Consensus, FeatureSource, Fusion, FusionError, MarginalKind,
    Matching, Members, Method, Networks, PruneSettings, Settings, SweepOrder, SweepStart, prune,
};
use otfuse_graph::Graph;
use otfuse_transport::{Epsilon, GroundCost, GroundMetric, SinkhornSettings, Solver};

use super::Failure;
use super::arguments::{
    ConsensusName, CostName, Fuse, MarginalName, MembersName, MethodName, ModeName, OrderName, PointName, PresetName,
    RIDGE, RepairName, SolverName, SplitName, StartName, StatisticName,
};
use super::command::prune::{prune_failure, warn_of_skipped};
use super::command::verify::broken;
use super::failure::{fusion_failure, runtime_failure};
use super::models::dataset;
use super::output::warn;
use super::progress::Progress;
use crate::{RecordError, Repair, RepairError, VerifyError, repair};

/// The most samples whose activations are matched unless activations were asked for.
const MATCHING_SAMPLES: usize = 500;

/// Networks of more weights are fused with little memory unless more is asked for.
const LARGE: usize = 1 << 27;

/// The arguments, checked and completed.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) anchor: usize,
    pub(crate) align_outputs: bool,
}

impl Plan {
    /// The networks of the graphs, matched.
    pub(crate) fn networks<'a>(&self, graphs: &[&'a Graph]) -> Result<Networks<'a>, FusionError> {
        match self.align_outputs {
            true => Networks::with_free_outputs(graphs, self.anchor),
            false => Networks::new(graphs, self.anchor),
        }
    }

    /// The activations of all models, where the settings ask for them.
    pub(crate) fn activations(
        &self,
        networks: &Networks<'_>,
        arguments: &Fuse,
    ) -> Result<Option<Vec<Activations>>, Failure> {
        match &self.settings.features {
            FeatureSource::Activations { point, statistic } | FeatureSource::Both { point, statistic, .. }
                if self.settings.method == Method::OptimalTransport =>
            {
                record(networks, arguments, *point, *statistic).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The anchor with --target-width of its neurons, which becomes the anchor: it gives the result its shape, and has no part in
    /// the average. Nothing where the result is as wide as the anchor.
    pub(crate) fn narrow(&mut self, arguments: &Fuse, models: &[Model]) -> Result<Option<Graph>, Failure> {
        let Some(width) = arguments.target_width.filter(|&width| width < 1.0) else { return Ok(None) };
        let path = &arguments.models[self.anchor];
        let settings = PruneSettings { amount: 1.0 - width, ..PruneSettings::default() };
        let pruning = prune(&models[self.anchor].graph, &settings).map_err(|error| prune_failure(&error).of(path))?;
        warn_of_skipped(&pruning);
        let mut weights = self
            .settings
            .normalised_weights(models.len())
            .map_err(|error| fusion_failure(&error, &arguments.models, self.anchor))?;
        weights.push(0.0);
        (self.settings.weights, self.anchor) = (weights, models.len());
        Ok(Some(pruning.graph))
    }

    pub(crate) fn resolve(arguments: &Fuse) -> Result<Self, Failure> {
        let models = arguments.models.len();
        let anchor = arguments.anchor.unwrap_or(models - 1);
        if anchor >= models {
            let message = format!("--anchor {anchor}: there are models 0 to {} only", models - 1);
            return Err(Failure::input(message).hint("models are counted from 0"));
        }
        if !matches!(arguments.mode, ModeName::Auto | ModeName::Weights) && arguments.data.data.is_none() {
            let mode = arguments.mode.to_possible_value().map_or_else(String::new, |name| name.get_name().to_owned());
            return Err(Failure::input(format!("--mode {mode} needs samples"))
                .hint("name a data set: --data mnist:DIR, --data cifar10:DIR, --data npz:FILE or --data digits"));
        }
        if arguments.data.data.is_none() && !matches!(repair_of(arguments), RepairName::None | RepairName::DataFree) {
            return Err(Failure::input("this --repair needs samples")
                .hint("name a data set: --data mnist:DIR, cifar10:DIR, npz:FILE or digits; data-free needs none"));
        }
        if !(arguments.ridge > 0.0 && arguments.ridge.is_finite()) {
            return Err(Failure::input(format!("--ridge {}: expected a positive number", arguments.ridge))
                .hint(format!("the default is {RIDGE}")));
        }
        if !(arguments.importance >= 0.0 && arguments.importance.is_finite()) {
            return Err(Failure::input(format!("--importance {}: expected a number from 0 on", arguments.importance))
                .hint("the default is 4"));
        }
        if !(0.0..=1.0).contains(&arguments.sweeping.activation_share) {
            let share = arguments.sweeping.activation_share;
            return Err(Failure::input(format!("--activation-share {share}: expected a number from 0 to 1"))
                .hint("0 goes by weights alone, 1 by activations alone; the default is 0.5"));
        }
        if let Some(width) = arguments.target_width
            && !(width > 0.0 && width.is_finite())
        {
            return Err(Failure::input(format!("--target-width {width}: expected a positive number"))
                .hint("0.5 halves every group of neurons; 1 is the anchor's width"));
        }
        if arguments.width_budget.is_some() && repair_of(arguments) != RepairName::None {
            return Err(Failure::input("--width-budget and --repair exclude each other")
                .hint("neurons that stay apart need no repair; --repair none is the default with --width-budget"));
        }
        if arguments.samples == 0 {
            return Err(Failure::input("--samples 0: at least one sample is needed").hint("the default is 1000"));
        }
        if !(arguments.epsilon > 0.0 && arguments.epsilon.is_finite()) {
            return Err(Failure::input(format!("--epsilon {}: expected a positive number", arguments.epsilon))
                .hint("the default is 0.05; smaller is closer to the exact solution"));
        }
        let mut weights = arguments.weights.clone();
        if arguments.aligned_only {
            if models != 2 || !weights.is_empty() {
                return Err(Failure::input(format!(
                    "--aligned-only takes two models and no --weights, found {models} models"
                ))
                .hint("it writes the model that is not the anchor, its neurons in the anchor's order"));
            }
            weights = vec![1.0; 2];
            weights[anchor] = 0.0;
        }
        let is_paper = arguments.preset == Some(PresetName::Paper);
        let base = match arguments.preset {
            // Soft plans and unequal masses seldom come to rest, and a sweep with them is dear.
            None if arguments.solver != SolverName::Exact || arguments.marginals != MarginalName::Uniform => {
                Settings { matching: Matching::default(), ..Settings::recommended() }
            }
            None => Settings::recommended(),
            Some(PresetName::Forward) => Settings::default(),
            Some(PresetName::Paper) => Settings::paper(),
            Some(PresetName::GitRebasin) => Settings::git_rebasin(),
            Some(PresetName::Converged) => Settings::converged(),
        };
        let (point, statistic) = observed(arguments);
        let settings = Settings {
            method: match arguments.method {
                MethodName::Ot => Method::OptimalTransport,
                MethodName::Average => Method::Average,
            },
            features: match mode_of(arguments) {
                ModeName::Auto | ModeName::Weights => FeatureSource::Weights,
                ModeName::Activations => FeatureSource::Activations { point, statistic },
                ModeName::Both => FeatureSource::Both { point, statistic, share: arguments.sweeping.activation_share },
            },
            residual: arguments.residual.into(),
            ground_cost: GroundCost {
                metric: match arguments.cost {
                    None => base.ground_cost.metric,
                    Some(CostName::Euclidean) => GroundMetric::Euclidean,
                    Some(CostName::Sqeuclidean) => GroundMetric::SquaredEuclidean,
                    Some(CostName::Cosine) => GroundMetric::Cosine,
                },
                normalize: arguments.normalize_features
                    || (base.ground_cost.normalize && arguments.cost.is_none_or(|cost| cost == CostName::Euclidean)),
            },
            solver: match arguments.solver {
                SolverName::Exact => Solver::Exact,
                SolverName::Sinkhorn => Solver::Sinkhorn(SinkhornSettings {
                    epsilon: Epsilon::RelativeToMean(arguments.epsilon),
                    ..SinkhornSettings::default()
                }),
            },
            marginals: match arguments.marginals {
                MarginalName::Uniform => MarginalKind::Uniform,
                MarginalName::L1 => MarginalKind::L1,
                MarginalName::L2 => MarginalKind::L2,
            },
            weights,
            matching: matching(arguments, &base.matching),
            ..base
        };
        settings.normalised_weights(models).map_err(|error| fusion_failure(&error, &arguments.models, anchor))?;
        let align_outputs = (is_paper || arguments.align_outputs) && arguments.method == MethodName::Ot;
        Ok(Self { settings, anchor, align_outputs })
    }
}

/// Lets networks of more than [`LARGE`] weights be matched by one forward sweep and not be repaired, where the arguments leave
/// that open and give no samples: later sweeps and repairs hold whole networks in memory, in single precision.
pub(crate) fn spare_memory(arguments: &mut Fuse, models: &[Model]) {
    let largest = models.iter().map(|model| model.graph.parameter_count()).max().unwrap_or(0);
    let is_free = arguments.preset.is_none()
        && arguments.method == MethodName::Ot
        && arguments.data.data.is_none()
        && arguments.width_budget.is_none();
    let (sweeps, repairs) = (arguments.sweeping.sweeps.is_none(), arguments.repair == RepairName::Auto);
    if largest <= LARGE || !is_free || !(sweeps || repairs) {
        return;
    }
    if sweeps {
        arguments.sweeping.sweeps = Some(0);
    }
    if repairs {
        arguments.repair = RepairName::None;
    }
    warn(&format!(
        "{largest} weights: matched by one forward sweep and not repaired, to save memory; --sweeps 40 and --repair data-free \
         do as for smaller networks"
    ));
}

/// The distance between neurons.
pub(crate) fn cost_of(settings: &Settings) -> CostName {
    match settings.ground_cost.metric {
        GroundMetric::SquaredEuclidean => CostName::Sqeuclidean,
        GroundMetric::Cosine => CostName::Cosine,
        _ => CostName::Euclidean,
    }
}

/// What describes neurons.
pub(crate) fn mode_of(arguments: &Fuse) -> ModeName {
    let is_free = arguments.preset.is_none() && arguments.method == MethodName::Ot && arguments.sweep.is_none();
    match arguments.mode {
        ModeName::Auto if is_free && arguments.data.data.is_some() => ModeName::Activations,
        ModeName::Auto => ModeName::Weights,
        mode => mode,
    }
}

/// What is repaired.
pub(crate) fn repair_of(arguments: &Fuse) -> RepairName {
    let is_free = arguments.preset.is_none() && arguments.method == MethodName::Ot && !arguments.aligned_only;
    let is_measured = arguments.sweep.is_some() || arguments.width_budget.is_some();
    match arguments.repair {
        RepairName::Auto if !is_free || is_measured => RepairName::None,
        RepairName::Auto if arguments.data.data.is_some() => RepairName::LeastSquares,
        RepairName::Auto => RepairName::DataFree,
        repair => repair,
    }
}

/// Where activations are taken.
pub(crate) fn point_of(arguments: &Fuse) -> PointName {
    match arguments.mode {
        ModeName::Auto => PointName::Post,
        _ => arguments.activation_point,
    }
}

/// What activation modes observe.
fn observed(arguments: &Fuse) -> (ActivationPoint, ActivationStatistic) {
    let point = match point_of(arguments) {
        PointName::Pre => ActivationPoint::PreActivation,
        PointName::Post => ActivationPoint::PostActivation,
    };
    let statistic = match arguments.activation_features {
        StatisticName::Raw => ActivationStatistic::Raw,
        StatisticName::Moments => ActivationStatistic::Moments,
    };
    (point, statistic)
}

/// The preset's way of sweeping, changed where the arguments say so.
fn matching(arguments: &Fuse, preset: &Matching) -> Matching {
    let sweeping = &arguments.sweeping;
    Matching {
        max_sweeps: sweeping.sweeps.unwrap_or(preset.max_sweeps),
        start: match sweeping.start {
            None => preset.start,
            Some(StartName::Forward) => SweepStart::Forward,
            Some(StartName::Identity) => SweepStart::Identity,
        },
        members: match sweeping.members {
            None => preset.members,
            Some(MembersName::Producers) => Members::Producers,
            Some(MembersName::All) => Members::All,
        },
        order: match sweeping.order {
            None => preset.order,
            Some(OrderName::Topological) => SweepOrder::Topological,
            Some(OrderName::Random) => SweepOrder::Random,
        },
        starts: sweeping.starts.unwrap_or(preset.starts),
        seed: arguments.seed,
        balance: sweeping.balance || preset.balance,
        consensus: match sweeping.consensus {
            None => preset.consensus,
            Some(ConsensusName::Anchor) => Consensus::Anchor,
            Some(ConsensusName::Mean) => Consensus::RunningMean,
        },
    }
}

/// Proves the groups of every model; `false` if the networks cannot be run.
pub(crate) fn prove(graphs: &[&Graph], arguments: &Fuse) -> Result<bool, Failure> {
    let bar = Progress::new("proving neuron groups", graphs.len());
    for (graph, path) in graphs.iter().zip(&arguments.models) {
        let hint = "--no-verify fuses all the same";
        match crate::verify(graph, arguments.seed) {
            Ok(verification) if verification.is_ok() => {}
            Ok(verification) => return Err(broken(graph, &verification).of(path).hint(hint)),
            Err(VerifyError::Runtime(error @ otfuse_runtime::RuntimeError::Unsupported { .. })) => {
                drop(bar);
                warn(&format!("{}: the neuron groups are not proved: {error}", path.display()));
                return Ok(false);
            }
            Err(error) => return Err(Failure::from(error).of(path)),
        }
        bar.step();
    }
    Ok(true)
}

/// Records the activations of all models on the same samples.
fn record(
    networks: &Networks<'_>,
    arguments: &Fuse,
    point: ActivationPoint,
    statistic: ActivationStatistic,
) -> Result<Vec<Activations>, Failure> {
    let count = match arguments.mode {
        // All activations are held at once.
        ModeName::Auto => arguments.samples.min(MATCHING_SAMPLES),
        _ => arguments.samples,
    };
    let dataset = dataset(&arguments.data, SplitName::Train, None)?.spread(count);
    let bar = Progress::new("recording activations", networks.len());
    (0..networks.len())
        .map(|model| {
            let recorded = crate::record_activations(networks, model, point, statistic, &dataset);
            bar.step();
            recorded.map_err(|error| match error {
                RecordError::Runtime(error) => match arguments.models.get(model) {
                    Some(path) => runtime_failure(&error).of(path),
                    None => runtime_failure(&error),
                },
                RecordError::Fusion(error) => fusion_failure(&error, &arguments.models, networks.anchor()),
            })
        })
        .collect()
}

/// Repairs the fused network as the arguments say.
pub(crate) fn mend(networks: &Networks<'_>, fusion: &Fusion, arguments: &Fuse) -> Result<Graph, Failure> {
    let kind = repair_kind(arguments);
    let samples = match kind {
        Repair::None | Repair::DataFree => None,
        _ => Some(dataset(&arguments.data, SplitName::Train, None)?.spread(arguments.samples)),
    };
    let bar = Progress::new("repairing layers", networks.groups().len());
    let mut observe = |done, total| bar.at(done, total);
    repair(networks, fusion, kind, samples.as_ref(), &mut observe).map_err(|error| match error {
        RepairError::Runtime { model, source } => match arguments.models.get(model) {
            Some(path) => runtime_failure(&source).of(path),
            None => runtime_failure(&source),
        },
        RepairError::Fusion(error) => fusion_failure(&error, &arguments.models, networks.anchor()),
        error @ RepairError::Singular { .. } => Failure::run(&error).hint(format!("--ridge {RIDGE} is the default")),
        error => Failure::input(&error).hint("name a data set: --data mnist:DIR, cifar10:DIR, npz:FILE or digits"),
    })
}

fn repair_kind(arguments: &Fuse) -> Repair {
    match repair_of(arguments) {
        RepairName::Auto | RepairName::None => Repair::None,
        RepairName::DataFree => Repair::DataFree,
        RepairName::Bn => Repair::BatchNorm,
        RepairName::Repair => Repair::Renormalize,
        RepairName::Rescale => Repair::Rescale,
        RepairName::LeastSquares => Repair::LeastSquares { ridge: arguments.ridge, importance: arguments.importance },
    }
}
