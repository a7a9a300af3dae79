//! `otfuse demo`: the main job on embedded data.

use std::time::Instant;

use otfuse_fusion::{Method, Networks, Settings, fuse};
use otfuse_graph::Graph;
use otfuse_runtime::dataset::{DataKind, DataSpec, Dataset, Split};
use otfuse_runtime::train::{TrainSettings, train};
use otfuse_runtime::{Device, Executable, Probabilities, mlp, predict};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::Demo;
use crate::cli::output::{Output, table};
use crate::cli::pages::demo_page;
use crate::cli::progress::Progress;

/// Neurons of each layer.
const WIDTHS: [usize; 4] = [64, 128, 64, 10];
/// Passes over the data and learning rate of training, and of fine-tuning.
const TRAINING: (usize, f64) = (40, 0.05);
const FINE_TUNING: (usize, f64) = (3, 0.02);

#[derive(Serialize)]
struct Report {
    data: String,
    seed: u64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    accuracy: f64,
    seconds: f64,
    #[serde(skip)]
    explanation: &'static str,
}

/// Runs the command.
pub fn run(arguments: &Demo, output: &Output) -> Result<(), Failure> {
    arguments.pages.check(&[])?;
    let digits = DataSpec { kind: DataKind::Digits, path: "".into(), length: None, image_size: None };
    let load = |split| digits.load(split, None, None).map_err(Failure::run);
    let (all, test) = (load(Split::Train)?, load(Split::Test)?);
    let [half_a, half_b] = halves(&all);
    let seed = arguments.seed;

    let mut rows = Vec::new();
    let mut measure = |name, explanation, graph: &Graph, seconds| -> Result<Probabilities, Failure> {
        let probabilities = probabilities(graph, &test)?;
        let accuracy = probabilities.evaluate(&test).map_err(Failure::run)?.accuracy;
        rows.push(Row { name, accuracy, seconds, explanation });
        Ok(probabilities)
    };

    let initial = |seed| mlp(&WIDTHS, seed).map_err(Failure::run);
    let (a, seconds) = trained(&initial(2 * seed + 1)?, &half_a, TRAINING, seed, "training model A")?;
    let of_a = measure("model_a", "trained on one half of the samples", &a, seconds)?;
    let (b, seconds) = trained(&initial(2 * seed + 2)?, &half_b, TRAINING, seed, "training model B")?;
    let of_b = measure("model_b", "trained on the other half, from another seed", &b, seconds)?;
    let (vanilla, vanilla_seconds) = fused(&a, &b, Method::Average)?;
    let (aligned, aligned_seconds) = fused(&a, &b, Method::OptimalTransport)?;
    measure("vanilla", "weights averaged index by index", &vanilla, vanilla_seconds)?;
    measure("fused", "neurons aligned by optimal transport, then averaged", &aligned, aligned_seconds)?;
    for (name, explanation, graph) in [
        ("vanilla_finetuned", "the plain average after a short training on all samples", &vanilla),
        ("fused_finetuned", "the fused network after the same training", &aligned),
    ] {
        let (tuned, seconds) = trained(graph, &all, FINE_TUNING, seed, "fine-tuning")?;
        measure(name, explanation, &tuned, seconds)?;
    }
    let start = Instant::now();
    let ensemble = Probabilities::mean(&[of_a, of_b]).ok_or_else(|| Failure::run("the models' outputs differ"))?;
    let accuracy = ensemble.evaluate(&test).map_err(Failure::run)?.accuracy;
    let seconds = start.elapsed().as_secs_f64();
    let explanation = "both models' probabilities averaged: twice the cost";
    rows.insert(2, Row { name: "ensemble", accuracy, seconds, explanation });

    let report = Report { data: test.name().to_owned(), seed, rows };
    arguments.pages.write(&report, demo_page)?;
    output.result(&report, text)
}

/// Every other sample of each class to each half.
fn halves(dataset: &Dataset) -> [Dataset; 2] {
    let mut seen = vec![0; dataset.classes()];
    let mut indices: [Vec<usize>; 2] = Default::default();
    for (index, &label) in dataset.labels().iter().enumerate() {
        indices[seen[label as usize] % 2].push(index);
        seen[label as usize] += 1;
    }
    indices.map(|indices| dataset.chosen(&indices))
}

fn trained(
    graph: &Graph,
    dataset: &Dataset,
    (epochs, learning_rate): (usize, f64),
    seed: u64,
    label: &'static str,
) -> Result<(Graph, f64), Failure> {
    let start = Instant::now();
    let settings = TrainSettings { epochs, batch_size: 32, learning_rate, seed, ..TrainSettings::default() };
    let bar = Progress::new(label, 1);
    let result = train(graph, dataset, &settings, &mut |progress| bar.at(progress.step, progress.steps));
    Ok((result.map_err(Failure::run)?.graph, start.elapsed().as_secs_f64()))
}

fn fused(a: &Graph, b: &Graph, method: Method) -> Result<(Graph, f64), Failure> {
    let start = Instant::now();
    let networks = Networks::new(&[a, b], 1).map_err(Failure::run)?;
    let settings = Settings { method, ..Settings::default() };
    let fusion = fuse(&networks, &settings, None, &|_| {}).map_err(Failure::run)?;
    Ok((fusion.graph, start.elapsed().as_secs_f64()))
}

fn probabilities(graph: &Graph, dataset: &Dataset) -> Result<Probabilities, Failure> {
    let executable = Executable::new(graph, &Device::default()).map_err(Failure::run)?;
    predict(&executable, dataset, &mut |_, _| {}).map_err(Failure::run)
}

fn text(report: &Report) -> String {
    let rows = report.rows.iter().map(|row| {
        let (accuracy, seconds) = (format!("{:.2} %", 100.0 * row.accuracy), format!("{:.2} s", row.seconds));
        vec![row.name.to_owned(), accuracy, seconds, row.explanation.to_owned()]
    });
    let table = table(&["network", "accuracy", "time", ""], &["accuracy", "time"], rows);
    format!("Two perceptrons (64-128-64-10) on handwritten digits, made one; accuracy on held-out samples\n{table}")
}
