//! The formats of networks.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::error::Foreign;
use crate::{FormatError, npz, pytorch, safetensors};

/// A format of files that networks are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A graph with its weights.
    Onnx,
    /// Named tensors, or the index of several such files.
    Safetensors,
    /// What `torch.save` writes.
    PyTorch,
    /// Named arrays of NumPy.
    Npz,
    /// A folder with `config.json` and weights.
    HuggingFace,
}

impl Format {
    /// The extensions of files that networks are written to, and what they stand for.
    pub const EXTENSIONS: [(&'static str, Self); 9] = [
        ("onnx", Self::Onnx),
        ("safetensors", Self::Safetensors),
        ("pt", Self::PyTorch),
        ("pth", Self::PyTorch),
        ("ckpt", Self::PyTorch),
        ("bin", Self::PyTorch),
        ("npz", Self::Npz),
        ("th", Self::PyTorch),
        ("checkpoint", Self::PyTorch),
    ];

    /// The format that a file's extension stands for, if it is a usual one.
    pub fn of_extension(path: &Path) -> Option<Self> {
        let lower = |part: Option<&std::ffi::OsStr>| Some(part?.to_str()?.to_ascii_lowercase());
        let mut extension = lower(path.extension())?;
        // Training programs of older PyTorch call their checkpoints so, which are no archives of tar.
        if extension == "tar" {
            extension = lower(Path::new(path.file_stem()?).extension()).filter(|inner| inner.starts_with("pt"))?;
        }
        Self::EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, format)| *format)
    }

    /// The format that a file to be written has, `own` being that of the network's file and `like` its path: what the
    /// extension stands for, or `own` where there is none or the network's own file has it.
    ///
    /// # Errors
    /// [`FormatError::Extension`].
    pub(crate) fn of_output(path: &Path, own: Self, like: &Path) -> Result<Self, FormatError> {
        if let Some(format) = Self::of_extension(path) {
            return Ok(format);
        }
        let extension = |path: &Path| path.extension().map(|part| part.to_string_lossy().to_ascii_lowercase());
        let Some(found) = extension(path) else { return Ok(own) };
        let nearest = Self::EXTENSIONS.iter().map(|(known, _)| (strsim::osa_distance(known, &found), *known)).min();
        let suggestion = nearest.filter(|(distance, known)| distance * 3 <= known.len()).map(|(_, known)| known);
        let is_taken = OTHERS.contains(&found.as_str()) || suggestion.is_some();
        // Names of folders often have a dot that begins no extension.
        let is_name = own == Self::HuggingFace || extension(like).as_ref() == Some(&found);
        if is_name && !is_taken {
            return Ok(own);
        }
        Err(FormatError::Extension { path: path.into(), found: format!(".{found}"), suggestion })
    }

    /// The format that a file's first bytes are those of. ONNX has no such mark: it is what remains.
    ///
    /// # Errors
    /// [`FormatError::Foreign`] for what is known and not read.
    pub(crate) fn of_content(path: &Path, bytes: &Bytes) -> Result<Self, FormatError> {
        if let Some(found) = Foreign::of_content(bytes) {
            return Err(FormatError::Foreign { path: path.into(), found });
        }
        // The length of a safetensors header may begin like a pickle, but not the other way round.
        Ok(if safetensors::looks_like_safetensors(bytes) {
            Self::Safetensors
        } else if npz::looks_like_npz(bytes) {
            Self::Npz
        } else if pytorch::looks_like_pytorch(bytes) {
            Self::PyTorch
        } else if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
            Self::Safetensors
        } else {
            Self::Onnx
        })
    }
}

/// Extensions of formats that are not written here.
const OTHERS: [&str; 14] = [
    "h5", "hdf5", "keras", "gguf", "ggml", "pt2", "pte", "tflite", "pb", "msgpack", "npy", "mlmodel", "engine", "json",
];

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onnx => "ONNX",
            Self::Safetensors => "safetensors",
            Self::PyTorch => "PyTorch",
            Self::Npz => "npz",
            Self::HuggingFace => "Hugging Face folder",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_that_stands_for_nothing_is_refused() {
        let of = |name: &str, own| Format::of_output(Path::new(name), own, Path::new("in/best.pth.tar"));
        for (name, expected) in [
            ("a.onnx", Format::Onnx),
            ("a.PTH", Format::PyTorch),
            ("a.pth.tar", Format::PyTorch),
            ("a", Format::Safetensors),
            ("a.npz", Format::Npz),
            ("a.tar", Format::Safetensors),
        ] {
            assert_eq!(of(name, Format::Safetensors).unwrap(), expected, "{name}");
        }
        for (name, meant) in [
            ("a.safetensor", Some("safetensors")),
            ("a.onx", Some("onnx")),
            ("a.h5", None),
            ("a.gguf", None),
            ("a.v2", None),
        ] {
            let Err(FormatError::Extension { suggestion, .. }) = of(name, Format::PyTorch) else { panic!("{name}") };
            assert_eq!(suggestion, meant, "{name}");
        }
        assert_eq!(of("llama-3.1-8b", Format::HuggingFace).unwrap(), Format::HuggingFace);
        assert!(of("llama.gguf", Format::HuggingFace).is_err() && of("a.safetensor", Format::HuggingFace).is_err());
    }
}
