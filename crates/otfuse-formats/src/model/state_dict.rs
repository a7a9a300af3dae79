//! A state dict and the network that it fills.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use otfuse_graph::{Graph, Tensor, ValueId};

use super::{Architecture, Format, ModelError, Tensors};
use crate::StateDict;
use crate::contents::Contents;
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
    /// For each tensor that the graph uses, its initializer.
    pub(super) bindings: Vec<Binding>,
    /// The ONNX file that the graph comes from.
    pub(super) template: Option<Template>,
    /// The folder that the tensors lie in, where they are those of one.
    pub(super) folder: Option<(HfFiles, HfWeights)>,
}

/// The place of a state dict's tensor in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The name in the state dict.
    pub(super) key: String,
    /// The name in the graph.
    pub(super) initializer: String,
    /// Whether the graph has it transposed.
    pub(super) transposed: bool,
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
    for Binding { key, initializer, transposed } in bindings {
        let error = |expected: String, found: String| ModelError::Save {
            path: path.into(),
            tensor: key.clone(),
            expected,
            found,
        };
        let tensor =
            tensors.get(initializer.as_str()).ok_or_else(|| error("a tensor of the network".into(), "none".into()))?;
        let tensor = if *transposed { transpose(tensor) } else { Some((*tensor).clone()) };
        let tensor = tensor.ok_or_else(|| error("2 axes".into(), "another number".into()))?;
        let wanted = dict.get(key).map_or(tensor.data_type(), Tensor::data_type);
        let found = tensor.data_type();
        let tensor =
            cast(tensor, wanted).ok_or_else(|| error(format!("{wanted} numbers"), format!("{found} numbers")))?;
        filled.replace(key, tensor);
    }
    Ok(filled)
}

/// A state dict whose tensors are made when their turn comes to be written.
pub(super) struct Streamed<'a> {
    dict: &'a StateDict,
    /// For each name that is bound, its initializer, and whether the graph has it transposed.
    bound: HashMap<&'a str, (ValueId, bool)>,
    tensors: &'a Tensors<'a>,
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
        let bound = bindings.iter().map(|Binding { key, initializer, transposed }| {
            let id = graph.find_value(initializer).filter(|&id| graph.initializer(id).is_some());
            let id = id.ok_or_else(|| ModelError::Save {
                path: path.into(),
                tensor: key.clone(),
                expected: "a tensor of the network".into(),
                found: "none".into(),
            })?;
            Ok((key.as_str(), (id, *transposed)))
        });
        Ok(Self { dict, bound: bound.collect::<Result<_, ModelError>>()?, tensors })
    }
}

impl Contents for Streamed<'_> {
    fn dict(&self) -> &StateDict {
        self.dict
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        let ids: Vec<ValueId> = names.iter().filter_map(|name| self.bound.get(name)).map(|(id, _)| *id).collect();
        let mut made = (self.tensors)(&ids)?.into_iter();
        let own = |name: &str| self.dict.get(name).ok_or_else(|| io::Error::other(format!("no tensor {name:?}")));
        names
            .iter()
            .map(|name| {
                let own = own(name)?;
                let Some((_, transposed)) = self.bound.get(name) else { return Ok(own.clone()) };
                let tensor = made.next();
                let tensor = tensor.and_then(|tensor| if *transposed { transpose(&tensor) } else { Some(tensor) });
                let tensor = tensor.and_then(|tensor| cast(tensor, own.data_type()));
                tensor.ok_or_else(|| io::Error::other(format!("tensor {name:?}: no such numbers")))
            })
            .collect()
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        match self.bound.get(name) {
            Some((id, transposed)) => (id.index(), usize::MAX - usize::from(*transposed)),
            None => self.dict.identity(name),
        }
    }
}

/// The tensor in another floating-point type; `None` if one of the types is none.
pub(super) fn cast(tensor: Tensor, to: otfuse_graph::DataType) -> Option<Tensor> {
    if tensor.data_type() == to {
        return Some(tensor);
    }
    let values = tensor.to_f32().filter(|_| to.is_float())?;
    Some(Tensor::from_f32_as(to, tensor.shape(), values))
}

/// A matrix with its axes exchanged; `None` for tensors of other ranks.
pub(super) fn transpose(tensor: &Tensor) -> Option<Tensor> {
    let &[rows, columns] = tensor.shape() else { return None };
    let size = tensor.data_type().size();
    let mut bytes = Vec::with_capacity(tensor.bytes().len());
    for column in 0..columns {
        for row in 0..rows {
            let start = (row * columns + column) * size;
            bytes.extend_from_slice(&tensor.bytes()[start..start + size]);
        }
    }
    tensor.release();
    Tensor::new(tensor.data_type(), vec![columns, rows], bytes.into()).ok()
}
