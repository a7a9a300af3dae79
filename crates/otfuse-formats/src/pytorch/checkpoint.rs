//! The three containers of PyTorch: each gives the pickled value and the storages it refers to.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

use bytes::Bytes;

use super::element::Element;
use super::pickle::{Arena, PersistentIds, PickleError, StorageReference, TensorReference, Value, ValueId, unpickle};
use super::storage::Storages;
use super::view::MAX_RANK;
use crate::FormatError;
use crate::archive::{Archive, ZIP_MAGIC};
use crate::error::Blame;

/// The number that begins a pickle of `torch.save` before PyTorch 1.6, little-endian.
const LEGACY_MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY_PROTOCOL: i64 = 1001;

/// A checkpoint before it is known where in it the tensors are.
pub(super) struct Checkpoint<'a> {
    pub(super) arena: Arena,
    pub(super) root: ValueId,
    pub(super) storages: Storages<'a>,
    /// Bytes of the pickle: legitimate work is proportional to it.
    pub(super) pickle_length: usize,
    /// The folder of the storages in a zip archive of little-endian numbers.
    pub(super) folder: Option<String>,
    /// Whether the archive holds a TorchScript program.
    pub(super) is_program: bool,
}

/// How a tar archive is marked.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// Whether the first bytes may be a checkpoint of PyTorch.
pub(super) fn is_checkpoint(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP_MAGIC) || bytes.first() == Some(&0x80) || is_tar(bytes)
}

impl<'a> Checkpoint<'a> {
    /// Reads whichever container it is.
    pub(super) fn open(path: &'a Path, bytes: &Bytes) -> Result<Self, FormatError> {
        if bytes.starts_with(ZIP_MAGIC) {
            Self::open_zip(path, bytes)
        } else if is_tar(bytes) {
            Self::open_tar(path, bytes)
        } else {
            Self::open_legacy(path, bytes)
        }
    }

    /// A zip archive: `TOP/data.pkl`, `TOP/data/KEY`, `TOP/byteorder`.
    fn open_zip(path: &'a Path, bytes: &Bytes) -> Result<Self, FormatError> {
        let blame = Blame(path);
        let mut archive = Archive::open(path, bytes.clone())?;
        let names = archive.names()?;
        let pickles = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
        let top = pickles.filter(|top| top.is_empty() || top.ends_with('/')).min_by_key(|top| top.len());
        let top = top.ok_or_else(|| blame.missing("data.pkl in the zip archive"))?.to_owned();
        let is_program = names.iter().any(|name| name.strip_prefix(&top) == Some("constants.pkl"));
        let pickle_name = format!("{top}data.pkl");
        let pickle = archive.read(&pickle_name)?.ok_or_else(|| blame.missing(&pickle_name))?;
        let order_name = format!("{top}byteorder");
        let big_endian = match archive.read(&order_name)?.as_deref() {
            None | Some(b"little") => false,
            Some(b"big") => true,
            Some(other) => {
                let found = String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned();
                return Err(blame.malformed(order_name, "\"little\" or \"big\"", format_args!("{found:?}")));
            }
        };
        let mut arena = Arena::new(bytes.len());
        let (root, _) = load(blame, &pickle_name, &mut arena, &pickle, 0, &PersistentIds::new())?;
        let folder = format!("{top}data/");
        let storages = Storages::of_archive(blame, archive, folder.clone(), big_endian);
        let folder = (!big_endian).then_some(folder);
        Ok(Self { arena, root, storages, pickle_length: pickle.len(), folder, is_program })
    }

    /// A sequence of pickles (magic number, protocol, system, value, storage keys) and the storages, each as its
    /// number of elements and the elements, little-endian on every machine.
    fn open_legacy(path: &'a Path, bytes: &Bytes) -> Result<Self, FormatError> {
        let blame = Blame(path);
        let mut arena = Arena::new(bytes.len());
        let none = PersistentIds::new();
        let (magic, end) = load(blame, "magic number", &mut arena, bytes, 0, &none)?;
        match arena.get(magic) {
            Value::BigInteger(number) if &number[..] == LEGACY_MAGIC => {}
            _ => {
                let found = arena.describe(magic);
                let expected = "the magic number of torch.save (a file of pickle.dump has none)";
                return Err(blame.unsupported("pickle", expected, found));
            }
        }
        let (protocol, end) = load(blame, "protocol version", &mut arena, bytes, end, &none)?;
        if arena.integer(protocol) != Some(LEGACY_PROTOCOL) {
            return Err(blame.unsupported("protocol version", LEGACY_PROTOCOL, arena.describe(protocol)));
        }
        let (_system, start) = load(blame, "system information", &mut arena, bytes, end, &none)?;
        let (root, end) = load(blame, "pickle", &mut arena, bytes, start, &none)?;
        let pickle_length = end - start;
        // The value ends here; later pickles add no storages.
        let elements = storage_elements(&arena);
        let (keys, mut end) = load(blame, "storage keys", &mut arena, bytes, end, &none)?;
        let keys =
            arena.sequence(keys).ok_or_else(|| blame.malformed("storage keys", "a list", arena.describe(keys)))?;
        let mut storages = HashMap::new();
        for &key in keys {
            let key = arena.key(key).ok_or_else(|| blame.malformed("storage keys", "text", arena.describe(key)))?;
            let shown = format!("storage {:?}", String::from_utf8_lossy(&key));
            let element =
                *elements.get(&key).ok_or_else(|| blame.malformed(&shown, "a tensor that uses it", "none"))?;
            let (storage, next) = raw_storage(blame, &shown, bytes, end, element)?;
            storages.insert(key, storage);
            end = next;
        }
        Ok(Self {
            arena,
            root,
            storages: Storages::of_map(blame, storages),
            pickle_length,
            folder: None,
            is_program: false,
        })
    }

