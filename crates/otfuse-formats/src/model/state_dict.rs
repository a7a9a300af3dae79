//! A state dict and the network that it fills.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use otfuse_graph::{Graph, Tensor, ValueId};

use super::{Architecture, Format, ModelError, Tensors};
use crate::StateDict;
use crate::contents::Contents;
use crate::correspondence::{Binding, written};
use crate::hf::{HfFiles, HfWeights};
use crate::onnx::Template;

/// A state dict that a network's weights come from and go back to.
#[derive(Clone, Debug)]
pub struct StateDictSource {
    /// All that the file holds, in its order.
    pub dict: StateDict,
    /// The format of the file.
    pub format: Format,
    /// Where the graph comes from.
    pub architecture: Architecture,
    /// What is to be said of tensors that only the state dict or only the graph has.
    pub notes: Vec<String>,
    /// How the constants of the graph are made of the state dict's tensors.
    pub(super) bindings: Vec<Binding>,
    /// The ONNX file that the graph comes from, unless the graph is another by now.
    pub(super) template: Option<Template>,
    /// The folder that the tensors lie in, where they are those of one.
    pub(super) folder: Option<(HfFiles, HfWeights)>,
}

impl StateDictSource {
    /// The state dict with the weights of `graph`; all else, names, order and types stay.
    pub(super) fn with_weights(&self, graph: &Graph, path: &Path) -> Result<StateDict, ModelError> {
        filled(&self.dict, &self.bindings, graph, path)
    }
}

/// The state dict with the weights of `graph` in the tensors that are bound; all else, names, order and types stay.
pub(super) fn filled(
    dict: &StateDict,
    bindings: &[Binding],
    graph: &Graph,
    path: &Path,
) -> Result<StateDict, ModelError> {
    let tensors: HashMap<&str, &Tensor> =
        graph.initializers().map(|(id, tensor)| (graph.value(id).name.as_str(), tensor)).collect();
    let mut filled = dict.clone();
    for (key, bindings) in by_key(bindings) {
        let found = bindings.iter().map(|binding| Some((*binding, *tensors.get(binding.initializer.as_str())?)));
        let found: Option<Vec<(&Binding, &Tensor)>> = found.collect();
        let parts = found.ok_or_else(|| unfit(path, key, "a tensor of the network".into(), "none".into()))?;
        let tensor = written(key, dict, &parts).ok_or_else(|| {
            let describe = |tensor: &Tensor| format!("{} of shape {:?}", tensor.data_type(), tensor.shape());
            let found = parts.iter().map(|(_, tensor)| describe(tensor)).collect::<Vec<_>>().join(", ");
            unfit(path, key, dict.get(key).map_or_else(|| "no tensor".into(), describe), found)
        })?;
        filled.replace(key, tensor);
    }
    Ok(filled)
}

fn unfit(path: &Path, key: &str, expected: String, found: String) -> ModelError {
    ModelError::Save { path: path.into(), tensor: key.into(), expected, found }
}

/// The bindings that each key has a part in, in the order of the first.
fn by_key(bindings: &[Binding]) -> Vec<(&str, Vec<&Binding>)> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut found: Vec<(&str, Vec<&Binding>)> = Vec::new();
    for binding in bindings {
        let mut keys = binding.keys();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let place = *places.entry(key).or_insert_with(|| {
                found.push((key, Vec::new()));
                found.len() - 1
            });
            // A tensor that stands in the graph twice is written once.
            if binding.whole().is_none() || found[place].1.is_empty() {
                found[place].1.push(binding);
            }
        }
    }
    found
}

/// A state dict whose tensors are made when their turn comes to be written.
pub(super) struct Streamed<'a> {
    dict: &'a StateDict,
    /// For each name that is bound, its bindings with their initializers.
    bound: HashMap<&'a str, Vec<(&'a Binding, ValueId)>>,
    tensors: &'a Tensors<'a>,
    admits_nonfinite: bool,
}

impl<'a> Streamed<'a> {
    /// `graph` has the initializers that `tensors` makes.
    pub(super) fn new(
        dict: &'a StateDict,
        bindings: &'a [Binding],
        graph: &Graph,
        tensors: &'a Tensors<'a>,
        path: &Path,
    ) -> Result<Self, ModelError> {
        let ids: HashMap<&str, ValueId> =
            graph.initializers().map(|(id, _)| (graph.value(id).name.as_str(), id)).collect();
        let bound = by_key(bindings).into_iter().map(|(key, bindings)| {
            let found = bindings.into_iter().map(|binding| Some((binding, *ids.get(binding.initializer.as_str())?)));
            let found: Option<Vec<(&Binding, ValueId)>> = found.collect();
            Ok((key, found.ok_or_else(|| unfit(path, key, "a tensor of the network".into(), "none".into()))?))
        });
        Ok(Self { dict, bound: bound.collect::<Result<_, ModelError>>()?, tensors, admits_nonfinite: false })
    }

    pub(super) fn admitting_nonfinite(self, admits_nonfinite: bool) -> Self {
        Self { admits_nonfinite, ..self }
    }
}

impl Contents for Streamed<'_> {
    fn admits_nonfinite(&self) -> bool {
        self.admits_nonfinite
    }

    fn dict(&self) -> &StateDict {
        self.dict
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        let bound = names.iter().filter_map(|name| self.bound.get(name));
        let ids: Vec<ValueId> = bound.flatten().map(|(_, id)| *id).collect();
        let mut made = (self.tensors)(&ids)?.into_iter();
        let tensor = |name: &&str| {
            let own = self.dict.get(name).ok_or_else(|| io::Error::other(format!("no tensor {name:?}")))?;
            let Some(bindings) = self.bound.get(name) else { return Ok(own.clone()) };
            let parts: Vec<(&Binding, Tensor)> =
                bindings.iter().zip(made.by_ref()).map(|((binding, _), tensor)| (*binding, tensor)).collect();
            let parts: Vec<(&Binding, &Tensor)> = parts.iter().map(|(binding, tensor)| (*binding, tensor)).collect();
            let tensor = written(name, self.dict, &parts);
            tensor.ok_or_else(|| io::Error::other(format!("tensor {name:?}: no such numbers")))
        };
        names.iter().map(tensor).collect()
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        match self.bound.get(name).map(Vec::as_slice) {
            Some([(binding, id)]) if binding.whole().is_some() => {
                (id.index(), usize::MAX - usize::from(binding.permutation.is_some()))
            }
            Some(_) => (name.as_ptr() as usize, 0),
            None => self.dict.identity(name),
        }
    }
}
