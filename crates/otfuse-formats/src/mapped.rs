//! Memory maps that give their pages back.
//!
//! Pages of a mapped file count as memory of the process from the first access until the map ends. A network of which one
//! tensor is read after the other would soon lie in memory as a whole, and so would every other network at hand. So the
//! maps are kept in a table, in which a tensor finds the one that its bytes are a part of.

#[cfg(unix)]
mod faults;

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;
use otfuse_graph::{Lender, Tensor};

use crate::FormatError;

/// A map that lives as long as any slice of it or tensor over it.
struct Mapped {
    map: Mmap,
    path: PathBuf,
    /// What the file was when it was mapped.
    state: Option<State>,
    #[cfg(unix)]
    watched: Option<usize>,
}

/// A file at a time: device and number where there are such, length and time of its last change.
type State = ((u64, u64), u64, std::time::SystemTime);

fn state(metadata: &Metadata) -> Option<State> {
    #[cfg(unix)]
    let number = (std::os::unix::fs::MetadataExt::dev(metadata), std::os::unix::fs::MetadataExt::ino(metadata));
    #[cfg(not(unix))]
    let number = (0, 0);
    Some((number, metadata.len(), metadata.modified().ok()?))
}

impl Mapped {
    /// Whether the file has been written to since. One that was replaced by another is not: the map is of the older.
    fn is_changed(&self) -> bool {
        let (Some(before), Ok(metadata)) = (&self.state, std::fs::metadata(&self.path)) else { return false };
        state(&metadata).is_some_and(|now| now.0 == before.0 && now != *before)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(slot) = self.watched {
            faults::forget(slot);
        }
    }
}

/// Fails if a file was shortened while it was read, or one that is mapped has been written to since: what was made of it may be of
/// two files. Files that are replaced by renaming do no harm.
///
/// # Errors
/// [`FormatError::Shortened`] or [`FormatError::Changed`] with the file.
pub fn check_inputs() -> Result<(), FormatError> {
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = maps.values().filter_map(Weak::upgrade).find(|map| map.is_changed());
    drop(maps);
    #[cfg(unix)]
    if faults::any() {
        let path = changed.map_or_else(|| PathBuf::from("an input"), |map| map.path.clone());
        return Err(FormatError::Shortened { path });
    }
    match changed {
        Some(map) => Err(FormatError::Changed { path: map.path.clone() }),
        None => Ok(()),
    }
}

/// All maps by the address that they begin at.
static MAPS: Mutex<BTreeMap<usize, Weak<Mapped>>> = Mutex::new(BTreeMap::new());

/// The bytes of a map of a file.
pub(crate) fn share(map: Mmap, path: &Path, metadata: &Metadata) -> Bytes {
    struct Owner(Arc<Mapped>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0.map
        }
    }
    let mapped = Arc::new(Mapped {
        #[cfg(unix)]
        watched: faults::watch(map.as_ptr() as usize, map.len()),
        path: path.into(),
        state: state(metadata),
        map,
    });
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|_, map| map.strong_count() > 0);
    maps.insert(mapped.map.as_ptr() as usize, Arc::downgrade(&mapped));
    Bytes::from_owner(Owner(mapped))
}

/// The tensor, lent by the map that its bytes are a part of, if there is one.
pub(crate) fn lent(tensor: Tensor) -> Tensor {
    let start = tensor.bytes().as_ptr() as usize;
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = maps.range(..=start).next_back().and_then(|(_, map)| map.upgrade());
    drop(maps);
    match found.filter(|map| start + tensor.bytes().len() <= map.map.as_ptr() as usize + map.map.len()) {
        Some(map) => tensor.lent_by(map),
        None => tensor,
    }
}

impl Lender for Mapped {
    fn release(&self, bytes: &[u8]) {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.map.as_ptr() as usize);
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.map.len()) {
            return;
        }
        // SAFETY: the map is read-only and of a file, so that its pages hold what the file holds when they come back; the
        // range lies inside the map, checked above. Advice that is not taken changes nothing.
        #[cfg(unix)]
        let _ = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes.len()) };
    }
}

#[cfg(test)]
mod tests {
    use otfuse_graph::DataType;

    use crate::file::{atomic_write, open_mapped};

    use super::*;

    #[test]
    fn released_bytes_stay_readable() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.bin");
        let values: Vec<u8> = (0..1_u32 << 20).map(|value| (value % 251) as u8).collect();
        atomic_write(&path, |writer| std::io::Write::write_all(writer, &values)).expect("written");
        let bytes = open_mapped(&path).expect("mapped");
        let tensor =
            Tensor::new(DataType::U8, vec![500_000], bytes.slice(1000..501_000)).expect("as long as its shape");
        let tensor = lent(tensor);
        drop(bytes);
        assert_eq!(tensor.bytes(), &values[1000..501_000]);
        tensor.release();
        assert_eq!(tensor.bytes(), &values[1000..501_000]);
    }

    #[test]
    fn what_is_written_to_is_told_from_what_is_replaced() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.bin");
        std::fs::write(&path, vec![1_u8; 100_000]).expect("written");
        let file = std::fs::File::open(&path).expect("a file");
        let metadata = file.metadata().expect("of a file");
        // SAFETY: the file is this test's own.
        let map = unsafe { Mmap::map(&file) }.expect("mapped");
        let mapped = Mapped {
            map,
            path: path.clone(),
            state: state(&metadata),
            #[cfg(unix)]
            watched: None,
        };
        assert!(!mapped.is_changed());
        atomic_write(&path, |writer| std::io::Write::write_all(writer, b"another")).expect("written");
        assert!(!mapped.is_changed(), "another file");
        std::fs::write(&path, b"longer than before").expect("written");
        let state_of_path = state(&std::fs::metadata(&path).expect("of a file"));
        let mut mapped = mapped_at(&path);
        mapped.state = state_of_path.map(|(number, length, at)| (number, length + 1, at));
        assert!(mapped.is_changed());
    }

    fn mapped_at(path: &Path) -> Mapped {
        let file = std::fs::File::open(path).expect("a file");
        // SAFETY: the file is a test's own.
        let map = unsafe { Mmap::map(&file) }.expect("mapped");
        Mapped {
            map,
            path: path.into(),
            state: None,
            #[cfg(unix)]
            watched: None,
        }
    }

    #[test]
    fn other_bytes_are_nobodys() {
        let tensor = lent(Tensor::from_f32(&[1 << 16], vec![1.5; 1 << 16]));
        tensor.release();
        assert_eq!(tensor.to_f32().map(|values| values[7]), Some(1.5));
    }
}
