//! Networks run on arrays, and written in other formats.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use otfuse_formats::npz::{read_npz, write_npz_to};
use otfuse_graph::{Graph, Tensor};
use otfuse_runtime::{Executable, run_batched, run_graph};
use serde::Serialize;

use crate::files::shown;
use crate::fitting::fitted;
use crate::{Context, Error, Model, Registry, Result, Samples};

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
    run_on(model, read_npz(inputs)?, context)
}

/// Runs a network on arrays by the names of its inputs.
///
/// # Errors
/// As [`run`].
pub fn run_on(model: &Model, inputs: BTreeMap<String, Tensor>, context: &Context) -> Result<RunOutputs> {
    let graph = model.told(context)?;
    let outputs = context.install(|| run_graph(graph, inputs, context.host()));
    let outputs = outputs.map_err(|error| Error::from(error).of(model.path()))?;
    let shape = |(name, tensor): &(String, Tensor)| ArrayShape { name: name.clone(), shape: tensor.shape().to_vec() };
    let report = RunReport { path: model.shown(), output: String::new(), outputs: outputs.iter().map(shape).collect() };
    Ok(RunOutputs { outputs, report })
}

/// A network's outputs on samples, in the order of the network, each with an axis of samples in front. Holds all of them:
/// `O(samples * outputs)`.
///
/// # Errors
/// Samples that do not fit, a network that cannot be run, an output without an axis of samples.
pub fn outputs(model: &Model, samples: &Samples, context: &Context) -> Result<Vec<(String, Tensor)>> {
    let graph = model.told(context)?;
    let samples = &*fitted(Cow::Borrowed(samples), &[model], context)?;
    let found = context.install(|| recorded(graph, samples, context));
    found.map_err(|error| error.of(model.path()))
}

/// The outputs of a network on all samples.
pub(crate) fn recorded(graph: &Graph, samples: &Samples, context: &Context) -> Result<Vec<(String, Tensor)>> {
    let executable = Executable::new(graph, context.host())?;
    let stage = context.stage("running", samples.len());
    let mut parts: Vec<Vec<Tensor>> = vec![Vec::new(); graph.outputs().len()];
    run_batched(&executable, samples, graph.outputs(), None, |range, mut values| {
        for (parts, id) in parts.iter_mut().zip(graph.outputs()) {
            parts.extend(values.remove(id));
        }
        stage.at(range.end, samples.len());
        Ok(())
    })?;
    let named = parts.into_iter().zip(graph.outputs()).map(|(parts, &id)| {
        let name = &graph.value(id).name;
        let joined = joined(&parts, samples.len()).ok_or_else(|| {
            let shape = parts.first().map(|part| part.shape().to_vec()).unwrap_or_default();
            let message = format!("the output '{name}' of shape {shape:?} has no axis of samples in front");
            Error { tensor: Some(name.clone()), ..Error::input(message) }
        })?;
        Ok((name.clone(), joined))
    });
    named.collect()
}

/// Tensors one behind the other along the first axis, which then has length `count`.
fn joined(parts: &[Tensor], count: usize) -> Option<Tensor> {
    let first = parts.first()?;
    let inner = first.shape().get(1..)?;
    if parts.iter().any(|part| part.shape().get(1..) != Some(inner) || part.data_type() != first.data_type()) {
        return None;
    }
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes().to_vec()).collect();
    Tensor::new(first.data_type(), [&[count], inner].concat(), bytes.into()).ok()
}

impl RunOutputs {
    /// Makes the file of outputs known, before they are computed.
    ///
    /// # Errors
    /// Another extension than npz; the path of an input or of another output.
    pub fn register(registry: &mut Registry, path: &Path) -> Result<()> {
        registry.output_of("output", path, ("outputs", "npz"))
    }

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
pub fn convert(model: &Model, registry: &Registry, path: &Path, context: &Context) -> Result<Conversion> {
    model.notes().iter().for_each(|note| context.warn(note));
    let file = model.file()?;
    model.write(&file.graph, registry.outputs(), path)?;
    Ok(Conversion {
        input: model.shown(),
        output: shown(path),
        format: file.format_at(path)?.to_string(),
        parameters: file.graph.parameter_count(),
    })
}
