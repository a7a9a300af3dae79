//! `otfuse fuse`.

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use otfuse_formats::model::Model;
use otfuse_fusion::{Aligned, ModelAlignment, align_all, fuse_partially};
use otfuse_graph::{Graph, ValueId};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::{
    CostName, Fuse, MarginalName, MethodName, ModeName, PointName, PresetName, RepairName, SolverName, StatisticName,
};
use crate::cli::card;
use crate::cli::comparison::Comparison;
use crate::cli::failure::fusion_failure;
use crate::cli::fusing::{Plan, cost_of, mend, mode_of, point_of, prove, repair_of, spare_memory};
use crate::cli::models::{check_output, count, file_failure, hashes, is_folder, open, save, save_streamed, shown};
use crate::cli::order::{Canonical, canonical_order};
use crate::cli::output::{Output, table};
use crate::cli::pages::{fusion_page, json};
use crate::cli::progress::Progress;
use crate::cli::residual::ResidualName;

/// What was fused, how, and what came out.
#[derive(Serialize)]
pub struct Report {
    method: MethodName,
    settings: Resolved,
    models: Vec<Input>,
    output: String,
    groups: Vec<Group>,
    sweeps: Vec<Sweeps>,
    /// All networks on labelled samples, where there are any.
    comparison: Option<Comparison>,
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
    residual: ResidualName,
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
    width_budget: Option<f64>,
    target_width: Option<f64>,
    repair: RepairName,
    ridge: Option<f64>,
    importance: Option<f64>,
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
    hash: f64,
    comparison: f64,
}

/// Seconds since the last call.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now)).as_secs_f64()
    }
}

/// Runs the command.
pub fn run(arguments: &Fuse, output: &Output) -> Result<(), Failure> {
    if let Some(weights) = &arguments.sweep {
        return super::sweep::run(arguments, weights, output);
    }
    output.result(&execute(arguments)?, text)
}

/// Where the result goes.
struct Destination {
    path: PathBuf,
    is_folder: bool,
    is_carded: bool,
}

impl Destination {
    /// Looks whether everything that `arguments` ask for can be written, before anything is computed.
    fn check(arguments: &Fuse, anchor: usize) -> Result<Self, Failure> {
        let Some(path) = arguments.output.clone() else {
            return Err(Failure::input("--output: expected a file").hint("-o FILE says where the result goes"));
        };
        let anchor = &arguments.models[anchor];
        check_output(&path, &arguments.models, Some(anchor))?;
        arguments.pages.check(&arguments.models)?;
        let is_folder = is_folder(&path, anchor);
        // Who opens a folder looks for its README, and the anchor's is not about this network.
        let is_carded = arguments.card || (is_folder && !arguments.aligned_only);
        if is_carded {
            card::check(&path, is_folder, &arguments.models)?;
        }
        if let Some(alignment) = &arguments.save_alignment {
            check_output(alignment, &arguments.models, None)?;
            if *alignment == path {
                let message = format!("{}: --save-alignment and --output are the same file", path.display());
                return Err(Failure::input(message).hint("choose another name for the alignment"));
            }
        }
        Ok(Self { path, is_folder, is_carded })
    }

    /// Takes the result away again.
    fn undo(&self) {
        // What is not there need not go.
        let _ = match self.is_folder {
            true => std::fs::remove_dir_all(&self.path),
            false => std::fs::remove_file(&self.path),
        };
    }
}

/// Brings three and more models into an order of their own, and returns the hashes of their files if the order has them.
fn reorder(arguments: &mut Fuse, models: &mut Vec<Model>) -> Result<Option<Vec<String>>, Failure> {
    let Some(Canonical { order, hashes, weights }) = canonical_order(arguments, models)? else {
        return Ok(None);
    };
    let mut given: Vec<Option<Model>> = std::mem::take(models).into_iter().map(Some).collect();
    *models = order.iter().filter_map(|&model| given[model].take()).collect();
    arguments.models = order.iter().map(|&model| arguments.models[model].clone()).collect();
    if !arguments.weights.is_empty() {
        arguments.weights = order.iter().map(|&model| arguments.weights[model]).collect();
    } else if let (Some(weights), None, MethodName::Ot) = (weights, arguments.preset, arguments.method) {
        arguments.weights = weights;
    }
    Ok(Some(order.iter().map(|&model| hashes[model].clone()).collect()))
}

