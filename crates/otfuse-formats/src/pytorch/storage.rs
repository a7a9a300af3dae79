//! The bytes behind tensors.

use std::collections::HashMap;

use bytes::Bytes;

use crate::FormatError;
use crate::archive::Archive;
use crate::error::Blame;

/// The storages of a checkpoint by key.
pub(super) struct Storages<'a> {
    blame: Blame<'a>,
    /// Storages found so far: all of them, except in a zip archive.
    known: HashMap<Bytes, Bytes>,
    /// A zip archive and the folder in it that holds further storages.
    archive: Option<(Archive<'a>, String)>,
    /// Whether numbers have their most significant byte first.
    pub(super) big_endian: bool,
}

impl<'a> Storages<'a> {
    pub(super) fn of_map(blame: Blame<'a>, known: HashMap<Bytes, Bytes>) -> Self {
        Self { blame, known, archive: None, big_endian: false }
    }

    pub(super) fn of_archive(blame: Blame<'a>, archive: Archive<'a>, folder: String, big_endian: bool) -> Self {
        Self { blame, known: HashMap::new(), archive: Some((archive, folder)), big_endian }
    }

    pub(super) fn get(&mut self, key: &Bytes) -> Result<Bytes, FormatError> {
        if let Some(bytes) = self.known.get(key) {
            return Ok(bytes.clone());
        }
        let key_text = String::from_utf8_lossy(key);
        let read = match &mut self.archive {
            Some((archive, folder)) => archive.read(&format!("{folder}{key_text}"))?,
            None => None,
        };
        let bytes = read.ok_or_else(|| self.blame.missing(format_args!("storage {key_text:?}")))?;
        self.known.insert(key.clone(), bytes.clone());
        Ok(bytes)
    }
}
