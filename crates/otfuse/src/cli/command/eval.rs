//! `otfuse eval`.

use std::path::Path;

use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::{Default32, DefaultDevice, Evaluation, Executable, Probabilities, predict};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::Eval;
use crate::cli::failure::runtime_failure;
use crate::cli::models::{count, dataset, open_finite, shown};
use crate::cli::output::{Output, table};
use crate::cli::pages::evaluation_page;
use crate::cli::progress::Progress;

#[derive(Serialize)]
struct Report {
    data: String,
    models: Vec<Row>,
    ensemble: Option<Row>,
}

#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    accuracy: f64,
    loss: f64,
    samples: usize,
}

impl Row {
    fn new(path: Option<&Path>, evaluation: &Evaluation) -> Self {
        Self {
            path: path.map(shown),
            accuracy: evaluation.accuracy,
            loss: evaluation.loss,
            samples: evaluation.samples,
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Eval, output: &Output) -> Result<(), Failure> {
    arguments.pages.check(&arguments.models)?;
    let dataset = dataset(&arguments.data, arguments.split, arguments.limit)?;
    let (mut rows, mut members) = (Vec::new(), Vec::new());
    for path in &arguments.models {
        let model = open_finite(path, &arguments.reading)?;
        let failure = |error| runtime_failure(&error).of(path);
        let probabilities = probabilities(&model.graph, &dataset).map_err(failure)?;
        let evaluation = probabilities.evaluate(&dataset).map_err(failure)?;
        rows.push(Row::new(Some(path), &evaluation));
        if arguments.ensemble {
            let expected = members.first().map_or(probabilities.classes(), Probabilities::classes);
            if probabilities.classes() != expected {
                let found = probabilities.classes();
                let message = format!("--ensemble: expected {expected} classes as in the first network, found {found}");
                return Err(Failure::input(message).of(path).hint("`otfuse inspect` shows each network's output"));
            }
            members.push(probabilities);
        }
    }
    let ensemble = if arguments.ensemble {
        let mean =
            Probabilities::mean(&members).ok_or_else(|| Failure::input("--ensemble: the networks' outputs differ"))?;
        Some(Row::new(None, &mean.evaluate(&dataset).map_err(Failure::input)?))
    } else {
        None
    };
    let report = Report { data: dataset.name().to_owned(), models: rows, ensemble };
    arguments.pages.write(&report, evaluation_page)?;
    output.result(&report, text)
}

/// The probabilities that a network gives to the samples.
pub fn probabilities(
    graph: &otfuse_graph::Graph,
    dataset: &Dataset,
) -> Result<Probabilities, otfuse_runtime::RuntimeError> {
    let executable = Executable::<Default32>::new(graph, &DefaultDevice::default())?;
    let bar = Progress::new("evaluating", dataset.len());
    predict(&executable, dataset, &mut |done, total| bar.at(done, total))
}

fn text(report: &Report) -> String {
    let row = |name: &str, row: &Row| {
        vec![name.to_owned(), format!("{:.2} %", 100.0 * row.accuracy), format!("{:.4}", row.loss)]
    };
    let rows = report.models.iter().map(|model| row(model.path.as_deref().unwrap_or_default(), model));
    let rows = rows.chain(report.ensemble.iter().map(|ensemble| row("ensemble", ensemble)));
    let samples = report.models.first().map_or(0, |model| model.samples);
    let table = table(&["model", "accuracy", "loss"], &["accuracy", "loss"], rows);
    format!("{table}\n{} of {}", count(samples, "sample"), report.data)
}