/// Fuses, and writes the network.
pub fn execute(arguments: &Fuse) -> Result<Report, Failure> {
    let mut arguments = arguments.clone();
    arguments.width_budget = arguments.width_budget.or(arguments.target_width.filter(|&width| width > 1.0));
    let mut destination = Destination::check(&arguments, Plan::resolve(&arguments)?.anchor)?;
    let mut seconds = Seconds::default();
    let mut clock = Clock(Instant::now());
    let mut models: Vec<Model> =
        arguments.models.iter().map(|path| open(path, &arguments.reading)).collect::<Result<_, _>>()?;
    let known_hashes = reorder(&mut arguments, &mut models)?;
    spare_memory(&mut arguments, &models);
    let mut plan = Plan::resolve(&arguments)?;
    if known_hashes.is_some() {
        // The result has the kind of its anchor, which may be another one now.
        destination = Destination::check(&arguments, plan.anchor)?;
    }
    let arguments = &arguments;
    let given_anchor = plan.anchor;
    let anchor = &models[given_anchor];
    let narrow = plan.narrow(arguments, &models)?;
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).chain(&narrow).collect();
    let mut paths = arguments.models.clone();
    paths.extend(narrow.as_ref().map(|_| PathBuf::from("the anchor made narrower")));
    let failure = |error| fusion_failure(&error, &paths, plan.anchor);
    let networks = plan.networks(&graphs).map_err(failure)?;
    networks.check_finite().map_err(failure)?;
    seconds.read = clock.lap();

    let verified = !arguments.no_verify && prove(&graphs, arguments)?;
    seconds.verify = clock.lap();

    let activations = plan.activations(&networks, arguments)?;
    seconds.activations = clock.lap();

    let others = graphs.len() - 1;
    clock.lap();
    let bar = Progress::new("aligning neuron groups", networks.groups().len() * others);
    let aligned = align_all(&networks, &plan.settings, activations.as_deref(), &|_| bar.step()).map_err(failure)?;
    let weights = plan.settings.normalised_weights(graphs.len()).map_err(failure)?;
    drop(bar);
    seconds.align = aligned.alignment_time.as_secs_f64();

    clock.lap();
    let repair = repair_of(arguments);
    let is_as_wide = arguments.width_budget.is_none() && narrow.is_none();
    let is_streamed = repair == RepairName::None && is_as_wide && arguments.data.data.is_none();
    let (alignments, comparison) = if is_streamed {
        let averaging = stream(&aligned, &weights, anchor, &destination.path)?;
        seconds.average = averaging.as_secs_f64();
        seconds.write = clock.lap() - seconds.average;
        (aligned.alignments, None)
    } else {
        let fusion = aligned.fused(&weights).map_err(failure)?;
        seconds.average = clock.lap();
        let repaired = match arguments.width_budget {
            Some(budget) => fuse_partially(&networks, &fusion, budget).map_err(failure)?,
            None => mend(&networks, &fusion, arguments)?,
        };
        seconds.repair = clock.lap();
        save(anchor, &repaired, &destination.path)?;
        seconds.write = clock.lap();
        let comparison = Comparison::measure(&networks, &repaired, arguments)?;
        seconds.comparison = clock.lap();
        (fusion.alignments, comparison)
    };
    if let Some(path) = &arguments.save_alignment
        && let Err(failure) = save_alignments(path, &alignments)
    {
        // Both files or none.
        destination.undo();
        return Err(failure);
    }
    seconds.write += clock.lap();
    let hashes = match known_hashes {
        Some(hashes) => hashes,
        None => hashes(&arguments.models)?,
    };
    seconds.hash = clock.lap();

    if let Some(comparison) = &comparison {
        comparison.warn();
    }
    // A narrower copy was the anchor of the alignment, not of the result.
    plan.anchor = given_anchor;
    let report = report(arguments, &plan, (&models, &hashes), (&alignments, &weights), verified, comparison, seconds);
    arguments.pages.write(&report, fusion_page)?;
    if destination.is_carded {
        card::write(&destination.path, &json(&report)?)?;
    }
    Ok(report)
}

