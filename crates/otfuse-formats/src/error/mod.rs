//! What can go wrong with a file.

mod foreign;
mod onnx;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::Format;

pub use foreign::Foreign;
pub(crate) use foreign::{is_lfs_pointer, is_npz};
pub use onnx::OnnxError;

/// How a missing entry is called that was asked for by a key.
pub(crate) const UNDER: &str = "a state dict under";

/// A file could not be read or written. Every variant names the file; the fields carry what was expected and found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done, as a verb: `open`, `write`.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Something else than a regular file lies at the path.
    #[error("{}: expected a file, found {found}", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
    },
    /// A link leads from the folder of a network to a file that is none of its own.
    #[error("{}: expected a file of the network's own folder, found a link to {}", path.display(), found.display())]
    Outside {
        /// The path in the folder.
        path: PathBuf,
        /// Where it leads.
        found: PathBuf,
    },
    /// A file was made shorter while it was read.
    #[error("{}: the file was shortened while it was read", path.display())]
    Shortened {
        /// The file, or the output that would have been made from it.
        path: PathBuf,
    },
    /// A file was written to while it was read.
    #[error("{}: the file was changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Something lies where a new folder is to be written.
    #[error("{}: expected no folder or an empty one, found {found}", path.display())]
    NotEmpty {
        /// The path.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
    },
    /// A file or folder is to be written twice at once.
    #[error("{}: expected a path of its own for every output, found two outputs with this one", path.display())]
    OutputTwice {
        /// The path.
        path: PathBuf,
    },
    /// Of several outputs one could not be put in place, and then an older file could not be brought back.
    #[error("{}: cannot bring the older file back from {}: {source}", path.display(), backup.display())]
    NotRestored {
        /// Where it lay.
        path: PathBuf,
        /// Where it lies.
        backup: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file holds no bytes.
    #[error("{}: the file is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The first bytes are those of no format that is read here.
    #[error("{}: expected {expected}, found {found}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The formats that would do.
        expected: String,
        /// How the file begins.
        found: String,
    },
    /// The file is sound and of a format that is not read here.
    #[error("{}: this is {found}, which is not read here", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: Foreign,
    },
    /// The extension of a file to be written stands for no format that is written here.
    #[error("{}: expected an extension that stands for a format, found {found:?}", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
        /// The extension.
        found: String,
        /// The one that may be meant.
        suggestion: Option<&'static str>,
    },
    /// The file ends, or an entry ends, before what it announces.
    #[error("{}: {entry}: expected {expected} bytes, found {found}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The tensor or part of the file.
        entry: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The file breaks the rules of its format.
    #[error("{}: {entry}: expected {expected}, found {found}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The tensor or part of the file.
        entry: String,
        /// What the format asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The file may be sound but holds something that has no counterpart here.
    #[error("{}: {entry}: {found} is not supported, expected {expected}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The tensor or part of the file.
        entry: String,
        /// What is supported.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The file asks for more memory than a file of its length can need.
    #[error("{}: {entry}: {found} bytes exceed the limit of {expected}", path.display())]
    LimitExceeded {
        /// The file.
        path: PathBuf,
        /// The tensor or part of the file.
        entry: String,
        /// The limit in bytes.
        expected: u64,
        /// Bytes asked for.
        found: u64,
    },
    /// Two tensors have one name.
    #[error("{}: expected one tensor named {name:?}, found several", path.display())]
    DuplicateName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A part that another part refers to is not there.
    #[error("{}: expected {entry}, found no such entry", path.display())]
    MissingEntry {
        /// The file.
        path: PathBuf,
        /// What is missing.
        entry: String,
    },
    /// A checkpoint was read, but no mapping of names to tensors is in it.
    #[error("{}: expected a mapping of names to tensors, found {found}", path.display())]
    NoStateDict {
        /// The file.
        path: PathBuf,
        /// What the file holds.
        found: String,
    },
    /// A checkpoint holds several mappings of names to tensors and none has a customary key.
    #[error("{}: expected one state dict, found {}: {}", path.display(), candidates.len(), candidates.join(", "))]
    AmbiguousStateDict {
        /// The file.
        path: PathBuf,
        /// The keys under which they were found.
        candidates: Vec<String>,
    },
    /// An ONNX model could not be read or written.
    #[error("{}: {source}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<OnnxError>,
    },
}

