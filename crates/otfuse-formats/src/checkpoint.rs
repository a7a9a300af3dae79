//! The tensors of a file or folder by name, whatever network they are of, and files of the same form with other tensors.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use otfuse_graph::{DataType, GraphEditor, Tensor};
use serde_json::{Map, Value};

use crate::contents::Contents;
use crate::file::{Outputs, describe_start, open_mapped};
use crate::format::Format;
use crate::hf::{CONFIG_FILE, HfWeights, companions, open_weights, vocabulary_axes, vocabulary_of, write_beside};
use crate::model::ModelError;
use crate::npz::write_npz_of;
use crate::onnx::{OnnxModel, WriteOptions, open_onnx, write_onnx_to};
use crate::pytorch::write_pytorch_of;
use crate::safetensors::write_safetensors_of;
use crate::{FormatError, StateDict, read_state_dict};

/// Named tensors and what lies beside them.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    dict: StateDict,
    kind: Kind,
    /// The files beside the weights, once they were read.
    companions: OnceLock<Vec<(String, Vec<u8>)>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Folder { weights: HfWeights, settings: Map<String, Value> },
    File(Format),
    Onnx(Box<OnnxModel>),
}

/// A tensor that is going to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub data_type: DataType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// An earlier one that it shares its storage with.
    pub tied: Option<usize>,
}

/// The files of a folder's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Those that were read.
    AsRead,
    /// Of at most so many bytes each: one, if all fit into it.
    AtMost(u64),
}

/// Makes the tensors that are planned at some places.
pub type Make<'a> = dyn Fn(&[usize]) -> io::Result<Vec<Tensor>> + 'a;

