//! The one error of the library.

use std::fmt;
use std::path::{Path, PathBuf};

use otfuse_formats::FormatError;
use otfuse_formats::model::ModelError;
use otfuse_fusion::{FusionError, PruneError};
use otfuse_runtime::dataset::DatasetError;
use otfuse_runtime::{DeviceError, RuntimeError};

/// The result of all that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Bad usage or input: a file, an option, samples that do not fit.
    Input,
    /// A check that failed, or a run that could not be finished for no fault of the input.
    Run,
    /// More was needed than the [`Context`](crate::Context) allows.
    Budget,
    /// The work was cancelled through its [`Context`](crate::Context).
    Cancelled,
}

/// Why something has no result. Options stand in message and hint by their names in backticks: `` `width_budget` ``.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What went wrong: names the file, the tensor or node, what was expected and found.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
    /// The file to blame.
    pub file: Option<PathBuf>,
    /// The node of the network to blame.
    pub node: Option<String>,
    /// The tensor to blame.
    pub tensor: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    fn of_kind(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), hint: None, file: None, node: None, tensor: None }
    }

    /// Bad usage or input.
    pub fn input(message: impl fmt::Display) -> Self {
        Self::of_kind(ErrorKind::Input, message)
    }

    /// A check that failed, or a run that could not be finished for no fault of the input.
    pub fn run(message: impl fmt::Display) -> Self {
        Self::of_kind(ErrorKind::Run, message)
    }

    /// More than the context allows.
    pub(crate) fn budget(message: impl fmt::Display) -> Self {
        Self::of_kind(ErrorKind::Budget, message)
    }

    pub(crate) fn cancelled() -> Self {
        Self::of_kind(ErrorKind::Cancelled, "cancelled")
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// With the file that is to blame, in front of the message too.
    #[must_use]
    pub fn of(mut self, path: &Path) -> Self {
        if self.kind != ErrorKind::Cancelled {
            self.message = format!("{}: {}", path.display(), self.message);
            self.file = Some(path.into());
        }
        self
    }

    /// With where in a file or list it is, in front of the message.
    #[cfg(feature = "experiment")]
    #[must_use]
    pub(crate) fn within(mut self, place: &str) -> Self {
        if self.kind != ErrorKind::Cancelled {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        let file = match &error {
            ModelError::Format(error) => Some(error.path().to_owned()),
            ModelError::Catalogue { path, .. }
            | ModelError::HuggingFace { path, .. }
            | ModelError::NoArchitecture { path, .. }
            | ModelError::OtherNetwork { path, .. } => Some(path.clone()),
            _ => None,
        };
        Self { file, ..Self::input(&error).hint(error.hint()) }
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        Self { file: Some(error.path().to_owned()), ..Self::input(&error).hint(error.hint()) }
    }
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        Self::input(&error).hint(error.hint())
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        Self::input(&error).hint(error.hint())
    }
}

impl From<PruneError> for Error {
    fn from(error: PruneError) -> Self {
        Self::input(&error).hint(match error {
            PruneError::Amount { .. } => "`amount` 0.5 takes out one half of the neurons",
            PruneError::NotFinite { .. } => "the checkpoint may come from a training run that diverged",
            _ => "choose other groups with `groups` or `exclude`; `otfuse inspect` lists them",
        })
    }
}

impl From<RuntimeError> for Error {
    fn from(error: RuntimeError) -> Self {
        let node = match &error {
            RuntimeError::Cancelled => return Self::cancelled(),
            RuntimeError::Unsupported { node, .. }
            | RuntimeError::Operand { node, .. }
            | RuntimeError::Backend { node, .. }
            | RuntimeError::Budget { node, .. } => Some(node.clone()),
            _ => None,
        };
        let kind = if matches!(error, RuntimeError::Budget { .. }) { ErrorKind::Budget } else { ErrorKind::Input };
        let found = Self::of_kind(kind, &error).hint(match &error {
            RuntimeError::Unsupported { .. } => {
                "export the network with standard operators; `otfuse inspect` lists what it uses"
            }
            RuntimeError::Operand { .. } | RuntimeError::Backend { .. } | RuntimeError::Constant { .. } => {
                "the network may be damaged, or not made for inputs of this shape: export it again"
            }
            RuntimeError::NoArray { .. } => {
                "call each array as the input that it is for: numpy.savez(FILE, NAME=array, ..); `otfuse inspect` lists the inputs"
            }
            RuntimeError::NoTargets { .. } => "add an array y of classes (integers from 0 on) or of numbers (floats)",
            RuntimeError::Budget { resource: "bytes", .. } => {
                "if the network is worth it: `memory` gives it more bytes, `shape` lets it be run on smaller inputs"
            }
            RuntimeError::Budget { .. } => {
                "if the network is worth it: `max_steps` says how many nodes may be executed, and lifts the limit of operations"
            }
            _ => "`otfuse inspect` shows the network's inputs and outputs",
        });
        Self { node, ..found }
    }
}

