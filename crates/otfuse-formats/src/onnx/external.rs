//! Tensors that lie in a file beside the model.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::proto::TensorProto;
use crate::error::OnnxError;
use crate::file::{check_inside, open_mapped};

/// The data files of a model, each mapped into memory once.
#[derive(Debug, Default)]
pub(super) struct ExternalFiles {
    folder: PathBuf,
    mapped: HashMap<String, Bytes>,
}

impl ExternalFiles {
    /// The data files of a model in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), mapped: HashMap::new() }
    }

    /// The files that were read, in the order of their names.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.mapped.keys().map(|location| self.folder.join(location)).collect();
        paths.sort();
        paths
    }

    /// The bytes of a tensor whose data lie in another file; `expected` is what its type and shape ask for.
    pub(super) fn load(&mut self, tensor: &TensorProto, expected: usize) -> Result<Bytes, OnnxError> {
        let name = || tensor.name.clone().unwrap_or_default();
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
            found.and_then(|entry| entry.value.as_deref())
        };
        let number = |key: &str| -> Result<Option<usize>, OnnxError> {
            let Some(text) = entry(key) else { return Ok(None) };
            let parsed = text.trim().parse().map(Some);
            parsed.map_err(|_| OnnxError::Tensor {
                tensor: name(),
                expected: format!("a number of bytes as the {key} of its external data"),
                found: format!("'{text}'"),
            })
        };
        let location = entry("location").unwrap_or_default();
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(expected);
        if length != expected {
            return Err(OnnxError::Tensor {
                tensor: name(),
                expected: format!("{expected} bytes for its type and shape"),
                found: format!("{length} bytes of external data"),
            });
        }
        let path = self.folder.join(location);
        let file = self.file(location, &name)?;
        let end = offset.checked_add(length).filter(|&end| end <= file.len());
        let end = end.ok_or_else(|| OnnxError::ExternalTruncated {
            tensor: name(),
            path,
            offset: offset as u64,
            expected: (offset as u64).saturating_add(length as u64),
            found: file.len() as u64,
        })?;
        Ok(file.slice(offset..end))
    }

    fn file(&mut self, location: &str, name: &dyn Fn() -> String) -> Result<Bytes, OnnxError> {
        if let Some(bytes) = self.mapped.get(location) {
            return Ok(bytes.clone());
        }
        // A model must not be able to name files outside its folder: their contents would end up in what is written.
        let ordinary = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let inside = Path::new(location).components().all(ordinary) && !location.contains(['\\', '\0']);
        if location.is_empty() || !inside {
            return Err(OnnxError::ExternalLocation { tensor: name(), found: location.into() });
        }
        let path = self.folder.join(location);
        let opened = check_inside(&self.folder, &path).and_then(|()| open_mapped(&path));
        let bytes =
            opened.map_err(|source| OnnxError::ExternalFile { tensor: name(), path, source: Box::new(source) })?;
        self.mapped.insert(location.into(), bytes.clone());
        Ok(bytes)
    }
}
