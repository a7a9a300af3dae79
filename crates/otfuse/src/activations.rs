//! Recording the activations of networks.

use std::collections::HashMap;

use otfuse_fusion::{ActivationPoint, ActivationStatistic, Activations, FusionError, Networks};
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::{Device, Executable, RuntimeError, run_batched};

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
    networks: &Networks<'_>,
    model: usize,
    point: ActivationPoint,
    statistic: ActivationStatistic,
    dataset: &Dataset,
) -> Result<Activations, RecordError> {
    let executable = Executable::new(networks.graph(model), &Device::default())?;
    let wanted = networks.observed(model, point);
    let mut batches: Vec<HashMap<_, _>> = Vec::new();
    run_batched(&executable, dataset, &wanted, None, |_, values| {
        batches.push(values.into_iter().collect());
        Ok(())
    })?;
    Ok(Activations::new(networks, model, point, statistic, &batches)?)
}
