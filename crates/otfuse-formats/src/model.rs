//! A network in a file: read with its graph, written back in the form that it came in.

mod architecture;
mod error;
mod files;
mod retype;
mod state_dict;
mod tied;
mod untied;
mod words;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use otfuse_graph::{Graph, GraphEditor, Tensor, ValueId};

use crate::contents::Contents;
use crate::correspondence::{Binding, Correspondence, correspond};
use crate::file::{Outputs, describe_start, open_mapped};
use crate::hf::{
    HfFiles, HfModel, HfSource, Unstacked, adapter_of_tensors, draw_with_settings, open_folder, open_weights,
    write_folder,
};
use crate::npz::write_npz_of;
use crate::onnx::proto::ModelProto;
use crate::onnx::{OnnxError, OnnxModel, Template, WriteOptions, encode_onnx, open_onnx, to_proto, write_onnx_to};
use crate::pytorch::write_pytorch_of;
use crate::safetensors::write_safetensors_of;
use crate::{FormatError, StateDict, catalogue, read_state_dict};

pub use crate::format::Format;
pub use architecture::{Architecture, Exported};
pub(crate) use error::QUANTIZED;
pub use error::{Form, ModelError, TensorProblem};
pub use state_dict::StateDictSource;
use state_dict::{Streamed, filled};
use tied::Tie;

/// A network that was read from a file.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub graph: Graph,
    /// What else the file holds.
    pub source: Source,
    /// The file.
    pub path: PathBuf,
    /// Initializers of the architecture's file that are one in the graph.
    pub(crate) ties: Vec<Tie>,
    /// Whether weights are written that are not finite where the file's own are.
    pub(crate) admits_nonfinite: bool,
}

/// What a network's file holds beside its weights.
#[derive(Clone, Debug)]
pub enum Source {
    /// An ONNX file.
    Onnx(Box<Template>),
    /// A file of named tensors.
    StateDict(Box<StateDictSource>),
    /// A Hugging Face folder.
    HuggingFace(Box<HfSource>),
}

/// Makes the tensors that stand at some values of a graph, in the order asked for.
pub type Tensors<'a> = dyn Fn(&[ValueId]) -> io::Result<Vec<Tensor>> + 'a;

impl Model {
    /// Reads a network; the content of the file decides the format, and a folder is one of Hugging Face. A state dict
    /// takes an `architecture`, an ONNX file needs none; a folder takes an ONNX file where its family is not drawn here.
    ///
    /// # Errors
    /// [`ModelError::NoArchitecture`] for a state dict alone, with the families that fit in its hint;
    /// [`ModelError::Catalogue`] or [`ModelError::OtherNetwork`] if the tensors are not those of the architecture;
    /// [`ModelError::Format`] for what is wrong with the file.
    pub fn open(path: &Path, architecture: Option<&Architecture>) -> Result<Self, ModelError> {
        Self::open_beside(path, architecture, None, &[])
    }

    /// As [`open`](Self::open); of several state dicts in a PyTorch file, the one under `key` (`a.b` for nested ones). `others`
    /// are further checkpoints of the same network: where the ONNX file of the architecture was exported from one of them,
    /// its values tell which tensors are which. Those that are no state dicts are left aside.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`FormatError::MissingEntry`] if there is no state dict under that key.
    pub fn open_beside(
        path: &Path,
        architecture: Option<&Architecture>,
        key: Option<&str>,
        others: &[&Path],
    ) -> Result<Self, ModelError> {
        if path.is_dir() {
            let failure = |source| ModelError::HuggingFace { path: path.into(), source: Box::new(source) };
            if let Some(architecture @ Architecture::File(_)) = architecture {
                let (weights, dict) = open_weights(path).map_err(failure)?;
                let mut model = Self::of_state_dict(path, dict, Format::HuggingFace, architecture)?;
                if let Source::StateDict(source) = &mut model.source {
                    source.folder = Some((HfFiles::Folder(path.into()), weights));
                }
                return Ok(model);
            }
            let HfModel { graph, source } = open_folder(path).map_err(failure)?;
            return Ok(Self {
                graph,
                source: Source::HuggingFace(Box::new(source)),
                path: path.into(),
                ties: Vec::new(),
                admits_nonfinite: false,
            });
        }
        let bytes = open_mapped(path)?;
        let format = Format::of_content(path, &bytes)?;
        if format == Format::Onnx {
            let OnnxModel { graph, template } = open_onnx(path).map_err(|error| unknown(path, &bytes, error))?;
            return Ok(Self {
                graph,
                source: Source::Onnx(Box::new(template)),
                path: path.into(),
                ties: Vec::new(),
                admits_nonfinite: false,
            });
        }
        let dict = read_state_dict(path, key)?;
        if let Some(error) = adapter_of_tensors(&dict) {
            return Err(ModelError::HuggingFace { path: path.into(), source: Box::new(error) });
        }
        let Some(architecture) = architecture else {
            let fitting = catalogue::Family::fitting(&dict);
            return Err(ModelError::NoArchitecture { path: path.into(), tensors: dict.len(), fitting });
        };
        let others = others.iter().filter(|other| **other != path && !other.is_dir());
        let others = others.filter(|_| matches!(architecture, Architecture::File(_)));
        let others: Vec<StateDict> = others.filter_map(|other| read_state_dict(other, key).ok()).collect();
        Self::with_witnesses(path, dict, &others, format, architecture)
    }

