//! Reading files, compressed or not.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::DatasetError;

/// The first of some files that exists, opened; files that end in `.gz` are decompressed.
pub(super) fn open_first(directory: &Path, names: &[String]) -> Result<(PathBuf, Box<dyn Read>), DatasetError> {
    for name in names {
        let path = directory.join(name);
        if path.is_file() {
            let file = File::open(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
            let reader: Box<dyn Read> = if name.ends_with(".gz") {
                Box::new(MultiGzDecoder::new(BufReader::new(file)))
            } else {
                Box::new(BufReader::new(file))
            };
            return Ok((path, reader));
        }
    }
    Err(DatasetError::Missing { directory: directory.to_owned(), expected: names.to_vec() })
}

/// At most `limit` bytes of a reader; memory grows with what is there, not with what a header claims.
pub(super) fn read_up_to(reader: &mut dyn Read, limit: usize, path: &Path) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    reader
        .take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}
