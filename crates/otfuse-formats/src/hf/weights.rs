//! The weights of a folder, and writing a folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{HfError, HfFiles};
use crate::contents::{Contents, Part};
use crate::file::{Outputs, check_inside, open_mapped, read_regular};
use crate::pytorch::write_pytorch_of;
use crate::safetensors::{read_safetensors, read_sharded_safetensors, write_safetensors_of};
use crate::{FormatError, StateDict, read_state_dict};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";

/// Extensions of files that hold weights: these are not copied beside new ones.
const WEIGHT_EXTENSIONS: [&str; 11] =
    ["safetensors", "bin", "pt", "pth", "h5", "msgpack", "ot", "onnx", "gguf", "tflite", "ckpt"];

/// The files that a folder's weights lie in.
#[derive(Clone, Debug)]
pub enum HfWeights {
    /// `model.safetensors`.
    Single,
    /// `model.safetensors.index.json` and the files that it names.
    Sharded(HfIndex),
    /// `pytorch_model.bin`.
    Pickle,
}

/// The index of a model in several files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HfIndex {
    #[serde(default)]
    metadata: Map<String, Value>,
    weight_map: IndexMap<String, String>,
}

impl HfIndex {
    /// Puts a new tensor into the file that another one is in.
    pub(super) fn add(&mut self, name: &str, beside: &str) {
        if let Some(file) = self.weight_map.get(beside).cloned() {
            self.weight_map.insert(name.into(), file);
        }
    }
}

impl HfWeights {
    /// Finds and reads the weights of a folder.
    pub(super) fn open(folder: &Path) -> Result<(Self, StateDict), HfError> {
        let path = |name: &str| -> Result<Option<PathBuf>, FormatError> {
            let path = folder.join(name);
            check_inside(folder, &path)?;
            let found = path.try_exists();
            let found = found.map_err(|source| FormatError::Io { path: path.clone(), action: "open", source })?;
            Ok(found.then_some(path))
        };
        if let Some(path) = path(SINGLE)? {
            return Ok((Self::Single, read_safetensors(&path)?));
        }
        if let Some(path) = path(INDEX)? {
            let dict = read_sharded_safetensors(&path)?;
            let index = serde_json::from_slice(&open_mapped(&path)?).map_err(|error| FormatError::Malformed {
                path,
                entry: "index".into(),
                expected: "a JSON object with \"weight_map\"".into(),
                found: error.to_string(),
            })?;
            return Ok((Self::Sharded(index), dict));
        }
        if let Some(path) = path(PICKLE)? {
            return Ok((Self::Pickle, read_state_dict(&path, None)?));
        }
        Err(HfError::MissingFile { expected: "model.safetensors, model.safetensors.index.json or pytorch_model.bin" })
    }

    /// The files of these weights.
    pub fn files(&self) -> Vec<String> {
        match self {
            Self::Single => vec![SINGLE.into()],
            Self::Pickle => vec![PICKLE.into()],
            Self::Sharded(index) => {
                let mut files: Vec<String> = index.weight_map.values().cloned().collect();
                files.sort();
                files.dedup();
                files.insert(0, INDEX.into());
                files
            }
        }
    }

    /// Files of at most so many bytes for tensors of these names and sizes: one if all fit into it.
    pub(crate) fn of_sizes<'n>(tensors: impl Iterator<Item = (&'n str, u64)>, most: u64) -> Self {
        let mut shards: Vec<Vec<&str>> = vec![Vec::new()];
        let (mut filled, mut total) = (0, 0);
        for (name, bytes) in tensors {
            if filled > 0 && filled + bytes > most {
                shards.push(Vec::new());
                filled = 0;
            }
            (filled, total) = (filled + bytes, total + bytes);
            shards.last_mut().into_iter().for_each(|shard| shard.push(name));
        }
        if shards.len() == 1 {
            return Self::Single;
        }
        let count = shards.len();
        let file = |at: usize| format!("model-{:05}-of-{count:05}.safetensors", at + 1);
        let of_shard = |(at, names): (usize, Vec<&str>)| {
            names.into_iter().map(|name| (name.to_owned(), file(at))).collect::<Vec<_>>()
        };
        let weight_map = shards.into_iter().enumerate().flat_map(of_shard).collect();
        Self::Sharded(HfIndex { metadata: Map::from_iter([("total_size".to_owned(), total.into())]), weight_map })
    }

    pub(crate) fn write(&self, outputs: &Outputs, contents: &dyn Contents, folder: &Path) -> Result<(), FormatError> {
        let dict = contents.dict();
        match self {
            Self::Single => write_safetensors_of(outputs, &folder.join(SINGLE), contents),
            Self::Pickle => write_pytorch_of(outputs, &folder.join(PICKLE), contents),
            Self::Sharded(index) => {
                for file in self.files().iter().skip(1) {
                    let mut shard = StateDict::new();
                    shard.provenance_mut().metadata = dict.provenance().metadata.clone();
                    for (name, tensor) in dict.iter().filter(|(name, _)| index.weight_map.get(*name) == Some(file)) {
                        shard.insert(name, tensor.clone()).map_err(|error| FormatError::DuplicateName {
                            path: folder.join(file),
                            name: error.name,
                        })?;
                    }
                    write_safetensors_of(outputs, &folder.join(file), &Part { names: shard, of: contents })?;
                }
                let path = folder.join(INDEX);
                let json = serde_json::to_vec_pretty(index).map_err(|error| FormatError::Io {
                    path: path.clone(),
                    action: "write",
                    source: error.into(),
                })?;
                outputs.write(&path, |file| file.write_all(&json))
            }
        }
    }
}

