//! The named tensors of a checkpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use indexmap::map::Entry;
use otfuse_graph::Tensor;

use crate::mapped::lent;
use crate::pytorch::{ANOTHER, Origin};

/// Named tensors in the order of the file, and where in the file they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    tensors: IndexMap<String, Tensor>,
    provenance: Provenance,
    /// The file that it comes from, if it can be written again with other weights.
    origin: Option<Origin>,
}

/// Where a state dict was found and what else its file holds: for messages, not for computation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The keys that lead to the state dict in a nested checkpoint, outermost first; empty at the root.
    pub found_under: Vec<String>,
    /// The Python class, if the file holds a whole module.
    pub module_class: Option<String>,
    /// What was left out.
    pub ignored: Vec<Ignored>,
    /// The files beside the one that was named: those that an index lists, by name.
    pub files: Vec<PathBuf>,
    /// The text metadata of a safetensors file.
    pub metadata: BTreeMap<String, String>,
    /// Names of tensors that a safetensors file leaves out, since each is another one once more, whose name stands beside it.
    pub left_out: BTreeMap<String, String>,
}

/// An entry of a checkpoint that is not part of the state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The keys that lead to the entry, joined by dots.
    pub path: String,
    /// What it is, in a few words.
    pub found: String,
}

/// The most entries that are listed as ignored.
pub(crate) const MAX_IGNORED: usize = 1000;

impl Ignored {
    /// Whether it is a state dict too, which could be read in place of the one that was.
    pub fn is_state_dict(&self) -> bool {
        self.found == ANOTHER
    }

    /// Keeps the beginning of both texts: a hostile file may hold very long ones, many times.
    pub(crate) fn new(path: &str, found: &str) -> Self {
        let short = |text: &str| text.chars().take(200).collect();
        Self { path: short(path), found: short(found) }
    }
}

/// A name was given twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one tensor named {name:?}, found several")]
pub struct DuplicateNameError {
    /// The name.
    pub name: String,
}

impl StateDict {
    /// A state dict without tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a tensor. One over a slice of a memory map gives its pages back between uses.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Result<(), DuplicateNameError> {
        match self.tensors.entry(name.into()) {
            Entry::Occupied(entry) => Err(DuplicateNameError { name: entry.key().clone() }),
            Entry::Vacant(entry) => {
                entry.insert(lent(tensor));
                Ok(())
            }
        }
    }

    /// Exchanges the tensor of a name, keeping its place, and returns the old one; `None` if there is no such name.
    pub fn replace(&mut self, name: &str, tensor: Tensor) -> Option<Tensor> {
        self.tensors.get_mut(name).map(|slot| std::mem::replace(slot, tensor))
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Where the tensors were found.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = Some(origin);
    }

    /// Names whose tensors are one: the same elements of the same storage, in sets of two and more, in order.
    pub fn tied(&self) -> Vec<Vec<&str>> {
        let mut sets: IndexMap<_, Vec<&str>> = IndexMap::new();
        for (name, tensor) in self.iter().filter(|(_, tensor)| !tensor.is_empty()) {
            let bytes = tensor.bytes();
            let place = (bytes.as_ptr() as usize, bytes.len(), tensor.data_type(), tensor.shape());
            sets.entry(place).or_default().push(name);
        }
        sets.into_values().filter(|names| names.len() > 1).collect()
    }

    /// Where the tensors were found, for readers to fill in.
    pub fn provenance_mut(&mut self) -> &mut Provenance {
        &mut self.provenance
    }
}

impl IntoIterator for StateDict {
    type Item = (String, Tensor);
    type IntoIter = indexmap::map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_refuses_duplicates() {
        let mut dict = StateDict::new();
        for name in ["b", "a", "c"] {
            dict.insert(name, Tensor::scalar(1.0)).expect("a new name");
        }
        assert_eq!(dict.insert("a", Tensor::scalar(2.0)), Err(DuplicateNameError { name: "a".into() }));
        assert_eq!(dict.replace("a", Tensor::scalar(3.0)), Some(Tensor::scalar(1.0)));
        assert_eq!(dict.names().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(dict.get("a"), Some(&Tensor::scalar(3.0)));
    }
}