/// What to do about networks that do not fit together; the models are named by their files.
pub(crate) fn fusion_error(error: &FusionError, paths: &[PathBuf], anchor: usize) -> Error {
    let hint = match error {
        FusionError::Cancelled => return Error::cancelled(),
        FusionError::Architecture { .. } => {
            "only networks of one architecture (with possibly other widths) can be fused; compare them with `otfuse inspect`"
        }
        FusionError::PinnedSize { tensor, axis: 0, .. } if is_table(tensor) => {
            "vocabularies and tables of positions must have as many rows: `vocabulary` anchor or intersect matches the rows of \
             Hugging Face folders by token; positions are cut or grown before, in the model's own library"
        }
        FusionError::PinnedSize { .. } => "widths may differ only where neurons are free to move; see `otfuse inspect`",
        FusionError::ResultNotFinite { .. } => {
            "`dtype` float32 writes the result in a wider type; without, it has the anchor's"
        }
        FusionError::NotFinite { .. } => {
            "the checkpoint may come from a training run that diverged; `allow_nonfinite` takes such weights all the same"
        }
        FusionError::Transport { source: otfuse_transport::TransportError::NotFinite { .. }, .. } => {
            "neurons with such weights or activations cannot be matched; `method` average matches nothing"
        }
        FusionError::Weights { .. } => "give one number per model: `weights` 0.5,0.5",
        FusionError::Anchor { .. } => "models are counted from 0",
        FusionError::WidthBudget { .. } => "for example `width_budget` 1.2; without it everything is averaged",
        FusionError::Shape { .. } => "use `method` ot for models of unequal widths",
        _ => "see `otfuse fuse --help`",
    };
    let tensor = match error {
        FusionError::PinnedSize { tensor, .. }
        | FusionError::NotFinite { tensor, .. }
        | FusionError::ResultNotFinite { tensor, .. }
        | FusionError::Shape { tensor, .. } => Some(tensor.clone()),
        _ => None,
    };
    let model = match error {
        FusionError::Architecture { model, .. }
        | FusionError::PinnedSize { model, .. }
        | FusionError::Shape { model, .. }
        | FusionError::NotFinite { model, .. }
        | FusionError::Activations { model, .. }
        | FusionError::Analysis { model, .. }
        | FusionError::Transport { model, .. } => Some(*model),
        _ => None,
    };
    let file = model.and_then(|model| paths.get(model)).cloned();
    Error { tensor, file, ..Error::input(with_paths(&error.to_string(), paths, anchor)).hint(hint) }
}

/// Whether a tensor's name is that of a table of tokens or positions, or of scores over tokens.
fn is_table(tensor: &str) -> bool {
    ["embed", "wte.", "wpe.", "shared.", "lm_head"].iter().any(|part| tensor.contains(part))
}

/// The text with the path of each model behind its number, and of the anchor where it has none.
fn with_paths(text: &str, paths: &[PathBuf], anchor: usize) -> String {
    const MODEL: &str = "model ";
    let shown = |model: usize| paths.get(model).map_or_else(String::new, |path| format!(" ({})", path.display()));
    let text = text.replace("in the anchor", &format!("in the anchor, model {anchor}"));
    let (mut named, mut rest) = (String::new(), text.as_str());
    while let Some(at) = rest.find(MODEL) {
        let (before, behind) = rest.split_at(at + MODEL.len());
        let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = behind.split_at(digits);
        named.push_str(before);
        named.push_str(number);
        named.push_str(&number.parse().map_or_else(|_| String::new(), shown));
        rest = behind;
    }
    named + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_by_their_files() {
        let paths: Vec<PathBuf> = (0..12).map(|model| format!("model {model}.pt").into()).collect();
        let text = with_paths("the size of model 11 is not that in the anchor", &paths, 1);
        assert_eq!(text, "the size of model 11 (model 11.pt) is not that in the anchor, model 1 (model 1.pt)");
        assert_eq!(with_paths("a model without a number", &paths, 0), "a model without a number");
    }

    #[test]
    fn a_file_stands_in_front_and_in_its_field() {
        let error = Error::input("damaged").of(Path::new("a.onnx"));
        assert_eq!((error.to_string().as_str(), error.file.as_deref()), ("a.onnx: damaged", Some(Path::new("a.onnx"))));
    }
}
