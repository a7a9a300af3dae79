//! The formats of networks.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::{pytorch, safetensors};

/// A format of files that networks are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A graph with its weights.
    Onnx,
    /// Named tensors, or the index of several such files.
    Safetensors,
    /// What `torch.save` writes.
    PyTorch,
    /// A folder with `config.json` and weights.
    HuggingFace,
}

impl Format {
    /// The format that a file's extension stands for, if it is a usual one.
    pub fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "onnx" => Self::Onnx,
            "safetensors" => Self::Safetensors,
            "pt" | "pth" | "th" | "ckpt" | "checkpoint" | "bin" => Self::PyTorch,
            _ => return None,
        })
    }

    /// The format that a file's first bytes are those of. ONNX has no such mark: it is what remains.
    pub(crate) fn of_content(bytes: &Bytes) -> Self {
        // The length of a safetensors header may begin like a pickle, but not the other way round.
        if safetensors::looks_like_safetensors(bytes) {
            Self::Safetensors
        } else if pytorch::looks_like_pytorch(bytes) {
            Self::PyTorch
        } else if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            Self::Safetensors
        } else {
            Self::Onnx
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::Safetensors => "safetensors",
            Self::PyTorch => "PyTorch",
            Self::HuggingFace => "Hugging Face folder",
        })
    }
}
