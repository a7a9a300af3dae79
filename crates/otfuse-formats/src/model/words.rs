//! Networks over tokens, whose tokens may have other numbers.

use super::{Model, ModelError, Source};
use crate::hf::{HfError, HfModel, HfSource, Tokens};

impl Model {
    /// The token of each row of the table of tokens; `None` if the network is no Hugging Face folder.
    ///
    /// # Errors
    /// No vocabulary, or a tokenizer that cannot be read here.
    pub fn tokens(&self) -> Result<Option<Tokens>, ModelError> {
        self.folder().map(HfSource::tokens).transpose().map_err(|error| self.refused(error))
    }

    /// The names of the graph's tensors that have a row for each token, with that axis.
    ///
    /// # Errors
    /// As [`reworded`](Self::reworded).
    pub fn token_axes(&self) -> Result<Vec<(String, usize)>, ModelError> {
        let found = self.folder().map(HfSource::token_axes).transpose();
        Ok(found.map_err(|error| self.refused(error))?.unwrap_or_default())
    }

    /// The network whose token `i` is token `rows[i]` of this one, or has zeros where there is none; settings and tokenizer
    /// are written for these numbers. Of no Hugging Face folder the network itself.
    ///
    /// # Errors
    /// Settings in which another size is that of the vocabulary; a tokenizer that cannot be written here.
    pub fn reworded(&self, rows: &[Option<usize>]) -> Result<Self, ModelError> {
        let Some(folder) = self.folder() else { return Ok(self.clone()) };
        let HfModel { graph, source } = folder.reworded(rows).map_err(|error| self.refused(error))?;
        Ok(Self { graph, source: Source::HuggingFace(Box::new(source)), ..self.clone() })
    }

    fn folder(&self) -> Option<&HfSource> {
        match &self.source {
            Source::HuggingFace(source) => Some(source),
            _ => None,
        }
    }

    fn refused(&self, source: HfError) -> ModelError {
        ModelError::HuggingFace { path: self.path.clone(), source: Box::new(source) }
    }
}
