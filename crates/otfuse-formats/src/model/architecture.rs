//! What is said of a state dict's network.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;

use super::ModelError;
use crate::FormatError;
use crate::catalogue::Family;
use crate::hf::CONFIG_FILE;
use crate::onnx::{OnnxModel, read_onnx};

/// Where the graph of a state dict comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// A family of the catalogue.
    Catalogue(Family),
    /// An ONNX file of the same network; its weights do not matter.
    File(PathBuf),
    /// An ONNX model in memory of the same network; its weights do not matter.
    Exported(Exported),
    /// The `config.json` of a Hugging Face network, or its folder.
    Settings(PathBuf),
}

/// An ONNX model in memory, without data in other files.
#[derive(Clone, PartialEq, Eq)]
pub struct Exported {
    name: PathBuf,
    bytes: Bytes,
}

impl Exported {
    /// The bytes of a model, and what errors call it.
    pub fn new(name: impl Into<PathBuf>, bytes: Bytes) -> Self {
        Self { name: name.into(), bytes }
    }

    /// What errors call it.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn open(&self) -> Result<OnnxModel, FormatError> {
        let failure = |source| FormatError::Onnx { path: self.name.clone(), source: Box::new(source) };
        read_onnx(self.bytes.clone(), Path::new("")).map_err(failure)
    }
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported").field("name", &self.name).field("bytes", &self.bytes.len()).finish()
    }
}

impl Architecture {
    /// A family's name, or the path of an `.onnx` file or of Hugging Face settings.
    ///
    /// # Errors
    /// [`ModelError::UnknownArchitecture`] with the nearest family.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        if let Some(family) = Family::of_name(text) {
            return Ok(Self::Catalogue(family));
        }
        let path = Path::new(text);
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        if path.join(CONFIG_FILE).is_file() || (is_json && path.is_file()) {
            return Ok(Self::Settings(path.into()));
        }
        let is_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
        if is_onnx || path.is_file() {
            return Ok(Self::File(path.into()));
        }
        let base = text.trim_end_matches(|c: char| c.is_ascii_digit()).to_ascii_lowercase();
        let distance = |family: &Family| strsim::osa_distance(&base, family.name());
        let nearest = Family::ALL.into_iter().min_by_key(distance);
        let suggestion = nearest.filter(|family| distance(family) <= 1 + family.name().len() / 3);
        Err(ModelError::UnknownArchitecture { found: text.into(), suggestion })
    }
}

impl FromStr for Architecture {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::parse(text)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalogue(family) => family.fmt(f),
            Self::File(path) | Self::Settings(path) => path.display().fmt(f),
            Self::Exported(exported) => exported.name.display().fmt(f),
        }
    }
}
