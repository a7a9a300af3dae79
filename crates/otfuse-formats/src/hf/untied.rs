//! Folders whose scores over the vocabulary get a weight of their own, where that of the embeddings served for both.

use serde_json::Value;

use super::config::Config;
use super::{CONFIG_FILE, HfError, HfFiles, HfModel, HfSource, HfWeights, companions, draw};

/// The setting that says so.
const TIED: &str = "tie_word_embeddings";

impl HfSource {
    /// The folder with the tensor that the settings ask for where they do not tie embeddings and scores, a copy of the one
    /// behind `initializer`; the settings say so. `None` if that makes no difference to the network.
    ///
    /// # Errors
    /// Settings or files that cannot be read.
    pub fn untied(&self, initializer: &str) -> Result<Option<HfModel>, HfError> {
        let mut files = match &self.files {
            HfFiles::New(files) => files.clone(),
            HfFiles::Folder(folder) => companions(folder)?,
        };
        let Some((_, content)) = files.iter_mut().find(|(name, _)| name == CONFIG_FILE) else { return Ok(None) };
        let mut settings = Config::parse(content)?.0;
        if settings.get(TIED) == Some(&Value::Bool(false)) {
            return Ok(None);
        }
        settings.insert(TIED.into(), false.into());
        *content = serde_json::to_vec_pretty(&settings).unwrap_or_default();
        let config = Config(settings);
        let (mut dict, mut weights) = (self.dict.clone(), self.weights.clone());
        let mut drawn = draw(&config, &dict);
        let of = self.bindings.iter().find(|(_, bound)| bound == initializer).map(|(key, _)| key.clone());
        if let (Err(HfError::MissingTensor { tensor, .. }), Some(of)) = (&drawn, of)
            && let Some(copied) = dict.get(&of).cloned()
        {
            let missing = tensor.clone();
            if dict.insert(missing.clone(), copied).is_err() {
                return Ok(None);
            }
            weights.add(&missing, &of);
            drawn = draw(&config, &dict);
        }
        let (graph, bindings) = drawn?;
        let is_apart = bindings.iter().filter(|(_, bound)| bound == initializer).count() == 1;
        let source = Self { files: HfFiles::New(files), dict, weights, bindings, ..self.clone() };
        Ok(is_apart.then_some(HfModel { graph, source }))
    }
}

impl HfWeights {
    /// Puts a new tensor beside another one.
    fn add(&mut self, name: &str, beside: &str) {
        if let Self::Sharded(index) = self {
            index.add(name, beside);
        }
    }
}
