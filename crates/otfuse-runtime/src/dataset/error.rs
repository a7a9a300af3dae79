//! What can be wrong with a data set.

use std::path::PathBuf;

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
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// None of the files that may hold the data exists.
    #[error("{}: expected {}, found none of them", directory.display(), expected.join(" or "))]
    Missing { directory: PathBuf, expected: Vec<String> },
    /// A file does not hold what it should.
    #[error("{}: {subject}: expected {expected}, found {found}{}", path.display(), hint_text(.hint))]
    Content { path: PathBuf, subject: String, expected: String, found: String, hint: Option<String> },
}

fn hint_text(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"))
}
