//! The main job on embedded data.

use std::time::Instant;

use otfuse_fusion::{Alignment, Merging, Networks, Settings, fuse};
use otfuse_graph::Graph;
use otfuse_runtime::train::{Extras, TrainSettings, train_on};
use otfuse_runtime::{Executable, Probabilities, mlp, predict};
use serde::Serialize;

use crate::error::fusion_error;
use crate::{Context, Dataset, Error, Result, Samples};

/// Neurons of each layer.
const WIDTHS: [usize; 4] = [64, 128, 64, 10];
/// Passes over the data and learning rate of training, and of fine-tuning.
const TRAINING: (usize, f64) = (40, 0.05);
const FINE_TUNING: (usize, f64) = (3, 0.02);

/// Two networks, and what became of them.
#[derive(Clone, Debug, Serialize)]
pub struct Demo {
    /// The data set.
    pub data: String,
    /// The seed of everything random.
    pub seed: u64,
    /// All networks.
    pub rows: Vec<DemoRow>,
}

/// A network of the demo.
#[derive(Clone, Debug, Serialize)]
pub struct DemoRow {
    /// Its name.
    pub name: &'static str,
    /// On held-out samples, from 0 to 1.
    pub accuracy: f64,
    /// The time it took.
    pub seconds: f64,
    /// What it is.
    #[serde(skip)]
    pub explanation: &'static str,
}

/// Trains two perceptrons on halves of the embedded digits, fuses and fine-tunes them and measures all.
///
/// # Errors
/// Cancellation.
pub fn demo(seed: u64, context: &Context) -> Result<Demo> {
    context.install(|| shown(seed, context))
}

fn shown(seed: u64, context: &Context) -> Result<Demo> {
    let digits = Dataset::open("digits")?;
    let (all, test) = (digits.train()?, digits.test()?);
    let [half_a, half_b] = halves(&all);
    let mut rows = Vec::new();
    let mut measure = |name, explanation, graph: &Graph, seconds| -> Result<Probabilities> {
        let executable = Executable::new(graph, context.host())?;
        let probabilities = predict(&executable, &test, &mut |_, _| {})?;
        let accuracy = probabilities.evaluate(&test)?.accuracy;
        rows.push(DemoRow { name, accuracy, seconds, explanation });
        Ok(probabilities)
    };

    let initial = |seed| mlp(&WIDTHS, seed).map_err(Error::run);
    let train = |graph: &Graph, samples: &Samples, how, label| trained(graph, samples, how, seed, label, context);
    let (a, seconds) = train(&initial(2 * seed + 1)?, &half_a, TRAINING, "training model A")?;
    let of_a = measure("model_a", "trained on one half of the samples", &a, seconds)?;
    let (b, seconds) = train(&initial(2 * seed + 2)?, &half_b, TRAINING, "training model B")?;
    let of_b = measure("model_b", "trained on the other half, from another seed", &b, seconds)?;
    let (vanilla, vanilla_seconds) = fused(&a, &b, Alignment::None, context)?;
    let (aligned, aligned_seconds) = fused(&a, &b, Alignment::Transport, context)?;
    measure("vanilla", "weights averaged index by index", &vanilla, vanilla_seconds)?;
    measure("fused", "neurons aligned by optimal transport, then averaged", &aligned, aligned_seconds)?;
    for (name, explanation, graph) in [
        ("vanilla_finetuned", "the plain average after a short training on all samples", &vanilla),
        ("fused_finetuned", "the fused network after the same training", &aligned),
    ] {
        let (tuned, seconds) = train(graph, &all, FINE_TUNING, "fine-tuning")?;
        measure(name, explanation, &tuned, seconds)?;
    }
    let start = Instant::now();
    let ensemble = Probabilities::mean(&[of_a, of_b]).ok_or_else(|| Error::run("the models' outputs differ"))?;
    let accuracy = ensemble.evaluate(&test)?.accuracy;
    let seconds = start.elapsed().as_secs_f64();
    let explanation = "both models' probabilities averaged: twice the cost";
    rows.insert(2, DemoRow { name: "ensemble", accuracy, seconds, explanation });
    Ok(Demo { data: test.name().to_owned(), seed, rows })
}

/// Every other sample of each class to each half.
fn halves(samples: &Samples) -> [Samples; 2] {
    let mut seen = vec![0; samples.classes()];
    let mut indices: [Vec<usize>; 2] = Default::default();
    for (index, &label) in samples.labels().iter().enumerate() {
        indices[seen[label as usize] % 2].push(index);
        seen[label as usize] += 1;
    }
    indices.map(|indices| samples.chosen(&indices))
}

fn trained(
    graph: &Graph,
    samples: &Samples,
    (epochs, learning_rate): (usize, f64),
    seed: u64,
    label: &str,
    context: &Context,
) -> Result<(Graph, f64)> {
    let start = Instant::now();
    let settings = TrainSettings { epochs, batch_size: 32, learning_rate, seed, ..TrainSettings::default() };
    let stage = context.stage(label, 1);
    let result = train_on(graph, samples, &settings, Extras::default(), context.host(), &mut |progress| {
        stage.at(progress.step, progress.steps);
    });
    context.check()?;
    Ok((result.map_err(Error::run)?.graph, start.elapsed().as_secs_f64()))
}

fn fused(a: &Graph, b: &Graph, alignment: Alignment, context: &Context) -> Result<(Graph, f64)> {
    let start = Instant::now();
    let failure = |error| fusion_error(&error, &[], 1);
    let networks = Networks::new(&[a, b], 1).map_err(failure)?;
    let settings = Settings { alignment, ..Settings::default() };
    let fusion = fuse(&networks, &settings, &Merging::mean(), None, &|_| context.flow()).map_err(failure)?;
    Ok((fusion.graph, start.elapsed().as_secs_f64()))
}
