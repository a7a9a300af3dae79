//! Temporary files and folders, which a process that is told to end removes.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What this process has made beside its targets. Held while anything is made, put in place or removed.
#[derive(Default)]
pub(super) struct Temporaries {
    paths: BTreeSet<PathBuf>,
    abandoned: bool,
}

static TEMPORARIES: Mutex<Temporaries> = Mutex::new(Temporaries { paths: BTreeSet::new(), abandoned: false });

/// Removes all that is staged in this process and not yet committed, for a process that is about to end: the thread
/// that a signal wakes calls it and exits. It waits for a commit that is running. Whoever stages or commits afterwards
/// waits for ever, so that no half of a result comes about between this call and the end.
pub fn abandon_outputs() {
    let mut temporaries = TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner);
    temporaries.abandoned = true;
    for path in std::mem::take(&mut temporaries.paths) {
        delete(&path);
    }
}

/// The temporaries of this process; never returns once they were abandoned.
pub(super) fn lock() -> MutexGuard<'static, Temporaries> {
    let temporaries = TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner);
    if temporaries.abandoned {
        drop(temporaries);
        loop {
            std::thread::park();
        }
    }
    temporaries
}

/// Removes temporaries that are not needed any more.
pub(super) fn discard<'a>(paths: impl IntoIterator<Item = &'a Path>) {
    let mut temporaries = TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner);
    for path in paths {
        if temporaries.paths.remove(path) {
            delete(path);
        }
    }
}

impl Temporaries {
    /// A new file in `folder`.
    pub(super) fn file(&mut self, folder: &Path) -> io::Result<(File, PathBuf)> {
        let mut builder = builder(".partial");
        // Temporary files are private by default; this one becomes an ordinary file, so the umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let (file, path) = builder.tempfile_in(folder)?.keep().map_err(|error| error.error)?;
        self.paths.insert(path.clone());
        Ok((file, path))
    }

    /// A new folder in `folder`.
    pub(super) fn folder(&mut self, folder: &Path) -> io::Result<PathBuf> {
        let mut builder = builder(".partial");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let path = builder.tempdir_in(folder)?.keep();
        self.paths.insert(path.clone());
        Ok(path)
    }

    /// A new file with a name of its own in a temporary folder, with which it goes.
    #[expect(clippy::unused_self, reason = "no file is made in a folder that is being removed")]
    pub(super) fn file_inside(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Moves a temporary to its place.
    pub(super) fn place(&mut self, temporary: &Path, target: &Path) -> io::Result<()> {
        fs::rename(temporary, target)?;
        self.paths.remove(temporary);
        Ok(())
    }
}

/// A free name in `folder` for what lies at a target until all others are in place; `make` puts it there.
pub(super) fn backup(folder: &Path, make: impl FnMut(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    builder(".backup").make_in(folder, make)?.into_temp_path().keep().map_err(|error| error.error)
}

fn builder(suffix: &'static str) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".otfuse-").suffix(suffix);
    builder
}

/// Removes a file or a folder with all that is in it. What is not there any more is as good as removed.
pub(super) fn delete(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
