//! The folder of an experiment: results, and under `units` what every piece of work left.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use otfuse_formats::file::atomic_write;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A folder that only one process works in.
pub(crate) struct Store {
    folder: PathBuf,
    /// Held until the process ends, also by force.
    _lock: File,
}

impl Store {
    /// Opens or makes the folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let failure = |path: &Path, error: std::io::Error| {
            Error::input(format!("{}: {error}", path.display())).hint("-o DIR names a folder for the results")
        };
        let units = folder.join("units");
        fs::create_dir_all(&units).map_err(|error| failure(&units, error))?;
        let path = units.join("lock");
        let lock = File::create(&path).map_err(|error| failure(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Error::input(format!("{}: another experiment works in this folder", folder.display()))
                    .hint("wait for it, or choose another folder"))
            }
            Err(fs::TryLockError::Error(error)) => Err(failure(&path, error)),
        }
    }

    /// The network of a unit.
    pub fn network(&self, key: &str) -> PathBuf {
        self.folder.join("units").join(format!("{}.onnx", short(key)))
    }

    fn record(&self, key: &str, what: &str) -> PathBuf {
        self.folder.join("units").join(format!("{}.{what}.json", short(key)))
    }

    /// What a unit left; none if it is not done.
    pub fn load<T: DeserializeOwned>(&self, key: &str, what: &str) -> Result<Option<T>> {
        let path = self.record(key, what);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::input(format!("{}: {error}", path.display()))),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::input(format!("{}: damaged: {error}", path.display())).hint("remove the file to repeat the work")
        })
    }

    /// What a unit left, which is done.
    pub fn kept<T: DeserializeOwned>(&self, key: &str, what: &str) -> Result<T> {
        let missing = || Error::run(format!("{}: the file is gone", self.record(key, what).display()));
        self.load(key, what)?.ok_or_else(missing)
    }

    /// Keeps what a unit leaves.
    pub fn save(&self, key: &str, what: &str, record: &impl Serialize) -> Result<()> {
        write(&self.record(key, what), &json(record)?)
    }

    /// A file of results.
    pub(crate) fn result(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Enough of a hash to tell the units of an experiment apart.
fn short(key: &str) -> &str {
    key.get(..24).unwrap_or(key)
}

/// As JSON that people can read.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Error::run(format!("cannot write JSON: {error}")))
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(atomic_write(path, |file| file.write_all(text.as_bytes()))?)
}
