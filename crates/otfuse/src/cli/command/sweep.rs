//! `otfuse fuse --sweep`: averages of two networks with weights from 0 to 1, measured.

use std::fmt::Write as _;
use std::io::Write;

use otfuse_formats::model::Model;
use otfuse_fusion::{Method, Settings, align_all};
use otfuse_graph::Graph;
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::{Evaluation, Probabilities};
use serde::Serialize;

use super::eval::probabilities;
use crate::cli::Failure;
use crate::cli::arguments::{Fuse, SplitName};
use crate::cli::failure::{fusion_failure, runtime_failure};
use crate::cli::fusing::{Plan, prove};
use crate::cli::models::{check_output, count, dataset, file_failure, open_finite, shown};
use crate::cli::output::{Output, table};
use crate::cli::progress::Progress;

/// The most steps from 0 to 1.
const MOST_STEPS: usize = 1001;

#[derive(Serialize)]
struct Report {
    data: String,
    samples: usize,
    anchor: usize,
    models: Vec<Parent>,
    points: Vec<Point>,
    /// The largest loss on the way beyond the straight line between the two ends.
    barrier: Barrier,
}

#[derive(Serialize)]
struct Barrier {
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

#[derive(Clone, Copy, Serialize)]
struct Measure {
    accuracy: f64,
    loss: f64,
}

impl From<Evaluation> for Measure {
    fn from(evaluation: Evaluation) -> Self {
        Self { accuracy: evaluation.accuracy, loss: evaluation.loss }
    }
}

/// Runs the command.
pub fn run(arguments: &Fuse, weights: &str, output: &Output) -> Result<(), Failure> {
    let weights = parse(weights)?;
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
    let failure = |error| fusion_failure(&error, &arguments.models, plan.anchor);
    let networks = plan.networks(&graphs).map_err(failure)?;
    networks.check_finite().map_err(failure)?;
    if !arguments.no_verify {
        prove(&graphs, arguments)?;
    }
    let mut members = Vec::new();
    let mut parents = Vec::new();
    for (path, graph) in [first, second].into_iter().zip(&graphs) {
        let found = probabilities(graph, &samples).map_err(|error| runtime_failure(&error).of(path))?;
        let measure = found.evaluate(&samples).map_err(|error| runtime_failure(&error).of(path))?.into();
        parents.push(Parent { path: shown(path), measure });
        members.push(found);
    }
    let activations = plan.activations(&networks, arguments)?;
    let bar = Progress::new("aligning neuron groups", networks.groups().len());
    let aligned = align_all(&networks, &plan.settings, activations.as_deref(), &|_| bar.step()).map_err(failure)?;
    drop(bar);
    let plain = Settings { method: Method::Average, ..plan.settings.clone() };
    let plain = match networks.equal_sizes() {
        true => Some(align_all(&networks, &plain, None, &|_| {}).map_err(failure)?),
        false => None,
    };

    let bar = Progress::new("averaging and evaluating", weights.len());
    let mut points = Vec::with_capacity(weights.len());
    for &weight in &weights {
        let pair = [1.0 - weight, weight];
        let ensemble = Probabilities::mixture(&members, &pair)
            .ok_or_else(|| Failure::input("--sweep: the networks' outputs differ"))?;
        let vanilla = plain.as_ref().map(|plain| measured(&plain.average(&pair).map_err(failure)?, &samples));
        points.push(Point {
            weight,
            vanilla: vanilla.transpose()?,
            ensemble: ensemble.evaluate(&samples).map_err(|error| runtime_failure(&error))?.into(),
            ot: measured(&aligned.average(&pair).map_err(failure)?, &samples)?,
        });
        bar.step();
    }
    drop(bar);
    if let Some(path) = &arguments.csv {
        let text = csv(&points);
        otfuse_formats::file::atomic_write(path, |writer| writer.write_all(text.as_bytes()))
            .map_err(|error| file_failure(&error))?;
    }
    let ends = [&parents[0].measure, &parents[1].measure];
    let vanilla = points.iter().map(|point| Some((point.weight, point.vanilla?.loss))).collect::<Option<Vec<_>>>();
    let ot: Vec<(f64, f64)> = points.iter().map(|point| (point.weight, point.ot.loss)).collect();
    let report = Report {
        data: samples.name().to_owned(),
        samples: samples.len(),
        anchor: plan.anchor,
        barrier: Barrier { vanilla: vanilla.map(|losses| barrier(&losses, ends)), ot: barrier(&ot, ends) },
        models: parents,
        points,
    };
    output.result(&report, text)
}

/// A number of steps, or the weights themselves.
fn parse(text: &str) -> Result<Vec<f64>, Failure> {
    let wrong = || {
        Failure::input(format!(
            "--sweep {text}: expected a number of steps from 2 to {MOST_STEPS}, or weights from 0 to 1"
        ))
        .hint("for example --sweep 11, or --sweep 0,0.25,0.5,0.75,1")
    };
    if let Ok(steps) = text.trim().parse::<usize>() {
        if !(2..=MOST_STEPS).contains(&steps) {
            return Err(wrong());
        }
        return Ok((0..steps).map(|step| step as f64 / (steps - 1) as f64).collect());
    }
    let weight = |part: &str| part.trim().parse().ok().filter(|weight: &f64| (0.0..=1.0).contains(weight));
    text.split(',').map(weight).collect::<Option<Vec<f64>>>().ok_or_else(wrong)
}

fn measured(graph: &Graph, samples: &Dataset) -> Result<Measure, Failure> {
    let found = probabilities(graph, samples).map_err(|error| runtime_failure(&error))?;
    Ok(found.evaluate(samples).map_err(|error| runtime_failure(&error))?.into())
}

/// The largest loss beyond the straight line between the losses of the two parents (Frankle et al., "Linear mode
/// connectivity and the lottery ticket hypothesis", 2020).
fn barrier(losses: &[(f64, f64)], [first, second]: [&Measure; 2]) -> f64 {
    let beyond = losses.iter().map(|&(weight, loss)| loss - (1.0 - weight) * first.loss - weight * second.loss);
    beyond.fold(0.0, f64::max)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_a_number_of_steps_or_a_list() {
        assert_eq!(parse("3").ok(), Some(vec![0.0, 0.5, 1.0]));
        assert_eq!(parse("0.5").ok(), Some(vec![0.5]));
        assert_eq!(parse("0.2, 1").ok(), Some(vec![0.2, 1.0]));
        for wrong in ["", "1", "0", "1002", "-1", "0,2", "a", "nan", "0.1,"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_barrier_is_what_rises_above_the_line() {
        let (first, second) = (Measure { accuracy: 1.0, loss: 1.0 }, Measure { accuracy: 1.0, loss: 3.0 });
        assert_eq!(barrier(&[(0.0, 1.0), (0.5, 2.5), (1.0, 3.0)], [&first, &second]), 0.5);
        assert_eq!(barrier(&[(0.5, 1.0)], [&first, &second]), 0.0);
    }
}
