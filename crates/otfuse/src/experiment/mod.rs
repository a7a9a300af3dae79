//! Experiments: networks trained, fused and measured as a YAML file says.
//!
//! [`mod@file`] is the format; [`plan`] makes of it a list of tasks, one per network, point and seed; `work` does what `store`
//! does not have yet; [`result`] takes means, `table` and `chart` write them.

pub(crate) mod chart;
pub mod file;
pub mod machine;
pub(crate) mod options;
pub mod plan;
pub(crate) mod recipe;
pub mod result;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod tasks;
pub(crate) mod variables;
pub(crate) mod work;

use std::path::Path;

use serde::Serialize;

use self::file::{Changes, Experiment};
use self::machine::Record;
use self::plan::Plan;
use self::result::{Results, results};
use self::store::{Store, json};
use self::work::Worker;
use crate::{Context, DataOptions, Error, Registry, Result};

/// What came out of an experiment, and what the results do not depend on.
#[derive(Serialize)]
pub struct Experimented {
    /// The results.
    pub results: Results,
    /// When and where they were computed.
    pub run: Record,
}

impl Experimented {
    /// The results as Markdown.
    pub fn markdown(&self) -> String {
        table::markdown(&self.results)
    }
}

/// Reads an experiment and makes a plan of it; fails on everything that can be told before work begins.
///
/// # Errors
/// A file that is no experiment, files or data that are missing, options that are not known.
pub fn read(path: &Path, changes: &Changes<'_>) -> Result<(Experiment, Plan)> {
    let experiment = file::read(path, changes)?;
    let plan = plan::plan(&experiment).map_err(|error| error.of(path))?;
    Ok((experiment, plan))
}

/// Does everything in an experiment that was not done before, and stages the results to be written into `folder`, which
/// keeps the networks too. `command` is what was asked for, for the record.
///
/// # Errors
/// Whatever training, fusing and measuring may fail with; a folder that another experiment works in.
pub fn run(
    (experiment, plan): &(Experiment, Plan),
    folder: &Path,
    registry: &mut Registry,
    command: &str,
    context: &Context,
) -> Result<Experimented> {
    registry.data(&plan::dataset(&experiment.data, &DataOptions::default())?)?;
    for task in &plan.tasks {
        let described = &task.described;
        for path in described.file.iter().chain(&described.arch) {
            registry.input("network", Path::new(path))?;
        }
    }
    for name in [
        "results.csv",
        "results.md",
        "results.json",
        "accuracy.svg",
        "epochs.svg",
        "tasks.svg",
        "known-tasks.svg",
        "run.md",
        "run.json",
    ] {
        registry.expected("output", &folder.join(name))?;
    }
    let store = Store::open(folder)?;
    let done = context.install(|| Worker::new(plan, &experiment.data, &store, context).run())?;
    let results = results(experiment, plan, &done);
    let put = |name: &str, text: &str| registry.write(&store.result(name), text.as_bytes());
    put("results.csv", &table::csv(&results))?;
    put("results.md", &table::markdown(&results))?;
    put("results.json", &json(&results)?)?;
    for figure in chart::figures(&results).map_err(Error::run)? {
        put(&format!("{}.svg", figure.name), &figure.svg)?;
    }
    let run = Record::new(plan, &done, command);
    put("run.md", &run.markdown())?;
    put("run.json", &json(&run)?)?;
    Ok(Experimented { results, run })
}
