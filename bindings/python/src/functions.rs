//! What the library does with networks. Options come and results go as JSON, in the names of files.

use std::path::PathBuf;
use std::sync::Mutex;

use otfuse::{
    AlignOptions, CompareOptions, Error, ExtractOptions, Fuse, FuseOptions, InputShapes, InterpolateOptions,
    LoraAdapter, MergeName, PruneOptions, RepairName, TransportOptions,
};
use pyo3::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::arrays::{Named, arrays, tensors};
use crate::error::{exception, input};
use crate::fusing::{Fused, Made, Plan, models};
use crate::network::Network;
use crate::samples::{Data, Samples};
use crate::work::{Page, Run, json, page};

/// Options of JSON; the one that is wrong is named.
fn options<T: DeserializeOwned>(py: Python<'_>, text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|all| {
        let one = |(name, value): (&String, &serde_json::Value)| {
            let alone = serde_json::json!({ name: value });
            let error = serde_json::from_value::<T>(alone).err()?;
            Some(Error::input(format!("`{}`: {error}", name.replace('-', "_"))))
        };
        let given: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(text).ok();
        let found = given.iter().flatten().find_map(one).unwrap_or_else(|| Error::input(&all));
        exception(py, &found.hint("help() of the function lists its options and their values"))
    })
}

/// What is to be fused.
struct Given {
    fuse: Fuse,
    models: Vec<otfuse::Model>,
}

impl Given {
    fn new(
        py: Python<'_>,
        networks: &[Py<Network>],
        text: &str,
        samples: Option<&Samples>,
        data: Option<&Data>,
        compared: Option<&Samples>,
    ) -> PyResult<Self> {
        let models = models(networks);
        if models.is_empty() {
            return Err(input(py, "expected two or more networks, found none", "otfuse.fuse([a, b])"));
        }
        let mut fuse = Fuse::new(&models).options(options::<FuseOptions>(py, text)?);
        if let Some(data) = data {
            fuse = fuse.data(&data.0);
        }
        if let Some(samples) = samples {
            fuse = fuse.samples(samples.0.clone());
        }
        if let Some(compared) = compared {
            fuse = fuse.compare_on(compared.0.clone());
        }
        Ok(Self { fuse, models })
    }
}

/// Fuses networks.
#[pyfunction]
#[pyo3(signature = (run, networks, options, samples=None, data=None, compared=None))]
pub fn fuse(
    py: Python<'_>,
    run: Run,
    networks: Vec<Py<Network>>,
    options: &str,
    samples: Option<&Bound<'_, Samples>>,
    data: Option<&Bound<'_, Data>>,
    compared: Option<&Bound<'_, Samples>>,
) -> PyResult<Fused> {
    let (samples, data) = (samples.map(Bound::get), data.map(Bound::get));
    let Given { fuse, models } = Given::new(py, &networks, options, samples, data, compared.map(Bound::get))?;
    let fused = run.work(py, |context| fuse.run(context))?;
    Ok(Fused::of(fused, models))
}

/// Makes a fusion ready to be run.
#[pyfunction]
#[pyo3(signature = (run, networks, options, samples=None, data=None, compared=None))]
pub fn plan(
    py: Python<'_>,
    run: Run,
    networks: Vec<Py<Network>>,
    options: &str,
    samples: Option<&Bound<'_, Samples>>,
    data: Option<&Bound<'_, Data>>,
    compared: Option<&Bound<'_, Samples>>,
) -> PyResult<Plan> {
    let (samples, data) = (samples.map(Bound::get), data.map(Bound::get));
    let Given { fuse, models } = Given::new(py, &networks, options, samples, data, compared.map(Bound::get))?;
    let (rehearsal, plan) = run.work(py, |context| Ok((fuse.rehearse(context)?, fuse.plan(context)?)))?;
    Ok(Plan { plan: Mutex::new(Some(plan)), rehearsal: json(py, &rehearsal)?, models })
}

/// Brings a network's neurons into the order of another's.
#[pyfunction]
#[pyo3(signature = (run, network, to, options, data=None))]
pub fn align(
    py: Python<'_>,
    run: Run,
    network: &Network,
    to: &Network,
    options: &str,
    data: Option<&Bound<'_, Data>>,
) -> PyResult<Fused> {
    let options: AlignOptions = self::options(py, options)?;
    let data = data.map(|data| &data.get().0);
    let (model, to) = (&network.0, &to.0);
    let fused = run.work(py, |context| otfuse::align(model, to, &options, data, context))?;
    Ok(Fused::of(fused, vec![model.clone(), to.clone()]))
}

