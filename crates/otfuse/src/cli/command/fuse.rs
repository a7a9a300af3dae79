//! `otfuse fuse`.

use std::io::Write;
use std::path::Path;

use clap::ValueEnum;
use otfuse_formats::model::Model;
use otfuse_fusion::{
    ActivationPoint, ActivationStatistic, Activations, Consensus, FeatureSource, Fusion, FusionError, MarginalKind,
    Matching, Members, Method, ModelAlignment, Networks, Settings, SweepOrder, SweepStart, fuse,
};
use otfuse_graph::Graph;
use otfuse_transport::{Epsilon, GroundCost, GroundMetric, SinkhornSettings, Solver};
use serde::Serialize;

use super::verify::broken;
use crate::cli::Failure;
use crate::cli::arguments::{
    ConsensusName, CostName, Fuse, MarginalName, MembersName, MethodName, ModeName, OrderName, PointName, PresetName,
    RepairName, SolverName, SplitName, StartName, StatisticName,
};
use crate::cli::failure::{fusion_failure, runtime_failure};
use crate::cli::models::{check_output, count, dataset, file_failure, hash, open_finite, save, shown};
use crate::cli::output::{Output, table, warn};
use crate::cli::progress::Progress;
use crate::{RecordError, Repair, RepairError, VerifyError, repair};

/// What was fused, how, and what came out.
#[derive(Serialize)]
struct Report {
    method: MethodName,
    settings: Resolved,
    models: Vec<Input>,
    output: String,
    groups: Vec<Group>,
    sweeps: Vec<Sweeps>,
    seconds: Seconds,
}

/// How the sweeps after the first one went.
#[derive(Serialize)]
struct Sweeps {
    model: usize,
    count: usize,
    converged: bool,
    objective: Vec<f64>,
}

/// All settings as they were used.
#[derive(Serialize)]
struct Resolved {
    preset: Option<PresetName>,
    mode: ModeName,
    cost: CostName,
    sweeps: usize,
    normalize_features: bool,
    solver: SolverName,
    epsilon: Option<f64>,
    marginals: MarginalName,
    anchor: usize,
    weights: Vec<f64>,
    align_outputs: bool,
    bias_features: bool,
    published_scaling: bool,
    aligned_only: bool,
    repair: RepairName,
    ridge: Option<f64>,
    samples: Option<Samples>,
    verified: bool,
}

#[derive(Serialize)]
struct Samples {
    data: String,
    split: &'static str,
    count: usize,
    point: PointName,
    features: StatisticName,
}

#[derive(Serialize)]
struct Input {
    path: String,
    sha256: String,
    parameters: usize,
    weight: f64,
}

#[derive(Serialize)]
struct Group {
    model: usize,
    name: String,
    size: usize,
    anchor_size: usize,
    cost: f64,
    gap: f64,
    termination: String,
    matched_fraction: f64,
}

impl Sweeps {
    fn of(alignment: &ModelAlignment) -> Self {
        let objective = alignment.objective.clone();
        Self { model: alignment.model, count: alignment.sweeps, converged: alignment.converged, objective }
    }
}

#[derive(Serialize, Default)]
struct Seconds {
    read: f64,
    verify: f64,
    activations: f64,
    align: f64,
    average: f64,
    repair: f64,
    write: f64,
}

/// Seconds since the last call.
struct Clock(std::time::Instant);

impl Clock {
    fn lap(&mut self) -> f64 {
        let now = std::time::Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now)).as_secs_f64()
    }
}

/// Runs the command.
pub fn run(arguments: &Fuse, output: &Output) -> Result<(), Failure> {
    if let Some(weights) = &arguments.sweep {
        return super::sweep::run(arguments, weights, output);
    }
    let plan = Plan::resolve(arguments)?;
    let Some(target) = &arguments.output else {
        return Err(Failure::input("--output: expected a file").hint("-o FILE says where the result goes"));
    };
    check_output(target, &arguments.models, Some(&arguments.models[plan.anchor]))?;
    if let Some(path) = &arguments.save_alignment {
        check_output(path, &arguments.models, None)?;
        if path == target {
            let message = format!("{}: --save-alignment and --output are the same file", path.display());
            return Err(Failure::input(message).hint("choose another name for the alignment"));
        }
    }
    let mut seconds = Seconds::default();
    let mut clock = Clock(std::time::Instant::now());
    let models: Vec<Model> =
        arguments.models.iter().map(|path| open_finite(path, &arguments.reading)).collect::<Result<_, _>>()?;
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).collect();
    let failure = |error| fusion_failure(&error, &arguments.models, plan.anchor);
    let networks = plan.networks(&graphs).map_err(failure)?;
    networks.check_finite().map_err(failure)?;
    seconds.read = clock.lap();

    let verified = !arguments.no_verify && prove(&graphs, arguments)?;
    seconds.verify = clock.lap();

    let activations = plan.activations(&networks, arguments)?;
    seconds.activations = clock.lap();

    let others = models.len() - 1;
    clock.lap();
    let bar = Progress::new("aligning neuron groups", networks.groups().len() * others);
    let fusion = fuse(&networks, &plan.settings, activations.as_deref(), &|_| bar.step()).map_err(failure)?;
    drop(bar);
    seconds.align = fusion.alignment_time.as_secs_f64();
    seconds.average = fusion.averaging_time.as_secs_f64();

    clock.lap();
    let repaired = mend(&networks, &fusion, arguments)?;
    seconds.repair = clock.lap();
    save(&models[plan.anchor], &repaired, target)?;
    if let Some(path) = &arguments.save_alignment
        && let Err(failure) = save_alignments(path, &fusion.alignments)
    {
        // Both files or none.
        let _ = match target.is_dir() {
            true => std::fs::remove_dir_all(target),
            false => std::fs::remove_file(target),
        };
        return Err(failure);
    }
    seconds.write = clock.lap();

    let report = report(arguments, &plan, &models, &fusion, verified, seconds)?;
    output.result(&report, text)
}

