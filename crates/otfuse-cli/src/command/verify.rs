//! `otfuse verify`.

use serde::Serialize;

use super::inspect::{Pinned, pinned};
use crate::cli::Failure;
use crate::cli::arguments::Verify;
use crate::cli::models::{count, open_finite, shown};
use crate::cli::output::Output;
use crate::{TOLERANCE, Verification};

/// The outcome of a proof.
#[derive(Serialize)]
struct Report {
    path: String,
    ok: bool,
    max_abs_error: f64,
    max_rel_error: f64,
    tolerance: f64,
    perturbed: bool,
    groups: usize,
    free_groups: usize,
    pinned: Vec<Pinned>,
    seed: u64,
}

/// Runs the command.
pub fn run(arguments: &Verify, output: &Output) -> Result<(), Failure> {
    let model = open_finite(&arguments.model, &arguments.reading)?;
    let verification =
        crate::verify(&model.graph, arguments.seed).map_err(|error| Failure::from(error).of(&arguments.model))?;
    let report = Report {
        path: shown(&arguments.model),
        ok: verification.is_ok(),
        max_abs_error: verification.max_abs_error,
        max_rel_error: verification.max_rel_error,
        tolerance: TOLERANCE,
        perturbed: verification.perturbed,
        groups: verification.groups.len() + verification.groups.pinned().len(),
        free_groups: verification.groups.len(),
        pinned: pinned(&model.graph, &verification.groups),
        seed: arguments.seed,
    };
    output.result(&report, |report| {
        let verdict = if report.ok { "ok" } else { "FAILED" };
        format!(
            "{}: {verdict}\n{} permuted at random, {} pinned; largest change of an output {:.2e} (relative {:.2e}){}",
            report.path,
            count(report.free_groups, "neuron group"),
            report.pinned.len(),
            report.max_abs_error,
            report.max_rel_error,
            if report.perturbed {
                "\nproved on perturbed weights: the outputs do not depend on the network's own"
            } else {
                ""
            },
        )
    })?;
    if report.ok { Ok(()) } else { Err(broken(&model.graph, &verification).of(&arguments.model)) }
}

/// Says which group is broken.
pub fn broken(graph: &otfuse_graph::Graph, verification: &Verification) -> Failure {
    let group = verification.broken_group.map(|index| {
        let group = verification.groups.iter().nth(index).map(|(_, group)| group);
        let names = group.into_iter().flat_map(|group| &group.members);
        let names: Vec<String> =
            names.map(|member| format!("{}[{}]", graph.value(member.initializer).name, member.axis)).collect();
        format!("group {index} ({})", names.join(", "))
    });
    Failure::run(format!(
        "permuting {} changes the outputs by {:.2e} (relative; at most {TOLERANCE:.0e} expected)",
        group.as_deref().unwrap_or("the neuron groups"),
        verification.max_rel_error,
    ))
    .hint("this is a fault of the analysis, not of the file; please report it with the network's operators (`otfuse inspect`)")
}
