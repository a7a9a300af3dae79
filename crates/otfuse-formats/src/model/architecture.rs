//! What is said of a state dict's network.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::ModelError;
use crate::catalogue::Family;
use crate::hf::CONFIG_FILE;

/// Where the graph of a state dict comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// A family of the catalogue.
    Catalogue(Family),
    /// An ONNX file of the same network; its weights do not matter.
    File(PathBuf),
    /// The `config.json` of a Hugging Face network, or its folder.
    Settings(PathBuf),
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
        }
    }
}
