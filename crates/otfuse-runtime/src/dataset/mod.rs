//! Labelled samples to measure and train classifiers on.
//!
//! A [`DataSpec`] names a data set (`digits`, `mnist:DIR`, `cifar10:DIR`, `npz:FILE`, ..); loading it gives a
//! [`Dataset`].

mod arrays;
mod cifar;
mod csv;
mod digits;
mod error;
mod idx;
mod normalization;
mod partition;
mod read;
mod spec;

pub use error::DatasetError;
pub use normalization::Normalization;
pub use partition::Partition;
pub use spec::{DataKind, DataSpec, Split};

/// Labelled samples. Bytes stay bytes until a batch is taken, so a data set takes as much memory as its file.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    sample_shape: Vec<usize>,
    labels: Vec<u32>,
    classes: usize,
    samples: Samples,
    normalization: Normalization,
}

#[derive(Clone, Debug)]
enum Samples {
    /// Values that `scale` brings to 0..1.
    Bytes {
        values: Vec<u8>,
        scale: f32,
    },
    Floats(Vec<f32>),
}

/// What a reader finds, before normalisation is chosen.
struct Raw {
    sample_shape: Vec<usize>,
    labels: Vec<u32>,
    classes: usize,
    samples: Samples,
}

impl Dataset {
    /// Samples computed by the caller: `values` holds one sample after the other.
    pub fn from_floats(
        name: &str,
        sample_shape: Vec<usize>,
        values: Vec<f32>,
        labels: Vec<u32>,
        classes: usize,
    ) -> Result<Self, DatasetError> {
        let raw = Raw { sample_shape, labels, classes, samples: Samples::Floats(values) };
        Self::new(name, raw, Normalization::none())
    }

    fn new(name: &str, raw: Raw, normalization: Normalization) -> Result<Self, DatasetError> {
        let wrong = |subject: &str, expected: String, found: String| DatasetError::Content {
            path: name.into(),
            subject: subject.into(),
            expected,
            found,
            hint: None,
        };
        let values = match &raw.samples {
            Samples::Bytes { values, .. } => values.len(),
            Samples::Floats(values) => values.len(),
        };
        let size: usize = raw.sample_shape.iter().product();
        if raw.labels.len().checked_mul(size) != Some(values) {
            let expected = format!("{} samples of shape {:?}", raw.labels.len(), raw.sample_shape);
            return Err(wrong("values", expected, format!("{values} values")));
        }
        if let Some(label) = raw.labels.iter().find(|&&label| label as usize >= raw.classes) {
            return Err(wrong("label", format!("a label below {}", raw.classes), label.to_string()));
        }
        if normalization.channel_axis(&raw.sample_shape).is_none() {
            let expected = format!("{} channels", normalization.channels());
            return Err(wrong("normalisation", expected, format!("samples of shape {:?}", raw.sample_shape)));
        }
        Ok(Self {
            name: name.to_owned(),
            sample_shape: raw.sample_shape,
            labels: raw.labels,
            classes: raw.classes,
            samples: raw.samples,
            normalization,
        })
    }

    /// What it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of one sample: channels x height x width for images.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// The class of each sample, below [`classes`](Self::classes).
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How samples are normalised when they are taken.
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// The normalised samples at `indices`, one after the other. Panics if an index is not below [`len`](Self::len).
    pub fn samples(&self, indices: impl IntoIterator<Item = usize>) -> Vec<f32> {
        let size: usize = self.sample_shape.iter().product();
        let mut result = Vec::new();
        for index in indices {
            let start = result.len();
            let range = index * size..(index + 1) * size;
            match &self.samples {
                Samples::Bytes { values, scale } => {
                    result.extend(values[range].iter().map(|&value| f32::from(value) * scale));
                }
                Samples::Floats(values) => result.extend_from_slice(&values[range]),
            }
            self.normalization.apply(&self.sample_shape, &mut result[start..]);
        }
        result
    }

    /// The samples at `indices`, in that order. Panics if an index is not below [`len`](Self::len).
    #[must_use]
    pub fn chosen(&self, indices: &[usize]) -> Self {
        let size: usize = self.sample_shape.iter().product();
        let samples = match &self.samples {
            Samples::Bytes { values, scale } => {
                let values = indices.iter().flat_map(|&index| &values[index * size..(index + 1) * size]);
                Samples::Bytes { values: values.copied().collect(), scale: *scale }
            }
            Samples::Floats(values) => {
                let values = indices.iter().flat_map(|&index| &values[index * size..(index + 1) * size]);
                Samples::Floats(values.copied().collect())
            }
        };
        Self {
            name: self.name.clone(),
            sample_shape: self.sample_shape.clone(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            classes: self.classes,
            samples,
            normalization: self.normalization.clone(),
        }
    }

    /// `count` samples evenly spread over the data set (all, if it has fewer): also where the samples are sorted by
    /// class, all classes are there.
    #[must_use]
    pub fn spread(&self, count: usize) -> Self {
        let count = count.min(self.len());
        self.chosen(&(0..count).map(|index| index * self.len() / count).collect::<Vec<_>>())
    }

    /// The first `count` samples only.
    #[must_use]
    pub fn truncated(mut self, count: usize) -> Self {
        let size: usize = self.sample_shape.iter().product();
        self.labels.truncate(count);
        match &mut self.samples {
            Samples::Bytes { values, .. } => values.truncate(count.saturating_mul(size)),
            Samples::Floats(values) => values.truncate(count.saturating_mul(size)),
        }
        self
    }
}
