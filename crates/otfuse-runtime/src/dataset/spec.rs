//! Data sets by name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::arrays::{self, Source};
use super::cifar::Cifar;
#[cfg(feature = "images")]
use super::images;
use super::read::files_below;
use super::split::Split;
use super::{Dataset, DatasetError, Noise, Normalization, cifar, csv, digits, idx, text};

impl FromStr for Split {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        match text {
            "train" => Ok(Self::Train),
            "test" => Ok(Self::Test),
            _ => Err(DatasetError::Spec { found: text.to_owned(), expected: "train or test".into(), closest: None }),
        }
    }
}

/// The kinds of data sets that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// scikit-learn's digits, embedded; every fifth row (4, 9, 14, ..) is a test sample.
    Digits,
    /// A folder with MNIST's idx files.
    Mnist,
    /// A folder with Fashion-MNIST's idx files.
    FashionMnist,
    /// A folder with CIFAR-10's binary batches.
    Cifar10,
    /// A folder with CIFAR-100's binary batches.
    Cifar100,
    /// A NumPy archive with samples (`x`, `images`, `inputs` or `data`) and labels (`y`, `labels` or `targets`).
    Npz,
    /// A folder with such arrays as `.npy` files.
    Npy,
    /// A table of comma-separated numbers with a column of labels, or a folder with `train.csv` and `test.csv`.
    Csv,
    /// A folder of png, jpeg or webp files: `train/CLASS` and `test/CLASS`, or `CLASS`, where every fifth image (4, 9, 14,
    /// ..) of a class is a test sample.
    Images,
    /// A safetensors file with arrays as in a NumPy archive.
    Safetensors,
    /// A text file for language modelling by characters.
    Text,
    /// A folder with the tables of SST-2: sentences and whether they are positive.
    Sst2,
    /// Noise of the shape of a network's inputs, in place of a path: `normal` or `uniform`, and a number of samples.
    Noise,
}

impl DataKind {
    /// Whether a file in a folder of this kind may be read, by its name.
    fn may_read(self, file: &Path) -> bool {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        match self {
            Self::Digits | Self::Noise => false,
            Self::Mnist | Self::FashionMnist => ends(&["-ubyte", "-ubyte.gz"]),
            Self::Cifar10 | Self::Cifar100 => ends(&[".bin"]),
            Self::Npz => ends(&[".npz"]),
            Self::Npy => ends(&[".npy"]),
            Self::Csv => ends(&[".csv", ".csv.gz"]),
            Self::Images => ends(&[".png", ".jpg", ".jpeg", ".webp"]),
            Self::Safetensors => ends(&[".safetensors"]),
            Self::Text => true,
            Self::Sst2 => ends(&[".tsv", ".tsv.gz"]),
        }
    }

    const ALL: [(Self, &'static str); 13] = [
        (Self::Digits, "digits"),
        (Self::Mnist, "mnist"),
        (Self::FashionMnist, "fashion-mnist"),
        (Self::Cifar10, "cifar10"),
        (Self::Cifar100, "cifar100"),
        (Self::Npz, "npz"),
        (Self::Npy, "npy"),
        (Self::Csv, "csv"),
        (Self::Images, "images"),
        (Self::Safetensors, "safetensors"),
        (Self::Text, "text"),
        (Self::Sst2, "sst2"),
        (Self::Noise, "noise"),
    ];

    /// What may have been meant by a specification that is none: a kind of nearly this name, or what lies at a path.
    fn closest(text: &str) -> Option<String> {
        let path = Path::new(text);
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let of_ending = match ending.as_str() {
            "npz" | "npy" | "csv" | "safetensors" => Some(ending.clone()),
            "gz" if text.ends_with(".csv.gz") => Some("csv".into()),
            "txt" | "md" => Some("text".into()),
            _ if path.is_dir() => Some("images".into()),
            _ => None,
        };
        if let Some(kind) = of_ending.filter(|_| path.exists() || !text.contains(':')) {
            return Some(format!("{kind}:{text}"));
        }
        let (name, path) = text.split_once(':').unwrap_or((text, ""));
        let (name, length) = name.split_once('@').map_or((name, None), |(name, length)| (name, Some(length)));
        let name = name.to_ascii_lowercase();
        let other = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind);
        let near = || {
            let near = Self::ALL.iter().map(|(_, kind)| (strsim::damerau_levenshtein(&name, kind), *kind));
            near.filter(|(distance, kind)| *distance <= (kind.len() / 3).max(1)).min().map(|(_, kind)| kind)
        };
        let kind = other.or_else(near)?;
        let length = length.map_or_else(String::new, |length| format!("@{length}"));
        let path = match path {
            "" if kind == "noise" => "normal",
            "" => "PATH",
            path => path,
        };
        Some(if kind == "digits" { kind.to_owned() } else { format!("{kind}{length}:{path}") })
    }

    /// The name in a specification.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// What is used unless a normalisation is given.
    pub fn default_normalization(self) -> Normalization {
        match self {
            Self::Mnist => Normalization::mnist(),
            Self::Cifar10 => Normalization::cifar10(),
            // The statistics of the files' training images.
            Self::FashionMnist => Normalization::new(&[0.2860], &[0.3530]),
            Self::Cifar100 => Normalization::new(&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]),
            Self::Digits
            | Self::Npz
            | Self::Npy
            | Self::Csv
            | Self::Images
            | Self::Safetensors
            | Self::Text
            | Self::Sst2
            | Self::Noise => Normalization::none(),
        }
    }

    /// Whether samples are made of tokens.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Sst2)
    }
}

