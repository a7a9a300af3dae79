//! Reads a model that is spread over several safetensors files.

use std::collections::HashMap;
use std::path::{Component, Path};

use indexmap::IndexMap;
use serde::Deserialize;

use super::read_safetensors;
use crate::FormatError;
use crate::error::Blame;
use crate::file::{check_inside, open_mapped};
use crate::state_dict::{Ignored, StateDict};

/// The index file.
#[derive(Deserialize)]
struct Index {
    /// For each tensor the file that holds it.
    weight_map: IndexMap<String, String>,
}

/// Reads the tensors that an index file (`model.safetensors.index.json`) lists, in its order, from the files beside
/// it.
///
/// # Errors
/// Any [`FormatError`], also of the shards; [`FormatError::MissingEntry`] if a shard lacks a tensor.
pub fn read_sharded_safetensors(index: &Path) -> Result<StateDict, FormatError> {
    let blame = Blame(index);
    let bytes = open_mapped(index)?;
    let Index { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|error| blame.malformed("index", "a JSON object with \"weight_map\"", error))?;
    let folder = index.parent().unwrap_or(Path::new(""));
    let mut shards: HashMap<&str, StateDict> = HashMap::new();
    let mut dict = StateDict::new();
    for (name, file) in &weight_map {
        let shard = match shards.get(file.as_str()) {
            Some(shard) => shard,
            None => {
                let shard = Path::new(file);
                // An index from elsewhere must not reach files outside its own folder.
                if !shard.components().all(|part| matches!(part, Component::Normal(_))) {
                    let found = format!("{file:?}");
                    return Err(blame.malformed("index", "the name of a file in the same folder", found));
                }
                let shard = folder.join(shard);
                check_inside(folder, &shard)?;
                let shard = read_safetensors(&shard)?;
                for (key, value) in &shard.provenance().metadata {
                    dict.provenance_mut().metadata.entry(key.clone()).or_insert_with(|| value.clone());
                }
                shards.entry(file).or_insert(shard)
            }
        };
        let tensor = shard.get(name);
        let tensor = tensor.ok_or_else(|| blame.missing(format_args!("tensor {name:?} in {file:?}")))?;
        dict.insert(name.as_str(), tensor.clone()).map_err(|error| blame.duplicate(error.name))?;
    }
    let mut files: Vec<_> = shards.into_iter().collect();
    files.sort_by_key(|(file, _)| *file);
    for (file, shard) in files {
        dict.provenance_mut().files.push(folder.join(file));
        let unlisted = shard.names().filter(|name| weight_map.get(*name).is_none_or(|listed| listed != file));
        let unlisted = unlisted.map(|name| Ignored::new(name, &format!("a tensor of {file:?} that is not indexed")));
        dict.provenance_mut().ignored.extend(unlisted);
    }
    Ok(dict)
}