/// Averages and writes one weight after the other, and returns the time spent averaging.
fn stream(aligned: &Aligned<'_, '_>, weights: &[f64], anchor: &Model, target: &Path) -> Result<Duration, Failure> {
    let bar = Progress::new("averaging and writing", anchor.graph.initializers().count());
    let averaging = Cell::new(Duration::ZERO);
    let tensors = |ids: &[ValueId]| {
        let start = Instant::now();
        let made = aligned.tensors(ids, weights).map_err(std::io::Error::other);
        averaging.set(averaging.get() + start.elapsed());
        ids.iter().for_each(|_| bar.step());
        made
    };
    save_streamed(anchor, &tensors, target)?;
    Ok(averaging.get())
}

fn save_alignments(path: &Path, alignments: &[ModelAlignment]) -> Result<(), Failure> {
    let json = serde_json::to_vec(alignments).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?;
    otfuse_formats::file::atomic_write(path, |writer| writer.write_all(&json)).map_err(|error| file_failure(&error))
}

fn report(
    arguments: &Fuse,
    plan: &Plan,
    (models, hashes): (&[Model], &[String]),
    (alignments, weights): (&[ModelAlignment], &[f64]),
    verified: bool,
    comparison: Option<Comparison>,
    seconds: Seconds,
) -> Report {
    let (mode, repair) = (mode_of(arguments), repair_of(arguments));
    let uses_samples = mode != ModeName::Weights || !matches!(repair, RepairName::None | RepairName::DataFree);
    let inputs = arguments.models.iter().zip(models).zip(weights).zip(hashes);
    let groups = alignments.iter().flat_map(|alignment| {
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
    Report {
        method: arguments.method,
        settings: Resolved {
            preset: arguments.preset,
            mode,
            residual: arguments.residual,
            cost: cost_of(&plan.settings),
            sweeps: plan.settings.matching.max_sweeps,
            normalize_features: plan.settings.ground_cost.normalize,
            solver: arguments.solver,
            epsilon: (arguments.solver == SolverName::Sinkhorn).then_some(arguments.epsilon),
            marginals: arguments.marginals,
            anchor: plan.anchor,
            // Without the narrow copy of the anchor.
            weights: weights[..models.len()].to_vec(),
            align_outputs: plan.align_outputs,
            bias_features: plan.settings.bias_features,
            published_scaling: plan.settings.published_scaling,
            aligned_only: arguments.aligned_only,
            width_budget: arguments.width_budget,
            target_width: arguments.target_width,
            repair,
            ridge: (repair == RepairName::LeastSquares).then_some(arguments.ridge),
            importance: (repair == RepairName::LeastSquares).then_some(arguments.importance),
            samples: arguments.data.data.as_ref().filter(|_| uses_samples).map(|data| Samples {
                data: data.clone(),
                split: "train",
                count: arguments.samples,
                point: point_of(arguments),
                features: arguments.activation_features,
            }),
            verified,
        },
        models: inputs
            .map(|(((path, model), &weight), sha256)| {
                let parameters = model.graph.parameter_count();
                Input { path: shown(path), sha256: sha256.clone(), parameters, weight }
            })
            .collect(),
        output: arguments.output.as_deref().map(shown).unwrap_or_default(),
        groups: groups.collect(),
        sweeps: alignments.iter().filter(|alignment| alignment.sweeps > 0).map(Sweeps::of).collect(),
        comparison,
        seconds,
    }
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
    let compared =
        report.comparison.as_ref().map_or_else(String::new, |found| format!("\n\n{}", found.text(&report.output)));
    let width = report.settings.target_width.map_or_else(String::new, |width| format!(", {width} times as wide"));
    format!(
        "{aligned}{}: {} fused into the shape of model {} ({}){width}\nread {:.2} s, proof {:.2} s, activations {:.2} s, \
         alignment {:.2} s, average {:.2} s, repair {:.2} s, write {:.2} s, hashes {:.2} s{compared}",
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
        seconds.hash,
    )
}
