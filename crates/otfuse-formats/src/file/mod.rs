//! Files as memory maps, and files that are written whole or not at all.
//!
//! | file | what it does |
//! |---|---|
//! | `outputs` | files and folders that are put in place together |
//! | `commit` | all of them or none: older files are kept aside until the last one is in place |
//! | `temporary` | what lies beside the targets meanwhile, known to the whole process |
//! | `target` | what a path stands for |
//! | `inside` | what belongs to a folder |

mod commit;
mod inside;
mod outputs;
mod target;
mod temporary;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

pub(crate) use self::inside::check_inside;
pub use self::outputs::{FileWriter, Outputs};
pub use self::target::{check_folder_target, check_target};
pub use self::temporary::abandon_outputs;
use crate::error::{Foreign, is_lfs_pointer};
use crate::{FormatError, mapped};

/// Maps a file into memory. Slices of the result keep the map alive and cost nothing; tensors over such slices give
/// their memory back between uses ([`Tensor::release`](otfuse_graph::Tensor::release)).
///
/// Programs that replace files by renaming, as [`atomic_write`] does, change nothing here. On Unix a file that is shortened in place
/// while it is mapped reads as zeros from there on, and [`check_inputs`](crate::check_inputs) says so; what was read from it is not to be
/// written, and [`Outputs::commit`] refuses to.
///
/// # Errors
/// [`FormatError::Io`] where the file is missing or unreadable, [`FormatError::NotAFile`] for a directory or a
/// device, [`FormatError::Empty`] for a file without bytes, [`FormatError::Foreign`] for a pointer of Git LFS.
pub fn open_mapped(path: &Path) -> Result<Bytes, FormatError> {
    let io_error = |action| move |source| FormatError::Io { path: path.into(), action, source };
    let metadata = fs::metadata(path).map_err(io_error("open"))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a directory" } else { "a device or pipe" };
        return Err(FormatError::NotAFile { path: path.into(), found });
    }
    let file = File::open(path).map_err(io_error("open"))?;
    // What lies there may be another thing by now.
    let metadata = file.metadata().map_err(io_error("open"))?;
    if !metadata.is_file() {
        return Err(FormatError::NotAFile { path: path.into(), found: "a device or pipe" });
    }
    if metadata.len() == 0 {
        return Err(FormatError::Empty { path: path.into() });
    }
    // SAFETY: the map is read-only and private to this process's view; what happens where the file is shortened is documented above.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io_error("map"))?;
    // Known to the handler of faults before its first byte is read.
    let bytes = mapped::share(map, path, &metadata);
    if is_lfs_pointer(&bytes) {
        return Err(FormatError::Foreign { path: path.into(), found: Foreign::GitLfs });
    }
    Ok(bytes)
}

/// Opens a regular file, and nothing else: a pipe or device would be read without end, or waited for.
///
/// # Errors
/// Those of the system; `InvalidInput` for what is no file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file");
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(refused());
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() || metadata.is_dir() { Ok(file) } else { Err(refused()) }
}

/// All bytes of a regular file.
///
/// # Errors
/// As [`open_regular`].
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
/// As [`open_regular`]; bytes that are no UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_regular(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a file whole or not at all: into a temporary file in the same folder, which is flushed to the disk and
/// then renamed to `path`. On any error the temporary file is removed and an older file at `path` is untouched.
///
/// # Errors
/// [`FormatError::Io`] with `path`, also for errors that `write` returns; [`FormatError::NotAFile`] if `path` is
/// a directory or a device.
pub fn atomic_write<T>(
    path: &Path,
    write: impl FnOnce(&mut FileWriter<'_>) -> io::Result<T>,
) -> Result<T, FormatError> {
    Outputs::at_once(|outputs| outputs.write(path, write))
}

/// The first bytes of a file, for messages.
pub(crate) fn describe_start(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(8)];
    format!("a file of {} bytes that begins with \"{}\"", bytes.len(), start.escape_ascii())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("readable folder");
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn writes_then_maps() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.bin");
        atomic_write(&path, |writer| writer.write_all(b"first")).expect("written");
        let mapped = open_mapped(&path).expect("mapped");
        atomic_write(&path, |writer| writer.write_all(b"second")).expect("replaced");
        assert_eq!(&mapped[..], b"first", "an open map keeps the replaced file");
        assert_eq!(&open_mapped(&path).expect("mapped")[..], b"second");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.bin");
        fs::write(&path, b"old").expect("written");
        let error = atomic_write(&path, |writer| -> io::Result<()> {
            writer.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .expect_err("the closure failed");
        assert_eq!(error.path(), path);
        assert!(error.hint().contains("space"), "{}", error.hint());
        assert_eq!(fs::read(&path).expect("readable"), b"old");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn missing_empty_and_directory_are_told_apart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.bin");
        assert!(matches!(open_mapped(&path), Err(FormatError::Io { action: "open", .. })));
        fs::write(&path, b"").expect("written");
        assert!(matches!(open_mapped(&path), Err(FormatError::Empty { .. })));
        assert!(matches!(open_mapped(folder.path()), Err(FormatError::NotAFile { found: "a directory", .. })));
        assert!(matches!(atomic_write(folder.path(), |_| Ok(())), Err(FormatError::NotAFile { .. })));
        let nowhere = folder.path().join("no/such/folder");
        assert!(matches!(atomic_write(&nowhere, |_| Ok(())), Err(FormatError::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_keeps_pointing_at_the_replaced_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, b"old").expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        atomic_write(&link, |writer| writer.write_all(b"new")).expect("written");
        assert_eq!(fs::read(&real).expect("readable"), b"new");
        assert!(fs::symlink_metadata(&link).expect("link").file_type().is_symlink());
    }
}
