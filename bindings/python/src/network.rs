//! Networks.

use std::path::PathBuf;

use bytes::Bytes;
use otfuse::{Model, Registry};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::arrays::{Named, arrays, tensors};
use crate::error::exception;
use crate::work::Run;

/// A network, from a file or in memory.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Network(pub Model);

#[pymethods]
impl Network {
    /// The network in a file or folder; see `Model::open_beside`.
    #[staticmethod]
    fn open(
        py: Python<'_>,
        run: Run,
        path: PathBuf,
        architecture: Option<String>,
        key: Option<String>,
        others: Vec<PathBuf>,
    ) -> PyResult<Self> {
        run.work(py, |_| Model::open_beside(path, architecture.as_deref(), key.as_deref(), &others)).map(Self)
    }

    /// The network of the bytes of an ONNX model.
    #[staticmethod]
    fn of_onnx(py: Python<'_>, run: Run, name: String, onnx: PyBackedBytes) -> PyResult<Self> {
        run.work(py, |_| Model::of_onnx(name, Bytes::from_owner(onnx))).map(Self)
    }

    /// The network of tensors whose graph is that of the bytes of an ONNX model.
    #[staticmethod]
    fn of_tensors(
        py: Python<'_>,
        run: Run,
        name: String,
        named: Vec<Named<'_>>,
        onnx: PyBackedBytes,
    ) -> PyResult<Self> {
        let dict = tensors(py, named)?;
        run.work(py, |_| Model::of_tensors(name, dict, Bytes::from_owner(onnx))).map(Self)
    }

    /// The network of tensors of an architecture by name, ONNX file or config.json.
    #[staticmethod]
    fn of_tensors_as(
        py: Python<'_>,
        run: Run,
        name: String,
        named: Vec<Named<'_>>,
        architecture: String,
    ) -> PyResult<Self> {
        let dict = tensors(py, named)?;
        run.work(py, |_| Model::of_tensors_as(name, dict, &architecture)).map(Self)
    }

    /// What errors and reports call it.
    #[getter]
    fn name(&self) -> String {
        self.0.path().display().to_string()
    }

    /// The names of the network's inputs.
    fn inputs(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let graph = self.0.graph().map_err(|error| exception(py, &error))?;
        Ok(graph.inputs().iter().map(|id| graph.value(*id).name.clone()).collect())
    }

    /// The tensors, as `save` writes them.
    fn tensors<'py>(&self, py: Python<'py>, run: Run) -> PyResult<Vec<Named<'py>>> {
        let found = run.work(py, |_| {
            let file = self.0.file()?;
            Ok(file.tensors(&file.graph)?)
        })?;
        Ok(arrays(py, found.iter()))
    }

    /// Writes the network; the extension chooses the format.
    fn save(&self, py: Python<'_>, run: Run, path: PathBuf) -> PyResult<()> {
        run.work(py, |context| {
            let mut registry = Registry::new();
            registry.model(&self.0)?;
            registry.result("output", &path, &self.0)?;
            otfuse::convert(&self.0, &registry, &path, context)?;
            registry.commit()
        })
    }
}
