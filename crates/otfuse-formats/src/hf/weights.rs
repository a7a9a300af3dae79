//! The weights of a folder, and writing a folder.

use std::fs;
use std::io::Write;
use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{HfError, HfFiles};
use crate::contents::{Contents, Part};
use crate::file::{atomic_write, open_mapped};
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

impl HfWeights {
    /// Finds and reads the weights of a folder.
    pub(super) fn open(folder: &Path) -> Result<(Self, StateDict), HfError> {
        let path = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        if let Some(path) = path(SINGLE) {
            return Ok((Self::Single, read_safetensors(&path)?));
        }
        if let Some(path) = path(INDEX) {
            let dict = read_sharded_safetensors(&path)?;
            let index = serde_json::from_slice(&open_mapped(&path)?).map_err(|error| FormatError::Malformed {
                path,
                entry: "index".into(),
                expected: "a JSON object with \"weight_map\"".into(),
                found: error.to_string(),
            })?;
            return Ok((Self::Sharded(index), dict));
        }
        if let Some(path) = path(PICKLE) {
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

    fn write(&self, contents: &dyn Contents, folder: &Path) -> Result<(), FormatError> {
        let dict = contents.dict();
        match self {
            Self::Single => write_safetensors_of(&folder.join(SINGLE), contents),
            Self::Pickle => write_pytorch_of(&folder.join(PICKLE), contents),
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
                    write_safetensors_of(&folder.join(file), &Part { names: shard, of: contents })?;
                }
                let path = folder.join(INDEX);
                let json = serde_json::to_vec_pretty(index).map_err(|error| FormatError::Io {
                    path: path.clone(),
                    action: "write",
                    source: error.into(),
                })?;
                atomic_write(&path, |file| file.write_all(&json))
            }
        }
    }
}

/// Finds beforehand what would keep a folder from being written: something else than an empty folder at `target`, or
/// no folder to put it in.
///
/// # Errors
/// [`FormatError::NotEmpty`], [`FormatError::Io`].
pub fn check_folder_target(target: &Path) -> Result<(), FormatError> {
    let io = |action| move |source| FormatError::Io { path: target.into(), action, source };
    match fs::metadata(target) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(FormatError::NotEmpty { path: target.into(), found: "a file" });
        }
        Ok(_) => {
            if fs::read_dir(target).map_err(io("open"))?.next().is_some() {
                return Err(FormatError::NotEmpty { path: target.into(), found: "a folder with files in it" });
            }
        }
        Err(_) => {}
    }
    let parent = parent(target);
    match fs::metadata(parent) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(io("create")(std::io::ErrorKind::NotADirectory.into())),
        Err(source) => Err(io("create")(source)),
    }
}

/// Writes a folder whole or not at all: all but the weights of a folder is copied, or the new files are written, into a
/// temporary folder beside the target, which is then renamed.
pub(crate) fn write_folder(
    files: &HfFiles,
    weights: &HfWeights,
    contents: &dyn Contents,
    target: &Path,
) -> Result<(), FormatError> {
    check_folder_target(target)?;
    let io = |action| move |source| FormatError::Io { path: target.into(), action, source };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".otfuse-").suffix(".partial");
    let temporary = builder.tempdir_in(parent(target)).map_err(io("create a temporary folder beside"))?;
    weights.write(contents, temporary.path())?;
    match files {
        HfFiles::New(files) => {
            for (name, bytes) in files {
                fs::write(temporary.path().join(name), bytes).map_err(io("write"))?;
            }
        }
        HfFiles::Folder(source) => {
            for entry in fs::read_dir(source).map_err(io("copy the other files to"))? {
                let entry = entry.map_err(io("copy the other files to"))?;
                let (path, name) = (entry.path(), entry.file_name());
                let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
                let is_index = name.to_string_lossy().ends_with(".index.json");
                if path.is_file() && !is_index && !WEIGHT_EXTENSIONS.contains(&extension) {
                    let bytes = fs::read(&path).map_err(io("copy the other files to"))?;
                    fs::write(temporary.path().join(&name), bytes).map_err(io("copy the other files to"))?;
                }
            }
        }
    }
    // Temporary folders are private by default; this one becomes an ordinary folder.
    #[cfg(unix)]
    {
        let mode = fs::metadata(parent(target)).map_err(io("write"))?.permissions();
        fs::set_permissions(temporary.path(), mode).map_err(io("write"))?;
    }
    if target.exists() {
        fs::remove_dir(target).map_err(io("replace"))?;
    }
    fs::rename(temporary.path(), target).map_err(io("write"))?;
    let _ = temporary.keep();
    Ok(())
}

fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
