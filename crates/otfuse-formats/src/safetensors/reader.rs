//! Reads one safetensors file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use otfuse_graph::Tensor;
use safetensors::SafeTensors;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{METADATA_KEY, data_type};
use crate::FormatError;
use crate::error::Blame;
use crate::file::open_mapped;
use crate::state_dict::StateDict;

/// Reads a safetensors file. Tensors are slices of the memory-mapped file, in the order of its header; behind them are those
/// that share the storage of one of them, which `safetensors.torch.save_model` leaves out and lists in the metadata.
///
/// # Errors
/// Any [`FormatError`].
pub fn read_safetensors(path: &Path) -> Result<StateDict, FormatError> {
    read_safetensors_bytes(path, &open_mapped(path)?)
}

/// [`read_safetensors`] for bytes at hand; `path` is what errors name.
///
/// # Errors
/// Any [`FormatError`] but those of opening a file.
pub fn read_safetensors_bytes(path: &Path, bytes: &Bytes) -> Result<StateDict, FormatError> {
    let blame = Blame(path);
    let (header, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| blame.malformed("header", "a sound safetensors header", error))?;
    let start = header + 8;
    let mut dict = StateDict::new();
    for name in names(&bytes[8..start]).map_err(|error| blame.malformed("header", "a JSON object", error))? {
        if name == METADATA_KEY {
            continue;
        }
        let info = metadata.info(&name).ok_or_else(|| blame.missing(format_args!("tensor {name:?}")))?;
        let entry = format!("tensor {name:?}");
        let data_type = data_type(info.dtype)
            .ok_or_else(|| blame.unsupported(&entry, "a real element type of 8 to 64 bits", info.dtype))?;
        let (first, last) = info.data_offsets;
        let range = start.checked_add(first).zip(start.checked_add(last));
        let range = range.filter(|&(first, last)| first <= last && last <= bytes.len());
        let (first, last) = range.ok_or_else(|| blame.truncated(&entry, last as u64, (bytes.len() - start) as u64))?;
        let tensor = Tensor::new(data_type, info.shape.clone(), bytes.slice(first..last))
            .map_err(|error| blame.malformed(&entry, format_args!("{} bytes", error.expected), error.found))?;
        dict.insert(name, tensor).map_err(|error| blame.duplicate(error.name))?;
    }
    if let Some(metadata) = metadata.metadata() {
        let mut metadata: BTreeMap<String, String> =
            metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let is_left_out = |name: &String, of: &mut String| !dict.contains(name) && dict.contains(of);
        let left_out: BTreeMap<String, String> = metadata.extract_if(.., is_left_out).collect();
        for (name, of) in &left_out {
            let Some(tensor) = dict.get(of).cloned() else { continue };
            dict.insert(name.clone(), tensor).map_err(|error| blame.duplicate(error.name))?;
        }
        (dict.provenance_mut().metadata, dict.provenance_mut().left_out) = (metadata, left_out);
    }
    Ok(dict)
}

/// The keys of a JSON object in order, repeated ones too, which parsers that fill a map drop.
fn names(json: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    serde_json::Deserializer::from_slice(json).deserialize_map(Names)
}
