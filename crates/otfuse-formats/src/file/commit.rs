//! Outputs are put in place: all of them or none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::target::{check_empty, parent};
use super::temporary::{self, Temporaries, delete};
use crate::FormatError;

/// A temporary file or folder and the place that it is for.
pub(super) struct Move {
    /// The place, as errors name it.
    pub(super) path: PathBuf,
    /// The place.
    pub(super) target: PathBuf,
    pub(super) temporary: PathBuf,
    /// Whether it is a folder, which replaces nothing but an empty one.
    pub(super) folder: bool,
}

/// What lay at a target.
enum Older {
    Nothing,
    /// A second name of the file, which is at its place until another one replaces it.
    Linked(PathBuf),
    /// It lies here now.
    Moved(PathBuf),
    /// The last output replaces it in one step or leaves it as it is.
    Untouched,
}

/// Makes all moves or none. Nothing else is staged, committed or abandoned meanwhile.
pub(super) fn commit(moves: &[Move]) -> Result<(), FormatError> {
    let mut temporaries = temporary::lock();
    let mut done: Vec<(&Move, Older)> = Vec::with_capacity(moves.len());
    for (index, step) in moves.iter().enumerate() {
        match step.make(&mut temporaries, index + 1 == moves.len()) {
            Ok(older) => done.push((step, older)),
            Err(error) => {
                // All are brought back, also behind one that cannot be.
                let undone = done.into_iter().rev().map(|(step, older)| step.undo(older));
                let failed: Vec<FormatError> = undone.filter_map(Result::err).collect();
                drop(temporaries);
                temporary::discard(moves.iter().map(|step| step.temporary.as_path()));
                return Err(failed.into_iter().next().unwrap_or(error));
            }
        }
    }
    for (step, older) in &done {
        if let Older::Linked(backup) | Older::Moved(backup) = older {
            delete(backup);
        }
        flush(parent(&step.target));
    }
    Ok(())
}

impl Move {
    fn make(&self, temporaries: &mut Temporaries, last: bool) -> Result<Older, FormatError> {
        let older = if self.folder { self.clear() } else { self.keep_file(last) }?;
        match temporaries.place(&self.temporary, &self.target) {
            Ok(()) => Ok(older),
            Err(source) => {
                let error = FormatError::Io { path: self.path.clone(), action: "replace", source };
                match older {
                    Older::Linked(backup) => {
                        // Both names are of one file, and the system would take a renaming as done.
                        delete(&backup);
                        Err(error)
                    }
                    Older::Moved(_) => Err(self.undo(older).err().unwrap_or(error)),
                    Older::Nothing | Older::Untouched => Err(error),
                }
            }
        }
    }

    /// Keeps a file that is to be replaced under a second name.
    fn keep_file(&self, last: bool) -> Result<Older, FormatError> {
        match fs::symlink_metadata(&self.target) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Older::Nothing),
            Err(source) => return Err(FormatError::Io { path: self.path.clone(), action: "replace", source }),
            // Made since the output was staged.
            Ok(found) if found.is_dir() => {
                return Err(FormatError::NotAFile { path: self.path.clone(), found: "a directory" });
            }
            Ok(_) if last => return Ok(Older::Untouched),
            Ok(_) => {}
        }
        let folder = parent(&self.target);
        if let Ok(backup) = temporary::backup(folder, |backup| fs::hard_link(&self.target, backup)) {
            return Ok(Older::Linked(backup));
        }
        // A file system without links, or another user's file.
        self.move_aside().map(Older::Moved)
    }

    /// Moves an empty folder away: not every system renames a folder to one that is there.
    fn clear(&self) -> Result<Older, FormatError> {
        check_empty(&self.target)?;
        match self.target.exists() {
            true => self.move_aside().map(Older::Moved),
            false => Ok(Older::Nothing),
        }
    }

    fn move_aside(&self) -> Result<PathBuf, FormatError> {
        let rename = |backup: &Path| match backup.exists() {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => fs::rename(&self.target, backup),
        };
        let moved = temporary::backup(parent(&self.target), rename);
        moved.map_err(|source| FormatError::Io { path: self.path.clone(), action: "replace", source })
    }

    /// Brings back what lay at the target.
    fn undo(&self, older: Older) -> Result<(), FormatError> {
        match older {
            Older::Nothing => delete(&self.target),
            Older::Untouched => {}
            Older::Linked(backup) | Older::Moved(backup) => {
                if self.folder {
                    delete(&self.target);
                }
                fs::rename(&backup, &self.target).map_err(|source| FormatError::NotRestored {
                    path: self.path.clone(),
                    backup,
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// A renaming survives a power cut only once the folder is flushed; file systems that cannot do this have renamed all
/// the same.
fn flush(folder: &Path) {
    #[cfg(unix)]
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let _ = folder;
}
