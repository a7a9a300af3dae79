//! Which files a network comes from, and which it is written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use otfuse_graph::Graph;

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
                    Architecture::Catalogue(_) | Architecture::Exported(_) => {}
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

    /// What the file holds beside the weights, by the names of its entries, and whether [`save`](Self::save) of `graph` to
    /// `path` keeps it; `None` if there is nothing.
    pub fn beside(&self, graph: &Graph, path: &Path) -> Option<(bool, Vec<&str>)> {
        let Source::StateDict(source) = &self.source else { return None };
        let shape = |graph: &Graph, name: &str| {
            graph.find_value(name).and_then(|id| graph.initializer(id)).map(|tensor| tensor.shape().to_vec())
        };
        let names = self.graph.initializers().map(|(id, _)| self.graph.value(id).name.as_str());
        let is_as_wide = names.into_iter().all(|name| shape(&self.graph, name) == shape(graph, name));
        let is_kept = is_as_wide
            && self.format_at(path).ok()? == Format::PyTorch
            && source.dict.origin().is_some_and(|origin| origin.is_kept(&source.dict, path));
        let names: Vec<&str> = source.dict.provenance().ignored.iter().map(|ignored| ignored.path.as_str()).collect();
        (!names.is_empty()).then_some((is_kept, names))
    }

    /// State dicts of the file that were not read, by the keys that read them.
    pub fn other_state_dicts(&self) -> Vec<&str> {
        let Source::StateDict(source) = &self.source else { return Vec::new() };
        let ignored = source.dict.provenance().ignored.iter();
        ignored.filter(|ignored| ignored.is_state_dict()).map(|ignored| ignored.path.as_str()).collect()
    }

    /// Every path that [`save`](Self::save) to `path` may create: the file, the one beside it that takes the tensors of
    /// an ONNX model beyond 2 GiB, or the folder.
    pub fn outputs_at(&self, path: &Path) -> Vec<PathBuf> {
        match self.format_at(path) {
            Ok(Format::Onnx) => vec![path.into(), data_path(path)],
            _ => vec![path.into()],
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
