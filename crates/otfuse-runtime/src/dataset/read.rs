//! Reading files, compressed or not.

use std::collections::HashSet;
use std::fs::{DirEntry, File, Metadata};
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{DatasetError, Split};

/// Whether a file is there, behind links too.
///
/// # Errors
/// What cannot be asked about: only what is absent is not there.
pub(super) fn is_file(path: &Path) -> Result<bool, DatasetError> {
    Ok(found(path)?.is_some_and(|metadata| metadata.is_file()))
}

/// Whether a folder is there, as [`is_file`].
pub(super) fn is_folder(path: &Path) -> Result<bool, DatasetError> {
    Ok(found(path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// Those of some names that are files in a folder.
pub(super) fn files_of(directory: &Path, names: &[String]) -> Result<Vec<String>, DatasetError> {
    let mut files = Vec::new();
    for name in names {
        if is_file(&directory.join(name))? {
            files.push(name.clone());
        }
    }
    Ok(files)
}

fn found(path: &Path) -> Result<Option<Metadata>, DatasetError> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(unreadable(path)(error)),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The first of some files that exists, opened; files that end in `.gz` are decompressed.
pub(super) fn open_first(directory: &Path, names: &[String]) -> Result<(PathBuf, Box<dyn Read>), DatasetError> {
    for name in names {
        let path = directory.join(name);
        if is_file(&path)? {
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

/// That no file of a split exists: where files of the other split do, the data set has no such split; where none does, the
/// data set itself is missing.
pub(super) fn without(directory: &Path, split: Split, expected: Vec<String>, others: &[String]) -> DatasetError {
    let directory = directory.to_owned();
    // Also what is no regular file: something that is there is never said to be absent.
    let is_there = |name: &String| match directory.join(name).symlink_metadata() {
        Ok(_) => true,
        Err(error) => !is_absence(&error),
    };
    if expected.iter().any(is_there) {
        return DatasetError::Missing { directory, expected };
    }
    let found: Vec<&str> = others.iter().filter(|name| is_there(name)).map(String::as_str).collect();
    if found.is_empty() {
        return DatasetError::Missing { directory, expected };
    }
    let found = found.join(", ");
    DatasetError::AbsentSplit { path: directory, split, expected, found }
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

/// A file, or all regular files in a folder and below, sorted. Links are followed, those that lead nowhere left out; a
/// folder is entered once.
pub(super) fn files_below(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if path.metadata().map_err(unreadable(path))?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut files, mut entered, mut left) = (Vec::new(), HashSet::new(), vec![path.to_owned()]);
    while let Some(folder) = left.pop() {
        if !entered.insert(folder.canonicalize().map_err(unreadable(&folder))?) {
            continue;
        }
        // In one order, so that of two ways to a folder always the same is taken.
        let entries = folder.read_dir().map_err(unreadable(&folder))?.collect::<Result<Vec<_>, _>>();
        let mut paths: Vec<PathBuf> = entries.map_err(unreadable(&folder))?.iter().map(DirEntry::path).collect();
        paths.sort();
        for path in paths {
            match path.metadata() {
                Ok(metadata) if metadata.is_dir() => left.push(path),
                Ok(metadata) if metadata.is_file() => files.push(path),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&path)(error)),
            }
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> DatasetError {
    let path = path.to_owned();
    move |source| DatasetError::Read { path, source }
}
