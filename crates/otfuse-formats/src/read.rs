//! Named tensors from a file of any format that holds them.

use std::path::Path;

use crate::file::{describe_start, open_mapped};
use crate::format::Format;
use crate::{FormatError, StateDict, npz, pytorch, safetensors};

/// Reads a state dict from a PyTorch file, a safetensors file, an npz file or the index of a sharded safetensors model; the
/// content decides which it is. `key` chooses among several state dicts in a PyTorch file.
///
/// # Errors
/// Any [`FormatError`]; [`FormatError::UnknownFormat`] if the file is of neither format.
pub fn read_state_dict(path: &Path, key: Option<&str>) -> Result<StateDict, FormatError> {
    let bytes = open_mapped(path)?;
    match Format::of_content(path, &bytes)? {
        Format::Safetensors if safetensors::looks_like_safetensors(&bytes) => {
            safetensors::read_safetensors_bytes(path, &bytes)
        }
        Format::Safetensors => safetensors::read_sharded_safetensors(path),
        Format::PyTorch => pytorch::read_pytorch_bytes(path, &bytes, key),
        Format::Npz => npz::read_npz_dict(path),
        Format::Onnx | Format::HuggingFace => {
            let expected =
                "a PyTorch file (zip archive, pickle or tar archive), safetensors, npz or a safetensors index".into();
            Err(FormatError::UnknownFormat { path: path.into(), expected, found: describe_start(&bytes) })
        }
    }
}
