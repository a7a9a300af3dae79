//! `otfuse eval`.

use std::path::Path;

use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::{Device, Evaluation, Executable, Probabilities, predict};
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
    /// Of language models.
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    samples: usize,
}

impl Row {
    fn new(path: Option<&Path>, evaluation: &Evaluation, is_language: bool) -> Self {
        Self {
            path: path.map(shown),
            accuracy: evaluation.accuracy,
            loss: evaluation.loss,
            perplexity: is_language.then(|| evaluation.perplexity()),
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
        rows.push(Row::new(Some(path), &evaluation, dataset.is_language()));
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
        let evaluation = mean.evaluate(&dataset).map_err(Failure::input)?;
        Some(Row::new(None, &evaluation, dataset.is_language()))
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
    let executable = Executable::new(graph, &Device::default())?;
    let bar = Progress::new("evaluating", dataset.len());
    predict(&executable, dataset, &mut |done, total| bar.at(done, total))
}

fn text(report: &Report) -> String {
    let row = |name: &str, row: &Row| {
        let perplexity = row.perplexity.map(|perplexity| format!("{perplexity:.3}"));
        let cells = [name.to_owned(), format!("{:.2} %", 100.0 * row.accuracy), format!("{:.4}", row.loss)];
        cells.into_iter().chain(perplexity).collect()
    };
    let rows = report.models.iter().map(|model| row(model.path.as_deref().unwrap_or_default(), model));
    let rows = rows.chain(report.ensemble.iter().map(|ensemble| row("ensemble", ensemble)));
    let samples = report.models.first().map_or(0, |model| model.samples);
    let is_language = report.models.iter().any(|model| model.perplexity.is_some());
    let columns = &["model", "accuracy", "loss", "perplexity"][..if is_language { 4 } else { 3 }];
    let table = table(columns, &["accuracy", "loss", "perplexity"], rows);
    format!("{table}\n{} of {}", count(samples, "sample"), report.data)
}
