//! Samples and data sets.

use otfuse::graph::Tensor;
use otfuse::runtime::dataset::Targets;
use otfuse::{DataOptions, Dataset, SplitName};
use pyo3::prelude::*;

use crate::arrays::{Named, arrays, tensors};
use crate::error::exception;
use crate::work::Run;

/// Samples in memory, with targets where there are some.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Samples(pub otfuse::Samples);

#[pymethods]
impl Samples {
    /// Samples of named arrays: `x` and `y`, or one for each input of a network.
    #[staticmethod]
    fn of(py: Python<'_>, run: Run, name: String, named: Vec<Named<'_>>) -> PyResult<Self> {
        let dict = tensors(py, named)?;
        run.work(py, |_| Ok(otfuse::Samples::from_arrays(&name, dict)?)).map(Self)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// The samples as networks are given them: normalised; of several arrays the first.
    fn array<'py>(&self, py: Python<'py>) -> Option<Named<'py>> {
        let count = self.0.len();
        let values = py.detach(|| self.0.samples(0..count));
        let tensor = Tensor::from_f32(&[&[count], self.0.sample_shape()].concat(), values);
        arrays(py, [("x", &tensor)]).pop()
    }

    /// What networks are to say of the samples: classes (-100 where a place has none), or numbers.
    fn targets<'py>(&self, py: Python<'py>) -> PyResult<Option<Named<'py>>> {
        let count = self.0.len();
        let tensor = match self.0.targets() {
            Targets::None => return Ok(None),
            Targets::Classes { labels, shape, .. } => {
                let classes = labels.iter().map(|&label| if label == Targets::VOID { -100 } else { i64::from(label) });
                Tensor::from_i64(&[&[count], shape.as_slice()].concat(), classes.collect())
            }
            Targets::Numbers { values, shape } => {
                Tensor::from_f32(&[&[count], shape.as_slice()].concat(), values.clone())
            }
        };
        Ok(arrays(py, [("y", &tensor)]).pop())
    }

    /// Whether it is known what networks are to say of them.
    #[getter]
    fn is_labelled(&self) -> bool {
        self.0.is_labelled()
    }
}

/// A data set: training samples and test samples.
#[pyclass(frozen, module = "otfuse._otfuse")]
pub struct Data(pub Dataset);

#[pymethods]
impl Data {
    /// The data set that `KIND:PATH` names; options as JSON.
    #[staticmethod]
    fn open(py: Python<'_>, spec: String, options: &str) -> PyResult<Self> {
        let options: DataOptions = serde_json::from_str(options)
            .map_err(|error| crate::error::input(py, error, "help(otfuse.Dataset) lists the options"))?;
        Dataset::with(&spec, &options).map(Self).map_err(|error| exception(py, &error))
    }

    /// Training and test samples in memory.
    #[staticmethod]
    fn of(train: &Samples, test: &Samples) -> Self {
        Self(Dataset::of_samples(train.0.clone(), test.0.clone()))
    }

    /// The samples of a split.
    fn samples(&self, py: Python<'_>, run: Run, split: &str, limit: Option<usize>) -> PyResult<Samples> {
        let split = if split == "train" { SplitName::Train } else { SplitName::Test };
        run.work(py, |_| self.0.samples(split, limit)).map(Samples)
    }
}
