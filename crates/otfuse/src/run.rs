//! Networks run on arrays, and written in other formats.

use std::collections::BTreeMap;
use std::path::Path;

use otfuse_formats::npz::{read_npz, write_npz_to};
use otfuse_graph::Tensor;
use otfuse_runtime::run_graph;
use serde::Serialize;

use crate::files::shown;
use crate::{Context, Error, Model, Registry, Result};

/// A network's outputs.
pub struct RunOutputs {
    /// In the order of the network.
    pub outputs: Vec<(String, Tensor)>,
    /// What was run.
    pub report: RunReport,
}

/// What was run, and what came out.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The network, as it was given.
    pub path: String,
    /// Where the outputs were written.
    pub output: String,
    /// Their names and shapes.
    pub outputs: Vec<ArrayShape>,
}

/// An array.
#[derive(Clone, Debug, Serialize)]
pub struct ArrayShape {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Runs a network on the arrays of an npz file, by the names of its inputs.
///
/// # Errors
/// Arrays that are no inputs, missing inputs, a network that cannot be run.
pub fn run(model: &Model, inputs: &Path, context: &Context) -> Result<RunOutputs> {
    let graph = model.finite()?;
    let inputs = read_npz(inputs)?;
    let outputs = context.install(|| run_graph(graph, inputs, context.host()));
    let outputs = outputs.map_err(|error| Error::from(error).of(model.path()))?;
    let shape = |(name, tensor): &(String, Tensor)| ArrayShape { name: name.clone(), shape: tensor.shape().to_vec() };
    let report = RunReport { path: model.shown(), output: String::new(), outputs: outputs.iter().map(shape).collect() };
    Ok(RunOutputs { outputs, report })
}

impl RunOutputs {
    /// Stages the outputs to be written as npz.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path) -> Result<()> {
        self.report.output = shown(path);
        let outputs: BTreeMap<_, _> = self.outputs.iter().cloned().collect();
        Ok(write_npz_to(registry.outputs(), path, &outputs)?)
    }
}

/// What was converted.
#[derive(Clone, Debug, Serialize)]
pub struct Conversion {
    /// The network, as it was given.
    pub input: String,
    /// Where it was written.
    pub output: String,
    /// In which format.
    pub format: String,
    /// Learned numbers.
    pub parameters: usize,
}

/// Stages a network to be written in another format, which the extension chooses.
///
/// # Errors
/// A path that cannot be written; a format that cannot hold the network.
pub fn convert(model: &Model, registry: &Registry, path: &Path) -> Result<Conversion> {
    let file = model.file()?;
    model.write(&file.graph, registry.outputs(), path)?;
    Ok(Conversion {
        input: model.shown(),
        output: shown(path),
        format: file.format_at(path)?.to_string(),
        parameters: file.graph.parameter_count(),
    })
}
