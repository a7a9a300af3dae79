//! What the path of an output stands for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::FormatError;

/// Finds beforehand what would keep a file from being written to `path`: a directory or a device there, or no folder
/// to write into.
///
/// # Errors
/// [`FormatError::NotAFile`] or [`FormatError::Io`].
pub fn check_target(path: &Path) -> Result<(), FormatError> {
    check_file(path)?;
    check_parent(path)
}

/// Finds beforehand what would keep a folder from being written: something else than an empty folder at `path`, or
/// no folder to put it in.
///
/// # Errors
/// [`FormatError::NotEmpty`], [`FormatError::Io`].
pub fn check_folder_target(path: &Path) -> Result<(), FormatError> {
    check_empty(path)?;
    check_parent(path)
}

/// Refuses what cannot be replaced by a file.
pub(super) fn check_file(path: &Path) -> Result<(), FormatError> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            let found = if metadata.is_dir() { "a directory" } else { "a device or pipe" };
            Err(FormatError::NotAFile { path: path.into(), found })
        }
        Ok(_) => Ok(()),
        Err(source) => absent(path, source),
    }
}

/// Whether an error says that nothing lies at the path: what is not there is in nobody's way.
fn absent(path: &Path, source: io::Error) -> Result<(), FormatError> {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(FormatError::Io { path: path.into(), action: "open", source }),
    }
}

/// Refuses what cannot be replaced by a folder.
pub(super) fn check_empty(path: &Path) -> Result<(), FormatError> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Err(FormatError::NotEmpty { path: path.into(), found: "a file" }),
        Ok(_) => {
            let entries = fs::read_dir(path);
            let mut entries =
                entries.map_err(|source| FormatError::Io { path: path.into(), action: "open", source })?;
            match entries.next() {
                Some(_) => Err(FormatError::NotEmpty { path: path.into(), found: "a folder with files in it" }),
                None => Ok(()),
            }
        }
        Err(source) => absent(path, source),
    }
}

fn check_parent(path: &Path) -> Result<(), FormatError> {
    let folder = fs::metadata(parent(path))
        .and_then(|metadata| if metadata.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
    folder.map_err(|source| FormatError::Io { path: path.into(), action: "create", source })
}

/// The folder, where its path is empty the one that is worked in.
pub(super) fn open_folder(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The folder that a path lies in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path that is replaced, the same for all ways to write it: behind a symbolic link, its target; in a folder that
/// is not there yet, the path that it will have.
pub(super) fn resolve(path: &Path) -> PathBuf {
    if let Ok(there) = fs::canonicalize(path) {
        return there;
    }
    match path.file_name() {
        Some(name) => resolve(parent(path)).join(name),
        None => path.into(),
    }
}
