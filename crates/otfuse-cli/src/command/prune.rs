//! `otfuse prune`.

use otfuse_fusion::{Importance, PruneError, PruneSettings, Pruning, prune};
use otfuse_graph::{Graph, GroupId, NeuronGroups};
use serde::Serialize;

use super::inspect::{Pinned, pinned};
use crate::cli::Failure;
use crate::cli::arguments::{NormName, Prune};
use crate::cli::models::{check_output, count, open_finite, save, shown};
use crate::cli::output::{Output, table, warn};

/// What was taken out, and what is left.
#[derive(Serialize)]
pub struct Report {
    path: String,
    output: String,
    amount: f64,
    norm: NormName,
    global: bool,
    parameters: usize,
    kept_parameters: usize,
    groups: Vec<Group>,
    pinned: Vec<Pinned>,
}

#[derive(Serialize)]
struct Group {
    index: usize,
    name: String,
    size: usize,
    kept: usize,
    /// The neurons that stay.
    neurons: Vec<usize>,
    /// Why nothing was taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

/// Runs the command.
pub fn run(arguments: &Prune, output: &Output) -> Result<(), Failure> {
    output.result(&execute(arguments)?, text)
}

/// Prunes, and writes the network.
pub fn execute(arguments: &Prune) -> Result<Report, Failure> {
    check_output(&arguments.output, std::slice::from_ref(&arguments.model), Some(&arguments.model))?;
    let model = open_finite(&arguments.model, &arguments.reading)?;
    let graph = &model.graph;
    let groups = NeuronGroups::of(graph).map_err(|error| Failure::input(error).of(&arguments.model))?;
    let settings = PruneSettings {
        importance: match arguments.norm {
            NormName::L1 => Importance::L1,
            NormName::L2 => Importance::L2,
        },
        amount: arguments.amount,
        global: arguments.global,
        groups: chosen(graph, &groups, arguments)?,
    };
    let pruning = prune(graph, &settings).map_err(|error| prune_failure(&error).of(&arguments.model))?;
    save(&model, &pruning.graph, &arguments.output)?;
    warn_of_skipped(&pruning);
    Ok(report(arguments, graph, &groups, pruning))
}

/// Says on stderr which groups are left as they are.
pub(crate) fn warn_of_skipped(pruning: &Pruning) {
    for group in &pruning.groups {
        if let Some(reason) = &group.skipped {
            warn(&format!("the group of '{}' is left as it is: {reason}", group.name));
        }
    }
}

/// The user's view of an error of pruning.
pub(crate) fn prune_failure(error: &PruneError) -> Failure {
    Failure::input(error).hint(match error {
        PruneError::Amount { .. } => "--amount 0.5 takes out one half of the neurons",
        PruneError::NotFinite { .. } => "the checkpoint may come from a training run that diverged",
        _ => "choose other groups with --groups or --exclude; `otfuse inspect` lists them",
    })
}

/// The groups that --groups and --exclude leave.
fn chosen(graph: &Graph, groups: &NeuronGroups, arguments: &Prune) -> Result<Option<Vec<GroupId>>, Failure> {
    if arguments.groups.is_empty() && arguments.exclude.is_empty() {
        return Ok(None);
    }
    let named = |option: &str, names: &[String]| -> Result<Vec<GroupId>, Failure> {
        let mut found = Vec::new();
        for name in names {
            let of_name = of_name(graph, groups, name);
            if of_name.is_empty() {
                let message = format!("{option} {name}: the network has no such neuron group");
                return Err(Failure::input(message).hint("`otfuse inspect` lists the groups with their weights"));
            }
            found.extend(of_name);
        }
        Ok(found)
    };
    let wanted = named("--groups", &arguments.groups)?;
    let excluded = named("--exclude", &arguments.exclude)?;
    let all = groups.iter().map(|(id, _)| id);
    Ok(Some(all.filter(|id| (wanted.is_empty() || wanted.contains(id)) && !excluded.contains(id)).collect()))
}

/// The groups of a number, or whose first producer's name is or begins with this one.
fn of_name(graph: &Graph, groups: &NeuronGroups, name: &str) -> Vec<GroupId> {
    if let Ok(index) = name.parse::<usize>() {
        return groups.iter().map(|(id, _)| id).filter(|id| id.index() == index).collect();
    }
    let produces = |id: &GroupId| {
        let mut producers = groups.group(*id).members_as(otfuse_graph::Role::Producer);
        producers.any(|member| graph.value(member.initializer).name.starts_with(name))
    };
    groups.iter().map(|(id, _)| id).filter(produces).collect()
}

fn report(arguments: &Prune, graph: &Graph, groups: &NeuronGroups, pruning: Pruning) -> Report {
    let of_group = pruning.groups.into_iter().enumerate().map(|(index, group)| Group {
        index,
        name: group.name,
        size: group.size,
        kept: group.kept.len(),
        neurons: group.kept,
        skipped: group.skipped,
    });
    Report {
        path: shown(&arguments.model),
        output: shown(&arguments.output),
        amount: arguments.amount,
        norm: arguments.norm,
        global: arguments.global,
        parameters: graph.parameter_count(),
        kept_parameters: pruning.graph.parameter_count(),
        groups: of_group.collect(),
        pinned: pinned(graph, groups),
    }
}

fn text(report: &Report) -> String {
    let rows = report
        .groups
        .iter()
        .map(|group| vec![group.index.to_string(), group.name.clone(), group.size.to_string(), group.kept.to_string()]);
    let pinned = report.pinned.iter().map(|group| vec![group.size.to_string(), group.brief(), group.reason.clone()]);
    format!(
        "{}\n\npinned: left as they are\n{}\n\n{} -> {}: {} of {}",
        table(&["group", "first weight", "neurons", "kept"], &["group", "neurons", "kept"], rows),
        table(&["size", "weights", "why"], &["size"], pinned),
        report.path,
        report.output,
        report.kept_parameters,
        count(report.parameters, "parameter"),
    )
}
