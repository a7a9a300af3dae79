//! Files and folders that are put in place together.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::commit::{Move, commit};
use super::target::{check_empty, check_file, parent, resolve};
use super::temporary;
use crate::FormatError;
use crate::mapped::check_inputs;

/// What [`Outputs::write`] hands to its closure: a buffered, seekable file.
pub type FileWriter<'a> = BufWriter<&'a mut File>;

/// The files and folders of one result, which appear together or not at all.
///
/// Each is written to a temporary place beside its target, and [`commit`](Self::commit) puts all of them in place. What
/// is not committed is removed with the value, and no target was touched. A file whose path lies in a folder that is
/// staged too is written into that folder. Threads may write at the same time.
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let outputs = otfuse_formats::file::Outputs::new();
/// outputs.write(&folder.join("network.json"), |file| file.write_all(b"{}"))?;
/// outputs.create_folder(&folder.join("figures"))?;
/// outputs.write(&folder.join("figures/loss.csv"), |file| file.write_all(b"step,loss\n"))?;
/// assert!(!folder.join("network.json").exists());
/// outputs.commit()?;
/// assert!(folder.join("network.json").exists() && folder.join("figures/loss.csv").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Outputs {
    staged: Mutex<Vec<Staged>>,
}

/// An output and where it lies until it is committed.
#[derive(Debug)]
struct Staged {
    /// As it was given.
    path: PathBuf,
    /// What is replaced.
    target: PathBuf,
    /// Where it lies; nowhere before its file is made.
    temporary: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// In a staged folder, with which it is put in place.
    FileInside,
    FolderInside,
}

impl Outputs {
    /// No outputs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits what `stage` writes, if it succeeds.
    ///
    /// # Errors
    /// Those of `stage` and of [`commit`](Self::commit).
    pub fn at_once<T, E: From<FormatError>>(stage: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let outputs = Self::new();
        let value = stage(&outputs)?;
        outputs.commit()?;
        Ok(value)
    }

    /// Writes a file that [`commit`](Self::commit) puts at `path`, flushed to the disk. An older file there is replaced;
    /// a symbolic link goes on pointing at the file that is replaced.
    ///
    /// # Errors
    /// [`FormatError::Io`] with `path`, also for errors that `write` returns; [`FormatError::NotAFile`] if `path` is a
    /// directory or a device; [`FormatError::OutputTwice`] if it is an output already.
    pub fn write<T>(
        &self,
        path: &Path,
        write: impl FnOnce(&mut FileWriter<'_>) -> io::Result<T>,
    ) -> Result<T, FormatError> {
        check_file(path)?;
        let target = resolve(path);
        let mut file = self.stage_file(path, &target)?;
        let written = Self::fill(&mut file, path, write);
        // A process that is about to end has removed the file already: neither result nor error may come of it.
        drop(temporary::lock());
        if written.is_err() {
            self.withdraw(&target);
        }
        written
    }

    /// Makes sure that [`commit`](Self::commit) leaves a folder at `path`, for files that are to be written into it: one
    /// that is there stays as it is, others are made, with the folders around them.
    ///
    /// # Errors
    /// [`FormatError::NotEmpty`] if a file is there; [`FormatError::Io`].
    pub fn create_folder(&self, path: &Path) -> Result<(), FormatError> {
        let target = resolve(path);
        if self.folder_of(&target).is_some() || path.is_dir() {
            return Ok(());
        }
        check_empty(path)?;
        let around = parent(path);
        if around != path && !around.is_dir() {
            self.create_folder(around)?;
        }
        self.stage_folder(path, target)
    }

    /// A new folder that [`commit`](Self::commit) puts at `path`, for files that are to be written into it.
    ///
    /// # Errors
    /// [`FormatError::NotEmpty`] if something else than an empty folder is there; [`FormatError::OutputTwice`] if it is an
    /// output already; [`FormatError::Io`].
    pub fn new_folder(&self, path: &Path) -> Result<(), FormatError> {
        check_empty(path)?;
        self.stage_folder(path, resolve(path))
    }

    /// All outputs, files in folders too, as they were given and in their order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.staged().iter().map(|staged| staged.path.clone()).collect()
    }

