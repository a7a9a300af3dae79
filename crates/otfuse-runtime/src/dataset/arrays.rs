//! Arrays of samples, with or without targets: an archive, a folder or a file of NumPy's, or a safetensors file.

use std::path::Path;

use otfuse_formats::npz::{NpzArchive, read_npy};
use otfuse_formats::safetensors::read_safetensors;
use otfuse_formats::{FormatError, StateDict};
use otfuse_graph::{DataType, Tensor};

use super::column::{Column, Values};
use super::read::is_folder;
use super::{DatasetError, Raw, Split, Targets};

const SAMPLES: [&str; 4] = ["x", "images", "inputs", "data"];
const TARGETS: [&str; 5] = ["y", "labels", "targets", "label", "target"];

/// The byte that masks of segmentation hold where a place has no class.
const VOID_BYTE: i64 = 255;

/// Names that a message lists at most.
const MOST_NAMES: usize = 10;

/// Where arrays are.
pub(super) enum Source<'a> {
    Archive(NpzArchive<'a>),
    Folder(&'a Path),
    /// One array alone.
    File(&'a Path),
    Safetensors(&'a Path, StateDict),
}

impl<'a> Source<'a> {
    /// A NumPy archive, a folder of `.npy` files, or such a file alone.
    pub(super) fn numpy(path: &'a Path) -> Result<Self, DatasetError> {
        if is_folder(path)? {
            return Ok(Self::Folder(path));
        }
        if path.extension().is_some_and(|ending| ending == "npy") {
            return Ok(Self::File(path));
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
            Self::File(path) => Ok(vec![path.file_stem().unwrap_or_default().to_string_lossy().into_owned()]),
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
            Self::File(path) => read_npy(path),
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

/// The arrays of a split: what they are without the split's ending, and as the file calls them.
fn of_split(there: &[String], split: Split) -> Vec<(String, String)> {
    let ending = |split: Split| format!("_{split}");
    let mut found = Vec::new();
    for name in there {
        match name.strip_suffix(&ending(split)) {
            Some(base) => found.push((base.to_owned(), name.clone())),
            None if name.ends_with(&ending(split.other())) => {}
            None if there.contains(&format!("{name}_{split}")) => {}
            None => found.push((name.clone(), name.clone())),
        }
    }
    found
}

/// Samples and what is known of them: `x_train`, `y_train`, `x_test`, `y_test` (or the other names with such an ending)
/// where there are such; else `x` and `y` without an ending, which then are both splits. Without `y` nothing is known of the
/// samples. Other arrays of as many samples are inputs of the network by their names; a single array is the samples under
/// any name. Bytes called `x` (or `images`, `inputs`, `data`) are scaled to 0..1, all else stays as it is.
pub(super) fn load(path: &Path, mut source: Source<'_>, split: Split) -> Result<Raw, DatasetError> {
    let there = source.names()?;
    let reader = Arrays { path, ending: source.ending(), there: &there };
    let (of_samples, of_targets) = (candidates(&SAMPLES, split), candidates(&TARGETS, split));
    let arrays = of_split(&there, split);
    if arrays.is_empty() && !there.is_empty() {
        let (path, expected, found) = (path.to_owned(), reader.files(&of_samples), reader.found());
        return Err(DatasetError::AbsentSplit { path, split, expected, found });
    }
    let target = of_targets.iter().find(|name| there.contains(name));
    let main = of_samples.iter().find(|name| there.contains(name));
    let others: Vec<&(String, String)> = arrays
        .iter()
        .filter(|(base, name)| !TARGETS.contains(&base.as_str()) && Some(name) != main && Some(name) != target)
        .collect();
    if main.is_none() && others.is_empty() {
        let expected =
            format!("one of {}, or arrays called as the network's inputs", reader.files(&of_samples).join(", "));
        return Err(reader.wrong("arrays", expected, reader.found()));
    }
    let mut columns = Vec::new();
    let mut count = None;
    if let Some(name) = main {
        let array = source.array(name)?;
        let base = arrays.iter().find(|(_, found)| found == name).map_or(name, |(base, _)| base);
        count = Some(reader.count(name, &array)?);
        columns.push(reader.column(base, name, &array, 1.0 / 255.0)?);
    }
    let mut unread = None;
    for (base, name) in others {
        let array = match source.array(name) {
            Ok(array) => array,
            // Names of samples, for example.
            Err(error @ FormatError::Unsupported { .. }) => {
                unread = Some(error);
                continue;
            }
            Err(error) if main.is_some() => {
                unread = Some(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(&found) = array.shape().first() else { continue };
        let expected = *count.get_or_insert(found);
        if expected == found {
            columns.push(reader.column(base, name, &array, 1.0)?);
        } else if main.is_none() {
            let expected = format!("{expected} samples as in {}", columns.first().map_or("", |it: &Column| &it.name));
            return Err(reader.wrong(name, expected, format!("shape {:?}", array.shape())));
        }
    }
    let (Some(count), false) = (count, columns.is_empty()) else {
        let nothing = || reader.wrong("arrays", "arrays of samples".into(), reader.found());
        return Err(unread.map_or_else(nothing, Into::into));
    };
    let targets = match target {
        Some(name) => reader.targets(name, &source.array(name)?, count)?,
        None => Targets::None,
    };
    let is_named = main.is_none() && columns.len() > 1;
    Ok(Raw { columns, is_named, targets, remarks: Vec::new() })
}

/// What an error has to say of the arrays.
struct Arrays<'a> {
    path: &'a Path,
    ending: &'static str,
    there: &'a [String],
}

impl Arrays<'_> {
    fn wrong(&self, subject: &str, expected: String, found: String) -> DatasetError {
        let (path, subject) = (self.path.to_owned(), subject.to_owned());
        DatasetError::Content { path, subject, expected, found, hint: None }
    }

    fn files(&self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| format!("{name}{}", self.ending)).collect()
    }

    fn found(&self) -> String {
        let shown = self.files(&self.there[..self.there.len().min(MOST_NAMES)]);
        if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
    }

    fn count(&self, name: &str, array: &Tensor) -> Result<usize, DatasetError> {
        let scalar = || self.wrong("samples", "an axis of samples".into(), format!("a scalar in {name}"));
        array.shape().first().copied().ok_or_else(scalar)
    }

    fn column(&self, base: &str, name: &str, array: &Tensor, scale: f32) -> Result<Column, DatasetError> {
        let numbers = || self.wrong("samples", "numbers".into(), format!("{name} of {}", array.data_type()));
        let values = match array.data_type() {
            DataType::U8 => Values::Bytes { values: array.bytes().to_vec(), scale },
            data_type if data_type.is_float() => Values::Floats(array.to_f32().ok_or_else(numbers)?),
            _ => Values::Integers(array.to_i64().ok_or_else(numbers)?),
        };
        Ok(Column { name: base.to_owned(), shape: array.shape()[1..].to_vec(), values })
    }

    /// Integers are classes: one a sample, or one at each place, where a negative number (of bytes 255) says that there is
    /// none. Floats are numbers to be met.
    fn targets(&self, name: &str, array: &Tensor, count: usize) -> Result<Targets, DatasetError> {
        let Some((&found, shape)) = array.shape().split_first() else {
            return Err(self.wrong("labels", format!("{count} as there are samples"), "a scalar".into()));
        };
        if found != count {
            let found = format!("shape {:?}", array.shape());
            return Err(self.wrong("labels", format!("{count} as there are samples"), found));
        }
        if array.data_type().is_float() {
            let values = array.to_f32().unwrap_or_default();
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(self.wrong("targets", "finite numbers".into(), format!("{value} in {name}")));
            }
            return Ok(Targets::Numbers { values, shape: shape.to_vec() });
        }
        let integers = || {
            let found = format!("{name} of {}", array.data_type());
            self.wrong("labels", "integers of 0 or more, or floats to be met".into(), found)
        };
        let values = array.to_i64().ok_or_else(integers)?;
        let is_dense = shape.iter().any(|&length| length != 1);
        let is_bytes = array.data_type() == DataType::U8;
        let label = |value: i64| {
            if is_dense && (value < 0 || (is_bytes && value == VOID_BYTE)) {
                return Ok(Targets::VOID);
            }
            let label = u32::try_from(value).ok().filter(|&label| label != Targets::VOID);
            label.ok_or_else(|| self.wrong("labels", "integers of 0 or more".into(), value.to_string()))
        };
        let labels = values.into_iter().map(label).collect::<Result<Vec<u32>, _>>()?;
        let classes = labels.iter().filter(|&&label| label != Targets::VOID).max().map_or(0, |&most| most as usize + 1);
        Ok(Targets::Classes { labels, classes, shape: if is_dense { shape.to_vec() } else { Vec::new() } })
    }
}
