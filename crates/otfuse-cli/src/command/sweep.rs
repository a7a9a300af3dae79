//! `otfuse fuse --sweep`: averages of two networks with weights from 0 to 1, measured.

use std::fmt::Write as _;
use std::io::Write;

use otfuse_formats::model::Model;
use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::aligning::{aligned, networks, unaligned};
use crate::cli::arguments::{Fuse, SplitName};
use crate::cli::failure::{fusion_failure, runtime_failure};
use crate::cli::fusing::Plan;
use crate::cli::models::{check_output, count, dataset, file_failure, open_finite, shown};
use crate::cli::output::{Output, table};
use crate::cli::walk::{self, Measure, Meter, barrier};

#[derive(Serialize)]
struct Report {
    data: String,
    samples: usize,
    anchor: usize,
    models: Vec<Parent>,
    points: Vec<Point>,
    /// The largest loss on the way beyond the straight line between the two ends.
    barrier: Heights,
}

#[derive(Serialize)]
struct Heights {
    vanilla: Option<f64>,
    ot: f64,
}

#[derive(Serialize)]
struct Parent {
    path: String,
    #[serde(flatten)]
    measure: Measure,
}

/// Averages with one weight.
#[derive(Serialize)]
struct Point {
    /// The weight of the second model; that of the first is what is missing to 1.
    weight: f64,
    /// Index by index; none if the shapes differ.
    vanilla: Option<Measure>,
    /// The mean of both models' probabilities.
    ensemble: Measure,
    /// After alignment by optimal transport.
    ot: Measure,
}

/// Runs the command.
pub fn run(arguments: &Fuse, weights: &str, output: &Output) -> Result<(), Failure> {
    let weights = walk::weights("--sweep", weights)?;
    let plan = Plan::resolve(arguments)?;
    let [first, second] = arguments.models.as_slice() else {
        let message = format!("--sweep takes two models, found {}", arguments.models.len());
        return Err(Failure::input(message).hint("it goes from the first model to the second"));
    };
    if let Some(path) = &arguments.csv {
        check_output(path, &arguments.models, None)?;
    }
    let samples = dataset(&arguments.data, SplitName::Test, arguments.limit)?;
    let models: Vec<Model> =
        [first, second].iter().map(|path| open_finite(path, &arguments.reading)).collect::<Result<_, _>>()?;
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).collect();
    let (networks, _) = networks(&graphs, &plan, arguments)?;
    let failure = |error| fusion_failure(&error, &arguments.models, plan.anchor);
    let networks_of_a_point = if networks.equal_sizes() { 2 } else { 1 };
    let meter = Meter::new(samples.len() * (2 + networks_of_a_point * weights.len()));
    let mut members = Vec::new();
    let mut parents = Vec::new();
    for (path, graph) in [first, second].into_iter().zip(&graphs) {
        let found = meter.probabilities(graph, &samples).map_err(|error| runtime_failure(&error).of(path))?;
        let measure = found.evaluate(&samples).map_err(|error| runtime_failure(&error).of(path))?.into();
        parents.push(Parent { path: shown(path), measure });
        members.push(found);
    }
    let aligned = aligned(&networks, &plan, arguments)?;
    let plain = unaligned(&networks, &plan, arguments)?;

    let mut points = Vec::with_capacity(weights.len());
    for &weight in &weights {
        let pair = [1.0 - weight, weight];
        let ensemble = Probabilities::mixture(&members, &pair)
            .ok_or_else(|| Failure::input("--sweep: the networks' outputs differ"))?;
        let vanilla = plain.as_ref().map(|plain| meter.measure(&plain.average(&pair).map_err(failure)?, &samples));
        points.push(Point {
            weight,
            vanilla: vanilla.transpose()?,
            ensemble: ensemble.evaluate(&samples).map_err(|error| runtime_failure(&error))?.into(),
            ot: meter.measure(&aligned.average(&pair).map_err(failure)?, &samples)?,
        });
    }
    if let Some(path) = &arguments.csv {
        let text = csv(&points);
        otfuse_formats::file::atomic_write(path, |writer| writer.write_all(text.as_bytes()))
            .map_err(|error| file_failure(&error))?;
    }
    let ends = [parents[0].measure.loss, parents[1].measure.loss];
    let vanilla = points.iter().map(|point| Some((point.weight, point.vanilla?.loss))).collect::<Option<Vec<_>>>();
    let ot: Vec<(f64, f64)> = points.iter().map(|point| (point.weight, point.ot.loss)).collect();
    let report = Report {
        data: samples.name().to_owned(),
        samples: samples.len(),
        anchor: plan.anchor,
        barrier: Heights { vanilla: vanilla.map(|losses| height(&losses, &ends)), ot: height(&ot, &ends) },
        models: parents,
        points,
    };
    output.result(&report, text)
}

/// The largest loss of these beyond the straight line between the parents.
fn height(losses: &[(f64, f64)], ends: &[f64]) -> f64 {
    let weights: Vec<[f64; 2]> = losses.iter().map(|&(weight, _)| [1.0 - weight, weight]).collect();
    barrier(weights.iter().zip(losses).map(|(weights, &(_, loss))| (&weights[..], loss)), ends).loss
}

fn csv(points: &[Point]) -> String {
    let mut text =
        String::from("weight,vanilla_accuracy,vanilla_loss,ensemble_accuracy,ensemble_loss,ot_accuracy,ot_loss\n");
    for point in points {
        let vanilla = point.vanilla.map_or(",".to_owned(), |found| format!("{},{}", found.accuracy, found.loss));
        let Point { weight, ensemble, ot, .. } = point;
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "{weight},{vanilla},{},{},{},{}", ensemble.accuracy, ensemble.loss, ot.accuracy, ot.loss);
    }
    text
}

fn text(report: &Report) -> String {
    let percent = |measure: &Measure| format!("{:.2} %", 100.0 * measure.accuracy);
    let rows = report.points.iter().map(|point| {
        let vanilla = point.vanilla.as_ref().map_or_else(|| "-".into(), percent);
        vec![format!("{:.3}", point.weight), vanilla, percent(&point.ensemble), percent(&point.ot)]
    });
    let header = ["weight", "vanilla", "ensemble", "ot"];
    let parents: Vec<String> =
        report.models.iter().map(|parent| format!("{}: {}", parent.path, percent(&parent.measure))).collect();
    let vanilla = report.barrier.vanilla.map_or_else(String::new, |barrier| format!("vanilla {barrier:.4}, "));
    format!(
        "{}\n{}\n\nweight of the second model; accuracy on {} of {}\nloss barrier: {vanilla}ot {:.4}",
        parents.join("\n"),
        table(&header, &header, rows),
        count(report.samples, "sample"),
        report.data,
        report.barrier.ot,
    )
}
