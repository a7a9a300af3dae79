//! The PyTorch file that a state dict comes from, to be written again with other weights: everything in it that is no
//! weight (epochs, settings, states of optimizers, buffers of types that have no counterpart here) stays as it is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use otfuse_graph::{DataType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::float8::Float8;
use crate::FormatError;
use crate::archive::Archive;
use crate::contents::{Contents, check_finite};
use crate::file::Outputs;

/// PyTorch aligns storages to as many bytes.
const ALIGNMENT: u16 = 64;

/// A zip archive of PyTorch and where in it each tensor of a state dict lies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Origin(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    /// The folder of the storages.
    folder: String,
    places: HashMap<String, Place>,
    kept: Kept,
}

/// What a file holds beside the tensors of its state dict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The state dict has entries that are no tensors here.
    pub(crate) entries: bool,
    /// The state dict is an entry of a checkpoint.
    pub(crate) wrapper: bool,
    /// The file is a program with its weights.
    pub(crate) program: bool,
}

/// A tensor in its storage, in elements.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) storage: Bytes,
    pub(super) stored: Stored,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// How elements are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Known(DataType),
    Narrow(Float8),
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("kept", &self.0.kept).finish_non_exhaustive()
    }
}

/// Where a state dict comes from makes it no other one.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Origin {
    pub(super) fn new(bytes: Bytes, folder: String, places: HashMap<String, Place>, kept: Kept) -> Self {
        Self(Arc::new(Inner { bytes, folder, places, kept }))
    }

    /// Whether the result at `path` is this file with other weights: it holds what a file of tensors cannot, and the
    /// tensors are of its types and shapes. A checkpoint's wrapper is kept where a checkpoint (`.ckpt`) is asked for.
    pub(crate) fn is_kept(&self, contents: &dyn Contents, path: &Path) -> bool {
        let Kept { entries, wrapper, program } = self.0.kept;
        let extension = path.extension().unwrap_or_default();
        let is_checkpoint = ["ckpt", "checkpoint"].iter().any(|known| extension.eq_ignore_ascii_case(known));
        let dict = contents.dict();
        let fits = |name: &str, tensor: &Tensor| {
            self.0.places.get(name).is_some_and(|place| {
                let data_type = match place.stored {
                    Stored::Known(data_type) => data_type,
                    Stored::Narrow(_) => DataType::F32,
                };
                place.shape == tensor.shape() && data_type == tensor.data_type()
            })
        };
        let is_wanted = if wrapper { is_checkpoint } else { entries || program || self.narrows() };
        is_wanted && dict.len() == self.0.places.len() && dict.iter().all(|(name, tensor)| fits(name, tensor))
    }

    fn narrows(&self) -> bool {
        self.0.places.values().any(|place| matches!(place.stored, Stored::Narrow(_)))
    }

    /// Writes the file with the tensors of `contents`, one storage in memory at a time.
    ///
    /// # Errors
    /// [`FormatError::Io`], also for numbers that 8 bits cannot hold.
    pub(crate) fn write(&self, outputs: &Outputs, path: &Path, contents: &dyn Contents) -> Result<(), FormatError> {
        let Inner { bytes, folder, places, .. } = &*self.0;
        let mut archive = Archive::open(path, bytes.clone())?;
        let mut of_storage: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
        for name in contents.dict().names() {
            of_storage.entry(&places[name].storage).or_default().push(name);
        }
        let mut entries = Vec::new();
        for name in archive.names()? {
            let data = archive.read(&name)?.unwrap_or_default();
            entries.push((name, data));
        }
        outputs.write(path, |file| {
            let mut target = ZipWriter::new(file);
            for (name, data) in &entries {
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Stored)
                    .last_modified_time(DateTime::default())
                    .with_alignment(ALIGNMENT)
                    .large_file(data.len() as u64 >= u64::from(u32::MAX));
                target.start_file(name.as_str(), options)?;
                let names = name.strip_prefix(folder.as_str()).and_then(|key| of_storage.get(key.as_bytes()));
                match names {
                    Some(names) => target.write_all(&self.storage(data, names, contents)?)?,
                    None => target.write_all(data)?,
                }
            }
            target.finish()?.flush()
        })
    }

    /// A storage with new tensors in it.
    fn storage(&self, old: &[u8], names: &[&str], contents: &dyn Contents) -> io::Result<Vec<u8>> {
        let mut storage = old.to_vec();
        // Tied tensors are equal, and written once.
        for (name, tensor) in names.iter().zip(contents.tensors(names)?) {
            check_finite(contents, name, &tensor)?;
            let place = &self.0.places[*name];
            match place.stored {
                Stored::Known(data_type) => place.scatter(tensor.bytes(), data_type.size(), &mut storage),
                Stored::Narrow(kind) => {
                    let codes = kind.narrowed(&tensor).ok_or_else(|| {
                        let message = format!("tensor {name:?}: expected numbers that {kind:?} of 8 bits can hold");
                        io::Error::new(io::ErrorKind::InvalidData, message)
                    })?;
                    place.scatter(&codes, 1, &mut storage);
                }
            }
            tensor.release();
        }
        Ok(storage)
    }
}

impl Place {
    /// Puts row-major elements of `size` bytes where the strides say. Reading has shown that all places are inside.
    fn scatter(&self, elements: &[u8], size: usize, storage: &mut [u8]) {
        let mut index = vec![0; self.shape.len()];
        let mut position = self.offset;
        for element in elements.chunks_exact(size) {
            let start = position.wrapping_mul(size);
            if let Some(place) = storage.get_mut(start..start.wrapping_add(size)) {
                place.copy_from_slice(element);
            }
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                // Axes of length 1 may have any stride.
                position = position.wrapping_add(self.strides[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                position = position.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
        }
    }
}
