//! Names and hashes of files.

use std::io::Read;
use std::path::{Path, PathBuf};

use otfuse_formats::{FormatError, open_regular};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Bytes of a file that are hashed at a time.
const HASHED: usize = 1 << 20;

/// Fails if an input that is still in use was shortened or written to since it was opened, so that what was made of it may be of two
/// files. What is saved is checked anyway; this is for what is shown.
///
/// # Errors
/// The file.
pub fn check_inputs() -> Result<()> {
    otfuse_formats::check_inputs().map_err(Error::from)
}

/// SHA-256 of a file's bytes in hexadecimal; of a folder, that of the lines `HASH  NAME` of its files by name.
pub(crate) fn hash(path: &Path) -> Result<String> {
    let failure = |source| Error::from(FormatError::Io { path: path.into(), action: "read", source });
    if path.is_dir() {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failure)? {
            let file = entry.map_err(failure)?.path();
            if std::fs::metadata(&file).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
                files.push(file);
            }
        }
        files.sort();
        let mut digest = Sha256::new();
        for file in &files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            digest.update(format!("{}  {name}\n", hash(file)?));
        }
        return Ok(hexadecimal(&digest.finalize()));
    }
    let mut file = open_regular(path).map_err(failure)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; HASHED];
    loop {
        let length = file.read(&mut piece).map_err(failure)?;
        if length == 0 {
            return Ok(hexadecimal(&digest.finalize()));
        }
        digest.update(&piece[..length]);
    }
}

/// SHA-256 of bytes in hexadecimal.
pub(crate) fn hash_of(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path as it is shown and written to JSON.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A number of things with their noun.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// As many of the last parts of each path as tell it from the others; the whole path where nothing does.
#[cfg(feature = "pages")]
pub(crate) fn short_names(paths: &[String]) -> Vec<String> {
    let ending = |path: &str, parts: usize| -> String {
        let all: Vec<_> = Path::new(path).iter().collect();
        let kept: PathBuf = all[all.len().saturating_sub(parts)..].iter().collect();
        shown(&kept)
    };
    let longest = paths.iter().map(|path| Path::new(path).iter().count()).max().unwrap_or(0);
    let differ = |path: &String| {
        (1..=longest)
            .map(|parts| (parts, ending(path, parts)))
            .find(|(parts, name)| paths.iter().filter(|other| ending(other, *parts) == *name).count() == 1)
    };
    paths.iter().map(|path| differ(path).map_or_else(|| path.clone(), |(_, name)| name)).collect()
}