impl Checkpoint {
    /// Reads the names of a folder with weights, a file of tensors or an ONNX file; of several state dicts in a PyTorch file those
    /// under `key`. Tensors stay in the file until they are used.
    ///
    /// # Errors
    /// As [`Model::open`](crate::Model::open), but for the network, which is not looked at.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self, ModelError> {
        if path.is_dir() {
            let failure = |source| ModelError::HuggingFace { path: path.into(), source: Box::new(source) };
            let (weights, dict) = open_weights(path).map_err(failure)?;
            let config = path.join(CONFIG_FILE);
            let settings = match config.is_file() {
                true => crate::hf::Config::parse(&open_mapped(&config)?).map_err(failure)?.0,
                false => Map::new(),
            };
            return Ok(Self::new(path, dict, Kind::Folder { weights, settings }));
        }
        let format = Format::of_content(path, &open_mapped(path)?)?;
        if format == Format::Onnx {
            let model = open_onnx(path)?;
            let mut dict = StateDict::new();
            for (id, tensor) in model.graph.initializers().filter(|(id, _)| model.graph.is_weight(*id)) {
                let name = model.graph.value(id).name.clone();
                dict.insert(name, tensor.clone())
                    .map_err(|error| FormatError::DuplicateName { path: path.into(), name: error.name })?;
            }
            return Ok(Self::new(path, dict, Kind::Onnx(Box::new(model))));
        }
        Ok(Self::new(path, read_state_dict(path, key)?, Kind::File(format)))
    }

    /// The same of a file or folder of named tensors alone.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`FormatError::UnknownFormat`] for an ONNX file.
    pub fn open_tensors(path: &Path, key: Option<&str>) -> Result<Self, ModelError> {
        if !path.is_dir() {
            let bytes = open_mapped(path)?;
            if Format::of_content(path, &bytes)? == Format::Onnx {
                let expected = "named tensors: safetensors, a PyTorch file, npz or a Hugging Face folder".into();
                let found = describe_start(&bytes);
                return Err(FormatError::UnknownFormat { path: path.into(), expected, found }.into());
            }
        }
        Self::open(path, key)
    }

    fn new(path: &Path, dict: StateDict, kind: Kind) -> Self {
        Self { path: path.into(), dict, kind, companions: OnceLock::new() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors.
    pub fn dict(&self) -> &StateDict {
        &self.dict
    }

    /// The settings of a folder, if there are any.
    pub fn settings(&self) -> Option<&Map<String, Value>> {
        match &self.kind {
            Kind::Folder { settings, .. } if !settings.is_empty() => Some(settings),
            _ => None,
        }
    }

    /// The form that it has.
    pub fn format(&self) -> Format {
        match &self.kind {
            Kind::Folder { .. } => Format::HuggingFace,
            Kind::File(format) => *format,
            Kind::Onnx(_) => Format::Onnx,
        }
    }

    /// The form that a result of its kind has at a path.
    ///
    /// # Errors
    /// [`FormatError::Extension`] if the extension stands for nothing, or for a graph, which these tensors lack.
    pub fn format_at(&self, path: &Path) -> Result<Format, FormatError> {
        match Format::of_output(path, self.format(), &self.path)? {
            Format::Onnx if self.format() != Format::Onnx => Err(FormatError::Extension {
                path: path.into(),
                found: ".onnx".into(),
                suggestion: Some("safetensors"),
            }),
            format => Ok(format),
        }
    }

    /// Whether a result is a folder at a path.
    pub fn writes_folder(&self, path: &Path) -> bool {
        matches!(self.kind, Kind::Folder { .. }) && Format::of_extension(path).is_none()
    }

    /// The tensors as they are, to be written again.
    pub fn plan(&self) -> Vec<Planned> {
        let planned = |(name, tensor): (&str, &Tensor)| Planned {
            name: name.to_owned(),
            data_type: tensor.data_type(),
            shape: tensor.shape().to_vec(),
            tied: None,
        };
        let mut plan: Vec<Planned> = self.dict.iter().map(planned).collect();
        self.tie(&mut plan);
        plan
    }

    /// Names in a plan whose tensors are one here share their storage.
    pub fn tie(&self, plan: &mut [Planned]) {
        let places: HashMap<String, usize> =
            plan.iter().enumerate().map(|(place, planned)| (planned.name.clone(), place)).collect();
        for names in self.dict.tied() {
            let mut found = names.iter().filter_map(|name| places.get(*name).copied());
            if let Some(first) = found.next() {
                found.for_each(|other| plan[other].tied = Some(first));
            }
        }
    }

    /// The files of a folder beside the weights, by name; read once.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn companions(&self) -> Result<&[(String, Vec<u8>)], FormatError> {
        if let Some(read) = self.companions.get() {
            return Ok(read);
        }
        let read = match &self.kind {
            Kind::Folder { .. } => companions(&self.path)?,
            _ => Vec::new(),
        };
        Ok(self.companions.get_or_init(|| read))
    }

    /// The tokens of a folder by their rows, in the order of rows.
    ///
    /// # Errors
    /// No tokenizer that can be read here.
    pub fn tokens(&self) -> Result<Vec<(usize, String)>, ModelError> {
        let failure = |source| ModelError::HuggingFace { path: self.path.clone(), source: Box::new(source) };
        Ok(vocabulary_of(self.companions()?).map_err(failure)?.into_iter().collect())
    }

    /// The tensors that have an entry for each token, with that axis.
    ///
    /// # Errors
    /// Settings in which another size is that of the vocabulary, so that it cannot be told which axes are meant.
    pub fn token_axes(&self) -> Result<Vec<(String, usize)>, ModelError> {
        let Some(settings) = self.settings() else { return Ok(Vec::new()) };
        let failure = |source| ModelError::HuggingFace { path: self.path.clone(), source: Box::new(source) };
        Ok(vocabulary_axes(settings, &self.dict).map_err(failure)?.into_iter().collect())
    }

    /// Every file that it is read from.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn files(&self) -> Result<Vec<PathBuf>, FormatError> {
        let mut files = match &self.kind {
            Kind::Folder { weights, .. } => weights.files().iter().map(|name| self.path.join(name)).collect(),
            Kind::File(_) => self.dict.provenance().files.clone(),
            Kind::Onnx(model) => model.template.external_files().to_vec(),
        };
        match &self.kind {
            Kind::Folder { .. } => files.push(self.path.join(CONFIG_FILE)),
            _ => files.push(self.path.clone()),
        }
        Ok(files)
    }

    /// Writes a result of this form: the tensors of `plan`, which `make` makes when their turn comes, and beside the
    /// weights of a folder the files of `beside`; other files of this folder are copied unless `beside` has one of their name.
    ///
    /// # Errors
    /// [`FormatError`]; an ONNX file with tensors of other names, types or shapes than its own.
    pub fn write(
        &self,
        outputs: &Outputs,
        path: &Path,
        (plan, make): (&[Planned], &Make<'_>),
        beside: &[(String, Option<Vec<u8>>)],
        files: Files,
    ) -> Result<(), ModelError> {
        let contents = Made::new(&self.dict, plan, make);
        let contents = contents.map_err(|name| FormatError::DuplicateName { path: path.into(), name })?;
        match (self.format_at(path)?, &self.kind) {
            (Format::Onnx, Kind::Onnx(model)) => self.write_onnx(model, outputs, path, plan, make)?,
            (Format::HuggingFace, Kind::Folder { weights, .. }) => {
                outputs.new_folder(path)?;
                let sizes = || plan.iter().map(|planned| (planned.name.as_str(), planned.bytes()));
                match files {
                    Files::AsRead => weights.write(outputs, &contents, path)?,
                    Files::AtMost(bytes) => HfWeights::of_sizes(sizes(), bytes).write(outputs, &contents, path)?,
                }
                write_beside(outputs, &self.path, path, beside)?;
            }
            (Format::PyTorch, _) => write_pytorch_of(outputs, path, &contents)?,
            (Format::Npz, _) => write_npz_of(outputs, path, &contents)?,
            _ => write_safetensors_of(outputs, path, &contents)?,
        }
        Ok(())
    }

    fn write_onnx(
        &self,
        model: &OnnxModel,
        outputs: &Outputs,
        path: &Path,
        plan: &[Planned],
        make: &Make<'_>,
    ) -> Result<(), ModelError> {
        let failure = |source| FormatError::Io { path: path.into(), action: "write", source };
        let mut editor = GraphEditor::edit(model.graph.clone());
        for (place, planned) in plan.iter().enumerate() {
            let own = self.dict.get(&planned.name).map(|tensor| (tensor.data_type(), tensor.shape()));
            let id = model.graph.find_value(&planned.name);
            let (Some(own), Some(id)) = (own, id) else {
                return Err(FormatError::MissingEntry {
                    path: path.into(),
                    entry: format!("tensor {:?}", planned.name),
                }
                .into());
            };
            if own != (planned.data_type, planned.shape.as_slice()) {
                return Err(ModelError::Save {
                    path: path.into(),
                    tensor: planned.name.clone(),
                    expected: format!("{} {:?}, as the graph computes with", own.0, own.1),
                    found: format!("{} {:?}", planned.data_type, planned.shape),
                });
            }
            for tensor in make(&[place]).map_err(failure)? {
                editor.set_tensor(id, tensor);
            }
        }
        let graph = editor.finish().map_err(|error| failure(io::Error::other(error)))?;
        let proto = model.template.write(&graph);
        let proto = proto.map_err(|source| FormatError::Onnx { path: path.into(), source: Box::new(source) })?;
        Ok(write_onnx_to(outputs, path, proto, &WriteOptions::default())?)
    }
}

