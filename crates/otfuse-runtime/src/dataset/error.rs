//! What can be wrong with a data set.

use std::path::PathBuf;

use otfuse_formats::FormatError;

use super::Split;

/// A data set cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DatasetError {
    /// The name of a data set is not understood.
    #[error("the data set '{found}' is not understood; expected {expected}")]
    Spec { found: String, expected: String, closest: Option<String> },
    /// Support for it was left out when the program was built.
    #[error("the data set '{name}' needs a program built with the feature '{feature}'")]
    NotBuilt { name: String, feature: &'static str },
    /// A normalisation is not understood.
    #[error("the normalisation '{found}' is not understood; expected {expected}")]
    Normalization { found: String, expected: String },
    /// A partition is not understood, or not one of this data set.
    #[error("the partition '{found}' is not possible; expected {expected}")]
    Partition { found: String, expected: String },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// A file is not of its format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The data set is there and has no such split.
    #[error("{} has no {split} split: expected {}, found {found}", path.display(), expected.join(" or "))]
    AbsentSplit { path: PathBuf, split: Split, expected: Vec<String>, found: String },
    /// None of the files that may hold the data exists.
    #[error("{}: expected {}, found none of them", directory.display(), expected.join(" or "))]
    Missing { directory: PathBuf, expected: Vec<String> },
    /// Noise has the shape of a network's inputs, and nothing is known of it.
    #[error(
        "{name} has no samples of its own: it takes the shape of networks' inputs, and nobody knows what to say of it"
    )]
    Shapeless { name: String },
    /// A file does not hold what it should.
    #[error("{}: {subject}: expected {expected}, found {found}", path.display())]
    Content { path: PathBuf, subject: String, expected: String, found: String, hint: Option<String> },
}

impl DatasetError {
    /// Whether the data set is there and has no such split. Files that are damaged or cannot be read are never this, nor is
    /// a data set that is missing as a whole.
    pub fn is_absent_split(&self) -> bool {
        matches!(self, Self::AbsentSplit { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Spec { closest: Some(closest), .. } => format!("did you mean {closest}?"),
            Self::Spec { .. } => "a data set is its kind and where its files are: mnist:FOLDER".into(),
            Self::NotBuilt { feature, .. } => format!("build it with cargo build --release --features {feature}"),
            Self::Normalization { .. } => {
                "as many means as deviations, one or one per channel; deviations are positive".into()
            }
            Self::Partition { .. } => "for example --partition iid:2 --part 0".into(),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "check the spelling of the path".into()
            }
            Self::Read { .. } => "the file may be damaged or of another kind: copy or download it again".into(),
            Self::Format(error) => error.hint(),
            Self::AbsentSplit { split, .. } => {
                format!("name another data set for the {split} split, or add what is missing")
            }
            Self::Missing { .. } => "name the folder that holds the data set's files".into(),
            Self::Shapeless { .. } => {
                "it serves `otfuse fuse`, `otfuse align` and `otfuse generate`; name a data set with labels here".into()
            }
            Self::Content { hint: Some(hint), .. } => hint.clone(),
            Self::Content { .. } => "check how the file was written".into(),
        }
    }
}