/// Brings a network's neurons into the order that an earlier alignment found.
#[pyfunction]
#[pyo3(signature = (run, alignment, network, to=None, index=None, published_scaling=false))]
pub fn apply(
    py: Python<'_>,
    run: Run,
    alignment: PathBuf,
    network: &Network,
    to: Option<&Bound<'_, Network>>,
    index: Option<usize>,
    published_scaling: bool,
) -> PyResult<Made> {
    let to = to.map(|to| to.get().0.clone());
    let like = to.clone().unwrap_or_else(|| network.0.clone());
    let options = otfuse::ApplyOptions { to, index, published_scaling };
    let applied = run.work(py, |_| otfuse::apply(&alignment, &network.0, &options))?;
    Ok(Made::of(applied, like))
}

/// What is broken, and what can be done about it.
type Failure = (String, Option<String>);

/// Proves a network's neuron groups: the outcome as JSON, and what is broken where it failed.
#[pyfunction]
pub fn verify(
    py: Python<'_>,
    run: Run,
    network: &Network,
    shape: &str,
    seed: u64,
) -> PyResult<(String, Option<Failure>)> {
    let parsed = |text: &str| if text.is_empty() { Ok(InputShapes::default()) } else { text.parse() };
    let shapes = parsed(shape).map_err(|error| exception(py, &error))?;
    let found = run.work(py, |context| otfuse::verify_at(&network.0, &shapes, seed, context))?;
    let failure = found.failure.as_ref().map(|error| (error.message.clone(), error.hint.clone()));
    Ok((json(py, &found)?, failure))
}

/// What is known of a network: JSON, a drawing of characters, one as SVG, one for Graphviz.
#[pyfunction]
pub fn inspect(py: Python<'_>, run: Run, network: &Network) -> PyResult<(String, String, String, String)> {
    let found = run.work(py, |context| {
        let found = otfuse::inspect(&network.0, context)?;
        let text = serde_json::to_string(&found).map_err(|error| Error::run(format!("cannot write JSON: {error}")))?;
        Ok((text, found.drawing(), found.svg(), found.dot()))
    })?;
    Ok(found)
}

/// Accuracy and loss of networks on labelled samples, as JSON.
#[pyfunction]
pub fn evaluate(
    py: Python<'_>,
    run: Run,
    networks: Vec<Py<Network>>,
    samples: &Samples,
    ensemble: bool,
) -> PyResult<String> {
    let models = models(&networks);
    let refs: Vec<&otfuse::Model> = models.iter().collect();
    let found = run.work(py, |context| otfuse::evaluate(&refs, &samples.0, ensemble, context))?;
    json(py, &found)
}

/// Options of comparisons.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Compared {
    aligning: AlignOptions,
    limit: Option<usize>,
    layer_samples: Option<usize>,
}

/// Compares networks: JSON and the page.
#[pyfunction]
#[pyo3(signature = (run, networks, options, data=None))]
pub fn compare(
    py: Python<'_>,
    run: Run,
    networks: Vec<Py<Network>>,
    options: &str,
    data: Option<&Bound<'_, Data>>,
) -> PyResult<(String, Page)> {
    let Compared { aligning, limit, layer_samples } = self::options(py, options)?;
    let options = CompareOptions { aligning, limit, layer_samples };
    let (models, data) = (models(&networks), data.map(|data| &data.get().0));
    let found = run.work(py, |context| otfuse::compare(&models, &options, data, context))?;
    Ok((json(py, &found)?, page(py, &found)?))
}

/// Options of walks between networks.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Walked {
    aligning: AlignOptions,
    merge: Option<MergeName>,
    steps: Option<String>,
    limit: Option<usize>,
    train: Option<usize>,
    repair: Option<RepairName>,
    as_fuse: bool,
    ridge: Option<f64>,
    plane: Option<usize>,
}

/// Measures the networks between networks: JSON, the page, and the points as comma-separated values.
#[pyfunction]
pub fn interpolate(
    py: Python<'_>,
    run: Run,
    networks: Vec<Py<Network>>,
    options: &str,
    data: &Data,
) -> PyResult<(String, Page, String)> {
    let Walked { aligning, merge, steps, limit, train, repair, as_fuse, ridge, plane } = self::options(py, options)?;
    let options = InterpolateOptions { aligning, merge, steps, limit, train, repair, as_fuse, ridge, plane };
    let models = models(&networks);
    let found = run.work(py, |context| otfuse::interpolate(&models, &options, &data.0, context))?;
    Ok((json(py, &found)?, page(py, &found)?, found.csv()))
}

