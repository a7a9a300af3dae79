//! A fused network.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use otfuse_formats::npz::write_npz_to;
use otfuse_formats::{Outputs, StateDict};
use otfuse_fusion::{Aligned, Merging, ModelAlignment};
use otfuse_graph::{Graph, Tensor, ValueId};

use super::report::FuseReport;
use crate::error::fusion_error;
use crate::evaluate::{EvaluatedModel, Evaluations};
use crate::files::shown;
use crate::measure::{Measured, probabilities};
use crate::{Context, Error, Model, Registry, Result, Samples};

/// A fused network, and what is to be said of it. Where nothing had to be repaired or measured, its weights are made when
/// they are asked for, one after the other, so that networks of any size take little memory.
pub struct Fused {
    pub(super) anchor: Model,
    pub(crate) models: Vec<Model>,
    pub(super) outcome: Outcome,
    /// What was fused, how, and what came out.
    pub report: FuseReport,
    /// What was matched with what.
    pub alignments: Vec<ModelAlignment>,
    /// Samples that the models made themselves, where they did; also where the result was not fitted on them.
    pub made: Option<Samples>,
}

pub(super) enum Outcome {
    Whole(Graph),
    Streamed { aligned: Aligned, merge: Merging, weights: Vec<f64> },
}

impl Fused {
    /// The network.
    ///
    /// # Errors
    /// A merge that does not take the networks.
    pub fn graph(&self) -> Result<Graph> {
        match &self.outcome {
            Outcome::Whole(graph) => Ok(graph.clone()),
            Outcome::Streamed { aligned, merge, weights } => aligned.average(merge, weights).map_err(Error::input),
        }
    }

    /// The network that gave the result its shapes and format.
    pub fn anchor(&self) -> &Model {
        &self.anchor
    }

    /// The tensors of the network as [`save`](Self::save) writes them: names, order and types are the anchor's.
    ///
    /// # Errors
    /// As [`graph`](Self::graph).
    pub fn tensors(&self) -> Result<StateDict> {
        Ok(self.anchor.file()?.tensors(&self.graph()?)?)
    }

    /// The bytes of the network as an ONNX file.
    ///
    /// # Errors
    /// As [`graph`](Self::graph); a network that ONNX cannot hold, or not in one file.
    pub fn onnx(&self) -> Result<Vec<u8>> {
        Ok(self.anchor.file()?.onnx(&self.graph()?)?)
    }

    /// Accuracy and loss on labelled samples.
    ///
    /// # Errors
    /// A network that cannot be run on the samples.
    pub fn evaluate(&self, samples: &Samples, context: &Context) -> Result<Evaluations> {
        let found = probabilities(&self.graph()?, samples, context)?.evaluate(samples)?;
        let measured = Measured::new(&found, samples.is_language());
        let models = vec![EvaluatedModel { path: self.report.output.clone(), measured }];
        Ok(Evaluations { data: samples.name().to_owned(), models, ensemble: None })
    }

    /// Writes the network, whole or not at all, in the anchor's form; the extension chooses the format.
    ///
    /// # Errors
    /// A path that cannot be written or is one of the parents.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (models, path) = (self.models.iter().collect::<Vec<_>>(), path.as_ref());
        Registry::alone(&models, &self.anchor, path, |registry| {
            self.stage(registry.outputs(), path, &Context::new()).map(|_| ())
        })
    }

    /// Stages the network to be written together with all else that the registry knows.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&mut self, registry: &Registry, path: &Path, context: &Context) -> Result<()> {
        let start = Instant::now();
        let file = self.anchor.file()?;
        let note = match &self.outcome {
            Outcome::Whole(graph) => self.anchor.note_of_output(graph, path),
            Outcome::Streamed { .. } => self.anchor.note_of_output(&file.graph, path),
        };
        if let Some(note) = note {
            context.warn(&note);
        }
        let averaging = context.install(|| self.stage(registry.outputs(), path, context))?.as_secs_f64();
        self.report.output = shown(path);
        self.report.seconds.average += averaging;
        self.report.seconds.write = start.elapsed().as_secs_f64() - averaging;
        Ok(())
    }

    /// Time spent merging.
    fn stage(&self, outputs: &Outputs, path: &Path, context: &Context) -> Result<Duration> {
        let (aligned, merge, weights) = match &self.outcome {
            Outcome::Whole(graph) => {
                context.check()?;
                self.anchor.write(graph, outputs, path)?;
                return Ok(Duration::ZERO);
            }
            Outcome::Streamed { aligned, merge, weights } => (aligned, merge, weights),
        };
        let file = self.anchor.file()?;
        let stage = context.stage("averaging and writing", file.graph.initializers().count());
        let averaging = Cell::new(Duration::ZERO);
        let failed = RefCell::new(None);
        let tensors = |ids: &[ValueId]| {
            context.check().map_err(std::io::Error::other)?;
            let start = Instant::now();
            let made = aligned.tensors(ids, merge, weights).map_err(|error| {
                let text = error.to_string();
                failed.borrow_mut().get_or_insert(error);
                std::io::Error::other(text)
            });
            averaging.set(averaging.get() + start.elapsed());
            ids.iter().for_each(|_| stage.step());
            made
        };
        let written = file.save_streamed_to(outputs, &tensors, path);
        context.check()?;
        if let Some(error) = failed.take() {
            let paths: Vec<PathBuf> = self.models.iter().map(|model| model.path().to_owned()).collect();
            return Err(fusion_error(&error, &paths, self.report.settings.anchor));
        }
        written?;
        Ok(averaging.get())
    }

    /// Stages the samples that the models made as a NumPy archive, `x` (and, of text, `y`), as a data set `npz:FILE` is read.
    ///
    /// # Errors
    /// A fusion that made none; a path that cannot be written.
    pub fn write_samples(&self, registry: &Registry, path: &Path) -> Result<()> {
        let samples = self.made.as_ref().ok_or_else(|| {
            Error::input("no samples were made, so that there are none to be kept")
                .of(path)
                .hint("`samples_from` parents says why")
        })?;
        let mut arrays = BTreeMap::new();
        let shape = [&[samples.len()], samples.sample_shape()].concat();
        let values = samples.samples(0..samples.len());
        if samples.is_language() {
            arrays.insert("x".to_owned(), Tensor::from_i64(&shape, values.into_iter().map(|id| id as i64).collect()));
            let labels = samples.labels().iter().map(|&label| i64::from(label)).collect();
            arrays.insert("y".to_owned(), Tensor::from_i64(&shape, labels));
        } else {
            arrays.insert("x".to_owned(), Tensor::from_f32(&shape, values));
        }
        Ok(write_npz_to(registry.outputs(), path, &arrays)?)
    }

    /// What was matched with what, as [`apply`](crate::apply()) reads it.
    ///
    /// # Errors
    /// Never with finite costs.
    pub fn alignments_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.alignments).map_err(|error| Error::run(format!("cannot write JSON: {error}")))
    }
}
