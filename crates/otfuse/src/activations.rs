//! Networks run on samples: the activations that alignment needs, and those that repairs need.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use otfuse_fusion::{
    ActivationPoint, ActivationStatistic, Activations, Deviations, Fusion, FusionError, Loaded, Networks, Repair,
    RepairError, RunError, Runner, repair,
};
use otfuse_graph::{Graph, Tensor, ValueId};
use otfuse_runtime::dataset::Dataset;
#[cfg(feature = "training")]
use otfuse_runtime::train::{Expectation, TrainError, Work, fisher_diagonal};
use otfuse_runtime::{Executable, Host, RuntimeError, SampleLayout, fixed_batch_size, run_batched};

/// Samples at once in a repair, where the network leaves the choice.
const BATCH: usize = 100;

/// Of at most so many classes all are gone through for the Fisher information, where that takes at most so many multiplications.
#[cfg(feature = "training")]
const EXACT_CLASSES: usize = 16;
#[cfg(feature = "training")]
const EXACT_WORK: f64 = 3e11;
/// A pass forwards and backwards, in passes forwards.
#[cfg(feature = "training")]
const PASSES: f64 = 3.0;

/// Why activations could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The network cannot be run on the samples.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// What was recorded does not fit the neuron groups.
    #[error(transparent)]
    Fusion(#[from] FusionError),
}

/// Runs a model of `networks` on all samples of a data set and keeps the activations that alignment needs. Holds all
/// recorded values in memory: samples x positions x neurons x 4 bytes.
///
/// # Errors
/// A network that cannot be run on the samples.
pub fn record_activations(
    networks: &Networks,
    model: usize,
    point: ActivationPoint,
    statistic: ActivationStatistic,
    dataset: &Dataset,
    host: &Host,
) -> Result<Activations, RecordError> {
    record(networks, model, (point, statistic), None, dataset, host)
}

/// [`record_activations`], and how important each neuron is.
pub(crate) fn record_with_importance(
    networks: &Networks,
    model: usize,
    what: (ActivationPoint, ActivationStatistic),
    dataset: &Dataset,
    host: &Host,
) -> Result<Activations, RecordError> {
    record(networks, model, what, Some(Deviations::of(networks, model)), dataset, host)
}

fn record(
    networks: &Networks,
    model: usize,
    (point, statistic): (ActivationPoint, ActivationStatistic),
    mut deviations: Option<Deviations>,
    dataset: &Dataset,
    host: &Host,
) -> Result<Activations, RecordError> {
    let executable = Executable::new(networks.graph(model), host)?;
    let kept: BTreeSet<ValueId> = networks.observed(model, point).into_iter().collect();
    let sums = deviations.as_ref().map(|deviations| deviations.observed(networks, model));
    let wanted: BTreeSet<ValueId> = kept.iter().chain(sums.iter().flatten()).copied().collect();
    let wanted: Vec<ValueId> = wanted.into_iter().collect();
    let mut batches: Vec<HashMap<_, _>> = Vec::new();
    run_batched(&executable, dataset, &wanted, None, |_, mut values| {
        if let Some(deviations) = &mut deviations {
            deviations.add(networks, model, &values);
        }
        values.retain(|id, _| kept.contains(id) || sums.is_none());
        batches.push(values.into_iter().collect());
        Ok(())
    })?;
    let found = Activations::new(networks, model, point, statistic, &batches)?;
    Ok(match &deviations {
        Some(deviations) => found.with_importance(networks, model, deviations),
        None => found,
    })
}

/// Repairs a fused network on samples, as [`repair`] does.
pub(crate) fn repaired(
    networks: &Networks,
    fusion: &Fusion,
    kind: Repair,
    samples: Option<&Dataset>,
    host: &Host,
    observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Graph, RepairError> {
    let runner = samples.map(|samples| SampleRunner::new(samples, host));
    repair(networks, fusion, kind, runner.as_ref().map(|runner| runner as &dyn Runner), observe)
}

/// Runs networks on the samples of a data set on a host, for [`repair`](otfuse_fusion::repair()) and for what methods of merging
/// [measure](otfuse_fusion::Aligned::measured). Samples that do not fill a batch of a size that the network fixes are left out.
pub struct SampleRunner<'a> {
    dataset: &'a Dataset,
    host: &'a Host,
}

impl<'a> SampleRunner<'a> {
    /// On all samples of `dataset`.
    pub fn new(dataset: &'a Dataset, host: &'a Host) -> Self {
        Self { dataset, host }
    }
}

impl Runner for SampleRunner<'_> {
    fn samples(&self) -> usize {
        self.dataset.len()
    }

    fn classes(&self) -> usize {
        self.dataset.classes()
    }

    fn is_classified(&self) -> Option<bool> {
        let is_known = self.dataset.is_labelled() || self.dataset.is_noise();
        is_known.then(|| self.dataset.classes() > 0)
    }

    fn load(&self, graph: &Graph) -> Result<Box<dyn Loaded + '_>, RunError> {
        let executable = Executable::new(graph, self.host)?;
        Ok(Box::new(OnSamples { dataset: self.dataset, executable }))
    }

    #[cfg(feature = "training")]
    fn fisher(
        &self,
        graph: &Graph,
        seed: u64,
        observe: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<BTreeMap<ValueId, Vec<f32>>, RunError> {
        let work = Work::of(&Executable::new(graph, self.host)?, self.dataset)?;
        let passes = EXACT_CLASSES as f64 * PASSES * self.dataset.len() as f64;
        let expectation = match work.multiply_adds as f64 * passes <= EXACT_WORK {
            true => Expectation::Exact { classes: EXACT_CLASSES },
            false => Expectation::Drawn,
        };
        let mut observe = |done, total| observe(done, total).is_continue();
        let found = fisher_diagonal(graph, self.dataset, (None, expectation), seed, self.host, &mut observe);
        found.map_err(|error| match error {
            TrainError::Runtime(error) => error.into(),
            error => error.into(),
        })
    }
}

/// A network on a device, and the samples that it is run on.
struct OnSamples<'a> {
    dataset: &'a Dataset,
    executable: Executable,
}

impl Loaded for OnSamples<'_> {
    fn inputs(&self) -> Result<Vec<BTreeMap<ValueId, Tensor>>, RunError> {
        let (graph, samples) = (self.executable.graph(), self.dataset);
        let layout = SampleLayout::of(graph, samples)?;
        let fixed = fixed_batch_size(graph);
        let size = fixed.unwrap_or(BATCH).max(1);
        let mut batches = Vec::new();
        for start in (0..samples.len()).step_by(size) {
            let end = samples.len().min(start + size);
            if fixed.is_some() && end - start < size && start > 0 {
                break;
            }
            let fed = if fixed.is_some() { size } else { end - start };
            let indices: Vec<usize> = (start..start + fed).map(|index| index.min(end - 1)).collect();
            batches.push(layout.take(samples, &indices, &|_| {}).into_iter().collect());
        }
        Ok(batches)
    }

    fn run_from(&self, known: &[(ValueId, Tensor)], wanted: &[ValueId]) -> Result<BTreeMap<ValueId, Tensor>, RunError> {
        Ok(self.executable.run_from(known, wanted)?)
    }

    fn replace(&mut self, id: ValueId, tensor: &Tensor) -> Result<(), RunError> {
        Ok(self.executable.replace(id, tensor)?)
    }
}
