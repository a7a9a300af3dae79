//! Networks whose tied weights are given a tensor each.

use otfuse_graph::{Graph, GraphEditor, GraphError};

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
        let graph = self.with_own_weights(graph, initializer).map_err(|error| super::invalid(&self.path, error))?;
        Ok(Some(Self { graph, source: Source::HuggingFace(Box::new(source)), ..self.clone() }))
    }

    /// A drawing with the weights of this network's graph, which may be others than those of its files; a weight that it lacks is
    /// that of `initializer`.
    fn with_own_weights(&self, drawing: Graph, initializer: &str) -> Result<Graph, GraphError> {
        let own = |name: &str| self.graph.initializer(self.graph.find_value(name)?);
        let mut editor = GraphEditor::edit(drawing.clone());
        for (id, drawn) in drawing.initializers().filter(|(id, _)| drawing.is_weight(*id)) {
            let tensor = own(&drawing.value(id).name).or_else(|| own(initializer));
            if let Some(tensor) = tensor.filter(|tensor| tensor.shape() == drawn.shape()) {
                editor.set_tensor(id, tensor.clone());
            }
        }
        editor.finish()
    }
}
