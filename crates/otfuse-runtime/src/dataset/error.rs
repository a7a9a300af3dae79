//! What can be wrong with a data set.

use std::path::PathBuf;

use otfuse_formats::FormatError;

/// A data set cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DatasetError {
    /// The name of a data set is not understood.
    #[error("the data set '{found}' is not understood; expected {expected}")]
    Spec { found: String, expected: String },
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
    /// None of the files that may hold the data exists.
    #[error("{}: expected {}, found none of them", directory.display(), expected.join(" or "))]
    Missing { directory: PathBuf, expected: Vec<String> },
    /// A file does not hold what it should.
    #[error("{}: {subject}: expected {expected}, found {found}", path.display())]
    Content { path: PathBuf, subject: String, expected: String, found: String, hint: Option<String> },
}

impl DatasetError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Spec { .. } => "a data set is its kind and where its files are: mnist:FOLDER".into(),
            Self::Normalization { .. } => {
                "as many means as deviations, one or one per channel; deviations are positive".into()
            }
            Self::Partition { .. } => "for example --partition iid:2 --part 0".into(),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "check the spelling of the path".into()
            }
            Self::Read { .. } => "the file may be damaged or of another kind: copy or download it again".into(),
            Self::Format(error) => error.hint(),
            Self::Missing { .. } => "name the folder that holds the data set's files".into(),
            Self::Content { hint: Some(hint), .. } => hint.clone(),
            Self::Content { .. } => "check how the file was written".into(),
        }
    }
}
