//! Networks in files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use otfuse_formats::model::Exported;
use otfuse_formats::model::{Architecture, Format, Model as File};
use otfuse_formats::{Outputs, Source, StateDict};
use otfuse_graph::{DataType, Facts, Graph, NeuronGroups};
use sha2::{Digest, Sha256};

use crate::files::{hash, hash_of, hexadecimal, shown};
use crate::{Context, Error, Result};

/// A network that was read from a file or folder. Cheap to clone; weights stay in the mapped file until they are used.
///
/// ```no_run
/// # fn main() -> Result<(), otfuse::Error> {
/// let a = otfuse::Model::open("a.onnx")?;
/// let b = otfuse::Model::open("b.pt")?.architecture("resnet")?;
/// println!("{} and {} parameters", a.graph()?.parameter_count(), b.graph()?.parameter_count());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Model(Arc<Opened>);

struct Opened {
    path: PathBuf,
    /// The key that was asked for among several state dicts.
    key: Option<String>,
    held: Held,
    /// The network, or why it is none without an architecture.
    file: Result<File>,
    sha256: OnceLock<Result<String>>,
    groups: OnceLock<Result<NeuronGroups>>,
    finite: OnceLock<Result<()>>,
}

/// Where a network's bytes are.
#[derive(Clone)]
enum Held {
    /// In the file or folder at the path.
    InFile,
    /// In memory: an ONNX model.
    Onnx(Bytes),
    /// In memory: named tensors.
    Tensors,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.0.path).finish()
    }
}

