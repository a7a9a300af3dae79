//! Merges as settings in mergekit's format say.

use std::path::{Path, PathBuf};

use otfuse::{Configuration, FuseConfig, Registry};
use pyo3::prelude::*;
use serde::Serialize;

use crate::error::exception;
use crate::work::{Run, json};

/// A fusion as settings describe it; [`FuseConfig`] in the names of files.
#[derive(Serialize)]
struct Fusion<'c> {
    models: &'c [PathBuf],
    architecture: Option<&'c str>,
    options: &'c otfuse::FuseOptions,
    data: &'c otfuse::DataOptions,
}

/// Settings that were read.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Settings {
    read: Configuration,
    /// The file that they were in.
    file: Option<PathBuf>,
}

#[pymethods]
impl Settings {
    /// Those of a file.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let read = py.detach(|| Configuration::read(&path)).map_err(|error| exception(py, &error))?;
        Ok(Self { read, file: Some(path) })
    }

    /// Those of a text, whose paths are relative to the current folder.
    #[staticmethod]
    fn of(py: Python<'_>, text: &str) -> PyResult<Self> {
        let read = Configuration::parse(text, Path::new("")).map_err(|error| exception(py, &error))?;
        Ok(Self { read, file: None })
    }

    /// The fusion of settings with an alignment, as JSON; nothing of those without.
    #[getter]
    fn fusion(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let Configuration::Fuse(config) = &self.read else { return Ok(None) };
        let FuseConfig { models, architecture, options, data } = &**config;
        json(py, &Fusion { models, architecture: architecture.as_deref(), options, data }).map(Some)
    }

    /// Merges tensors by name into `output`, or checks without writing; the report as JSON.
    #[pyo3(signature = (run, output, seed, shard_size=None, dry=false))]
    fn merge(
        &self,
        py: Python<'_>,
        run: Run,
        output: PathBuf,
        seed: u64,
        shard_size: Option<u64>,
        dry: bool,
    ) -> PyResult<String> {
        let Configuration::Merge(merge) = &self.read else {
            return Err(crate::error::input(py, "settings with an alignment", "they are fused"));
        };
        let merge = merge.as_ref().clone().seed(seed);
        let merge = match shard_size {
            Some(bytes) => merge.shard_size(bytes),
            None => merge,
        };
        let report = run.work(py, |context| {
            let mut registry = Registry::new();
            self.file.iter().try_for_each(|file| registry.input("settings", file))?;
            merge.register(&mut registry, &output)?;
            if dry {
                return merge.rehearse(&output);
            }
            let report = merge.write(&registry, &output, context)?;
            registry.commit()?;
            Ok(report)
        })?;
        json(py, &report)
    }
}
