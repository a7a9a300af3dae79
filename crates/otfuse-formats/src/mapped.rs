//! Memory maps that give their pages back.
//!
//! Pages of a mapped file count as memory of the process from the first access until the map ends. A network of which one
//! tensor is read after the other would soon lie in memory as a whole, and so would every other network at hand. So the
//! maps are kept in a table, in which a tensor finds the one that its bytes are a part of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;
use otfuse_graph::{Lender, Tensor};

/// A map that lives as long as any slice of it or tensor over it.
struct Mapped(Mmap);

/// All maps by the address that they begin at.
static MAPS: Mutex<BTreeMap<usize, Weak<Mapped>>> = Mutex::new(BTreeMap::new());

/// The bytes of a map.
pub(crate) fn share(map: Mmap) -> Bytes {
    struct Owner(Arc<Mapped>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0.0
        }
    }
    let mapped = Arc::new(Mapped(map));
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|_, map| map.strong_count() > 0);
    maps.insert(mapped.0.as_ptr() as usize, Arc::downgrade(&mapped));
    Bytes::from_owner(Owner(mapped))
}

/// The tensor, lent by the map that its bytes are a part of, if there is one.
pub(crate) fn lent(tensor: Tensor) -> Tensor {
    let start = tensor.bytes().as_ptr() as usize;
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = maps.range(..=start).next_back().and_then(|(_, map)| map.upgrade());
    drop(maps);
    match found.filter(|map| start + tensor.bytes().len() <= map.0.as_ptr() as usize + map.0.len()) {
        Some(map) => tensor.lent_by(map),
        None => tensor,
    }
}

impl Lender for Mapped {
    fn release(&self, bytes: &[u8]) {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize);
        if offset.checked_add(bytes.len()).is_none_or(|end| end > self.0.len()) {
            return;
        }
        // SAFETY: the map is read-only and of a file, so that its pages hold what the file holds when they come back; the
        // range lies inside the map, checked above. Advice that is not taken changes nothing.
        #[cfg(unix)]
        let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes.len()) };
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
    fn other_bytes_are_nobodys() {
        let tensor = lent(Tensor::from_f32(&[1 << 16], vec![1.5; 1 << 16]));
        tensor.release();
        assert_eq!(tensor.to_f32().map(|values| values[7]), Some(1.5));
    }
}