    /// Puts all outputs in place, in their order, or none: what they replace is kept aside until the last one is in
    /// place, and comes back if one fails.
    ///
    /// # Errors
    /// [`FormatError::Io`], [`FormatError::NotAFile`] or [`FormatError::NotEmpty`] for the output that failed;
    /// [`FormatError::NotRestored`] if then an older file could not be brought back, with the place where it lies;
    /// [`FormatError::Shortened`] or [`FormatError::Changed`] where an input is no longer what was read.
    pub fn commit(self) -> Result<(), FormatError> {
        check_inputs()?;
        let staged = std::mem::take(&mut *self.staged());
        let moves = staged.into_iter().filter_map(|Staged { path, target, temporary, kind }| match kind {
            Kind::File => Some(Move { path, target, temporary, folder: false }),
            Kind::Folder => Some(Move { path, target, temporary, folder: true }),
            Kind::FileInside | Kind::FolderInside => None,
        });
        commit(&moves.collect::<Vec<_>>())
    }

    fn staged(&self) -> MutexGuard<'_, Vec<Staged>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a staged folder lies.
    fn folder_of(&self, target: &Path) -> Option<PathBuf> {
        let staged = self.staged();
        let folder = staged.iter().find(|staged| staged.target == target)?;
        matches!(folder.kind, Kind::Folder | Kind::FolderInside).then(|| folder.temporary.clone())
    }

    fn stage_file(&self, path: &Path, target: &Path) -> Result<File, FormatError> {
        let failure = |source| FormatError::Io { path: path.into(), action: "create a temporary file beside", source };
        let inside = self.folder_of(parent(target));
        let mut staged = self.claim(path, target)?;
        let mut temporaries = temporary::lock();
        let (file, temporary, kind) = match inside {
            Some(folder) => {
                let temporary = folder.join(target.file_name().unwrap_or_default());
                (temporaries.file_inside(&temporary).map_err(failure)?, temporary, Kind::FileInside)
            }
            None => {
                let (file, temporary) = temporaries.file(parent(target)).map_err(failure)?;
                (file, temporary, Kind::File)
            }
        };
        staged.push(Staged { path: path.into(), target: target.into(), temporary, kind });
        Ok(file)
    }

    fn stage_folder(&self, path: &Path, target: PathBuf) -> Result<(), FormatError> {
        let failure =
            |source| FormatError::Io { path: path.into(), action: "create a temporary folder beside", source };
        let inside = self.folder_of(parent(&target));
        let mut staged = self.claim(path, &target)?;
        let mut temporaries = temporary::lock();
        let (temporary, kind) = match inside {
            Some(folder) => {
                let temporary = folder.join(target.file_name().unwrap_or_default());
                fs::create_dir(&temporary).map_err(failure)?;
                (temporary, Kind::FolderInside)
            }
            None => (temporaries.folder(parent(&target)).map_err(failure)?, Kind::Folder),
        };
        staged.push(Staged { path: path.into(), target, temporary, kind });
        Ok(())
    }

    /// The list, to which an output of this target may be added.
    fn claim(&self, path: &Path, target: &Path) -> Result<MutexGuard<'_, Vec<Staged>>, FormatError> {
        let staged = self.staged();
        match staged.iter().any(|staged| staged.target == target) {
            true => Err(FormatError::OutputTwice { path: path.into() }),
            false => Ok(staged),
        }
    }

    fn fill<T>(
        file: &mut File,
        path: &Path,
        write: impl FnOnce(&mut FileWriter<'_>) -> io::Result<T>,
    ) -> Result<T, FormatError> {
        let failure = |action| move |source| FormatError::Io { path: path.into(), action, source };
        let mut writer = BufWriter::with_capacity(1 << 20, &mut *file);
        let value = write(&mut writer).map_err(failure("write"))?;
        writer.flush().map_err(failure("write"))?;
        drop(writer);
        file.sync_all().map_err(failure("flush"))?;
        Ok(value)
    }

    /// Takes back an output that could not be written.
    fn withdraw(&self, target: &Path) {
        let mut staged = self.staged();
        let Some(index) = staged.iter().position(|staged| staged.target == target) else { return };
        let Staged { temporary, kind, .. } = staged.remove(index);
        match kind {
            Kind::FileInside => temporary::delete(&temporary),
            _ => temporary::discard([temporary.as_path()]),
        }
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        let staged = self.staged.get_mut().unwrap_or_else(PoisonError::into_inner);
        temporary::discard(staged.iter().map(|staged| staged.temporary.as_path()));
    }
}