impl Planned {
    fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.data_type.size() as u64
    }
}

/// Tensors as they are planned.
struct Made<'a> {
    /// Types and shapes: of the tensors that were read, or over zeros that nobody looks at.
    dict: StateDict,
    plan: &'a [Planned],
    /// Where in the plan each name is.
    places: HashMap<&'a str, usize>,
    make: &'a Make<'a>,
}

impl<'a> Made<'a> {
    fn new(like: &StateDict, plan: &'a [Planned], make: &'a Make<'a>) -> Result<Self, String> {
        let mut dict = StateDict::new();
        dict.provenance_mut().metadata = like.provenance().metadata.clone();
        let as_read = |planned: &Planned| {
            like.get(&planned.name).filter(|own| (own.data_type(), own.shape()) == (planned.data_type, &planned.shape))
        };
        let others = plan.iter().filter(|planned| as_read(planned).is_none());
        let zeros = Bytes::from(vec![0; others.map(|planned| planned.bytes() as usize).max().unwrap_or(0)]);
        for planned in plan {
            let tensor = match as_read(planned) {
                Some(own) => own.clone(),
                None => {
                    let bytes = zeros.slice(..planned.bytes() as usize);
                    Tensor::new(planned.data_type, planned.shape.clone(), bytes).map_err(|_| planned.name.clone())?
                }
            };
            dict.insert(planned.name.clone(), tensor).map_err(|error| error.name)?;
        }
        if let Some(origin) =
            like.origin().filter(|_| like.len() == plan.len() && plan.iter().all(|planned| as_read(planned).is_some()))
        {
            dict.set_origin(origin.clone());
        }
        let places = plan.iter().enumerate().map(|(place, planned)| (planned.name.as_str(), place)).collect();
        Ok(Self { dict, plan, places, make })
    }
}

impl Contents for Made<'_> {
    fn dict(&self) -> &StateDict {
        &self.dict
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        let place =
            |name: &&str| self.places.get(name).copied().ok_or_else(|| io::Error::other(format!("no tensor {name:?}")));
        (self.make)(&names.iter().map(place).collect::<io::Result<Vec<usize>>>()?)
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        let place = self.places.get(name).copied().unwrap_or(usize::MAX);
        (self.plan.get(place).and_then(|planned| planned.tied).unwrap_or(place), 0)
    }
}