/// The arguments, checked and completed.
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) anchor: usize,
    align_outputs: bool,
}

impl Plan {
    /// The networks of the graphs, matched.
    pub(super) fn networks<'a>(&self, graphs: &[&'a Graph]) -> Result<Networks<'a>, FusionError> {
        match self.align_outputs {
            true => Networks::with_free_outputs(graphs, self.anchor),
            false => Networks::new(graphs, self.anchor),
        }
    }

    /// The activations of all models, where the settings ask for them.
    pub(super) fn activations(
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

    pub(super) fn resolve(arguments: &Fuse) -> Result<Self, Failure> {
        let models = arguments.models.len();
        let anchor = arguments.anchor.unwrap_or(models - 1);
        if anchor >= models {
            let message = format!("--anchor {anchor}: there are models 0 to {} only", models - 1);
            return Err(Failure::input(message).hint("models are counted from 0"));
        }
        if arguments.mode != ModeName::Weights && arguments.data.data.is_none() {
            let mode = arguments.mode.to_possible_value().map_or_else(String::new, |name| name.get_name().to_owned());
            return Err(Failure::input(format!("--mode {mode} needs samples"))
                .hint("name a data set: --data mnist:DIR, --data cifar10:DIR, --data npz:FILE or --data digits"));
        }
        if arguments.data.data.is_none() && !matches!(arguments.repair, RepairName::None | RepairName::DataFree) {
            return Err(Failure::input("this --repair needs samples")
                .hint("name a data set: --data mnist:DIR, cifar10:DIR, npz:FILE or digits; data-free needs none"));
        }
        if !(arguments.ridge > 0.0 && arguments.ridge.is_finite()) {
            return Err(Failure::input(format!("--ridge {}: expected a positive number", arguments.ridge))
                .hint("the default is 0.1"));
        }
        if !(0.0..=1.0).contains(&arguments.sweeping.activation_share) {
            let share = arguments.sweeping.activation_share;
            return Err(Failure::input(format!("--activation-share {share}: expected a number from 0 to 1"))
                .hint("0 goes by weights alone, 1 by activations alone; the default is 0.5"));
        }
        if arguments.samples == 0 {
            return Err(Failure::input("--samples 0: at least one sample is needed").hint("the default is 200"));
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
            None => Settings::default(),
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
            features: match arguments.mode {
                ModeName::Weights => FeatureSource::Weights,
                ModeName::Activations => FeatureSource::Activations { point, statistic },
                ModeName::Both => FeatureSource::Both { point, statistic, share: arguments.sweeping.activation_share },
            },
            ground_cost: GroundCost {
                metric: match arguments.cost {
                    None => base.ground_cost.metric,
                    Some(CostName::Euclidean) => GroundMetric::Euclidean,
                    Some(CostName::Sqeuclidean) => GroundMetric::SquaredEuclidean,
                    Some(CostName::Cosine) => GroundMetric::Cosine,
                },
                normalize: arguments.normalize_features,
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

/// What activation modes observe.
fn observed(arguments: &Fuse) -> (ActivationPoint, ActivationStatistic) {
    let point = match arguments.activation_point {
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
pub(super) fn prove(graphs: &[&Graph], arguments: &Fuse) -> Result<bool, Failure> {
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
    let dataset = dataset(&arguments.data, SplitName::Train, None)?.spread(arguments.samples);
    let bar = Progress::new("recording activations", networks.len());
    (0..networks.len())
        .map(|model| {
            let recorded = crate::record_activations(networks, model, point, statistic, &dataset);
            bar.step();
            recorded.map_err(|error| match error {
                RecordError::Runtime(error) => runtime_failure(&error).of(&arguments.models[model]),
                RecordError::Fusion(error) => fusion_failure(&error, &arguments.models, networks.anchor()),
            })
        })
        .collect()
}

/// Repairs the fused network as the arguments say.
fn mend(networks: &Networks<'_>, fusion: &Fusion, arguments: &Fuse) -> Result<Graph, Failure> {
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
        error @ RepairError::Singular { .. } => Failure::run(&error).hint("--ridge 0.1 is the default"),
        error => Failure::input(&error).hint("name a data set: --data mnist:DIR, cifar10:DIR, npz:FILE or digits"),
    })
}

fn repair_kind(arguments: &Fuse) -> Repair {
    match arguments.repair {
        RepairName::None => Repair::None,
        RepairName::DataFree => Repair::DataFree,
        RepairName::Bn => Repair::BatchNorm,
        RepairName::Repair => Repair::Renormalize,
        RepairName::Rescale => Repair::Rescale,
        RepairName::LeastSquares => Repair::LeastSquares { ridge: arguments.ridge },
    }
}

fn save_alignments(path: &Path, alignments: &[ModelAlignment]) -> Result<(), Failure> {
    let json = serde_json::to_vec(alignments).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?;
    otfuse_formats::file::atomic_write(path, |writer| writer.write_all(&json)).map_err(|error| file_failure(&error))
}

fn report(
    arguments: &Fuse,
    plan: &Plan,
    models: &[Model],
    fusion: &Fusion,
    verified: bool,
    seconds: Seconds,
) -> Result<Report, Failure> {
    let uses_samples =
        arguments.mode != ModeName::Weights || !matches!(arguments.repair, RepairName::None | RepairName::DataFree);
    let inputs = arguments.models.iter().zip(models).zip(&fusion.weights);
    let groups = fusion.alignments.iter().flat_map(|alignment| {
        alignment.groups.iter().map(|group| Group {
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
    Ok(Report {
        method: arguments.method,
        settings: Resolved {
            preset: arguments.preset,
            mode: arguments.mode,
            cost: match plan.settings.ground_cost.metric {
                GroundMetric::SquaredEuclidean => CostName::Sqeuclidean,
                GroundMetric::Cosine => CostName::Cosine,
                _ => CostName::Euclidean,
            },
            sweeps: plan.settings.matching.max_sweeps,
            normalize_features: arguments.normalize_features,
            solver: arguments.solver,
            epsilon: (arguments.solver == SolverName::Sinkhorn).then_some(arguments.epsilon),
            marginals: arguments.marginals,
            anchor: plan.anchor,
            weights: fusion.weights.clone(),
            align_outputs: plan.align_outputs,
            bias_features: plan.settings.bias_features,
            published_scaling: plan.settings.published_scaling,
            aligned_only: arguments.aligned_only,
            repair: arguments.repair,
            ridge: (arguments.repair == RepairName::LeastSquares).then_some(arguments.ridge),
            samples: arguments.data.data.as_ref().filter(|_| uses_samples).map(|data| Samples {
                data: data.clone(),
                split: "train",
                count: arguments.samples,
                point: arguments.activation_point,
                features: arguments.activation_features,
            }),
            verified,
        },
        models: inputs
            .map(|((path, model), &weight)| {
                let parameters = model.graph.parameter_count();
                Ok(Input { path: shown(path), sha256: hash(path)?, parameters, weight })
            })
            .collect::<Result<_, Failure>>()?,
        output: arguments.output.as_deref().map(shown).unwrap_or_default(),
        groups: groups.collect(),
        sweeps: fusion.alignments.iter().filter(|alignment| alignment.sweeps > 0).map(Sweeps::of).collect(),
        seconds,
    })
}

fn text(report: &Report) -> String {
    let groups = report.groups.iter().map(|group| {
        let size = match group.size == group.anchor_size {
            true => group.size.to_string(),
            false => format!("{} -> {}", group.size, group.anchor_size),
        };
        vec![
            group.model.to_string(),
            group.name.clone(),
            size,
            format!("{:.5}", group.cost),
            format!("{:.0} %", 100.0 * group.matched_fraction),
            group.termination.clone(),
        ]
    });
    let header = ["model", "group", "neurons", "cost", "matched", "plan"];
    let aligned = if report.groups.is_empty() {
        String::new()
    } else {
        table(&header, &["model", "neurons", "cost", "matched"], groups) + "\n"
    };
    let seconds = &report.seconds;
    format!(
        "{aligned}{}: {} fused into the shape of model {} ({})\nread {:.2} s, proof {:.2} s, activations {:.2} s, \
         alignment {:.2} s, average {:.2} s, repair {:.2} s, write {:.2} s",
        report.output,
        count(report.models.len(), "model"),
        report.settings.anchor,
        report.models[report.settings.anchor].path,
        seconds.read,
        seconds.verify,
        seconds.activations,
        seconds.align,
        seconds.average,
        seconds.repair,
        seconds.write,
    )
}
