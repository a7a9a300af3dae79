//! Tensors made when their turn comes, and the files around them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use otfuse_formats::checkpoint::Files;
use otfuse_formats::{Checkpoint, Format};
use otfuse_graph::Tensor;
use rayon::prelude::*;
use serde::Serialize;

use super::beside::beside;
use super::file::{MergeDocument, Reference};
use super::plan::Plan;
use super::tensors::{strangers, tensor};
use crate::files::shown;
use crate::{Context, Error, Registry, Result};

/// Merges as a file of settings says.
#[derive(Clone, Debug)]
pub struct Merge {
    pub(crate) documents: Vec<MergeDocument>,
    /// The folder that paths are relative to.
    folder: PathBuf,
    /// The file's text, for the card.
    text: String,
    seed: u64,
    shard: u64,
}

/// What was merged, and how.
#[derive(Clone, Debug, Serialize)]
pub struct MergeReport {
    /// Where the result was written.
    pub output: String,
    /// The method.
    pub method: String,
    /// The networks, in the order of the file.
    pub models: Vec<String>,
    /// The base, if there is one.
    pub base: Option<String>,
    /// The network whose form and files the result has.
    pub donor: String,
    /// Tensors of the result.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Element types of the result, each once.
    pub dtypes: Vec<String>,
    /// Layers of the result, where it was put together of slices.
    pub layers: Option<usize>,
    /// Tokens of the result, where vocabularies were put together.
    pub vocabulary: Option<usize>,
    /// Tensors of networks that have no part in the result.
    pub left_out: Vec<String>,
    /// Results on the way.
    pub stages: Vec<String>,
    /// Wall time.
    pub seconds: f64,
}

impl Merge {
    pub(crate) fn new(documents: Vec<MergeDocument>, folder: PathBuf, text: String) -> Self {
        Self { documents, folder, text, seed: 0, shard: 5_000_000_000 }
    }

    /// Another seed of random draws than 0.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The most bytes of a file of weights; 5 GB if nothing is said.
    #[must_use]
    pub fn shard_size(self, bytes: u64) -> Self {
        Self { shard: bytes.max(1), ..self }
    }

    /// Everything that is read is made known, and where the result goes.
    ///
    /// # Errors
    /// Networks that cannot be read, an output that is one of them.
    pub fn register(&self, registry: &mut Registry, output: &Path) -> Result<()> {
        let mut donor = None;
        for (document, reference) in
            self.documents.iter().flat_map(|document| document.references().into_iter().map(move |it| (document, it)))
        {
            if self.stage_of(reference).is_some() {
                continue;
            }
            let model = self.open(reference)?;
            registry.input("network", model.path())?;
            model.files()?.iter().try_for_each(|file| registry.input("network", file))?;
            if document.name.is_none() && (donor.is_none() || document.base.as_ref() == Some(reference)) {
                donor = Some(model);
            }
        }
        let is_folder = match donor {
            Some(donor) if donor.format() != Format::Onnx && donor.format_at(output)? == Format::Onnx => {
                return Err(Error::input(format!(
                    "{}: the networks have no graph, which an ONNX file needs",
                    output.display()
                ))
                .hint("write a result of the networks' own form, and make an ONNX file of it by `otfuse convert`"));
            }
            Some(donor) => donor.format_at(output)? == Format::HuggingFace,
            None => output.extension().is_none(),
        };
        if is_folder { registry.folder("output", output) } else { registry.output("output", output) }
    }

    fn stage_of(&self, reference: &Reference) -> Option<&MergeDocument> {
        self.documents.iter().find(|document| document.name.as_deref() == Some(reference.0.as_str()))
    }

    fn open(&self, reference: &Reference) -> Result<Checkpoint> {
        Ok(Checkpoint::open(&reference.resolve(&self.folder)?, None)?)
    }

    /// Merges and stages the result.
    ///
    /// # Errors
    /// Networks that do not fit together, numbers that a type cannot hold, a place that cannot be written.
    pub fn write(&self, registry: &Registry, output: &Path, context: &Context) -> Result<MergeReport> {
        context.install(|| self.written(registry, output, context))
    }

