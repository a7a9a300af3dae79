//! Named tensors in a file or a folder, whatever network they are of.

use std::io;
use std::path::{Path, PathBuf};

use otfuse_graph::Tensor;

use crate::contents::Contents;
use crate::file::{Outputs, describe_start, open_mapped};
use crate::hf::{HfFiles, HfWeights, open_weights, write_folder};
use crate::npz::write_npz_of;
use crate::pytorch::write_pytorch_of;
use crate::safetensors::write_safetensors_of;
use crate::{Format, FormatError, ModelError, StateDict, read_state_dict};

/// Named tensors in a file or a folder of Hugging Face. No graph is read or drawn, so that the family does not matter.
#[derive(Clone, Debug)]
pub struct TensorFile {
    /// The tensors.
    pub dict: StateDict,
    /// The file or folder.
    pub path: PathBuf,
    format: Format,
    /// Where the files of the weights are, in a folder.
    weights: Option<HfWeights>,
}

/// Makes the tensors of some names, in the order asked for, in the types and shapes that the file has.
pub type Named<'a> = dyn Fn(&[&str]) -> io::Result<Vec<Tensor>> + 'a;

impl TensorFile {
    /// Reads a file of tensors (safetensors or the index of several, PyTorch, npz) or a folder with such; of several state
    /// dicts in a PyTorch file the one under `key`. Tensors of safetensors files are slices of memory maps.
    ///
    /// # Errors
    /// [`ModelError::Format`] for what is wrong with the file, an ONNX file among it; [`ModelError::HuggingFace`] for a
    /// folder without weights, or of an adapter.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self, ModelError> {
        if path.is_dir() {
            let failure = |source| ModelError::HuggingFace { path: path.into(), source: Box::new(source) };
            let (weights, dict) = open_weights(path).map_err(failure)?;
            return Ok(Self { dict, path: path.into(), format: Format::HuggingFace, weights: Some(weights) });
        }
        let bytes = open_mapped(path)?;
        let format = Format::of_content(path, &bytes)?;
        if format == Format::Onnx {
            let expected = "named tensors: safetensors, a PyTorch file, npz or a Hugging Face folder".into();
            return Err(
                FormatError::UnknownFormat { path: path.into(), expected, found: describe_start(&bytes) }.into()
            );
        }
        Ok(Self { dict: read_state_dict(path, key)?, path: path.into(), format, weights: None })
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.weights.is_some()
    }

    /// Whether the tensors are written into a folder at this path: they come from one, and the path has no extension of a
    /// file format.
    pub fn writes_folder(&self, path: &Path) -> bool {
        self.is_folder() && Format::of_extension(path).is_none()
    }

    /// The format that the tensors are written in at a path.
    ///
    /// # Errors
    /// [`FormatError::Extension`] if the extension stands for nothing that tensors are written in.
    pub fn format_at(&self, path: &Path) -> Result<Format, FormatError> {
        match Format::of_output(path, self.format, &self.path)? {
            Format::Onnx => Err(FormatError::Extension {
                path: path.into(),
                found: ".onnx".into(),
                suggestion: Some("safetensors"),
            }),
            format => Ok(format),
        }
    }

    /// Stages the tensors, made by `make` when their turn comes, under the names and in the order, types and files of these;
    /// of a folder all that holds no weights is copied.
    ///
    /// # Errors
    /// [`FormatError::Io`] with what `make` fails with, or where it gives other types or shapes; as [`format_at`](Self::format_at).
    pub fn save_streamed_to(&self, outputs: &Outputs, make: &Named<'_>, path: &Path) -> Result<(), FormatError> {
        let contents = Made { dict: &self.dict, make };
        match (self.format_at(path)?, &self.weights) {
            (Format::HuggingFace, Some(weights)) => {
                write_folder(outputs, &HfFiles::Folder(self.path.clone()), weights, &contents, path)
            }
            (Format::PyTorch, _) => write_pytorch_of(outputs, path, &contents),
            (Format::Npz, _) => write_npz_of(outputs, path, &contents),
            _ => write_safetensors_of(outputs, path, &contents),
        }
    }
}

/// Tensors that are made when their turn comes.
struct Made<'a> {
    dict: &'a StateDict,
    make: &'a Named<'a>,
}

impl Contents for Made<'_> {
    fn dict(&self) -> &StateDict {
        self.dict
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        (self.make)(names)
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        self.dict.identity(name)
    }
}
