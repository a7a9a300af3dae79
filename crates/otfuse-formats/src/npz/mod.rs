//! NumPy's formats: `.npy`, one array, and `.npz`, a zip archive of named arrays.

mod header;
mod npy;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use otfuse_graph::Tensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::FormatError;
use crate::archive::{Archive, ZIP_MAGIC};
use crate::error::Blame;
use crate::file::{atomic_write, describe_start, open_mapped};

pub use self::npy::{read_npy, write_npy};

/// Reads the arrays of an `.npz` file, by name. Arrays of `np.savez` are slices of the memory-mapped file, those of
/// `np.savez_compressed` are unpacked.
///
/// # Errors
/// Any [`FormatError`]; element types other than floats of 16 to 64 bits, integers and bool are unsupported.
pub fn read_npz(path: &Path) -> Result<BTreeMap<String, Tensor>, FormatError> {
    let bytes = open_mapped(path)?;
    let blame = Blame(path);
    // An archive without entries begins with its end.
    if !bytes.starts_with(ZIP_MAGIC) && !bytes.starts_with(b"PK\x05\x06") {
        let (expected, found) = ("an npz file (zip archive)".into(), describe_start(&bytes));
        return Err(FormatError::UnknownFormat { path: path.into(), expected, found });
    }
    let mut archive = Archive::open(path, bytes)?;
    let mut arrays = BTreeMap::new();
    for entry in archive.names()? {
        let Some(name) = entry.strip_suffix(".npy") else {
            return Err(blame.unsupported(entry, "an array (.npy)", "another file in the archive"));
        };
        let data = archive.read(&entry)?.ok_or_else(|| blame.missing(&entry))?;
        let array = npy::parse(blame, &entry, &data)?;
        if arrays.insert(name.to_owned(), array).is_some() {
            return Err(blame.duplicate(name));
        }
    }
    Ok(arrays)
}

/// Writes arrays as `np.savez` does, by name, whole or not at all. Equal inputs give equal bytes.
///
/// # Errors
/// [`FormatError::Io`], [`FormatError::NotAFile`]; [`FormatError::Unsupported`] for bfloat16, which NumPy lacks.
pub fn write_npz(path: &Path, arrays: &BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    let blame = Blame(path);
    let headers = arrays.iter().map(|(name, array)| npy::header_of(blame, name, array));
    let headers = headers.collect::<Result<Vec<_>, _>>()?;
    atomic_write(path, |file| -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default());
        let mut archive = ZipWriter::new(file);
        for ((name, array), header) in arrays.iter().zip(&headers) {
            let length = (header.len() + array.bytes().len()) as u64;
            let options = options.large_file(length >= u64::from(u32::MAX));
            archive.start_file(format!("{name}.npy"), options)?;
            archive.write_all(header)?;
            archive.write_all(array.bytes())?;
        }
        archive.finish()?.flush()
    })
}