    /// A tar archive (before PyTorch 0.1.10) of `storages`, `tensors` and `pickle`.
    fn open_tar(path: &'a Path, bytes: &Bytes) -> Result<Self, FormatError> {
        let blame = Blame(path);
        let mut members = HashMap::new();
        let broken = |error| blame.malformed("tar archive", "a readable tar archive", error);
        let mut archive = tar::Archive::new(Cursor::new(bytes.clone()));
        for entry in archive.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (start, length) = (entry.raw_file_position(), entry.size());
            let end = start.checked_add(length).filter(|&end| end <= bytes.len() as u64);
            let end = end.ok_or_else(|| blame.truncated(&name, length, (bytes.len() as u64).saturating_sub(start)))?;
            members.insert(name, bytes.slice(start as usize..end as usize));
        }
        let member = |name: &str| members.get(name).ok_or_else(|| blame.missing(format_args!("tar member {name:?}")));
        let mut arena = Arena::new(bytes.len());
        let mut objects = PersistentIds::new();
        let storages = tar_storages(blame, &mut arena, member("storages")?, &mut objects)?;
        if let Some(tensors) = members.get("tensors") {
            tar_tensors(blame, &mut arena, tensors, &mut objects)?;
        }
        let pickle = member("pickle")?;
        let (root, _) = load(blame, "pickle", &mut arena, pickle, 0, &objects)?;
        let storages = Storages::of_map(blame, storages);
        Ok(Self { arena, root, storages, pickle_length: pickle.len(), folder: None, is_program: false })
    }
}

/// Runs one pickle; its errors name `entry` and the byte.
fn load(
    blame: Blame<'_>,
    entry: &str,
    arena: &mut Arena,
    bytes: &Bytes,
    start: usize,
    ids: &PersistentIds,
) -> Result<(ValueId, usize), FormatError> {
    unpickle(arena, bytes, start, ids).map_err(|PickleError { position, expected, found }| {
        blame.malformed(format_args!("{entry}, byte {position}"), expected, found)
    })
}

/// The element types of all storages that tensors refer to.
fn storage_elements(arena: &Arena) -> HashMap<Bytes, Element> {
    let references = arena.values().filter_map(|value| match value {
        Value::Storage(storage) => Some(storage),
        _ => None,
    });
    let known = references.filter_map(|storage| {
        let (module, name) = arena.class(storage.class)?;
        Some((storage.key.clone(), Element::of_storage(module, name)?))
    });
    known.collect()
}

/// A storage inside a file: a 64-bit number of elements, then the elements. Returns it and the byte behind it.
fn raw_storage(
    blame: Blame<'_>,
    entry: &str,
    bytes: &Bytes,
    start: usize,
    element: Element,
) -> Result<(Bytes, usize), FormatError> {
    let rest = &bytes[start..];
    let Some((count, data)) = rest.split_first_chunk() else {
        return Err(blame.truncated(entry, 8, rest.len() as u64));
    };
    let count = i64::from_le_bytes(*count);
    let count = u64::try_from(count).map_err(|_| blame.malformed(entry, "a natural number of elements", count))?;
    let length = count.saturating_mul(element.size() as u64);
    if length > data.len() as u64 {
        return Err(blame.truncated(entry, length, data.len() as u64));
    }
    let start = start + 8;
    let end = start + length as usize;
    Ok((bytes.slice(start..end), end))
}