impl FormatError {
    /// The file that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotAFile { path, .. }
            | Self::NotEmpty { path, .. }
            | Self::OutputTwice { path }
            | Self::NotRestored { path, .. }
            | Self::Empty { path }
            | Self::UnknownFormat { path, .. }
            | Self::Foreign { path, .. }
            | Self::Extension { path, .. }
            | Self::Truncated { path, .. }
            | Self::Malformed { path, .. }
            | Self::Unsupported { path, .. }
            | Self::LimitExceeded { path, .. }
            | Self::Outside { path, .. }
            | Self::Shortened { path }
            | Self::Changed { path }
            | Self::DuplicateName { path, .. }
            | Self::MissingEntry { path, .. }
            | Self::NoStateDict { path, .. }
            | Self::AmbiguousStateDict { path, .. }
            | Self::Onnx { path, .. } => path,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { source, action, .. } => match source.kind() {
                io::ErrorKind::NotFound if matches!(*action, "open" | "list" | "read") => match hub_id(self.path()) {
                    Some(id) => format!(
                        "if it is a network on the Hugging Face hub, download it first: hf download {id} --local-dir \
                             {id}; else check the spelling of the path"
                    ),
                    None => "check the spelling of the path".into(),
                },
                io::ErrorKind::NotFound => "create the folder first".into(),
                io::ErrorKind::NotADirectory => "a part of the path is a file, not a folder".into(),
                io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder".into(),
                io::ErrorKind::InvalidData => {
                    "name a network of a wider element type as the anchor, or say `dtype` float32".into()
                }
                io::ErrorKind::StorageFull => "free space on the disk or write elsewhere".into(),
                _ => "check the disk and the file system".into(),
            },
            Self::Outside { .. } => "copy the file into the folder, in place of the link".into(),
            Self::Shortened { .. } | Self::Changed { .. } => {
                "let nothing change inputs while they are read, and start again".into()
            }
            Self::NotAFile { found: "a directory", .. } => "name a file inside it".into(),
            Self::NotAFile { .. } => "name an ordinary file".into(),
            Self::NotEmpty { .. } => "choose another name: what is there is not replaced".into(),
            Self::OutputTwice { .. } => "choose another name for one of them".into(),
            Self::NotRestored { .. } => "rename the older file to its former name".into(),
            Self::Empty { .. } => "the file was not written completely: copy or download it again".into(),
            Self::UnknownFormat { .. } => "a file is recognised by its content, not by its extension".into(),
            Self::Foreign { found, .. } => found.hint().into(),
            Self::Extension { suggestion, .. } => {
                let all = Format::EXTENSIONS.map(|(extension, _)| format!(".{extension}")).join(", ");
                match suggestion {
                    Some(suggestion) => format!("did you mean .{suggestion}? there are {all}"),
                    None => format!("there are {all}"),
                }
            }
            Self::Truncated { .. } => "the file was cut short: copy or download it again".into(),
            Self::MissingEntry { entry, .. } if entry.starts_with(UNDER) => "`weights_key` takes one of these".into(),
            Self::Malformed { .. } | Self::MissingEntry { .. } => {
                "the file is damaged or was written by a faulty program: copy, download or write it again".into()
            }
            Self::Unsupported { expected, .. } if expected.ends_with("element type") => {
                "convert such tensors before saving: {k: v.float() for k, v in model.state_dict().items()}".into()
            }
            Self::Unsupported { .. } => {
                "convert the file with the program that wrote it, for PyTorch with torch.save(model.state_dict(), path)"
                    .into()
            }
            Self::LimitExceeded { .. } => {
                "an honest file does not ask for this much: check where the file comes from".into()
            }
            Self::DuplicateName { .. } => "give every tensor a name of its own and write the file again".into(),
            Self::NoStateDict { .. } => "save a model with torch.save(model.state_dict(), path)".into(),
            Self::AmbiguousStateDict { candidates, .. } => match candidates.first() {
                Some(first) => format!("say which one, for example `weights_key` {first}"),
                None => "say which one".into(),
            },
            Self::Onnx { source, .. } => source.hint().into(),
        }
    }
}

/// A path that may be meant as the name of a network on the hub: `organisation/network`, of which there is no folder.
fn hub_id(path: &Path) -> Option<&str> {
    let id = path.to_str()?;
    let is_name = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !part.starts_with('.')
    };
    let (organisation, network) = id.split_once('/')?;
    let is_absent = !Path::new(organisation).exists() && Format::of_extension(path).is_none();
    (is_name(organisation) && is_name(network) && is_absent).then_some(id)
}

/// A file's content with the path that errors name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blame<'a>(pub(crate) &'a Path);

impl Blame<'_> {
    pub(crate) fn malformed(self, entry: impl Display, expected: impl Display, found: impl Display) -> FormatError {
        FormatError::Malformed {
            path: self.0.into(),
            entry: entry.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn unsupported(self, entry: impl Display, expected: impl Display, found: impl Display) -> FormatError {
        FormatError::Unsupported {
            path: self.0.into(),
            entry: entry.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn truncated(self, entry: impl Display, expected: u64, found: u64) -> FormatError {
        FormatError::Truncated { path: self.0.into(), entry: entry.to_string(), expected, found }
    }

    pub(crate) fn limit(self, entry: impl Display, expected: u64, found: u64) -> FormatError {
        FormatError::LimitExceeded { path: self.0.into(), entry: entry.to_string(), expected, found }
    }

    pub(crate) fn missing(self, entry: impl Display) -> FormatError {
        FormatError::MissingEntry { path: self.0.into(), entry: entry.to_string() }
    }

    pub(crate) fn duplicate(self, name: impl Display) -> FormatError {
        FormatError::DuplicateName { path: self.0.into(), name: name.to_string() }
    }
}
