//! What `otfuse fuse` prints.

use std::path::Path;

use otfuse::{Candidate, Comparison, DepthReport, DistilledNetwork, FuseReport, MadeReport, Rehearsal, TriedWay};

use crate::table::{count, sizes, table};

/// What a fusion would do, as text.
pub fn rehearsed(found: &Rehearsal, output: &Path) -> String {
    let settings = found.settings.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]);
    format!(
        "{}\n{} would be fused into the shape of model {} ({}); {} of {} parameters in {}\nnothing was written; the result \
         would go to {}",
        table(&["setting", "value"], &[], settings),
        count(found.models.len(), "model"),
        found.anchor,
        found.models[found.anchor],
        found.aligned_parameters,
        found.parameters,
        count(found.groups, "neuron group"),
        output.display(),
    )
}

/// A fusion, or an alignment, as text.
pub fn text(report: &FuseReport) -> String {
    let groups = report.groups.iter().map(|group| {
        vec![
            group.model.to_string(),
            group.name.clone(),
            sizes(group.size, group.anchor_size),
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
        report.comparison.as_ref().map_or_else(String::new, |found| format!("\n\n{}", compared(found, &report.output)));
    let turned: String = report.inputs.iter().map(|input| input.headline() + "\n").collect();
    let deepened = report.depth.as_ref().map_or_else(String::new, deepened);
    let tried = if report.ways.is_empty() { String::new() } else { tried(&report.ways) };
    let distilled = report.distillation.as_ref().map_or_else(String::new, distilled);
    let width = report.settings.target_width.map_or_else(String::new, |width| format!(", {width} times as wide"));
    let made = report.made.as_ref().map_or_else(String::new, |made| format!("\n{}", made_samples(made)));
    format!(
        "{aligned}{turned}{deepened}{}: {}{width}\n{}\nread {:.2} s, proof {:.2} s, activations {:.2} s, \
         alignment {:.2} s, average {:.2} s, repair {:.2} s, write {:.2} s, hashes {:.2} s{made}{tried}{distilled}{compared}",
        report.output,
        headline(report),
        report.coverage,
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

/// What was made of what.
fn headline(report: &FuseReport) -> String {
    let anchor = report.settings.anchor;
    let path = &report.models[anchor].path;
    if report.settings.aligned_only {
        let moved = report.models.iter().enumerate().filter(|(at, _)| *at != anchor).map(|(_, model)| &model.path);
        return format!("{} aligned to {path}", moved.map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }
    format!("{} fused into the shape of model {anchor} ({path})", count(report.models.len(), "model"))
}

/// Which layers of networks of unequal depth went together.
fn deepened(found: &DepthReport) -> String {
    let columns = found.columns();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let fitted = match found.is_fitted {
        Some(true) => ", the others fitted to what it computed with them",
        Some(false) => ", the others as they were",
        None => "",
    };
    let inserted: usize = found.models.iter().map(|model| model.inserted.len()).sum();
    let taken = match found.is_fitted {
        Some(_) => format!(
            "; then {} taken out of the result{fitted}",
            count(found.blocks.len() - found.result_blocks, "block")
        ),
        None => String::new(),
    };
    let table = table(&columns, &[], found.rows());
    format!("{table}\n{} put in that change nothing{taken}\n", count(inserted, "block"))
}

/// The ways that were tried, and which was taken.
fn tried(ways: &[TriedWay]) -> String {
    let row = |way: &TriedWay| {
        let taken = if way.taken { ", taken" } else { "" };
        format!("\n  {}: {}{taken}", way.name, way.distance.headline())
    };
    let rows: String = ways.iter().map(row).collect();
    format!("\nways tried, by the distance to what the parents say on samples held out:{rows}")
}

/// How the network followed its parents.
fn distilled(found: &DistilledNetwork) -> String {
    let kept = match found.best_epoch {
        0 => "none of them is better, the network before is kept".to_owned(),
        epoch => format!("the one after epoch {epoch} is kept"),
    };
    format!(
        "\nfollowed its parents on {} in {} ({}, {:.0} s): {kept}; on {} held out {}, before {}",
        count(found.samples, "sample"),
        count(found.steps, "step"),
        count(found.epochs, "epoch"),
        found.seconds,
        count(found.held_out, "sample"),
        found.after.headline(),
        found.before.headline(),
    )
}

/// Samples that the networks made, in a line.
fn made_samples(made: &MadeReport) -> String {
    let shown = |candidate: &Candidate| {
        let parents: Vec<String> =
            candidate.parents.iter().map(|agreement| format!("{:.1}", 100.0 * agreement)).collect();
        format!("{:.4} nats, agreeing with them in {} %", candidate.divergence, parents.join(", "))
    };
    let decided = match made.candidates.as_slice() {
        [without, with] => {
            let verdict = if made.used { "used" } else { "not used" };
            format!("{verdict}: from the parents' ensemble {}; without {}", shown(with), shown(without))
        }
        _ => "used".to_owned(),
    };
    format!("{} {} made by the networks in {:.1} s, {decided}", made.count, made.kind, made.seconds)
}

/// All networks on labelled samples, the fused one last.
fn compared(comparison: &Comparison, output: &str) -> String {
    let distances = comparison.distances();
    let agrees = distances.iter().flatten().any(|it| it.agreement.is_some());
    let rows = comparison.rows().into_iter().zip(&distances).map(|((name, measure, at), distance)| {
        let name = if at == "/fused" { output.to_owned() } else { name };
        let mut row = vec![name];
        row.extend(measure.columns().into_iter().map(|(_, value)| value));
        row.push(distance.map_or_else(String::new, |it| format!("{:.4}", it.divergence)));
        if agrees {
            let agreement = distance.and_then(|it| it.agreement);
            row.push(agreement.map_or_else(String::new, |it| format!("{:.2} %", 100.0 * it)));
        }
        row
    });
    let mut columns = vec!["network"];
    columns.extend(comparison.fused.columns().into_iter().map(|(name, _)| name));
    columns.push(if agrees { "result: KL" } else { "result: difference" });
    columns.extend(agrees.then_some("agreement"));
    let table = table(&columns, &columns[1..], rows);
    let samples = count(comparison.samples, "sample");
    format!("{table}\n{samples} of {}, {} split", comparison.data, comparison.split)
}
