//! NumPy arrays of samples and labels, in an archive or a folder.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use npyz::{DType, NpyFile, Order, TypeChar};
use zip::ZipArchive;

use super::read::read_up_to;
use super::{DatasetError, Raw, Samples, Split};

const SAMPLES: [&str; 4] = ["x", "images", "inputs", "data"];
const LABELS: [&str; 3] = ["y", "labels", "targets"];

/// The most bytes that one array may take when it is decompressed.
const MOST_BYTES: usize = 1 << 35;

enum Numbers {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

/// `x_train`, `y_train`, `x_test`, `y_test` (or the other names with such an ending) where the archive has them; else
/// `x` and `y` without an ending, which then are both splits. A folder with `x.npy` and `y.npy` is read like an archive.
pub(super) fn load(path: &Path, split: Split) -> Result<Raw, DatasetError> {
    let read = |source: std::io::Error| DatasetError::Read { path: path.to_owned(), source };
    let mut source = if path.is_dir() {
        Source::Folder
    } else {
        let file = File::open(path).map_err(read)?;
        let archive = ZipArchive::new(BufReader::new(file));
        Source::Archive(archive.map_err(|error| read(std::io::Error::other(error.to_string())))?)
    };
    let (samples, shape) = find(&mut source, path, &SAMPLES, split)?;
    let (labels, label_shape) = find(&mut source, path, &LABELS, split)?;
    let wrong = |subject: &str, expected: String, found: String| DatasetError::Content {
        path: path.to_owned(),
        subject: subject.into(),
        expected,
        found,
        hint: None,
    };
    let labels: Option<Vec<u32>> = match labels {
        Numbers::Bytes(values) => Some(values.into_iter().map(u32::from).collect()),
        Numbers::Integers(values) => values.into_iter().map(|value| u32::try_from(value).ok()).collect(),
        Numbers::Floats(_) => None,
    };
    let labels = labels.ok_or_else(|| wrong("labels", "integers of 0 or more".into(), "other numbers".into()))?;
    let [count, sample_shape @ ..] = shape.as_slice() else {
        return Err(wrong("samples", "an axis of samples".into(), "a scalar".into()));
    };
    if labels.len() != *count {
        let found = format!("shape {label_shape:?}");
        return Err(wrong("labels", format!("{count} as there are samples"), found));
    }
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let samples = match samples {
        Numbers::Bytes(values) => Samples::Bytes { values, scale: 1.0 / 255.0 },
        Numbers::Floats(values) => Samples::Floats(values),
        Numbers::Integers(values) => Samples::Floats(values.into_iter().map(|value| value as f32).collect()),
    };
    Ok(Raw { sample_shape: sample_shape.to_vec(), labels, classes, samples })
}

/// Where the arrays are.
enum Source {
    Archive(ZipArchive<BufReader<File>>),
    Folder,
}

impl Source {
    fn has(&self, path: &Path, name: &str) -> bool {
        match self {
            Self::Archive(archive) => archive.index_for_name(name).is_some(),
            Self::Folder => path.join(name).is_file(),
        }
    }

    fn names(&self, path: &Path) -> Vec<String> {
        match self {
            Self::Archive(archive) => archive.file_names().flatten().map(|name| name.into_owned()).collect(),
            Self::Folder => {
                let entries = path.read_dir().into_iter().flatten().flatten();
                let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into()).collect();
                names.sort_unstable();
                names.truncate(10);
                names
            }
        }
    }

    fn bytes(&mut self, path: &Path, name: &str) -> Result<Vec<u8>, DatasetError> {
        let full = path.join(name);
        let read = |source: std::io::Error| DatasetError::Read { path: full.clone(), source };
        match self {
            Self::Archive(archive) => {
                let entry = archive.by_name(name);
                let mut entry = entry.map_err(|error| read(std::io::Error::other(error.to_string())))?;
                read_up_to(&mut entry, MOST_BYTES, &full)
            }
            Self::Folder => read_up_to(&mut File::open(&full).map_err(read)?, MOST_BYTES, &full),
        }
    }
}

fn find(source: &mut Source, path: &Path, names: &[&str], split: Split) -> Result<(Numbers, Vec<usize>), DatasetError> {
    let ending = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    let with_ending = names.iter().map(|name| format!("{name}_{ending}.npy"));
    let candidates: Vec<String> = with_ending.chain(names.iter().map(|name| format!("{name}.npy"))).collect();
    let wrong = |subject: &str, expected: String, found: String| DatasetError::Content {
        path: path.to_owned(),
        subject: subject.into(),
        expected,
        found,
        hint: None,
    };
    let Some(name) = candidates.iter().find(|name| source.has(path, name)) else {
        let found = source.names(path).join(", ");
        return Err(wrong("arrays", format!("one of {}", candidates.join(", ")), found));
    };
    let read = |source: std::io::Error| DatasetError::Read { path: path.join(name), source };
    let bytes = source.bytes(path, name)?;
    let array = NpyFile::new(Cursor::new(bytes.as_slice())).map_err(read)?;
    let shape: Option<Vec<usize>> = array.shape().iter().map(|&length| usize::try_from(length).ok()).collect();
    let count = shape.as_ref().and_then(|shape| shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n)));
    let (Some(shape), Some(count)) = (shape, count) else {
        return Err(wrong(name, "a shape that fits memory".into(), format!("{:?}", array.shape())));
    };
    if array.order() != Order::C && shape.len() > 1 {
        return Err(wrong(name, "row-major order".into(), "column-major order".into()));
    }
    let DType::Plain(element) = array.dtype() else {
        return Err(wrong(name, "an array of numbers".into(), "records".into()));
    };
    if count.saturating_mul(element.num_bytes().unwrap_or(usize::MAX)) > bytes.len() {
        let found = format!("{} bytes", bytes.len());
        return Err(wrong(name, format!("{count} elements of shape {shape:?}"), found));
    }
    let numbers = match (element.type_char(), element.size_field()) {
        (TypeChar::Uint, 1) => Numbers::Bytes(array.into_vec().map_err(read)?),
        (TypeChar::Float, 4) => Numbers::Floats(array.into_vec().map_err(read)?),
        (TypeChar::Float, 8) => {
            let values: Vec<f64> = array.into_vec().map_err(read)?;
            Numbers::Floats(values.into_iter().map(|value| value as f32).collect())
        }
        (TypeChar::Int, 8) => Numbers::Integers(array.into_vec().map_err(read)?),
        (TypeChar::Int, 4) => Numbers::Integers(widened::<i32>(array.into_vec().map_err(read)?)),
        (TypeChar::Int, 2) => Numbers::Integers(widened::<i16>(array.into_vec().map_err(read)?)),
        (TypeChar::Int, 1) => Numbers::Integers(widened::<i8>(array.into_vec().map_err(read)?)),
        (TypeChar::Uint, 4) => Numbers::Integers(widened::<u32>(array.into_vec().map_err(read)?)),
        (TypeChar::Uint, 2) => Numbers::Integers(widened::<u16>(array.into_vec().map_err(read)?)),
        _ => {
            let expected = "uint8, float32, float64 or integers of 8 to 64 bits".into();
            return Err(wrong(name, expected, element.to_string()));
        }
    };
    Ok((numbers, shape))
}

fn widened<T: Into<i64>>(values: Vec<T>) -> Vec<i64> {
    values.into_iter().map(Into::into).collect()
}
