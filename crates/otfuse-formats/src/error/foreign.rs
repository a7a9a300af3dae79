//! Files that are sound and of a format that is not read here.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::archive::{Archive, ZIP_MAGIC};

/// A format that is known by its content and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// What stands for a large file in a Git repository.
    GitLfs,
    /// A program of `torch.export`.
    TorchExport,
    /// A model of llama.cpp.
    Gguf,
    /// Weights in HDF5, as Keras writes them.
    Hdf5,
    /// An archive of Keras 3.
    Keras,
    /// A model of TensorFlow Lite.
    TensorFlowLite,
    /// A program of ExecuTorch.
    ExecuTorch,
    /// A web page, where a file was to be downloaded.
    Html,
    /// A file that is packed.
    Gzip,
    /// An archive that no program known here wrote.
    Zip,
}

/// How a pointer of Git LFS begins.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether these are the bytes of a pointer of Git LFS.
pub(crate) fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(LFS)
}

impl Foreign {
    /// The format that the bytes are of, if it is one of these.
    pub(crate) fn of_content(bytes: &Bytes) -> Option<Self> {
        let start = bytes.trim_ascii_start();
        let is_page = |mark: &[u8]| start.get(..mark.len()).is_some_and(|head| head.eq_ignore_ascii_case(mark));
        Some(match &bytes[..] {
            [..] if is_lfs_pointer(bytes) => Self::GitLfs,
            [b'G', b'G', b'U', b'F', ..] => Self::Gguf,
            [0x89, b'H', b'D', b'F', b'\r', b'\n', 0x1a, b'\n', ..] => Self::Hdf5,
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Self::TensorFlowLite,
            [_, _, _, _, b'E', b'T', b'1', b'0'..=b'9', ..] => Self::ExecuTorch,
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [..] if is_page(b"<!doctype html") || is_page(b"<html") => Self::Html,
            [..] if bytes.starts_with(ZIP_MAGIC) => return Self::of_archive(bytes),
            _ => return None,
        })
    }

    /// Zip archives are many things. One that is damaged is left to its reader, which says so.
    fn of_archive(bytes: &Bytes) -> Option<Self> {
        let names = Archive::open(Path::new(""), bytes.clone()).and_then(|archive| archive.names()).ok()?;
        let has = |wanted: &dyn Fn(&str) -> bool| names.iter().any(|name| wanted(name));
        if has(&|name| name == "data.pkl" || name.ends_with("/data.pkl")) || is_npz(&names) {
            return None;
        }
        let is_export = |name: &str| {
            name == "serialized_exported_program.json"
                || name.ends_with("/archive_format")
                || name.ends_with("/models/model.json")
        };
        let is_keras = |name: &str| name == "model.weights.h5" || name == "metadata.json";
        Some(if has(&is_export) {
            Self::TorchExport
        } else if has(&is_keras) && has(&|name| name == "config.json") {
            Self::Keras
        } else {
            Self::Zip
        })
    }

    /// What the user can do.
    pub fn hint(self) -> &'static str {
        match self {
            Self::GitLfs => {
                "the file itself was not downloaded: run `git lfs install` and `git lfs pull` in the repository, or \
                 download the file from its web page"
            }
            Self::TorchExport => {
                "its weights are read from a state dict: torch.save(dict(torch.export.load(\"FILE.pt2\").state_dict), \
                 \"weights.pt\"), and its network from ONNX: torch.onnx.export(torch.export.load(\"FILE.pt2\"), \
                 f=\"net.onnx\"); then `arch` net.onnx"
            }
            Self::Gguf => {
                "its weights are quantised for inference: fuse the Hugging Face folder that it was converted from, and \
                 convert the result with llama.cpp's convert_hf_to_gguf.py"
            }
            Self::Hdf5 | Self::Keras => {
                "export the network to ONNX: keras.saving.load_model(\"FILE\").export(\"net.onnx\", format=\"onnx\"), \
                 or python -m tf2onnx.convert --keras FILE --output net.onnx for older versions"
            }
            Self::TensorFlowLite => "convert it to ONNX: python -m tf2onnx.convert --tflite FILE --output net.onnx",
            Self::ExecuTorch => "use the PyTorch module that it was lowered from: export it with torch.onnx.export",
            Self::Html => "the download gave a page, perhaps one that asks to log in: download the file itself",
            Self::Gzip => "unpack it first: gunzip FILE.gz or tar -xzf FILE",
            Self::Zip => "unpack it and name the network in it",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitLfs => "a pointer of Git LFS in place of the file",
            Self::TorchExport => "a program of torch.export (.pt2)",
            Self::Gguf => "a GGUF file of llama.cpp",
            Self::Hdf5 => "an HDF5 file, as Keras writes it (.h5)",
            Self::Keras => "a Keras archive (.keras)",
            Self::TensorFlowLite => "a TensorFlow Lite model (.tflite)",
            Self::ExecuTorch => "a program of ExecuTorch (.pte)",
            Self::Html => "a web page",
            Self::Gzip => "a file packed by gzip",
            Self::Zip => "a zip archive without a network known here",
        })
    }
}

/// Whether all entries of an archive are arrays of NumPy.
pub(crate) fn is_npz(names: &[String]) -> bool {
    !names.is_empty() && names.iter().all(|name| name.ends_with(".npy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"[..], Some(Foreign::GitLfs)),
            (b"GGUF\x03\0\0\0", Some(Foreign::Gguf)),
            (b"\x89HDF\r\n\x1a\n\0", Some(Foreign::Hdf5)),
            (b"\x1c\0\0\0TFL3", Some(Foreign::TensorFlowLite)),
            (b"\n <!DOCTYPE HTML><html>", Some(Foreign::Html)),
            (b"\x1f\x8b\x08\0", Some(Foreign::Gzip)),
            (b"PK\x03\x04 and no directory", None),
            (b"\x80\x02}q\0.", None),
            (b"\x08\x07", None),
        ] {
            assert_eq!(Foreign::of_content(&Bytes::from_static(bytes)), expected, "{}", bytes.escape_ascii());
        }
    }
}
