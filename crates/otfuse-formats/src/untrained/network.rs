//! Networks of the catalogue before training.

use std::path::Path;

use otfuse_graph::Graph;

use super::UntrainedError;
use crate::catalogue::NetworkSpec;
use crate::format::Format;
use crate::model::{Architecture, Model};

impl NetworkSpec {
    /// The network for samples of a shape, without training: all weights are 0.
    ///
    /// # Errors
    /// [`SpecError::Input`](crate::catalogue::SpecError::Input) if the network does not take such samples.
    pub fn model(&self, input_shape: &[usize], classes: usize) -> Result<Model, UntrainedError> {
        let dict = self.state_dict(input_shape, classes)?;
        let architecture = Architecture::Catalogue(self.family());
        let name = self.to_string();
        let model = Model::of_state_dict(Path::new(&name), dict, Format::PyTorch, &architecture).map_err(Box::new)?;
        self.check_input(&input_lengths(&model.graph), input_shape)?;
        Ok(model)
    }
}

/// The known lengths of a network's only input behind the batch.
fn input_lengths(graph: &Graph) -> Vec<usize> {
    let declared = graph.inputs().first().and_then(|&input| graph.value(input).declared.as_ref());
    let shape = declared.and_then(|declared| declared.shape.as_ref());
    shape.into_iter().flatten().skip(1).filter_map(|dim| dim.as_known()).collect()
}