impl Model {
    /// The network in an ONNX file, a Hugging Face folder, or a checkpoint that takes an
    /// [`architecture`](Self::architecture).
    ///
    /// # Errors
    /// A file that cannot be read or is none of these.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match File::open(path, None) {
            Ok(file) => Ok(Self::of(file, path)),
            Err(error) if error.takes_architecture() => Ok(Self::new(path, None, Err(error.into()))),
            Err(error) => Err(error.into()),
        }
    }

    /// The network of a checkpoint without a graph: a family (`mlp`, `vgg`, `resnet`, `lenet`, `sequential`), an ONNX file
    /// or a `config.json` of the same network.
    ///
    /// # Errors
    /// An architecture that is not known or does not fit the tensors.
    pub fn architecture(&self, name: &str) -> Result<Self> {
        Self::open_as(&self.0.path, Some(name))
    }

    /// [`open`](Self::open), with the [`architecture`](Self::architecture) if there is one; the network must be readable.
    ///
    /// # Errors
    /// As these two.
    pub fn open_as(path: impl AsRef<Path>, architecture: Option<&str>) -> Result<Self> {
        Self::open_beside(path, architecture, None, &[] as &[&Path])
    }

    /// As [`open_as`](Self::open_as); of several state dicts in a PyTorch file the one under `key` (`a.b` for one that is
    /// nested deeper), for example `ema_state_dict`. `others` are further checkpoints of the same network: where the ONNX file of
    /// the architecture was exported from one of them, its values tell which tensors are which.
    ///
    /// # Errors
    /// As [`open_as`](Self::open_as); no state dict under that key.
    pub fn open_beside(
        path: impl AsRef<Path>,
        architecture: Option<&str>,
        key: Option<&str>,
        others: &[impl AsRef<Path>],
    ) -> Result<Self> {
        let path = path.as_ref();
        let architecture = architecture.map(Architecture::parse).transpose()?;
        let others: Vec<&Path> = others.iter().map(AsRef::as_ref).collect();
        let file = File::open_beside(path, architecture.as_ref(), key, &others)?;
        Ok(Self::new(path, key.map(str::to_owned), Ok(file)))
    }

    /// The network of an ONNX model in memory, without data in other files. `name` is what errors and reports call it, in
    /// place of a path; no file is read.
    ///
    /// # Errors
    /// Bytes that are no ONNX model.
    pub fn of_onnx(name: impl AsRef<Path>, bytes: impl Into<Bytes>) -> Result<Self> {
        let (name, bytes) = (name.as_ref(), bytes.into());
        let file = File::of_onnx(name, bytes.clone())?;
        Ok(Self::held(name, Held::Onnx(bytes), file))
    }

    /// The network of named tensors in memory whose graph is that of an ONNX model in memory; the weights of that model do
    /// not matter. `name` is what errors and reports call it, in place of a path; no file is read.
    ///
    /// # Errors
    /// Bytes that are no ONNX model, tensors that are not those of the network.
    pub fn of_tensors(name: impl AsRef<Path>, tensors: StateDict, onnx: impl Into<Bytes>) -> Result<Self> {
        let name = name.as_ref();
        let architecture = Architecture::Exported(Exported::new(format!("{}'s graph", name.display()), onnx.into()));
        let file = File::of_state_dict(name, tensors, Format::PyTorch, &architecture)?;
        Ok(Self::held(name, Held::Tensors, file))
    }

    /// As [`of_tensors`](Self::of_tensors), with a family, an ONNX file or a `config.json` as
    /// [`architecture`](Self::architecture) takes them.
    ///
    /// # Errors
    /// As there.
    pub fn of_tensors_as(name: impl AsRef<Path>, tensors: StateDict, architecture: &str) -> Result<Self> {
        let name = name.as_ref();
        let file = File::of_state_dict(name, tensors, Format::PyTorch, &Architecture::parse(architecture)?)?;
        Ok(Self::held(name, Held::Tensors, file))
    }

    /// The network of these tensors; `path` is what errors and reports call it.
    pub(crate) fn filled(path: &Path, tensors: StateDict, format: Format, architecture: &Architecture) -> Result<Self> {
        Ok(Self::held(path, Held::Tensors, File::of_state_dict(path, tensors, format, architecture)?))
    }

    /// The same network, whose weights are written in another element type.
    pub(crate) fn retyped(&self, data_type: DataType) -> Result<Self> {
        let file = self.file()?.retyped(data_type)?;
        let model = Self::with(&self.0.path, self.0.key.clone(), self.0.held.clone(), Ok(file));
        // The file is what it was.
        let _ = model.0.sha256.set(self.sha256().map(str::to_owned));
        Ok(model)
    }

    /// The same network, whose weights are written also where they are not finite and the file's own are.
    pub(crate) fn admitting_nonfinite(&self) -> Result<Self> {
        let file = self.file()?.clone().admitting_nonfinite();
        let model = Self::with(&self.0.path, self.0.key.clone(), self.0.held.clone(), Ok(file));
        let _ = model.0.sha256.set(self.sha256().map(str::to_owned));
        Ok(model)
    }

    /// The same network, in which a weight that several places share is one for each; `None` where its form leaves no place
    /// for that.
    pub(crate) fn untied(&self, initializer: &str) -> Result<Option<Self>> {
        let Some(file) = self.file()?.untied(initializer)? else { return Ok(None) };
        let model = Self::with(&self.0.path, self.0.key.clone(), self.0.held.clone(), Ok(file));
        let _ = model.0.sha256.set(self.sha256().map(str::to_owned));
        Ok(Some(model))
    }

    /// The same network, in which just the tensors of these sets of names are one weight.
    pub(crate) fn tied_as(&self, sets: &[Vec<String>]) -> Result<Self> {
        let file = self.file()?.tied_as(sets)?;
        let model = Self::with(&self.0.path, self.0.key.clone(), self.0.held.clone(), Ok(file));
        let _ = model.0.sha256.set(self.sha256().map(str::to_owned));
        Ok(model)
    }

    /// The same network, whose token `i` is token `rows[i]` of this one.
    pub(crate) fn reworded(&self, rows: &[Option<usize>]) -> Result<Self> {
        let file = self.file()?.reworded(rows)?;
        let model = Self::with(&self.0.path, self.0.key.clone(), self.0.held.clone(), Ok(file));
        let _ = model.0.sha256.set(self.sha256().map(str::to_owned));
        Ok(model)
    }

    /// This network in the form of a deeper one, whose nodes and names `graph` has. Known by its own path.
    pub(crate) fn in_form_of(&self, deeper: &Self, graph: Graph) -> Result<Self> {
        let mut file = deeper.file()?.clone();
        file.graph = graph;
        let model = Self::with(&self.0.path, self.0.key.clone(), self.0.held.clone(), Ok(file));
        let _ = model.0.sha256.set(self.sha256().map(str::to_owned));
        Ok(model)
    }

    /// What a user should know of the file before its network is used: other state dicts beside the one that was read, tensors
    /// that only the checkpoint or only its architecture has. A line each.
    pub fn notes(&self) -> Vec<String> {
        let Ok(file) = &self.0.file else { return Vec::new() };
        let mut notes = Vec::new();
        let others = if self.0.key.is_none() { file.other_state_dicts() } else { Vec::new() };
        if let Some(first) = others.first() {
            notes.push(format!(
                "{}: there are more weights beside those that are read: {}; `weights_key` {first} reads those",
                self.shown(),
                listed(&others)
            ));
        }
        if let Source::StateDict(source) = &file.source {
            notes.extend(source.notes.iter().map(|note| format!("{}: {note}", self.shown())));
        }
        notes
    }

    /// What becomes of all that the file holds beside its weights when `graph` is written to `path`.
    pub(crate) fn note_of_output(&self, graph: &Graph, path: &Path) -> Option<String> {
        let (is_kept, names) = self.file().ok()?.beside(graph, path)?;
        let (path, own, names) = (shown(path), self.shown(), listed(&names));
        Some(if is_kept {
            format!("{path}: what is beside the weights is that of {own}: {names}")
        } else {
            format!("{path}: holds the weights alone, without what {own} has beside them: {names}")
        })
    }

    /// A network as the formats give it: one that is made, not read.
    pub(crate) fn of(file: File, path: &Path) -> Self {
        Self::new(path, None, Ok(file))
    }

    fn new(path: &Path, key: Option<String>, file: Result<File>) -> Self {
        Self::with(path, key, Held::InFile, file)
    }

    fn held(name: &Path, held: Held, file: File) -> Self {
        Self::with(name, None, held, Ok(file))
    }

    fn with(path: &Path, key: Option<String>, held: Held, file: Result<File>) -> Self {
        let (sha256, groups, finite) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self(Arc::new(Opened { path: path.into(), key, held, file, sha256, groups, finite }))
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub(crate) fn shown(&self) -> String {
        shown(&self.0.path)
    }

    /// The network and what else its file holds.
    ///
    /// # Errors
    /// A checkpoint without a graph that was not given an architecture.
    pub fn file(&self) -> Result<&File> {
        self.0.file.as_ref().map_err(Clone::clone)
    }

    /// The network.
    ///
    /// # Errors
    /// A checkpoint without a graph that was not given an architecture.
    pub fn graph(&self) -> Result<&Graph> {
        Ok(&self.file()?.graph)
    }

    /// The network's neuron groups, found once.
    ///
    /// # Errors
    /// A network whose shapes contradict each other.
    pub fn groups(&self) -> Result<&NeuronGroups> {
        let found = self
            .0
            .groups
            .get_or_init(|| NeuronGroups::of(self.graph()?).map_err(|error| Error::input(error).of(&self.0.path)));
        found.as_ref().map_err(Clone::clone)
    }

    /// Type and shape of every value.
    ///
    /// # Errors
    /// A network whose shapes contradict each other.
    pub fn facts(&self) -> Result<Facts> {
        Facts::of(self.graph()?).map_err(|error| Error::input(error).of(&self.0.path))
    }

    /// The network to compute with: refuses weights that are no numbers.
    ///
    /// # Errors
    /// A weight that is NaN, by name.
    pub fn finite(&self) -> Result<&Graph> {
        let checked = self.0.finite.get_or_init(|| {
            let graph = self.graph()?;
            for (id, tensor) in graph.initializers() {
                let Some((index, _)) = tensor.find(f32::is_nan) else { continue };
                let name = &graph.value(id).name;
                let error = Error::input(format!("'{name}': expected numbers, found NaN at index {index}"));
                let error = error.of(&self.0.path).hint("the checkpoint may come from a training run that diverged");
                return Err(Error { tensor: Some(name.clone()), ..error });
            }
            Ok(())
        });
        checked.clone()?;
        self.graph()
    }

    /// The network to compute with, as [`finite`](Self::finite), and what a user should know of its file told.
    pub(crate) fn told(&self, context: &Context) -> Result<&Graph> {
        let graph = self.finite()?;
        self.notes().iter().for_each(|note| context.warn(note));
        Ok(graph)
    }

    /// SHA-256 of the file in hexadecimal; of a folder, that of the lines `HASH  NAME` of its files by name; of tensors in
    /// memory, that of the line `NAME TYPE SHAPE` and the bytes of each. Computed once.
    ///
    /// # Errors
    /// A file that cannot be read any more.
    pub fn sha256(&self) -> Result<&str> {
        let found = self.0.sha256.get_or_init(|| match &self.0.held {
            Held::InFile => hash(&self.0.path),
            Held::Onnx(bytes) => Ok(hash_of(bytes)),
            Held::Tensors => Ok(self.hash_of_tensors()),
        });
        found.as_deref().map_err(Clone::clone)
    }

    fn hash_of_tensors(&self) -> String {
        let mut digest = Sha256::new();
        if let Ok(File { source: Source::StateDict(source), .. }) = &self.0.file {
            for (name, tensor) in source.dict.iter() {
                digest.update(format!("{name} {} {:?}\n", tensor.data_type(), tensor.shape()));
                digest.update(tensor.bytes());
            }
        }
        hexadecimal(&digest.finalize())
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        matches!(self.0.held, Held::InFile) && self.0.path.is_dir()
    }

    /// Whether a result of this network's kind is a folder at this path: the network is one, and the path has no extension
    /// of a file format.
    pub fn writes_folder(&self, path: &Path) -> bool {
        let is_folder = self.is_folder() || self.0.file.as_ref().is_ok_and(|file| file.format() == Format::HuggingFace);
        is_folder && Format::of_extension(path).is_none()
    }

    /// Whether it was read from a file or folder, and is not in memory alone.
    pub fn is_in_file(&self) -> bool {
        matches!(self.0.held, Held::InFile)
    }

    /// Every file that it was read from.
    ///
    /// # Errors
    /// A folder that can no longer be listed.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        match &self.0.file {
            Ok(file) if !matches!(self.0.held, Held::InFile) => {
                Ok(file.files()?.into_iter().filter(|found| *found != self.0.path).collect())
            }
            Ok(file) => Ok(file.files()?),
            Err(_) => Ok(vec![self.0.path.clone()]),
        }
    }

    /// Stages `graph`, this network with other weights, to be written to `path`; the extension chooses the format.
    pub(crate) fn write(&self, graph: &Graph, outputs: &Outputs, path: &Path) -> Result<()> {
        Ok(self.file()?.save_to(outputs, graph, path)?)
    }

    /// Writes the network, whole or not at all; the extension chooses the format.
    ///
    /// # Errors
    /// A path that cannot be written; a format that cannot hold the network.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = self.file()?;
        Ok(file.save(&file.graph, path.as_ref())?)
    }
}

/// The first few of several names.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 5;
    let shown = names.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

/// The hashes of several models, side by side.
pub(crate) fn hashes(models: &[Model]) -> Result<Vec<String>> {
    std::thread::scope(|scope| {
        let running: Vec<_> = models.iter().map(|model| scope.spawn(|| model.sha256().map(str::to_owned))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<String>>| {
            thread.join().unwrap_or_else(|_| Err(Error::run("hashing the inputs failed")))
        };
        running.into_iter().map(join).collect()
    })
}
