//! Which files a network comes from, and which it is written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Architecture, Format, Model, Source};
use crate::FormatError;
use crate::hf::{HfFiles, settings_file};
use crate::onnx::data_path;

impl Model {
    /// Every file that this network was read from or that is copied when it is written: the file, those that hold its
    /// tensors or that its index names, all of a folder of Hugging Face, and those of the architecture. Paths are as
    /// they were opened, in their order, each once and only if it is there.
    ///
    /// # Errors
    /// [`FormatError::Io`] if a folder of Hugging Face can no longer be listed.
    pub fn files(&self) -> Result<Vec<PathBuf>, FormatError> {
        let mut files = Vec::new();
        match &self.source {
            Source::Onnx(template) => {
                files.push(self.path.clone());
                files.extend_from_slice(template.external_files());
            }
            Source::StateDict(source) => {
                files.push(self.path.clone());
                files.extend_from_slice(&source.dict.provenance().files);
                match &source.architecture {
                    Architecture::Catalogue(_) => {}
                    Architecture::File(file) => files.push(file.clone()),
                    Architecture::Settings(settings) => files.push(settings_file(settings)),
                }
                files.extend(source.template.iter().flat_map(|template| template.external_files()).cloned());
            }
            Source::HuggingFace(source) => {
                if let HfFiles::Folder(folder) = &source.files {
                    files.extend(files_in(folder)?);
                    files.extend(source.weights.files().into_iter().map(|name| folder.join(name)));
                }
            }
        }
        files.retain(|file| file.is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Every path that [`save`](Self::save) to `path` may create: the file, the one beside it that takes the tensors of
    /// an ONNX model beyond 2 GiB, or the folder.
    pub fn outputs_at(&self, path: &Path) -> Vec<PathBuf> {
        match self.format_at(path) {
            Format::Onnx => vec![path.into(), data_path(path)],
            Format::Safetensors | Format::PyTorch | Format::HuggingFace => vec![path.into()],
        }
    }
}

/// The files of a folder, without those of folders in it, which are not copied.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = list().map_err(|source| FormatError::Io { path: folder.into(), action: "list", source })?;
    paths.retain(|path| path.is_file());
    Ok(paths)
}