/// `storages`: their number, then for each (key, place, class) and the raw storage, then a list of views.
fn tar_storages(
    blame: Blame<'_>,
    arena: &mut Arena,
    bytes: &Bytes,
    objects: &mut PersistentIds,
) -> Result<HashMap<Bytes, Bytes>, FormatError> {
    let none = PersistentIds::new();
    let too_many = || blame.malformed("storages", "fewer than 2^32 values", "more");
    let (count, mut position) = load(blame, "storages", arena, bytes, 0, &none)?;
    let count = arena.natural(count).ok_or_else(|| blame.malformed("storages", "a number", arena.describe(count)))?;
    let mut storages = HashMap::new();
    for _ in 0..count {
        let (header, end) = load(blame, "storages", arena, bytes, position, &none)?;
        let described = match arena.sequence(header) {
            Some(&[key, _place, class]) => {
                let element = arena.class(class).and_then(|(module, name)| Element::of_storage(module, name));
                arena.key(key).zip(element).map(|(key, element)| (key, class, element))
            }
            _ => None,
        };
        let expected = "key, place and type of a storage";
        let (key, class, element) =
            described.ok_or_else(|| blame.malformed("storages", expected, arena.describe(header)))?;
        let shown = format!("storage {:?}", String::from_utf8_lossy(&key));
        let (storage, end) = raw_storage(blame, &shown, bytes, end, element)?;
        let length = (storage.len() / element.size()) as i64;
        let length = arena.add(Value::Integer(length)).ok_or_else(too_many)?;
        let reference = StorageReference { class, key: key.clone(), length, view_offset: 0 };
        let id = arena.add(Value::Storage(reference)).ok_or_else(too_many)?;
        objects.insert(key.clone(), id);
        storages.insert(key, storage);
        position = end;
    }
    if position < bytes.len() {
        let (views, _) = load(blame, "storage views", arena, bytes, position, &none)?;
        let listed = arena.sequence(views).map(<[_]>::to_vec);
        let listed = listed.ok_or_else(|| blame.malformed("storage views", "a list", arena.describe(views)))?;
        for view in listed {
            let resolved = match arena.sequence(view) {
                Some(&[key, root, offset, length]) => arena.key(key).zip(arena.key(root)).and_then(|(key, root)| {
                    let Value::Storage(storage) = arena.get(*objects.get(&root)?) else { return None };
                    let view_offset = arena.integer(offset)?;
                    Some((key, StorageReference { length, view_offset, ..storage.clone() }))
                }),
                _ => None,
            };
            let expected = "key, root, offset and length of a view";
            let (key, reference) =
                resolved.ok_or_else(|| blame.malformed("storage views", expected, arena.describe(view)))?;
            let id = arena.add(Value::Storage(reference)).ok_or_else(too_many)?;
            objects.insert(key, id);
        }
    }
    Ok(storages)
}

/// `tensors`: their number, then for each (key, storage, class), the rank, sizes, strides and the offset.
fn tar_tensors(
    blame: Blame<'_>,
    arena: &mut Arena,
    bytes: &Bytes,
    objects: &mut PersistentIds,
) -> Result<(), FormatError> {
    let none = PersistentIds::new();
    let too_many = || blame.malformed("tensors", "fewer than 2^32 values", "more");
    let (count, mut position) = load(blame, "tensors", arena, bytes, 0, &none)?;
    let count = arena.natural(count).ok_or_else(|| blame.malformed("tensors", "a number", arena.describe(count)))?;
    for _ in 0..count {
        let (header, end) = load(blame, "tensors", arena, bytes, position, &none)?;
        let described = match arena.sequence(header) {
            Some(&[key, storage, _class]) => arena.key(key).zip(arena.key(storage)),
            _ => None,
        };
        let expected = "key, storage and type of a tensor";
        let (key, storage) = described.ok_or_else(|| blame.malformed("tensors", expected, arena.describe(header)))?;
        let shown = String::from_utf8_lossy(&storage).into_owned();
        let storage = *objects.get(&storage).ok_or_else(|| blame.missing(format_args!("storage {shown:?}")))?;
        // A 32-bit rank padded to 64 bits, then numbers of 64 bits: sizes, strides, offset.
        let rest = &bytes[end..];
        let short = |expected: u64| blame.truncated("tensors", expected, rest.len() as u64);
        let (rank, numbers) = rest.split_first_chunk::<8>().ok_or_else(|| short(8))?;
        let rank = u32::from_le_bytes([rank[0], rank[1], rank[2], rank[3]]) as usize;
        if rank > MAX_RANK {
            return Err(blame.malformed("tensors", format_args!("a rank up to {MAX_RANK}"), rank));
        }
        let count = rank * 2 + 1;
        let (numbers, _) = numbers.as_chunks::<8>();
        let numbers = numbers.get(..count).ok_or_else(|| short(8 + 8 * count as u64))?;
        let mut ids = Vec::with_capacity(count);
        for number in numbers {
            ids.push(arena.add(Value::Integer(i64::from_le_bytes(*number))).ok_or_else(too_many)?);
        }
        let size = arena.add(Value::Tuple(ids[..rank].to_vec())).ok_or_else(too_many)?;
        let stride = arena.add(Value::Tuple(ids[rank..2 * rank].to_vec())).ok_or_else(too_many)?;
        let reference = TensorReference { storage, offset: ids[2 * rank], size, stride, data_type: None };
        let id = arena.add(Value::Tensor(reference)).ok_or_else(too_many)?;
        objects.insert(key, id);
        position = end + 8 + 8 * count;
    }
    Ok(())
}
