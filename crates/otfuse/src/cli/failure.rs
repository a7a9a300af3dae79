//! Why a command ended without a result.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::VerifyError;
use otfuse_fusion::FusionError;
use otfuse_runtime::RuntimeError;

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
pub fn fusion_failure(error: &FusionError, paths: &[PathBuf], anchor: usize) -> Failure {
    let hint = match error {
        FusionError::Architecture { .. } => {
            "only networks of one architecture (with possibly other widths) can be fused; compare them with `otfuse inspect`"
        }
        FusionError::PinnedSize { .. } => "widths may differ only where neurons are free to move; see `otfuse inspect`",
        FusionError::NotFinite { .. } => "the checkpoint may come from a training run that diverged",
        FusionError::Weights { .. } => "give one number per model: --weights 0.5,0.5",
        FusionError::Anchor { .. } => "models are counted from 0",
        FusionError::WidthBudget { .. } => "for example --width-budget 1.2; without it everything is averaged",
        FusionError::Shape { .. } => "use --method ot for models of unequal widths",
        _ => "see `otfuse fuse --help`",
    };
    Failure::input(with_paths(&error.to_string(), paths, anchor)).hint(hint)
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

/// What to do about a network that cannot be executed.
pub fn runtime_failure(error: &RuntimeError) -> Failure {
    Failure::input(error).hint(match error {
        RuntimeError::Unsupported { .. } => {
            "export the network with standard operators; `otfuse inspect` lists what it uses"
        }
        RuntimeError::Operand { .. } | RuntimeError::Backend { .. } | RuntimeError::Constant { .. } => {
            "the network may be damaged, or not made for inputs of this shape: export it again"
        }
        _ => "`otfuse inspect` shows the network's inputs and outputs",
    })
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        let failure = Self::input(&error);
        match error {
            VerifyError::Runtime(RuntimeError::Unsupported { .. }) => {
                failure.hint("the network cannot be run here, so that its neuron groups cannot be proved")
            }
            VerifyError::Runtime(error) => runtime_failure(&error),
            VerifyError::Inference(_) => {
                failure.hint("the shapes in the network contradict each other: export it again")
            }
            VerifyError::NotFinite { .. } => {
                failure.hint("the weights may be damaged, or of a training run that diverged")
            }
        }
    }
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
}
