//! Opening and naming models.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use otfuse_formats::model::{Architecture, Format, Model, ModelError};
use otfuse_formats::{FormatError, Tensors};
use otfuse_graph::Graph;
use otfuse_runtime::dataset::{DataSpec, Dataset, DatasetError, Normalization, Partition, Split};
use sha2::{Digest, Sha256};

use super::Failure;
use super::arguments::{Data, Reading, SplitName};

/// Bytes of a file that are hashed at a time.
const HASHED: usize = 1 << 20;

/// Opens a model as the arguments say.
pub fn open(path: &Path, reading: &Reading) -> Result<Model, Failure> {
    let architecture = match &reading.arch {
        Some(name) => Some(Architecture::parse(name).map_err(|error| describe(&error))?),
        None => None,
    };
    Model::open(path, architecture.as_ref()).map_err(|error| describe(&error))
}

/// Opens a model to compute with: as [`open`], and refuses weights that are no numbers.
pub fn open_finite(path: &Path, reading: &Reading) -> Result<Model, Failure> {
    let model = open(path, reading)?;
    for (id, tensor) in model.graph.initializers() {
        let Some((index, _)) = tensor.find(f32::is_nan) else { continue };
        let name = &model.graph.value(id).name;
        let message = format!("{}: '{name}': expected numbers, found NaN at index {index}", path.display());
        return Err(Failure::input(message).hint("the checkpoint may come from a training run that diverged"));
    }
    Ok(model)
}

/// Writes a model with weights that `tensors` makes when their turn comes.
pub fn save_streamed(model: &Model, tensors: &Tensors<'_>, path: &Path) -> Result<(), Failure> {
    model.save_streamed(tensors, path).map_err(|error| describe(&error))
}

/// Writes the weights of `graph` as `model` is kept.
pub fn save(model: &Model, graph: &Graph, path: &Path) -> Result<(), Failure> {
    model.save(graph, path).map_err(|error| describe(&error))
}

fn describe(error: &ModelError) -> Failure {
    Failure::input(error).hint(error.hint())
}

/// The user's view of an error about a file.
pub fn file_failure(error: &FormatError) -> Failure {
    Failure::input(error).hint(error.hint())
}

fn dataset_failure(error: &DatasetError) -> Failure {
    Failure::input(error).hint(error.hint())
}

/// The samples that the arguments name.
pub fn dataset(arguments: &Data, split: SplitName, limit: Option<usize>) -> Result<Dataset, Failure> {
    let spec = arguments.data.as_ref().ok_or_else(|| {
        Failure::input("no data set is given").hint(
            "--data digits, mnist:DIR, fashion-mnist:DIR, cifar10:DIR, cifar100:DIR, npz:FILE, npy:DIR, csv:FILE, \
             safetensors:FILE, images:DIR, text:FILE or sst2:DIR",
        )
    })?;
    let mut spec: DataSpec = spec.parse().map_err(|error| dataset_failure(&error))?;
    spec.image_size = arguments.image_size;
    let normalization = match &arguments.normalize {
        Some(text) => Some(Normalization::parse(text).map_err(|error| dataset_failure(&error))?),
        None => None,
    };
    let split = match split {
        SplitName::Test => Split::Test,
        SplitName::Train => Split::Train,
    };
    if limit == Some(0) {
        return Err(
            Failure::input("--limit 0: at least one sample is needed").hint("without --limit all samples are used")
        );
    }
    let dataset = match (&arguments.partition, arguments.part) {
        (Some(partition), Some(part)) => {
            let partition: Partition = partition.parse().map_err(|error| dataset_failure(&error))?;
            let whole = spec.load(split, None, normalization).map_err(|error| dataset_failure(&error))?;
            let chosen = whole.part(&partition, part, arguments.partition_seed);
            let chosen = chosen.map_err(|error| dataset_failure(&error))?;
            match limit {
                Some(limit) => chosen.truncated(limit),
                None => chosen,
            }
        }
        _ => spec.load(split, limit, normalization).map_err(|error| dataset_failure(&error))?,
    };
    if dataset.is_empty() {
        return Err(Failure::input(format!("{}: the data set has no samples", dataset.name()))
            .hint("the file may be cut short or the wrong one"));
    }
    Ok(dataset)
}

/// SHA-256 of a file's bytes in hexadecimal; of a folder, that of the lines `HASH  NAME` of its files by name.
pub fn hash(path: &Path) -> Result<String, Failure> {
    let failure = |source| file_failure(&FormatError::Io { path: path.into(), action: "read", source });
    if path.is_dir() {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failure)? {
            let file = entry.map_err(failure)?.path();
            if std::fs::metadata(&file).is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0) {
                files.push(file);
            }
        }
        files.sort();
        let mut digest = Sha256::new();
        for file in &files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            digest.update(format!("{}  {name}\n", hash(file)?));
        }
        return Ok(hexadecimal(&digest.finalize()));
    }
    let mut file = File::open(path).map_err(failure)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; HASHED];
    loop {
        let length = file.read(&mut piece).map_err(failure)?;
        if length == 0 {
            return Ok(hexadecimal(&digest.finalize()));
        }
        digest.update(&piece[..length]);
    }
}

/// [`hash`] of several files and folders, side by side.
pub fn hashes(paths: &[PathBuf]) -> Result<Vec<String>, Failure> {
    std::thread::scope(|scope| {
        let running: Vec<_> = paths.iter().map(|path| scope.spawn(|| hash(path))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<String, Failure>>| {
            thread.join().unwrap_or_else(|_| Err(Failure::run("hashing the inputs failed")))
        };
        running.into_iter().map(join).collect()
    })
}

/// SHA-256 of bytes in hexadecimal.
pub fn hash_of(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path as it is shown and written to JSON.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A number of things with their noun.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Whether the result is a folder: the anchor is one, and the output has no extension of a file format.
pub fn is_folder(output: &Path, anchor: &Path) -> bool {
    anchor.is_dir() && Format::of_extension(output).is_none()
}

/// Refuses an output that a network made from scratch cannot be written to, before any work is done.
pub fn check_new_output(output: &Path, model: &Model) -> Result<(), Failure> {
    let checked = match model.format() == Format::HuggingFace && Format::of_extension(output).is_none() {
        true => otfuse_formats::hf::check_folder_target(output),
        false => otfuse_formats::file::check_target(output),
    };
    checked.map_err(|error| file_failure(&error))
}

/// Refuses an output that cannot be written, or would overwrite one of the inputs, before any work is done.
///
/// Where the input `anchor` is a folder and the output has no extension of a file format, the output is a folder too.
pub fn check_output(output: &Path, inputs: &[PathBuf], anchor: Option<&Path>) -> Result<(), Failure> {
    let checked = match anchor.is_some_and(|anchor| is_folder(output, anchor)) {
        true => otfuse_formats::hf::check_folder_target(output),
        false => otfuse_formats::file::check_target(output),
    };
    checked.map_err(|error| file_failure(&error))?;
    let canonical = |path: &Path| path.canonicalize().ok();
    let Some(target) = canonical(output) else { return Ok(()) };
    if inputs.iter().any(|input| canonical(input).as_ref() == Some(&target)) {
        let message = format!("{}: the output is one of the inputs", output.display());
        return Err(Failure::input(message).hint("choose another name for the result"));
    }
    Ok(())
}
