//! Zip archives over memory maps: entries that are stored are slices, entries that are deflated are unpacked.

use std::io::{Cursor, Read};
use std::path::Path;

use bytes::Bytes;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use crate::FormatError;
use crate::error::Blame;
use crate::machine::memory_limit;

/// Deflate shrinks no input by more than this factor, so an archive whose entries do not overlap cannot unpack to
/// more than this many times its own length.
const DEFLATE_MAX_RATIO: u64 = 1032;

/// What all entries of an archive may unpack to for each byte of it, beside what any may; more only where the machine has plenty.
const RATIO: u64 = 64;
const BASE: u64 = 64 << 20;

/// How a zip archive begins.
pub(crate) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// An open zip archive.
pub(crate) struct Archive<'a> {
    blame: Blame<'a>,
    bytes: Bytes,
    archive: ZipArchive<Cursor<Bytes>>,
    unpacked: u64,
}

impl<'a> Archive<'a> {
    pub(crate) fn open(path: &'a Path, bytes: Bytes) -> Result<Self, FormatError> {
        let blame = Blame(path);
        // An archive that begins with the file, as all do that PyTorch and NumPy write, need not be looked for: the search misses some,
        // such as those of PyTorch with a name of 21 characters.
        let at_start = Config { archive_offset: ArchiveOffset::Known(0) };
        let archive = ZipArchive::with_config(at_start, Cursor::new(bytes.clone()))
            .or_else(|_| ZipArchive::new(Cursor::new(bytes.clone())))
            .map_err(|error| blame.malformed("zip archive", "a readable central directory", error))?;
        Ok(Self { blame, bytes, archive, unpacked: 0 })
    }

    /// The names of the entries in the order of the archive.
    pub(crate) fn names(&self) -> Result<Vec<String>, FormatError> {
        let names = self.archive.file_names().map(|name| name.map(std::borrow::Cow::into_owned));
        let names: Result<_, _> = names.collect();
        names.map_err(|error| self.blame.malformed("zip archive", "readable names of entries", error))
    }

    /// The content of an entry; `None` if there is none of that name. Checksums of stored entries are not checked:
    /// PyTorch can be told to write none.
    pub(crate) fn read(&mut self, name: &str) -> Result<Option<Bytes>, FormatError> {
        let Some(index) = self.archive.index_for_name(name) else { return Ok(None) };
        let blame = self.blame;
        let broken = |error: zip::result::ZipError| blame.malformed(name, "a readable zip entry", error);
        let (start, packed, size, method) = {
            let entry = self.archive.by_index_raw(index).map_err(broken)?;
            if entry.encrypted() {
                return Err(blame.unsupported(name, "a plain zip entry", "an encrypted one"));
            }
            (entry.data_start(), entry.compressed_size(), entry.size(), entry.compression())
        };
        match method {
            CompressionMethod::Stored => {
                let length = self.bytes.len() as u64;
                let start = start.unwrap_or(length).min(length);
                let end = start.checked_add(packed).filter(|&end| end <= length);
                let end = end.ok_or_else(|| blame.truncated(name, packed, length - start))?;
                Ok(Some(self.bytes.slice(start as usize..end as usize)))
            }
            CompressionMethod::Deflated => {
                let length = self.bytes.len() as u64;
                let honest = length.saturating_mul(RATIO).saturating_add(BASE).max(memory_limit() / 4);
                let limit = length.saturating_mul(DEFLATE_MAX_RATIO).min(honest);
                self.unpacked = self.unpacked.saturating_add(size);
                if self.unpacked > limit {
                    return Err(blame.limit(name, limit, self.unpacked));
                }
                let entry = self.archive.by_index(index).map_err(broken)?;
                // As long as it says, not up to twice as long.
                let mut data = Vec::new();
                let room = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(1);
                data.try_reserve_exact(room).map_err(|_| blame.limit(name, limit, size))?;
                // One byte more than announced shows an entry that is longer than it says.
                entry
                    .take(size.saturating_add(1))
                    .read_to_end(&mut data)
                    .map_err(|error| blame.malformed(name, "a sound deflate stream", error))?;
                if data.len() as u64 != size {
                    return Err(blame.truncated(name, size, data.len() as u64));
                }
                Ok(Some(data.into()))
            }
            other => Err(blame.unsupported(name, "a stored or deflated zip entry", format!("compression {other}"))),
        }
    }
}