    /// The network of an ONNX model in memory, without data in other files; `path` is what errors name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_onnx(path: &Path, bytes: Bytes) -> Result<Self, ModelError> {
        let OnnxModel { graph, template } = Exported::new(path, bytes).open()?;
        Ok(Self {
            graph,
            source: Source::Onnx(Box::new(template)),
            path: path.into(),
            ties: Vec::new(),
            admits_nonfinite: false,
        })
    }

    /// The network that a state dict fills; `path` is what errors name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_state_dict(
        path: &Path,
        dict: StateDict,
        format: Format,
        architecture: &Architecture,
    ) -> Result<Self, ModelError> {
        Self::with_witnesses(path, dict, &[], format, architecture)
    }

    fn with_witnesses(
        path: &Path,
        dict: StateDict,
        others: &[StateDict],
        format: Format,
        architecture: &Architecture,
    ) -> Result<Self, ModelError> {
        let (graph, bindings, template, notes) = match architecture {
            Architecture::Catalogue(family) => {
                let graph = family
                    .build(&dict)
                    .map_err(|source| ModelError::Catalogue { path: path.into(), source: Box::new(source) })?;
                let bindings = same_names(&graph, &dict);
                (graph, bindings, None, Vec::new())
            }
            Architecture::File(file) => corresponding(open_onnx(file)?, &dict, others, path, file)?,
            Architecture::Exported(exported) => corresponding(exported.open()?, &dict, others, path, exported.name())?,
            Architecture::Settings(settings) => {
                let failure = |source| ModelError::HuggingFace { path: path.into(), source: Box::new(source) };
                let (graph, bindings) = draw_with_settings(settings, &dict).map_err(failure)?;
                (graph, bound(bindings), None, Vec::new())
            }
        };
        let architecture = architecture.clone();
        let (graph, bindings, ties) = tied::tie(graph, bindings, &dict).map_err(|error| invalid(path, error))?;
        let source = StateDictSource { dict, format, architecture, notes, bindings, template, folder: None };
        Ok(Self {
            graph,
            source: Source::StateDict(Box::new(source)),
            path: path.into(),
            ties,
            admits_nonfinite: false,
        })
    }

    /// The format of the file that was read.
    pub fn format(&self) -> Format {
        match &self.source {
            Source::Onnx(_) => Format::Onnx,
            Source::StateDict(source) => source.format,
            Source::HuggingFace(_) => Format::HuggingFace,
        }
    }

    /// Writes `graph`, which is this network with other weights, whole or not at all. The extension chooses the format
    /// ([`format_at`](Self::format_at)).
    ///
    /// A state dict keeps all names, their order, element types and the tensors that have no part in inference. An ONNX
    /// file keeps all but the tensors, a Hugging Face folder all but the weights. From ONNX to tensors alone, names are those of the initializers.
    ///
    /// # Errors
    /// [`ModelError::Save`] if the weights are not those of this network; [`ModelError::Format`] if the file cannot be
    /// written.
    pub fn save(&self, graph: &Graph, path: &Path) -> Result<(), ModelError> {
        Outputs::at_once(|outputs| self.save_to(outputs, graph, path))
    }

    /// The same network, whose weights are written also where they are not finite and the file's own are.
    #[must_use]
    pub fn admitting_nonfinite(mut self) -> Self {
        self.admits_nonfinite = true;
        self
    }

    /// As [`save`](Self::save), as one of several outputs.
    ///
    /// # Errors
    /// As [`save`](Self::save); [`FormatError::OutputTwice`].
    pub fn save_to(&self, outputs: &Outputs, graph: &Graph, path: &Path) -> Result<(), ModelError> {
        let format = self.format_at(path)?;
        if format == Format::Onnx {
            if !self.admits_nonfinite {
                retype::check_finite_graph(graph, &self.graph, path)?;
            }
            return Ok(write_onnx_to(outputs, path, self.proto(graph, path)?, &WriteOptions::default())?);
        }
        self.write(outputs, format, &self.dict(graph, path)?, path)
    }

    /// The tensors of `graph`, which is this network with other weights, as [`save`](Self::save) writes them: by the names,
    /// in the order and in the types of the state dict that was read, those of an ONNX file by its initializers.
    ///
    /// # Errors
    /// As [`save`](Self::save).
    pub fn tensors(&self, graph: &Graph) -> Result<StateDict, ModelError> {
        self.dict(graph, &self.path)
    }

    /// The bytes of `graph`, which is this network with other weights, as an ONNX file.
    ///
    /// # Errors
    /// As [`save`](Self::save); a model of more than 2 GiB, which takes a file beside it.
    pub fn onnx(&self, graph: &Graph) -> Result<Vec<u8>, ModelError> {
        let whole = WriteOptions { external_data: Some(usize::MAX) };
        let encoded = encode_onnx(self.proto(graph, &self.path)?, "", &whole);
        Ok(encoded.map_err(|error| in_file(&self.path, error))?.to_vec())
    }

    fn proto(&self, graph: &Graph, path: &Path) -> Result<ModelProto, ModelError> {
        let template = match &self.source {
            Source::Onnx(template) => Some(template.as_ref()),
            Source::StateDict(source) => source.template.as_ref(),
            Source::HuggingFace(_) => None,
        };
        let graph = if self.ties.is_empty() {
            Cow::Borrowed(graph)
        } else {
            Cow::Owned(tied::untied(graph, &self.ties).map_err(|error| invalid(path, error))?)
        };
        let proto = template.map_or_else(|| to_proto(&graph), |template| template.write(&graph));
        Ok(proto.map_err(|error| in_file(path, error))?)
    }

    fn dict(&self, graph: &Graph, path: &Path) -> Result<StateDict, ModelError> {
        let (mut dict, given) = match &self.source {
            Source::Onnx(_) => return Ok(initializers(graph, path)?),
            Source::StateDict(source) => (source.with_weights(graph, path)?, &source.dict),
            Source::HuggingFace(source) => {
                (filled(&source.dict, &bound(source.bindings.clone()), graph, path)?, &source.dict)
            }
        };
        if !self.admits_nonfinite {
            retype::check_finite(&dict, given, path)?;
        }
        let mut left_out = dict.provenance().left_out.clone();
        left_out.retain(|name, of| dict.get(name) == dict.get(of));
        dict.provenance_mut().left_out = left_out;
        Ok(dict)
    }

    /// As [`save`](Self::save), for this network's own graph with weights that `tensors` makes when their turn comes: of
    /// a file of tensors or a folder no more than a few tens of megabytes, or the largest tensor, are in memory at a time.
    /// An ONNX file is put together in memory.
    ///
    /// # Errors
    /// As [`save`](Self::save); [`FormatError::Io`] with what `tensors` fails with, or where it gives other types or shapes.
    pub fn save_streamed(&self, tensors: &Tensors<'_>, path: &Path) -> Result<(), ModelError> {
        Outputs::at_once(|outputs| self.save_streamed_to(outputs, tensors, path))
    }

    /// As [`save_streamed`](Self::save_streamed), as one of several outputs.
    ///
    /// # Errors
    /// As [`save_streamed`](Self::save_streamed); [`FormatError::OutputTwice`].
    pub fn save_streamed_to(&self, outputs: &Outputs, tensors: &Tensors<'_>, path: &Path) -> Result<(), ModelError> {
        let format = self.format_at(path)?;
        if format == Format::Onnx {
            return self.save_to(outputs, &self.with_tensors(tensors, path)?, path);
        }
        match &self.source {
            Source::Onnx(_) => {
                let dict = initializers(&self.graph, path)?;
                let bindings = same_names(&self.graph, &dict);
                let streamed = Streamed::new(&dict, &bindings, &self.graph, tensors, path)?;
                self.write(outputs, format, &streamed.admitting_nonfinite(self.admits_nonfinite), path)
            }
            Source::StateDict(source) => {
                let streamed = Streamed::new(&source.dict, &source.bindings, &self.graph, tensors, path)?;
                self.write(outputs, format, &streamed.admitting_nonfinite(self.admits_nonfinite), path)
            }
            Source::HuggingFace(source) => {
                let bindings = bound(source.bindings.clone());
                let streamed = Streamed::new(&source.dict, &bindings, &self.graph, tensors, path)?;
                self.write(outputs, format, &streamed.admitting_nonfinite(self.admits_nonfinite), path)
            }
        }
    }

    /// The format that the network is written in at a path: what the extension stands for; that of the file that was
    /// read where there is no extension, or the file that was read has the same unusual one.
    ///
    /// # Errors
    /// [`FormatError::Extension`] if the extension stands for nothing that is written.
    pub fn format_at(&self, path: &Path) -> Result<Format, FormatError> {
        Format::of_output(path, self.format(), &self.path)
    }

    /// This network's graph with all weights that `tensors` makes.
    fn with_tensors(&self, tensors: &Tensors<'_>, path: &Path) -> Result<Graph, FormatError> {
        let failure = |source| FormatError::Io { path: path.into(), action: "write", source };
        let ids: Vec<ValueId> = self.graph.initializers().map(|(id, _)| id).collect();
        let mut editor = GraphEditor::edit(self.graph.clone());
        for id in ids {
            let made = tensors(&[id]).map_err(failure)?;
            made.into_iter().for_each(|tensor| editor.set_tensor(id, tensor));
        }
        editor.finish().map_err(|error| failure(io::Error::other(error)))
    }

    fn write(&self, outputs: &Outputs, format: Format, contents: &dyn Contents, path: &Path) -> Result<(), ModelError> {
        let unstacked;
        let contents = match &self.source {
            Source::HuggingFace(source) if !source.stacks.is_empty() => {
                let failure = |source| FormatError::Io { path: path.into(), action: "write", source };
                unstacked = Unstacked::new(&source.stacks, contents).map_err(failure)?;
                &unstacked as &dyn Contents
            }
            _ => contents,
        };
        match (format, &self.source) {
            (Format::HuggingFace, Source::HuggingFace(source)) => {
                write_folder(outputs, &source.files, &source.weights, contents, path)?;
            }
            (Format::HuggingFace, Source::StateDict(source)) if source.folder.is_some() => {
                if let Some((files, weights)) = &source.folder {
                    write_folder(outputs, files, weights, contents, path)?;
                }
            }
            (Format::PyTorch, _) => write_pytorch_of(outputs, path, contents)?,
            (Format::Npz, _) => write_npz_of(outputs, path, contents)?,
            _ => write_safetensors_of(outputs, path, contents)?,
        }
        Ok(())
    }
}