/// Measures averages of two networks: JSON, and the points as comma-separated values.
#[pyfunction]
#[pyo3(signature = (run, networks, options, weights, data, limit=None))]
pub fn sweep(
    py: Python<'_>,
    run: Run,
    networks: Vec<Py<Network>>,
    options: &str,
    weights: &str,
    data: &Data,
    limit: Option<usize>,
) -> PyResult<(String, String)> {
    let options: FuseOptions = self::options(py, options)?;
    let models = models(&networks);
    let found = run.work(py, |context| otfuse::sweep(&models, &options, weights, &data.0, limit, context))?;
    Ok((json(py, &found)?, found.csv()))
}

/// Takes the least important neurons out of a network.
#[pyfunction]
pub fn prune(py: Python<'_>, run: Run, network: &Network, options: &str) -> PyResult<Made> {
    let options: PruneOptions = self::options(py, options)?;
    let pruned = run.work(py, |context| otfuse::prune(&network.0, &options, context))?;
    Ok(Made::of(pruned, network.0.clone()))
}

/// Adds what one network learned since to another.
#[pyfunction]
#[pyo3(signature = (run, base, tuned, target, options, data=None))]
pub fn transport_task_vector(
    py: Python<'_>,
    run: Run,
    base: &Network,
    tuned: &Network,
    target: &Network,
    options: &str,
    data: Option<&Bound<'_, Data>>,
) -> PyResult<Made> {
    let options: TransportOptions = self::options(py, options)?;
    let data = data.map(|data| &data.get().0);
    let (base, tuned, target) = (&base.0, &tuned.0, &target.0);
    let work = |context: &otfuse::Context| otfuse::transport_task_vector(base, tuned, target, &options, data, context);
    let found = run.work(py, work)?;
    let like = found.target().clone();
    Ok(Made::of(found, like))
}

/// A network with an adapter merged into it.
#[pyfunction]
pub fn adapted(py: Python<'_>, run: Run, network: &Network, adapter: PathBuf) -> PyResult<Network> {
    run.work(py, |_| otfuse::adapted(&network.0, &LoraAdapter::open(&adapter)?)).map(Network)
}

/// Writes the difference between two networks as an adapter; what was kept of it, as JSON.
#[pyfunction]
pub fn extract_lora(
    py: Python<'_>,
    run: Run,
    tuned: &Network,
    base: &Network,
    options: &str,
    folder: PathBuf,
) -> PyResult<String> {
    let options: ExtractOptions = self::options(py, options)?;
    let report = run.work(py, |context| {
        let mut found = otfuse::extract_lora(&tuned.0, &base.0, &options, context)?;
        found.save(&folder)?;
        Ok(found.report)
    })?;
    json(py, &report)
}

/// Writes a base with adapters merged into it; what was merged, as JSON.
#[pyfunction]
#[pyo3(signature = (run, base, adapters, weights, path, key=None))]
pub fn merge_lora(
    py: Python<'_>,
    run: Run,
    base: PathBuf,
    adapters: Vec<PathBuf>,
    weights: Vec<f64>,
    path: PathBuf,
    key: Option<String>,
) -> PyResult<String> {
    let report = run.work(py, |context| {
        let adapters = adapters.iter().map(LoraAdapter::open).collect::<otfuse::Result<Vec<_>>>()?;
        let mut merged = otfuse::merge_lora(&base, key.as_deref(), &adapters, &weights, context)?;
        merged.save(&path, context)?;
        Ok(merged.report)
    })?;
    json(py, &report)
}

/// A network's outputs on one batch, by the names of its inputs.
#[pyfunction]
pub fn run<'py>(py: Python<'py>, run: Run, network: &Network, inputs: Vec<Named<'py>>) -> PyResult<Vec<Named<'py>>> {
    let inputs = tensors(py, inputs)?.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let found = run.work(py, |context| otfuse::run_on(&network.0, inputs, context))?;
    Ok(arrays(py, found.outputs.iter().map(|(name, tensor)| (name.as_str(), tensor))))
}

/// A network's outputs on samples.
#[pyfunction]
pub fn outputs<'py>(py: Python<'py>, run: Run, network: &Network, samples: &Samples) -> PyResult<Vec<Named<'py>>> {
    let found = run.work(py, |context| otfuse::outputs(&network.0, &samples.0, context))?;
    Ok(arrays(py, found.iter().map(|(name, tensor)| (name.as_str(), tensor))))
}
