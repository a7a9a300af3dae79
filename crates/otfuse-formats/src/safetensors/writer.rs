//! Writes safetensors files.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use otfuse_graph::Tensor;
use safetensors::tensor::TensorInfo;
use serde::ser::{SerializeMap, Serializer};

use super::{MAX_HEADER, METADATA_KEY, dtype};
use crate::FormatError;
use crate::contents::{Contents, for_each};
use crate::error::Blame;
use crate::file::Outputs;
use crate::state_dict::StateDict;

/// The header is padded with spaces to a multiple of this, so that the data behind it is aligned.
const ALIGNMENT: usize = 8;

/// Writes a state dict with its metadata, whole or not at all. The header keeps the order of the dict; the data is
/// laid out by descending element size, so that every tensor is aligned. Equal inputs give equal bytes (the
/// `safetensors` crate's own writer orders metadata at random).
///
/// # Errors
/// [`FormatError::Io`], [`FormatError::NotAFile`]; [`FormatError::LimitExceeded`] if names and metadata take more
/// than the 100 MB that readers accept; [`FormatError::Unsupported`] if a tensor is named `__metadata__`.
pub fn write_safetensors(path: &Path, dict: &StateDict) -> Result<(), FormatError> {
    Outputs::at_once(|outputs| write_safetensors_of(outputs, path, dict))
}

/// [`write_safetensors`] as one of several outputs.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_safetensors_to(outputs: &Outputs, path: &Path, dict: &StateDict) -> Result<(), FormatError> {
    write_safetensors_of(outputs, path, dict)
}

/// [`write_safetensors`] as one of several outputs, for tensors that are made one after the other.
pub(crate) fn write_safetensors_of(outputs: &Outputs, path: &Path, contents: &dyn Contents) -> Result<(), FormatError> {
    let dict = contents.dict();
    let blame = Blame(path);
    if dict.contains(METADATA_KEY) {
        let entry = format!("tensor {METADATA_KEY:?}");
        return Err(blame.unsupported(entry, "another name", "this reserved name"));
    }
    // What was left out is so again.
    let left_out = &dict.provenance().left_out;
    let is_twin = |name: &str| left_out.get(name).is_some_and(|of| dict.contains(of));
    let mut layout: Vec<(&str, &Tensor)> = dict.iter().filter(|(name, _)| !is_twin(name)).collect();
    layout.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.data_type().size()));
    let mut offset = 0;
    let mut offsets = BTreeMap::new();
    for (name, tensor) in &layout {
        let end = offset + tensor.bytes().len();
        offsets.insert(*name, (offset, end));
        offset = end;
    }
    let mut header = header(dict, &offsets).map_err(|error| blame.malformed("header", "text", error))?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    if header.len() > MAX_HEADER {
        return Err(blame.limit("header", MAX_HEADER as u64, header.len() as u64));
    }
    outputs.write(path, |file| -> io::Result<()> {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let names: Vec<&str> = layout.iter().map(|(name, _)| *name).collect();
        for_each(contents, &names, |_, tensor| file.write_all(tensor.bytes()))
    })
}

fn header(dict: &StateDict, offsets: &BTreeMap<&str, (usize, usize)>) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut out);
    let mut map = serializer.serialize_map(None)?;
    let mut metadata = dict.provenance().metadata.clone();
    let left_out = dict.provenance().left_out.iter().filter(|(name, _)| !offsets.contains_key(name.as_str()));
    metadata.extend(left_out.map(|(name, of)| (name.clone(), of.clone())));
    if !metadata.is_empty() {
        map.serialize_entry(METADATA_KEY, &metadata)?;
    }
    for (name, tensor) in dict.iter() {
        let Some(&data_offsets) = offsets.get(name) else { continue };
        let info = TensorInfo { dtype: dtype(tensor.data_type()), shape: tensor.shape().to_vec(), data_offsets };
        map.serialize_entry(name, &info)?;
    }
    map.end()?;
    Ok(out)
}
