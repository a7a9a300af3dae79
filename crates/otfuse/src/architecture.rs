//! Networks to be trained from scratch.

use otfuse_formats::Model;
use otfuse_formats::catalogue::{NetworkSpec, SpecError};
use otfuse_graph::GraphError;
use otfuse_runtime::initialised;

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// The name is not understood, or the network does not take such samples.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The network is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl ArchitectureError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Spec(error) => error.hint(),
            Self::Graph(_) => "choose other widths".into(),
        }
    }
}

/// A network before training: `mlp:400-200-100`, `vgg11-nobias`, `resnet20:0.5` and others (see [`NetworkSpec`]), for
/// samples of a shape (channels, height, width for convolutional networks), with PyTorch's usual random weights.
///
/// [`Model::save`] writes a state dict that PyTorch's module of the same architecture loads; read it back with the
/// family that [`NetworkSpec::family`] names. The same arguments give the same weights everywhere.
///
/// # Errors
/// A name that is not understood; samples that the network does not take.
///
/// ```
/// let model = otfuse::architecture("vgg11-nobias:0.25", &[3, 32, 32], 10, 0)?;
/// assert_eq!(model.graph.parameter_count(), 577_712);
/// # Ok::<(), otfuse::ArchitectureError>(())
/// ```
pub fn architecture(spec: &str, input_shape: &[usize], classes: usize, seed: u64) -> Result<Model, ArchitectureError> {
    let spec: NetworkSpec = spec.parse()?;
    let mut model = spec.model(input_shape, classes)?;
    model.graph = initialised(&model.graph, seed)?;
    Ok(model)
}
