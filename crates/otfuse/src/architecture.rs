//! Networks to be trained from scratch.

use otfuse_formats::Model;
use otfuse_formats::catalogue::{NetworkSpec, SpecError};
use otfuse_formats::hf::Fill;
use otfuse_formats::untrained::{Task, TransformerSpec, UntrainedError};
use otfuse_graph::GraphError;
use otfuse_runtime::dataset::{Dataset, TextUnit};
use otfuse_runtime::{Start, filled, initialised};

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// The name is not understood, or the network does not take such samples.
    #[error(transparent)]
    Spec(#[from] UntrainedError),
    /// The network is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl From<SpecError> for ArchitectureError {
    fn from(error: SpecError) -> Self {
        Self::Spec(error.into())
    }
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

impl From<ArchitectureError> for crate::Error {
    fn from(error: ArchitectureError) -> Self {
        Self::input(&error).hint(error.hint())
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

/// A network before training for the samples of a data set: one of those that [`architecture`] makes, or a transformer by
/// family and sizes (`gpt2:2,64,4`) or by the settings of a folder (see [`TransformerSpec`]), with the random weights that
/// `transformers` begins with. The vocabulary and the number of positions come from the data set.
///
/// # Errors
/// A name that is not understood; samples that the network does not take.
pub fn architecture_for(spec: &str, samples: &Dataset, seed: u64) -> Result<Model, ArchitectureError> {
    let wrong = |expected: &str, found: &str| SpecError::Input {
        spec: spec.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let Some(transformer) = TransformerSpec::parse(spec) else {
        // The name first: a misspelt transformer is no network for numbers.
        let _: NetworkSpec = spec.parse()?;
        return match samples.vocabulary() {
            Some(_) => Err(wrong("samples of numbers", "text").into()),
            None if samples.classes() == 0 && !samples.is_labelled() => {
                Err(wrong("samples with labels, which say how many classes it tells apart", "none").into())
            }
            None => architecture(spec, samples.sample_shape(), samples.classes(), seed),
        };
    };
    let task = match (samples.vocabulary(), samples.sample_shape()) {
        (Some(vocabulary), &[length]) => Task::Text {
            tokens: vocabulary.tokens().to_vec(),
            characters: vocabulary.unit() == TextUnit::Character,
            length,
            padding: vocabulary.padding(),
            unknown: vocabulary.unknown(),
            first: vocabulary.first(),
            classes: (!samples.is_language()).then_some(samples.classes()),
        },
        (None, &[channels, height, width]) => {
            Task::Images { shape: [channels, height, width], classes: samples.classes() }
        }
        (_, shape) => return Err(wrong("text or images", &format!("samples of shape {shape:?}")).into()),
    };
    let (mut model, fills) = transformer?.draft(&task)?;
    let starts: Vec<(&str, Start, Option<usize>)> = fills
        .iter()
        .map(|(name, fill)| match *fill {
            Fill::Constant(value) => (name.as_str(), Start::Constant(value), None),
            Fill::Normal { deviation, zero_row } => (name.as_str(), Start::Normal(deviation), zero_row),
        })
        .collect();
    model.graph = filled(&model.graph, &starts, seed)?;
    Ok(model)
}
