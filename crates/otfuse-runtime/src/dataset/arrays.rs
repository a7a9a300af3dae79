//! Arrays of samples and labels: an archive or a folder of NumPy's, or a safetensors file.

use std::path::Path;

use otfuse_formats::npz::{NpzArchive, read_npy};
use otfuse_formats::safetensors::read_safetensors;
use otfuse_formats::{FormatError, StateDict};
use otfuse_graph::{DataType, Tensor};

use super::read::is_folder;
use super::{DatasetError, Raw, Samples, Split};

const SAMPLES: [&str; 4] = ["x", "images", "inputs", "data"];
const LABELS: [&str; 3] = ["y", "labels", "targets"];

/// Names that a message lists at most.
const MOST_NAMES: usize = 10;

/// Where arrays are.
pub(super) enum Source<'a> {
    Archive(NpzArchive<'a>),
    Folder(&'a Path),
    Safetensors(&'a Path, StateDict),
}

impl<'a> Source<'a> {
    /// A NumPy archive, or a folder of `.npy` files.
    pub(super) fn numpy(path: &'a Path) -> Result<Self, DatasetError> {
        if is_folder(path)? {
            return Ok(Self::Folder(path));
        }
        Ok(Self::Archive(NpzArchive::open(path)?))
    }

    /// A safetensors file.
    pub(super) fn safetensors(path: &'a Path) -> Result<Self, DatasetError> {
        Ok(Self::Safetensors(path, read_safetensors(path)?))
    }

    /// What a file in an archive or a folder has behind its name.
    fn ending(&self) -> &'static str {
        if matches!(self, Self::Safetensors(..)) { "" } else { ".npy" }
    }

    fn names(&self) -> Result<Vec<String>, DatasetError> {
        match self {
            Self::Archive(archive) => Ok(archive.names()?),
            Self::Folder(path) => {
                let failure = |source| DatasetError::Read { path: path.to_path_buf(), source };
                let mut names = Vec::new();
                for entry in path.read_dir().map_err(failure)? {
                    let name = entry.map_err(failure)?.file_name().to_string_lossy().into_owned();
                    names.extend(name.strip_suffix(".npy").map(str::to_owned));
                }
                names.sort_unstable();
                Ok(names)
            }
            Self::Safetensors(_, dict) => Ok(dict.names().map(str::to_owned).collect()),
        }
    }

    fn array(&mut self, name: &str) -> Result<Tensor, FormatError> {
        match self {
            Self::Archive(archive) => archive.array(name),
            Self::Folder(path) => read_npy(&path.join(format!("{name}.npy"))),
            Self::Safetensors(path, dict) => {
                let missing = || FormatError::MissingEntry { path: path.to_path_buf(), entry: name.to_owned() };
                dict.get(name).cloned().ok_or_else(missing)
            }
        }
    }
}

/// What an array of a split may be called: with its ending first.
fn candidates(names: &[&str], split: Split) -> Vec<String> {
    let with_ending = names.iter().map(|name| format!("{name}_{split}"));
    with_ending.chain(names.iter().map(|name| (*name).to_owned())).collect()
}

/// Samples and labels: `x_train`, `y_train`, `x_test`, `y_test` (or the other names with such an ending) where there are
/// such; else `x` and `y` without an ending, which then are both splits. Bytes are scaled to 0..1, other numbers stay as
/// they are.
pub(super) fn load(path: &Path, mut source: Source<'_>, split: Split) -> Result<Raw, DatasetError> {
    let wrong = |subject: &str, expected: String, found: String| DatasetError::Content {
        path: path.to_owned(),
        subject: subject.into(),
        expected,
        found,
        hint: None,
    };
    let there = source.names()?;
    let ending = source.ending();
    let files = |names: &[String]| names.iter().map(|name| format!("{name}{ending}")).collect::<Vec<_>>();
    let found = || {
        let shown = files(&there[..there.len().min(MOST_NAMES)]);
        if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
    };
    let none_of = |candidates: &[String]| !candidates.iter().any(|name| there.contains(name));
    let (of_samples, of_labels) = (candidates(&SAMPLES, split), candidates(&LABELS, split));
    let other = candidates(&SAMPLES, split.other());
    if none_of(&of_samples) && none_of(&of_labels) && !none_of(&other) {
        let (path, expected, found) = (path.to_owned(), files(&of_samples), found());
        return Err(DatasetError::AbsentSplit { path, split, expected, found });
    }
    let mut find = |candidates: &[String]| -> Result<(String, Tensor), DatasetError> {
        let Some(name) = candidates.iter().find(|name| there.contains(name)) else {
            return Err(wrong("arrays", format!("one of {}", files(candidates).join(", ")), found()));
        };
        Ok((name.clone(), source.array(name)?))
    };
    let ((_, samples), (label_name, labels)) = (find(&of_samples)?, find(&of_labels)?);
    let [count, sample_shape @ ..] = samples.shape() else {
        return Err(wrong("samples", "an axis of samples".into(), "a scalar".into()));
    };
    if labels.shape() != [*count] {
        return Err(wrong("labels", format!("{count} as there are samples"), format!("shape {:?}", labels.shape())));
    }
    let integers =
        || wrong("labels", "integers of 0 or more".into(), format!("{label_name} of {}", labels.data_type()));
    let negative = |value: i64| wrong("labels", "integers of 0 or more".into(), value.to_string());
    let values = labels.to_i64().ok_or_else(integers)?;
    let label = |value: i64| u32::try_from(value).map_err(|_| negative(value));
    let labels = values.into_iter().map(label).collect::<Result<Vec<u32>, _>>()?;
    let numbers = || wrong("samples", "numbers".into(), samples.data_type().to_string());
    let values = match samples.data_type() {
        DataType::U8 => Samples::Bytes { values: samples.bytes().to_vec(), scale: 1.0 / 255.0 },
        data_type if data_type.is_float() => Samples::Floats(samples.to_f32().ok_or_else(numbers)?),
        _ => {
            let values = samples.to_i64().ok_or_else(numbers)?;
            Samples::Floats(values.into_iter().map(|value| value as f32).collect())
        }
    };
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    Ok(Raw { sample_shape: sample_shape.to_vec(), labels, classes, samples: values })
}
