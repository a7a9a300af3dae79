//! Fusions: before and after.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyArray1;
use otfuse::graph::Graph;
use otfuse::{FusePlan, Registry};
use pyo3::prelude::*;

use crate::arrays::{Named, arrays};
use crate::error::{exception, input};
use crate::network::Network;
use crate::samples::Samples;
use crate::work::{Page, Run, json, page};

/// A fusion that is ready to be run, once.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Plan {
    pub plan: Mutex<Option<FusePlan>>,
    pub rehearsal: String,
    pub models: Vec<otfuse::Model>,
}

#[pymethods]
impl Plan {
    /// What would be done, as JSON.
    #[getter]
    fn report(&self) -> &str {
        &self.rehearsal
    }

    /// Fuses.
    fn run(&self, py: Python<'_>, run: Run) -> PyResult<Fused> {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner).take();
        let plan = plan.ok_or_else(|| input(py, "the plan has been run", "otfuse.plan(..) makes another"))?;
        let fused = run.work(py, |context| plan.run(context))?;
        Ok(Fused::of(fused, self.models.clone()))
    }
}

/// A fused network.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Fused {
    fused: Mutex<otfuse::Fused>,
    models: Vec<otfuse::Model>,
}

impl Fused {
    pub fn of(fused: otfuse::Fused, models: Vec<otfuse::Model>) -> Self {
        Self { fused: Mutex::new(fused), models }
    }

    fn held(&self) -> MutexGuard<'_, otfuse::Fused> {
        self.fused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Fused {
    /// What was fused, how, and what came out, as JSON.
    #[getter]
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        let report = py.detach(|| self.held().report.clone());
        json(py, &report)
    }

    /// The report as a page of HTML, and its charts.
    fn page(&self, py: Python<'_>) -> PyResult<Page> {
        let report = py.detach(|| self.held().report.clone());
        page(py, &report)
    }

    /// Which of the models that were given, in their order, gave the result its shapes and format.
    #[getter]
    fn anchor(&self, py: Python<'_>) -> usize {
        py.detach(|| {
            let held = self.held();
            self.models.iter().position(|model| model.path() == held.anchor().path()).unwrap_or(self.models.len() - 1)
        })
    }

    /// The tensors, as `save` writes them.
    fn tensors<'py>(&self, py: Python<'py>, run: Run) -> PyResult<Vec<Named<'py>>> {
        let found = run.work(py, |_| self.held().tensors())?;
        Ok(arrays(py, found.iter()))
    }

    /// The bytes of the network as an ONNX file.
    fn onnx<'py>(&self, py: Python<'py>, run: Run) -> PyResult<Bound<'py, PyArray1<u8>>> {
        run.work(py, |_| self.held().onnx()).map(|bytes| PyArray1::from_vec(py, bytes))
    }

    /// What was matched with what, as `apply` reads it: JSON.
    fn alignments(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        py.detach(|| self.held().alignments_json()).map_err(|error| exception(py, &error))
    }

    /// Writes the network and what goes with it, all of it or nothing; the extension chooses the format.
    #[pyo3(signature = (run, path, alignment=None, page=None, card=false))]
    fn save(
        &self,
        py: Python<'_>,
        run: Run,
        path: PathBuf,
        alignment: Option<PathBuf>,
        page: Option<PathBuf>,
        card: bool,
    ) -> PyResult<()> {
        run.work(py, |context| {
            let mut fused = self.held();
            let mut registry = Registry::new();
            self.models.iter().try_for_each(|model| registry.model(model))?;
            let is_folder = fused.anchor().writes_folder(&path);
            registry.result("output", &path, fused.anchor())?;
            let is_aligned_only = fused.report.settings.aligned_only;
            let is_carded = card || (is_folder && !is_aligned_only);
            if is_carded && !is_folder {
                registry.output("card", &otfuse::card_path(&path, false))?;
            }
            for (option, path) in [("alignment", &alignment), ("page", &page)] {
                path.as_ref().map_or(Ok(()), |path| registry.output(option, path))?;
            }
            fused.write(&registry, &path, context)?;
            if let Some(alignment) = &alignment {
                registry.write(alignment, &fused.alignments_json()?)?;
            }
            otfuse::pages::write_page(&fused.report, &registry, page.as_deref(), None)?;
            if is_carded {
                let text = otfuse::card(&path, is_folder, &fused.report);
                registry.write(&otfuse::card_path(&path, is_folder), text.as_bytes())?;
            }
            registry.commit()
        })
    }

    /// Accuracy and loss on labelled samples, as JSON.
    fn evaluate(&self, py: Python<'_>, run: Run, samples: &Samples) -> PyResult<String> {
        let found = run.work(py, |context| self.held().evaluate(&samples.0, context))?;
        json(py, &found)
    }
}

/// A network made of one other: put into another order, pruned.
pub trait Make: Send {
    fn graph(&self) -> &Graph;
    fn report(&self) -> serde_json::Result<String>;
    fn save(&mut self, path: &Path) -> otfuse::Result<()>;
}

macro_rules! make {
    ($($made:ty),+) => {$(
        impl Make for $made {
            fn graph(&self) -> &Graph {
                &self.graph
            }

            fn report(&self) -> serde_json::Result<String> {
                serde_json::to_string(&self.report)
            }

            fn save(&mut self, path: &Path) -> otfuse::Result<()> {
                Self::save(self, path)
            }
        }
    )+};
}
make!(otfuse::Applied, otfuse::Pruned, otfuse::Transported);

/// A network made of one other, and the network whose form it has.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Made(Mutex<Box<dyn Make>>, otfuse::Model);

impl Made {
    pub fn of(made: impl Make + 'static, like: otfuse::Model) -> Self {
        Self(Mutex::new(Box::new(made)), like)
    }

    fn held(&self) -> MutexGuard<'_, Box<dyn Make>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Made {
    /// What was done, as JSON.
    #[getter]
    fn report(&self, py: Python<'_>) -> PyResult<String> {
        let report = py.detach(|| self.held().report());
        report.map_err(|error| exception(py, &otfuse::Error::run(format!("cannot write JSON: {error}"))))
    }

    /// The tensors, as `save` writes them.
    fn tensors<'py>(&self, py: Python<'py>, run: Run) -> PyResult<Vec<Named<'py>>> {
        let found = run.work(py, |_| Ok(self.1.file()?.tensors(self.held().graph())?))?;
        Ok(arrays(py, found.iter()))
    }

    /// Writes the network; the extension chooses the format.
    fn save(&self, py: Python<'_>, run: Run, path: PathBuf) -> PyResult<()> {
        run.work(py, |_| self.held().save(&path))
    }
}

/// Those of the networks.
pub fn models(networks: &[Py<Network>]) -> Vec<otfuse::Model> {
    networks.iter().map(|network| network.get().0.clone()).collect()
}