    /// Checks everything that names, shapes and settings tell, without writing.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn rehearse(&self, output: &Path) -> Result<MergeReport> {
        let last = self.last();
        let is_staged = last.references().into_iter().any(|reference| self.stage_of(reference).is_some());
        for document in self.documents.iter().filter(|document| !is_staged || document.name.is_some()) {
            let is_known = document.references().into_iter().all(|reference| self.stage_of(reference).is_none());
            if is_known {
                let plan = self.plan(document, &|_| None)?;
                if document.name.is_none() {
                    return Ok(self.report(document, &plan, output, 0.0));
                }
            }
        }
        Err(Error::input("several documents that follow from each other are not checked without merging")
            .hint("merge without `dry_run`; nothing is kept of a merge that fails"))
    }

    fn last(&self) -> &MergeDocument {
        self.documents.iter().find(|document| document.name.is_none()).unwrap_or(&self.documents[0])
    }

    fn plan(&self, document: &MergeDocument, stage: &dyn Fn(&Reference) -> Option<PathBuf>) -> Result<Plan> {
        let models = document.references().into_iter().map(|reference| {
            let model = match stage(reference) {
                Some(path) => Checkpoint::open(&path, None)?,
                None => self.open(reference)?,
            };
            Ok((reference.clone(), model))
        });
        let plan = Plan::of(document, models.collect::<Result<_>>()?)?;
        if let Some((reference, _)) = plan.models.iter().find(|(_, model)| is_adapter(model)) {
            return Err(Error::input(format!("'{}' is an adapter, no network", reference.0))
                .hint("`otfuse merge-lora BASE ADAPTER -o FOLDER` makes a network of it"));
        }
        Ok(plan)
    }

    fn written(&self, registry: &Registry, output: &Path, context: &Context) -> Result<MergeReport> {
        let begin = Instant::now();
        let folder = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let staging = match self.documents.len() {
            1 => None,
            _ => Some(tempfile::Builder::new().prefix(".otfuse-stages-").tempdir_in(folder).map_err(|error| {
                Error::run(format!("cannot make a folder for results on the way: {error}")).of(folder)
            })?),
        };
        let mut stages: Vec<(String, PathBuf)> = Vec::new();
        for document in ordered(&self.documents)? {
            let stage = |reference: &Reference| {
                stages.iter().find(|(name, _)| *name == reference.0).map(|(_, path)| path.clone())
            };
            let plan = self.plan(document, &stage)?;
            document.notes.iter().chain(&plan.notes).for_each(|note| context.warn(note));
            if let Some(warning) = strangers(&plan) {
                context.warn(&warning);
            }
            let (donor, text) = (&plan.models[plan.donor].1, self.text.as_str());
            match (&document.name, &staging) {
                (Some(name), Some(staging)) => {
                    let place = staging.path().join(stages.len().to_string()).with_extension(match donor.format() {
                        Format::HuggingFace => "",
                        Format::Onnx => "onnx",
                        _ => "safetensors",
                    });
                    otfuse_formats::Outputs::at_once(|outputs| {
                        self.make(&plan, document, (outputs, &place), text, context)
                    })?;
                    stages.push((name.clone(), place));
                }
                _ => {
                    self.make(&plan, document, (registry.outputs(), output), text, context)?;
                    let mut report = self.report(document, &plan, output, begin.elapsed().as_secs_f64());
                    report.stages = stages.into_iter().map(|(name, _)| name).collect();
                    if !report.left_out.is_empty() {
                        context.warn(&left_out(&report.left_out));
                    }
                    return Ok(report);
                }
            }
        }
        Err(Error::input("every document has a name, so that none is the result")
            .hint("leave out the name of the last one"))
    }

    fn report(&self, document: &MergeDocument, plan: &Plan, output: &Path, seconds: f64) -> MergeReport {
        let mut dtypes: Vec<String> = plan.tensors.iter().map(|planned| planned.data_type.to_string()).collect();
        dtypes.sort();
        dtypes.dedup();
        MergeReport {
            output: shown(output),
            method: document.method.clone(),
            models: plan.models.iter().map(|(reference, _)| reference.0.clone()).collect(),
            base: document.base.as_ref().map(|base| base.0.clone()),
            donor: plan.models[plan.donor].0.0.clone(),
            tensors: plan.tensors.len(),
            parameters: plan.tensors.iter().map(|planned| planned.shape.iter().product::<usize>() as u64).sum(),
            dtypes,
            layers: plan.layers.as_ref().map(Vec::len),
            vocabulary: plan.words.as_ref().map(|words| words.count),
            left_out: plan.left_out.clone(),
            stages: Vec::new(),
            seconds,
        }
    }

    fn make(
        &self,
        plan: &Plan,
        document: &MergeDocument,
        (outputs, path): (&otfuse_formats::Outputs, &Path),
        text: &str,
        context: &Context,
    ) -> Result<()> {
        let donor = &plan.models[plan.donor].1;
        let beside = match donor.format_at(path)? {
            Format::HuggingFace => beside(plan, document, path, text)?,
            _ => Vec::new(),
        };
        let stage = context.stage("merging and writing", plan.tensors.len());
        let failed = std::cell::RefCell::new(None);
        let make = |places: &[usize]| {
            let made: Result<Vec<Tensor>> = places
                .par_iter()
                .map(|&place| {
                    context.check()?;
                    tensor(plan, place, self.seed)
                })
                .collect();
            places.iter().for_each(|_| stage.step());
            made.map_err(|error| {
                let text = error.to_string();
                failed.borrow_mut().get_or_insert(error);
                std::io::Error::other(text)
            })
        };
        let written = donor.write(outputs, path, (&plan.tensors, &make), &beside, Files::AtMost(self.shard));
        if let Some(error) = failed.take() {
            return Err(error);
        }
        Ok(written?)
    }
}

/// What is said of tensors that have no part.
fn left_out(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    let more = if names.len() > 3 { ", .." } else { "" };
    format!("{} tensors that the result's form lacks are left out: {}{more}", names.len(), shown.join(", "))
}

fn is_adapter(model: &Checkpoint) -> bool {
    model.settings().is_some_and(|settings| settings.contains_key("peft_type"))
}

/// Documents in an order in which each comes after those that it is made of.
fn ordered(documents: &[MergeDocument]) -> Result<Vec<&MergeDocument>> {
    let names: Vec<&str> = documents.iter().filter_map(|document| document.name.as_deref()).collect();
    let mut order: Vec<&MergeDocument> = Vec::new();
    let mut rest: Vec<&MergeDocument> = documents.iter().collect();
    while !rest.is_empty() {
        let is_ready = |document: &&MergeDocument| {
            let waits = |name: &&str| rest.iter().any(|other| other.name.as_deref() == Some(name));
            document
                .references()
                .into_iter()
                .map(|reference| reference.0.as_str())
                .filter(|name| names.contains(name))
                .all(|name| !waits(&name))
        };
        let Some(at) = rest.iter().position(is_ready) else {
            let names: Vec<&str> = rest.iter().filter_map(|document| document.name.as_deref()).collect();
            return Err(Error::input(format!("name: results that are made of each other: {}", names.join(", ")))
                .hint("a document may name results of others, but none that is made of its own"));
        };
        order.push(rest.remove(at));
    }
    // The one without a name last.
    order.sort_by_key(|document| document.name.is_none());
    Ok(order)
}
