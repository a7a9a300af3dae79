//! Networks whose tied weights are given a tensor each.

use super::{Model, ModelError, Source};
use crate::hf::HfModel;

impl Model {
    /// The network in which the weight that several places share, by its name in the graph, is one for each of them: settings
    /// and tensors are written so. `None` where the form that it is kept in leaves no place for that: anything but a Hugging Face
    /// folder.
    ///
    /// # Errors
    /// A folder that can no longer be read.
    pub fn untied(&self, initializer: &str) -> Result<Option<Self>, ModelError> {
        let Source::HuggingFace(source) = &self.source else { return Ok(None) };
        let failure = |source| ModelError::HuggingFace { path: self.path.clone(), source: Box::new(source) };
        let Some(HfModel { graph, source }) = source.untied(initializer).map_err(failure)? else { return Ok(None) };
        Ok(Some(Self { graph, source: Source::HuggingFace(Box::new(source)), ..self.clone() }))
    }
}