/// What others call the kinds.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("numpy", "npz"),
    ("np", "npz"),
    ("folder", "images"),
    ("imagefolder", "images"),
    ("image-folder", "images"),
    ("fmnist", "fashion-mnist"),
    ("fashion", "fashion-mnist"),
    ("cifar", "cifar10"),
    ("st", "safetensors"),
    ("txt", "text"),
    ("tsv", "csv"),
    ("sst", "sst2"),
    ("png", "images"),
    ("jpg", "images"),
];

/// The most tokens of a sample.
const MOST_LENGTH: usize = 1 << 20;

/// A data set by kind and path, written `KIND:PATH` (or `digits` alone); of text also `KIND@LENGTH:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSpec {
    /// What it is.
    pub kind: DataKind,
    /// Where its files are; empty for embedded data.
    pub path: PathBuf,
    /// Tokens of a sample of text, where it is not the kind's own (64).
    pub length: Option<usize>,
    /// Images are scaled to this height and width; as they are if `None`. Of [`DataKind::Images`] alone.
    pub image_size: Option<u32>,
}

impl FromStr for DataSpec {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let wrong = || {
            let with_path = DataKind::ALL.iter().skip(1).map(|(kind, name)| match kind {
                DataKind::Noise => "noise:normal|uniform".to_owned(),
                _ => format!("{name}:PATH"),
            });
            DatasetError::Spec {
                found: text.to_owned(),
                expected: format!("digits, {}", with_path.collect::<Vec<_>>().join(", ")),
                closest: DataKind::closest(text),
            }
        };
        let (name, path) = text.split_once(':').unwrap_or((text, ""));
        let (name, length) = name.split_once('@').map_or((name, None), |(name, length)| (name, Some(length)));
        let &(kind, _) = DataKind::ALL.iter().find(|(_, known)| *known == name).ok_or_else(wrong)?;
        if path.is_empty() != (kind == DataKind::Digits) {
            return Err(wrong());
        }
        if kind == DataKind::Noise {
            path.parse::<Noise>()?;
        }
        let length = length.map(|length| {
            let length = length.parse().ok().filter(|length| kind.is_text() && (2..=MOST_LENGTH).contains(length));
            let expected = format!("text@LENGTH:FILE or sst2@LENGTH:FOLDER with 2 to {MOST_LENGTH} tokens");
            length.ok_or_else(|| DatasetError::Spec { found: text.to_owned(), expected, closest: None })
        });
        Ok(Self { kind, path: path.into(), length: length.transpose()?, image_size: None })
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(length) = self.length {
            write!(f, "@{length}")?;
        }
        if self.path != Path::new("") {
            write!(f, ":{}", self.path.display())?;
        }
        if let Some(size) = self.image_size {
            write!(f, " at {size} x {size}")?;
        }
        Ok(())
    }
}

impl DataSpec {
    /// The noise that is meant, if it is noise.
    pub fn noise(&self) -> Option<Noise> {
        if self.kind == DataKind::Noise { self.path.to_str()?.parse().ok() } else { None }
    }

    /// Every file that loading could read, sorted: the file, or all regular files in the folder and below, also behind
    /// links, whose names are those of the kind; none of embedded data.
    ///
    /// # Errors
    /// A path where nothing is, a folder that cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, DatasetError> {
        match self.kind {
            DataKind::Digits | DataKind::Noise => Ok(Vec::new()),
            kind => {
                let mut files = files_below(&self.path)?;
                files.retain(|file| *file == self.path || kind.may_read(file));
                Ok(files)
            }
        }
    }

    /// Loads the first `limit` samples of a split, normalised as is the default of the kind unless told otherwise.
    ///
    /// Errors name the file and what was expected and found there.
    pub fn load(
        &self,
        split: Split,
        limit: Option<usize>,
        normalization: Option<Normalization>,
    ) -> Result<Dataset, DatasetError> {
        let (path, name) = (&self.path, self.to_string());
        if (self.kind.is_text() || self.kind == DataKind::Noise) && normalization.is_some() {
            let what = if self.kind.is_text() { "text is no numbers" } else { "noise has its own" };
            let (found, expected) = (format!("one for {name}"), format!("none, since {what}"));
            return Err(DatasetError::Normalization { found, expected });
        }
        let limited = |dataset: Dataset| match limit {
            Some(limit) => dataset.truncated(limit),
            None => dataset,
        };
        if self.image_size.is_some() && self.kind != DataKind::Images {
            return Err(DatasetError::Content {
                path: path.clone(),
                subject: "image size".into(),
                expected: "a folder of images".into(),
                found: self.kind.name().into(),
                hint: Some("only the images of images:DIR are scaled".into()),
            });
        }
        let raw = match self.kind {
            DataKind::Text => return text::load_characters(&name, path, split, self.length).map(limited),
            DataKind::Sst2 => return text::load_sentences(&name, path, split, self.length).map(limited),
            DataKind::Noise => return Err(DatasetError::Shapeless { name }),
            DataKind::Digits => digits::load(split)?,
            DataKind::Mnist | DataKind::FashionMnist => idx::load(path, split, limit)?,
            DataKind::Cifar10 => cifar::load(path, Cifar::Ten, split, limit)?,
            DataKind::Cifar100 => cifar::load(path, Cifar::Hundred, split, limit)?,
            DataKind::Npz | DataKind::Npy => arrays::load(path, Source::numpy(path)?, split)?,
            DataKind::Safetensors => arrays::load(path, Source::safetensors(path)?, split)?,
            #[cfg(feature = "images")]
            DataKind::Images => images::load(path, split, limit, self.image_size)?,
            #[cfg(not(feature = "images"))]
            DataKind::Images => return Err(DatasetError::NotBuilt { name, feature: "images" }),
            DataKind::Csv => csv::load(path, split)?,
        };
        let normalization = normalization.unwrap_or_else(|| self.kind.default_normalization());
        Dataset::new(&name, raw, normalization).map(limited)
    }
}
