//! Samples of data sets.

use std::path::PathBuf;

use otfuse_runtime::dataset::{DataKind, DataSpec, DatasetError, Noise, Normalization, Partition, Split};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, SplitName};

pub use otfuse_runtime::dataset::Dataset as Samples;

/// Which samples of a data set, and how they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataOptions {
    /// Normalisation in place of the data set's own: none, mnist, cifar10, imagenet, or MEAN/STD.
    pub normalize: Option<String>,
    /// Scale the middle square of each image of `images:DIR` to so many pixels on a side.
    pub image_size: Option<u32>,
    /// One part of the data set: `iid:K`, `labels:0-4/5-9`, `labels:K`, `specialist:CLASS,SHARE`, `split:SHARE` or
    /// `dirichlet:ALPHA,K`.
    pub partition: Option<String>,
    /// Which part, counted from 0.
    pub part: Option<usize>,
    /// Seed of the partition.
    pub partition_seed: u64,
    /// The places of each sample (the pixels of an image) in an order drawn from this seed, 0 for that of the file; with several
    /// seeds, separated by commas, all samples in one order after the other.
    pub pixel_order: Option<String>,
}

impl DataOptions {
    /// Their names in files.
    pub const KEYS: &'static [&'static str] =
        &["normalize", "image-size", "partition", "part", "partition-seed", "pixel-order"];
}

/// A data set by kind and path: `digits` (embedded) or `KIND:PATH`. Nothing is read before samples are asked for.
///
/// ```
/// let digits = otfuse::Dataset::open("digits")?;
/// assert_eq!(digits.test()?.sample_shape(), [64]);
/// # Ok::<(), otfuse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    text: String,
    spec: DataSpec,
    normalization: Option<Normalization>,
    part: Option<(Partition, usize, u64)>,
    /// Seeds of the orders of places.
    orders: Vec<u64>,
    /// Samples in memory, in place of files.
    held: Option<Held>,
}

/// Samples in memory: those of training, and those of testing.
#[derive(Clone, Debug)]
struct Held {
    train: Samples,
    test: Samples,
}

impl Dataset {
    /// Samples in memory: those that neurons are matched and layers fitted on, and those that networks are measured on.
    pub fn of_samples(train: Samples, test: Samples) -> Self {
        let text = train.name().to_owned();
        // Nothing is read by it.
        let spec = DataSpec { kind: DataKind::Digits, path: PathBuf::new(), image_size: None, length: None };
        Self { text, spec, normalization: None, part: None, orders: Vec::new(), held: Some(Held { train, test }) }
    }

    /// The data set that `KIND:PATH` names, whole and normalised as is usual for its kind.
    ///
    /// # Errors
    /// A kind that is not known.
    pub fn open(spec: &str) -> Result<Self> {
        Self::with(spec, &DataOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// A kind, normalisation or partition that is not understood.
    pub fn with(spec: &str, options: &DataOptions) -> Result<Self> {
        let mut parsed: DataSpec = spec.parse()?;
        parsed.image_size = options.image_size;
        let normalization = options.normalize.as_deref().map(Normalization::parse).transpose()?;
        let part = match (&options.partition, options.part) {
            (Some(partition), Some(part)) => Some((partition.parse()?, part, options.partition_seed)),
            (None, None) => None,
            (partition, _) => {
                let (given, missing) = if partition.is_some() { ("partition", "part") } else { ("part", "partition") };
                return Err(
                    Error::input(format!("`{given}` needs `{missing}`")).hint("for example `partition` iid:2 `part` 0")
                );
            }
        };
        let orders = options.pixel_order.as_deref().map(orders).transpose()?.unwrap_or_default();
        Ok(Self { text: spec.to_owned(), spec: parsed, normalization, part, orders, held: None })
    }

    /// As it was named.
    pub fn name(&self) -> &str {
        &self.text
    }

    /// The whole data set, where this is a part of it.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { part: None, ..self.clone() }
    }

    /// The noise that is meant, where samples are drawn.
    pub(crate) fn noise(&self) -> Option<Noise> {
        if self.held.is_some() { None } else { self.spec.noise() }
    }

    /// Whether this is a part of a data set.
    #[cfg(feature = "training")]
    pub(crate) fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// The training samples.
    ///
    /// # Errors
    /// Files that are missing or damaged.
    pub fn train(&self) -> Result<Samples> {
        self.samples(SplitName::Train, None)
    }

    /// The test samples.
    ///
    /// # Errors
    /// Files that are missing or damaged; a data set without test samples.
    pub fn test(&self) -> Result<Samples> {
        self.samples(SplitName::Test, None)
    }

    /// The first `limit` samples of a split.
    ///
    /// # Errors
    /// As [`test`](Self::test); a limit of 0, no samples.
    pub fn samples(&self, split: SplitName, limit: Option<usize>) -> Result<Samples> {
        let found = self.load(split, limit)?;
        let found = found.map_err(Error::from)?;
        if found.is_empty() {
            return Err(Error::input(format!("{}: the data set has no samples", found.name()))
                .hint("the file may be cut short or the wrong one"));
        }
        Ok(found)
    }

    /// The test samples; `None` where the data set has none. What is there and cannot be read is an error.
    ///
    /// # Errors
    /// Files that are damaged, or missing altogether.
    pub fn test_if_any(&self) -> Result<Option<Samples>> {
        match self.load(SplitName::Test, None)? {
            Ok(found) if found.is_empty() => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absent_split() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn load(&self, split: SplitName, limit: Option<usize>) -> Result<std::result::Result<Samples, DatasetError>> {
        if limit == Some(0) {
            return Err(
                Error::input("`limit` 0: at least one sample is needed").hint("without `limit` all samples are used")
            );
        }
        if let Some(Held { train, test }) = &self.held {
            let samples = if split == SplitName::Test { test } else { train }.clone();
            return Ok(Ok(match limit {
                Some(limit) => samples.truncated(limit),
                None => samples,
            }));
        }
        let split = match split {
            SplitName::Test => Split::Test,
            SplitName::Train => Split::Train,
        };
        let found = match self.partial(split, limit)? {
            Ok(found) if !self.orders.is_empty() => found,
            other => return Ok(other),
        };
        let mut all = found.reordered(self.orders[0])?;
        for &seed in &self.orders[1..] {
            all = all.joined(&found.reordered(seed)?)?;
        }
        Ok(Ok(all))
    }

    fn partial(&self, split: Split, limit: Option<usize>) -> Result<std::result::Result<Samples, DatasetError>> {
        let Some((partition, part, seed)) = &self.part else {
            return Ok(self.spec.load(split, limit, self.normalization.clone()));
        };
        let whole = match self.spec.load(split, None, self.normalization.clone()) {
            Ok(whole) => whole,
            Err(error) => return Ok(Err(error)),
        };
        let chosen = whole.part(partition, *part, *seed)?;
        Ok(Ok(match limit {
            Some(limit) => chosen.truncated(limit),
            None => chosen,
        }))
    }

    /// Every file that its samples may be read from.
    ///
    /// # Errors
    /// Files that are not there.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        if self.held.is_some() { Ok(Vec::new()) } else { Ok(self.spec.files()?) }
    }
}

/// Seeds of orders.
fn orders(text: &str) -> Result<Vec<u64>> {
    let seeds: Option<Vec<u64>> = text.split(',').map(|seed| seed.trim().parse().ok()).collect();
    seeds.ok_or_else(|| {
        Error::input(format!("`pixel_order` {text}: expected seeds, whole numbers from 0 on"))
            .hint("for example `pixel_order` 3, or `pixel_order` 0,1,2 for all samples in three orders")
    })
}
