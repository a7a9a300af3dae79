//! NumPy's formats: `.npy`, one array, and `.npz`, a zip archive of named arrays.

mod header;
mod npy;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use otfuse_graph::Tensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::archive::{Archive, ZIP_MAGIC};
use crate::contents::{Contents, for_each};
use crate::error::{Blame, is_npz};
use crate::file::{Outputs, describe_start, open_mapped};
use crate::{FormatError, StateDict};

pub use self::npy::{read_npy, write_npy};

/// An open `.npz` file, whose arrays are read one by one. Arrays of `np.savez` are slices of the memory-mapped file, those
/// of `np.savez_compressed` are unpacked.
pub struct NpzArchive<'a> {
    path: &'a Path,
    archive: Archive<'a>,
}

impl<'a> NpzArchive<'a> {
    /// Opens a file and reads its table of contents.
    ///
    /// # Errors
    /// Any [`FormatError`] but those about arrays.
    pub fn open(path: &'a Path) -> Result<Self, FormatError> {
        let bytes = open_mapped(path)?;
        // An archive without entries begins with its end.
        if !bytes.starts_with(ZIP_MAGIC) && !bytes.starts_with(b"PK\x05\x06") {
            let (expected, found) = ("an npz file (zip archive)".into(), describe_start(&bytes));
            return Err(FormatError::UnknownFormat { path: path.into(), expected, found });
        }
        Ok(Self { path, archive: Archive::open(path, bytes)? })
    }

    /// The names of the arrays in the order of the file.
    ///
    /// # Errors
    /// Something else than an array in the archive.
    pub fn names(&self) -> Result<Vec<String>, FormatError> {
        let name = |entry: String| match entry.strip_suffix(".npy") {
            Some(name) => Ok(name.to_owned()),
            None => Err(Blame(self.path).unsupported(entry, "an array (.npy)", "another file in the archive")),
        };
        self.archive.names()?.into_iter().map(name).collect()
    }

    /// Reads an array.
    ///
    /// # Errors
    /// Any [`FormatError`]; element types other than floats of 16 to 64 bits, integers and bool are unsupported.
    pub fn array(&mut self, name: &str) -> Result<Tensor, FormatError> {
        let (blame, entry) = (Blame(self.path), format!("{name}.npy"));
        let data = self.archive.read(&entry)?.ok_or_else(|| blame.missing(&entry))?;
        npy::parse(blame, &entry, &data)
    }
}

/// Reads the arrays of an `.npz` file, by name: see [`NpzArchive`].
///
/// # Errors
/// As [`NpzArchive::array`]; two arrays of one name.
pub fn read_npz(path: &Path) -> Result<BTreeMap<String, Tensor>, FormatError> {
    let mut archive = NpzArchive::open(path)?;
    let mut arrays = BTreeMap::new();
    for name in archive.names()? {
        let array = archive.array(&name)?;
        if arrays.insert(name.clone(), array).is_some() {
            return Err(Blame(path).duplicate(name));
        }
    }
    Ok(arrays)
}

/// Whether the bytes are those of an archive of nothing but arrays.
pub(crate) fn looks_like_npz(bytes: &Bytes) -> bool {
    let names = || Archive::open(Path::new(""), bytes.clone()).and_then(|archive| archive.names());
    bytes.starts_with(ZIP_MAGIC) && names().is_ok_and(|names| is_npz(&names))
}

/// The arrays of an `.npz` file as a state dict, in the order of the file.
///
/// # Errors
/// As [`read_npz`].
pub(crate) fn read_npz_dict(path: &Path) -> Result<StateDict, FormatError> {
    let mut archive = NpzArchive::open(path)?;
    let mut dict = StateDict::new();
    for name in archive.names()? {
        let array = archive.array(&name)?;
        dict.insert(name, array).map_err(|error| Blame(path).duplicate(error.name))?;
    }
    Ok(dict)
}

/// Writes a state dict as `np.savez` would, in its order, for tensors that are made one after the other.
///
/// # Errors
/// As [`write_npz_to`].
pub(crate) fn write_npz_of(outputs: &Outputs, path: &Path, contents: &dyn Contents) -> Result<(), FormatError> {
    let (dict, blame) = (contents.dict(), Blame(path));
    let headers = dict.iter().map(|(name, array)| Ok((name, npy::header_of(blame, name, array)?)));
    let headers = headers.collect::<Result<BTreeMap<_, _>, FormatError>>()?;
    let names: Vec<&str> = dict.names().collect();
    outputs.write(path, |file| -> io::Result<()> {
        let mut archive = ZipWriter::new(file);
        for_each(contents, &names, |name, array| put(&mut archive, name, &headers[name], array))?;
        archive.finish()?.flush()
    })
}

/// One array of an archive.
fn put<W: Write + io::Seek>(archive: &mut ZipWriter<W>, name: &str, header: &[u8], array: &Tensor) -> io::Result<()> {
    let length = (header.len() + array.bytes().len()) as u64;
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .large_file(length >= u64::from(u32::MAX));
    archive.start_file(format!("{name}.npy"), options)?;
    archive.write_all(header)?;
    archive.write_all(array.bytes())
}

/// Writes arrays as `np.savez` does, by name, whole or not at all. Equal inputs give equal bytes.
///
/// # Errors
/// [`FormatError::Io`], [`FormatError::NotAFile`]; [`FormatError::Unsupported`] for bfloat16, which NumPy lacks.
pub fn write_npz(path: &Path, arrays: &BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    Outputs::at_once(|outputs| write_npz_to(outputs, path, arrays))
}

/// [`write_npz`] as one of several outputs.
///
/// # Errors
/// As [`write_npz`]; [`FormatError::OutputTwice`].
pub fn write_npz_to(outputs: &Outputs, path: &Path, arrays: &BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    let blame = Blame(path);
    let headers = arrays.iter().map(|(name, array)| npy::header_of(blame, name, array));
    let headers = headers.collect::<Result<Vec<_>, _>>()?;
    outputs.write(path, |file| -> io::Result<()> {
        let mut archive = ZipWriter::new(file);
        for ((name, array), header) in arrays.iter().zip(&headers) {
            put(&mut archive, name, header, array)?;
        }
        archive.finish()?.flush()
    })
}
