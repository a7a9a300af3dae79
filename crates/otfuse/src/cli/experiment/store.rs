//! The folder of an experiment: results, and under `units` what every piece of work left.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use otfuse_formats::file::atomic_write;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::Failure;
use crate::cli::models::file_failure;

/// A folder that only one process works in.
pub struct Store {
    folder: PathBuf,
    /// Held until the process ends, also by force.
    _lock: File,
}

impl Store {
    /// Opens or makes the folder.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let failure = |path: &Path, error: std::io::Error| {
            Failure::input(format!("{}: {error}", path.display())).hint("-o DIR names a folder for the results")
        };
        let units = folder.join("units");
        fs::create_dir_all(&units).map_err(|error| failure(&units, error))?;
        let path = units.join("lock");
        let lock = File::create(&path).map_err(|error| failure(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Failure::input(format!("{}: another experiment works in this folder", folder.display()))
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
    pub fn load<T: DeserializeOwned>(&self, key: &str, what: &str) -> Result<Option<T>, Failure> {
        let path = self.record(key, what);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::input(format!("{}: {error}", path.display()))),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Failure::input(format!("{}: damaged: {error}", path.display())).hint("remove the file to repeat the work")
        })
    }

    /// What a unit left, which is done.
    pub fn kept<T: DeserializeOwned>(&self, key: &str, what: &str) -> Result<T, Failure> {
        let missing = || Failure::run(format!("{}: the file is gone", self.record(key, what).display()));
        self.load(key, what)?.ok_or_else(missing)
    }

    /// Keeps what a unit leaves.
    pub fn save(&self, key: &str, what: &str, record: &impl Serialize) -> Result<(), Failure> {
        write(&self.record(key, what), &json(record)?)
    }

    /// Writes a file of results.
    pub fn result(&self, name: &str, text: &str) -> Result<(), Failure> {
        write(&self.folder.join(name), text)
    }
}

/// Enough of a hash to tell the units of an experiment apart.
fn short(key: &str) -> &str {
    key.get(..24).unwrap_or(key)
}

/// As JSON that people can read.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Failure::run(format!("cannot write JSON: {error}")))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    atomic_write(path, |file| file.write_all(text.as_bytes())).map_err(|error| file_failure(&error))
}
