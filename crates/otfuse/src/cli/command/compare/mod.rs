//! `otfuse compare`: how alike networks are, neuron by neuron, layer by layer and sample by sample.

mod groups;
mod layers;
mod page;
mod predictions;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use otfuse_fusion::FusionError;
use otfuse_graph::Graph;
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::aligning::{Aligning, aligned, networks, open_all, shown_settings};
use crate::cli::arguments::{ModeName, SplitName};
use crate::cli::failure::fusion_failure;
use crate::cli::fusing::Plan;
use crate::cli::models::{check_output, count, dataset};
use crate::cli::output::{Output, table};
use crate::cli::pages::{Pages, Parent, names, write_text};
use groups::Alignment;
use layers::{Kernels, Layers};
use predictions::Predictions;

/// `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// The networks, two or more; without --data of one architecture, widths may differ
    #[arg(required = true, num_args = 2.., value_name = "MODEL")]
    pub models: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub aligning: Aligning,
    /// Use only the first N test samples for predictions
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Test samples, spread evenly, that layers are compared on
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub layer_samples: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pages: Pages,
    /// Write the groups as comma-separated values
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    anchor: usize,
    settings: Vec<(&'static str, String)>,
    models: Vec<Parent>,
    /// One for each model but the anchor; none if the networks are of several architectures.
    alignments: Option<Vec<Alignment>>,
    /// Why there are no alignments.
    difference: Option<String>,
    /// The weights of each model's layers, and their activations where there are samples.
    layers: Vec<Layers>,
    predictions: Option<Predictions>,
    cka: Option<Kernels>,
    seconds: Seconds,
}

#[derive(Serialize, Default)]
struct Seconds {
    read: f64,
    align: f64,
    predictions: f64,
    layers: f64,
}

/// Runs the command.
pub fn run(arguments: &Compare, output: &Output) -> Result<(), Failure> {
    let (paths, aligning) = (&arguments.models, &arguments.aligning);
    let fuse = aligning.fuse(paths)?;
    let plan = Plan::resolve(&fuse)?;
    arguments.pages.check(paths)?;
    if let Some(path) = &arguments.csv {
        check_output(path, paths, None)?;
    }
    if !(2..=4096).contains(&arguments.layer_samples) {
        let message = format!("--layer-samples {}: expected 2 to 4096", arguments.layer_samples);
        return Err(Failure::input(message).hint("the default is 256"));
    }
    let samples = match aligning.data.data {
        Some(_) => Some(dataset(&aligning.data, SplitName::Test, None)?),
        None => None,
    };
    let mut seconds = Seconds::default();
    let mut clock = Instant::now();
    let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed().as_secs_f64();
    let models = open_all(paths, &aligning.reading)?;
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).collect();
    seconds.read = lap();

    let (mut alignments, mut difference) = (None, None);
    match plan.networks(&graphs) {
        Err(error @ (FusionError::Architecture { .. } | FusionError::PinnedSize { .. }))
            if samples.is_some() && matches!(aligning.mode, ModeName::Auto | ModeName::Weights) =>
        {
            difference = Some(fusion_failure(&error, paths, plan.anchor).message);
        }
        Err(error) => return Err(fusion_failure(&error, paths, plan.anchor)),
        Ok(_) => {
            let (networks, _) = networks(&graphs, &plan, &fuse)?;
            let aligned = aligned(&networks, &plan, &fuse)?;
            let failure = |error| fusion_failure(&error, paths, plan.anchor);
            alignments = Some(groups::compare(&networks, &aligned).map_err(failure)?);
        }
    }
    seconds.align = lap();
    let predictions = match &samples {
        Some(samples) => {
            let samples = arguments.limit.map_or_else(|| samples.clone(), |limit| samples.clone().truncated(limit));
            if samples.is_empty() {
                return Err(Failure::input("--limit 0: at least one sample is needed"));
            }
            Some(predictions::compare(paths, &graphs, &samples)?)
        }
        None => None,
    };
    seconds.predictions = lap();
    let chosen = samples.as_ref().map(|samples| samples.spread(arguments.layer_samples));
    let (layers, cka) = layers::compare(paths, &graphs, chosen.as_ref())?;
    seconds.layers = lap();

    let measures = predictions.as_ref().map(|found| found.measures.as_slice()).unwrap_or_default();
    let parents = paths.iter().zip(&graphs).enumerate();
    let report = Report {
        anchor: plan.anchor,
        settings: shown_settings(&plan, &fuse),
        models: parents
            .map(|(index, (path, graph))| Parent::new(path, graph, measures.get(index).copied()))
            .collect::<Result<_, _>>()?,
        alignments,
        difference,
        layers,
        predictions,
        cka,
        seconds,
    };
    if let Some(path) = &arguments.csv {
        write_text(path, &page::groups_table(&report).to_csv())?;
    }
    arguments.pages.write(&report, |_| page::page(&report, &names(paths)))?;
    output.result(&report, text)
}

fn text(report: &Report) -> String {
    let mut shown = String::new();
    let line = |shown: &mut String, text: &str| {
        shown.push_str(text);
        shown.push('\n');
    };
    if let Some(difference) = &report.difference {
        line(&mut shown, &format!("neurons are not compared: {difference}\n"));
    }
    for alignment in report.alignments.iter().flatten() {
        let paths = (&report.models[alignment.model].path, &report.models[report.anchor].path);
        line(&mut shown, &format!("{} against {}", paths.0, paths.1));
        let optional = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
        let rows = alignment.groups.iter().map(|group| {
            let size = match group.size == group.anchor_size {
                true => group.size.to_string(),
                false => format!("{} -> {}", group.size, group.anchor_size),
            };
            vec![
                group.name.clone(),
                size,
                format!("{:.5}", group.cost),
                format!("{:.0} %", 100.0 * group.matched_fraction),
                format!("{:.0} %", 100.0 * group.moved),
                optional(group.before.as_ref().map(|quality| quality.mean)),
                optional(group.after.as_ref().map(|quality| quality.mean)),
            ]
        });
        let header = ["group", "neurons", "cost", "matched", "moved", "cosine before", "after"];
        line(&mut shown, &table(&header, &header[1..], rows));
    }
    if let Some(predictions) = &report.predictions {
        let samples = count(predictions.samples, "sample");
        let rows = report.models.iter().filter_map(|model| {
            let measure = model.measure?;
            Some(vec![model.path.clone(), format!("{:.2} %", 100.0 * measure.accuracy), format!("{:.4}", measure.loss)])
        });
        line(&mut shown, &table(&["model", "accuracy", "loss"], &["accuracy", "loss"], rows));
        line(&mut shown, &format!("{samples} of {}", predictions.data));
        for pair in &predictions.pairs {
            let paths = (&report.models[pair.first].path, &report.models[pair.second].path);
            let agreement = 100.0 * pair.agreement;
            let _ = writeln!(shown, "{} and {} agree on {agreement:.2} %", paths.0, paths.1);
        }
    }
    if let Some(kernels) = &report.cka {
        for pair in &kernels.pairs {
            let paths = (&report.models[pair.first].path, &report.models[pair.second].path);
            let same: Vec<f64> =
                pair.values.iter().enumerate().filter_map(|(at, row)| row.get(at).copied().flatten()).collect();
            let mean = same.iter().sum::<f64>() / same.len().max(1) as f64;
            let _ = writeln!(shown, "{} and {}: linear CKA of layers in the same place {mean:.4}", paths.0, paths.1);
        }
    }
    shown
}
