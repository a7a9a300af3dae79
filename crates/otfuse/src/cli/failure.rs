//! Why a command ended without a result.

use std::fmt::Display;
use std::path::Path;

use crate::VerifyError;
use otfuse_fusion::FusionError;

/// What the user is told, and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong: names the file, the tensor or node, what was expected and found.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// 1 for a failed check or run, 2 for bad usage or input.
    pub code: u8,
}

impl Failure {
    /// Bad usage or input.
    pub fn input(message: impl Display) -> Self {
        Self { message: message.to_string(), hint: None, code: 2 }
    }

    /// A check that failed, or a run that could not be finished for no fault of the input.
    pub fn run(message: impl Display) -> Self {
        Self { message: message.to_string(), hint: None, code: 1 }
    }

    /// With advice.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// With the file that is to blame in front.
    pub fn of(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }
}

/// What to do about networks that do not fit together; the models are named by their files.
pub fn fusion_failure(error: &FusionError, paths: &[std::path::PathBuf]) -> Failure {
    let hint = match error {
        FusionError::Architecture { .. } => {
            "only networks of one architecture (with possibly other widths) can be fused; compare them with `otfuse inspect`"
        }
        FusionError::PinnedSize { .. } => "widths may differ only where neurons are free to move; see `otfuse inspect`",
        FusionError::NotFinite { .. } => "the checkpoint may come from a training run that diverged",
        FusionError::Weights { .. } => "give one number per model: --weights 0.5,0.5",
        FusionError::Anchor { .. } => "models are counted from 0",
        FusionError::Shape { .. } => "use --method ot for models of unequal widths",
        _ => "see `otfuse fuse --help`",
    };
    let mut message = error.to_string();
    for (model, path) in paths.iter().enumerate().rev() {
        message = message.replace(&format!("model {model}"), &format!("model {model} ({})", path.display()));
    }
    Failure::input(message).hint(hint)
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        let failure = Self::input(&error);
        match error {
            VerifyError::Runtime(otfuse_runtime::RuntimeError::Unsupported { .. }) => {
                failure.hint("the network cannot be run here, so that its neuron groups cannot be proved")
            }
            _ => failure,
        }
    }
}
