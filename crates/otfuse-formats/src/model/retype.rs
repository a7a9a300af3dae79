//! Networks that are written in another element type than their file has.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use otfuse_graph::{DataType, Graph, GraphEditor, Tensor};
use serde_json::Value;

use super::{Format, Model, ModelError, Source, StateDictSource};
use crate::contents::odd;
use crate::correspondence::Binding;
use crate::hf::{CONFIG_FILE, HfFiles, HfSource};
use crate::{FormatError, StateDict};

impl Model {
    /// The network with floats of another type: what [`save`](Self::save) writes is of that type, and weights of 16 bits
    /// that become wider are so in the graph already, since they are rounded to its types. The settings of a Hugging Face folder name the
    /// type.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for an ONNX file, whose graph computes in the types of its weights.
    pub fn retyped(&self, data_type: DataType) -> Result<Self, ModelError> {
        let source = match &self.source {
            Source::Onnx(_) => {
                let entry = format!("element type {data_type}");
                let expected = "a state dict or a folder".to_owned();
                let found = format!("another type for the weights of {}", Format::Onnx);
                return Err(FormatError::Unsupported { path: self.path.clone(), entry, expected, found }.into());
            }
            Source::StateDict(source) => {
                let bound: Vec<&str> = source.bindings.iter().flat_map(Binding::keys).collect();
                let dict = dict_of(&source.dict, &bound, data_type, &self.path)?;
                Source::StateDict(Box::new(StateDictSource { dict, ..(**source).clone() }))
            }
            Source::HuggingFace(source) => {
                let bound: Vec<&str> = source.bindings.iter().map(|(key, _)| key.as_str()).collect();
                let dict = dict_of(&source.dict, &bound, data_type, &self.path)?;
                let files = files_of(&source.files, data_type)?;
                Source::HuggingFace(Box::new(HfSource { dict, files, ..(**source).clone() }))
            }
        };
        let graph = widened(&self.graph, data_type).map_err(|error| super::invalid(&self.path, error))?;
        Ok(Self { graph, source, ..self.clone() })
    }
}

/// The floats of a state dict in another type. Those that the graph has (`bound`) are written from there and only say type
/// and shape here.
fn dict_of(dict: &StateDict, bound: &[&str], data_type: DataType, path: &Path) -> Result<StateDict, ModelError> {
    let bound: HashSet<&str> = bound.iter().copied().collect();
    let mut retyped = dict.clone();
    for (name, tensor) in dict.iter().filter(|(_, tensor)| tensor.data_type().is_float()) {
        if tensor.data_type() == data_type {
            continue;
        }
        let made = if bound.contains(name) {
            let zeros = Bytes::from(vec![0; tensor.len() * data_type.size()]);
            Tensor::new(data_type, tensor.shape().to_vec(), zeros).ok()
        } else {
            tensor.to_f32().map(|values| Tensor::from_f32_as(data_type, tensor.shape(), values))
        };
        if let Some(made) = made {
            check_tensor(name, &made, tensor, path)?;
            retyped.replace(name, made);
        }
    }
    Ok(retyped)
}

fn widened(graph: &Graph, data_type: DataType) -> Result<Graph, otfuse_graph::GraphError> {
    if data_type.size() <= DataType::F16.size() {
        return Ok(graph.clone());
    }
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers().filter(|(id, _)| graph.is_weight(*id)) {
        if let Some(values) = tensor.to_f32().filter(|_| tensor.data_type().size() < data_type.size()) {
            editor.set_tensor(id, Tensor::from_f32_as(data_type, tensor.shape(), values));
        }
    }
    editor.finish()
}

/// The files beside the weights, `config.json` with the type's name.
fn files_of(files: &HfFiles, data_type: DataType) -> Result<HfFiles, FormatError> {
    let mut listed: Vec<(String, Vec<u8>)> = match files {
        HfFiles::New(files) => files.clone(),
        HfFiles::Folder(folder) => crate::hf::companions(folder)?,
    };
    let name = match data_type {
        DataType::F16 => "float16",
        DataType::BF16 => "bfloat16",
        DataType::F64 => "float64",
        _ => "float32",
    };
    for (file, content) in &mut listed {
        if file != CONFIG_FILE {
            continue;
        }
        let malformed = |found: serde_json::Error| FormatError::Malformed {
            path: file.as_str().into(),
            entry: "settings".into(),
            expected: "a JSON object".into(),
            found: found.to_string(),
        };
        let mut settings: serde_json::Map<String, Value> = serde_json::from_slice(content).map_err(malformed)?;
        // Newer versions of the library say dtype.
        let key = if settings.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        settings.insert(key.into(), name.into());
        *content = serde_json::to_vec_pretty(&settings).map_err(malformed)?;
    }
    Ok(HfFiles::New(listed))
}

/// Refuses numbers that a tensor's type cannot hold where the file's own are finite.
pub(super) fn check_finite(written: &StateDict, own: &StateDict, path: &Path) -> Result<(), ModelError> {
    for (name, tensor) in written.iter() {
        let Some(of_file) = own.get(name).filter(|of_file| !same_bytes(of_file.bytes(), tensor.bytes())) else {
            continue;
        };
        check_tensor(name, tensor, of_file, path)?;
    }
    Ok(())
}

/// The same of a graph, whose constants stand under the names of the file's own.
pub(super) fn check_finite_graph(written: &Graph, own: &Graph, path: &Path) -> Result<(), ModelError> {
    for (id, tensor) in written.initializers() {
        let name = &written.value(id).name;
        let of_file = own.find_value(name).and_then(|id| own.initializer(id));
        if let Some(of_file) = of_file.filter(|of_file| !same_bytes(of_file.bytes(), tensor.bytes())) {
            check_tensor(name, tensor, of_file, path)?;
        }
    }
    Ok(())
}

fn check_tensor(name: &str, tensor: &Tensor, of_file: &Tensor, path: &Path) -> Result<(), ModelError> {
    match odd(tensor) {
        Some((index, value)) if odd(of_file).is_none() => Err(ModelError::Save {
            path: path.into(),
            tensor: name.into(),
            expected: format!("numbers that {} can hold", tensor.data_type()),
            found: format!("{value} at index {index}"),
        }),
        _ => Ok(()),
    }
}

fn same_bytes(a: &Bytes, b: &Bytes) -> bool {
    a.as_ptr() == b.as_ptr() && a.len() == b.len()
}