/// Stages a folder: all but the weights of a folder, and folders in it that belong to the network, is copied, or the new
/// files are written.
pub(crate) fn write_folder(
    outputs: &Outputs,
    files: &HfFiles,
    weights: &HfWeights,
    contents: &dyn Contents,
    target: &Path,
) -> Result<(), FormatError> {
    outputs.new_folder(target)?;
    weights.write(outputs, contents, target)?;
    match files {
        HfFiles::New(files) => {
            for (name, bytes) in files {
                outputs.write(&target.join(name), |file| file.write_all(bytes))?;
            }
        }
        HfFiles::Folder(source) => {
            let parts = modules(source);
            copy_folder(outputs, source, target, &parts)?;
        }
    }
    Ok(())
}

/// Stages what lies beside the weights: the files of `beside` that have contents, and those of a folder that `beside` does not name.
pub(crate) fn write_beside(
    outputs: &Outputs,
    source: &Path,
    target: &Path,
    beside: &[(String, Option<Vec<u8>>)],
) -> Result<(), FormatError> {
    let is_named = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        beside.iter().any(|(known, _)| name == known.as_str())
    };
    copy_some(outputs, source, target, &modules(source), &|path| !is_named(path))?;
    for (name, bytes) in beside {
        if let Some(bytes) = bytes {
            outputs.write(&target.join(name), |file| file.write_all(bytes))?;
        }
    }
    Ok(())
}

/// Stages the files of a folder that hold no weights, and the folders in it that hold none or are `wanted`.
fn copy_folder(outputs: &Outputs, source: &Path, target: &Path, wanted: &[PathBuf]) -> Result<(), FormatError> {
    copy_some(outputs, source, target, wanted, &|_| true)
}

fn copy_some(
    outputs: &Outputs,
    source: &Path,
    target: &Path,
    wanted: &[PathBuf],
    is_copied_at_all: &dyn Fn(&Path) -> bool,
) -> Result<(), FormatError> {
    for path in listed(source)?.into_iter().filter(|path| is_copied_at_all(path)) {
        let name = path.file_name().unwrap_or_default();
        let whole = wanted.contains(&path);
        if path.is_file() && !holds_weights(&path) {
            copy_file(outputs, &path, &target.join(name))?;
        } else if path.is_dir() && (whole || is_copied(&path)?) {
            outputs.new_folder(&target.join(name))?;
            match whole {
                true => copy_all(outputs, &path, &target.join(name))?,
                false => copy_folder(outputs, &path, &target.join(name), &[])?,
            }
        }
    }
    Ok(())
}

/// The files of a folder that are copied beside new weights, by name.
pub(crate) fn companions(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, FormatError> {
    let files = listed(folder)?.into_iter().filter(|path| path.is_file() && !holds_weights(path));
    let read = |path: PathBuf| {
        let bytes = read_regular(&path);
        let bytes = bytes.map_err(|source| FormatError::Io { path: path.clone(), action: "read", source })?;
        Ok((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes))
    };
    files.map(read).collect()
}

/// Stages all files of a folder.
fn copy_all(outputs: &Outputs, source: &Path, target: &Path) -> Result<(), FormatError> {
    for path in listed(source)?.into_iter().filter(|path| path.is_file()) {
        copy_file(outputs, &path, &target.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

fn copy_file(outputs: &Outputs, source: &Path, target: &Path) -> Result<(), FormatError> {
    let read = read_regular(source);
    let bytes = read.map_err(|error| FormatError::Io { path: source.into(), action: "read", source: error })?;
    outputs.write(target, |file| file.write_all(&bytes))
}

/// What is in a folder, by name.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let unlisted = |error| FormatError::Io { path: folder.into(), action: "list", source: error };
    let entries = fs::read_dir(folder).map_err(unlisted)?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unlisted)?.path();
        // A folder behind a link may be any, also this one again.
        if path.is_symlink() && !path.is_file() {
            continue;
        }
        check_inside(folder, &path)?;
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}

/// Whether a folder belongs to the network and not to its training or its history, and holds no weights.
fn is_copied(folder: &Path) -> Result<bool, FormatError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(['.', '_']) || name.starts_with("checkpoint-") || name == "runs" {
        return Ok(false);
    }
    for path in listed(folder)? {
        if (path.is_file() && holds_weights(&path)) || (path.is_dir() && !is_copied(&path)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The folders of further parts, pooling for instance, that `modules.json` names.
fn modules(folder: &Path) -> Vec<PathBuf> {
    let parts: Option<Value> =
        read_regular(&folder.join("modules.json")).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let parts = parts.as_ref().and_then(Value::as_array).into_iter().flatten();
    let paths = parts
        .filter_map(|part| part.get("path")?.as_str())
        .filter(|path| !path.is_empty() && !path.contains(['/', '\\']) && *path != "..");
    paths.map(|path| folder.join(path)).collect()
}

fn holds_weights(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    path.to_string_lossy().ends_with(".index.json") || WEIGHT_EXTENSIONS.contains(&extension)
}