/// The graph of an ONNX model, how a state dict fills it, the file around it where the graph is still that of the file, and
/// what is to be said of it.
type Corresponding = (Graph, Vec<Binding>, Option<Template>, Vec<String>);

fn corresponding(
    model: OnnxModel,
    dict: &StateDict,
    others: &[StateDict],
    path: &Path,
    file: &Path,
) -> Result<Corresponding, ModelError> {
    let OnnxModel { graph, template } = model;
    let found = correspond(graph, &template, dict, &others.iter().collect::<Vec<_>>(), path, file)?;
    let Correspondence { graph, bindings, notes, is_as_read } = found;
    Ok((graph, bindings, Some(template).filter(|_| is_as_read), notes))
}

/// A file whose content is not that of an ONNX model may be anything.
fn unknown(path: &Path, bytes: &[u8], error: FormatError) -> FormatError {
    let decode = matches!(&error, FormatError::Onnx { source, .. } if matches!(**source, OnnxError::Decode { .. }));
    if decode && Format::of_extension(path) != Some(Format::Onnx) {
        let expected = "an ONNX model, a PyTorch file, safetensors, npz or a safetensors index".into();
        return FormatError::UnknownFormat { path: path.into(), expected, found: describe_start(bytes) };
    }
    error
}

fn invalid(path: &Path, error: otfuse_graph::GraphError) -> FormatError {
    in_file(path, OnnxError::Graph(error))
}

fn in_file(path: &Path, error: OnnxError) -> FormatError {
    FormatError::Onnx { path: path.into(), source: Box::new(error) }
}

fn bound(names: Vec<(String, String)>) -> Vec<Binding> {
    names.into_iter().map(|(key, initializer)| Binding::same(&key, &initializer)).collect()
}

/// Each tensor of the state dict that is an initializer of the same name.
fn same_names(graph: &Graph, dict: &StateDict) -> Vec<Binding> {
    let names = graph.initializers().map(|(id, _)| graph.value(id).name.clone());
    let known = names.filter(|name| dict.contains(name));
    known.map(|name| Binding::same(&name, &name)).collect()
}

/// All constant tensors of a graph by their names.
fn initializers(graph: &Graph, path: &Path) -> Result<StateDict, FormatError> {
    let mut dict = StateDict::new();
    for (id, tensor) in graph.initializers() {
        dict.insert(graph.value(id).name.clone(), tensor.clone())
            .map_err(|error| FormatError::DuplicateName { path: path.into(), name: error.name })?;
    }
    Ok(dict)
}
