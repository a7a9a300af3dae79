//! Labelled samples to measure and train classifiers and language models on.
//!
//! A [`DataSpec`] names a data set (`digits`, `mnist:DIR`, `cifar10:DIR`, `npz:FILE`, `images:DIR`, ..); loading it gives a
//! [`Dataset`].

use std::sync::Arc;

mod arrays;
mod cifar;
mod csv;
mod digits;
mod error;
mod idx;
#[cfg(feature = "images")]
mod images;
mod normalization;
mod partition;
mod read;
mod spec;
mod split;
mod text;
mod vocabulary;

pub use error::DatasetError;
pub use normalization::Normalization;
pub use partition::Partition;
pub use spec::{DataKind, DataSpec};
pub use split::Split;
pub use vocabulary::{TextUnit, Vocabulary};

/// Vocabularies from here on would have ids that float32 does not hold exactly.
const MOST_TOKENS: usize = 1 << 24;

/// Labelled samples. Bytes stay bytes until a batch is taken, so a data set takes as much memory as its file.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    sample_shape: Vec<usize>,
    labels: Vec<u32>,
    classes: usize,
    samples: Samples,
    normalization: Normalization,
    /// How many labels each sample has: one, or one for each of its tokens.
    labels_per_sample: usize,
    /// What tokens stand for, where samples are tokens.
    vocabulary: Option<Arc<Vocabulary>>,
}

#[derive(Clone, Debug)]
enum Samples {
    /// Values that `scale` brings to 0..1.
    Bytes {
        values: Vec<u8>,
        scale: f32,
    },
    Floats(Vec<f32>),
    Tokens(Vec<u32>),
}

impl Samples {
    fn len(&self) -> usize {
        match self {
            Self::Bytes { values, .. } => values.len(),
            Self::Floats(values) => values.len(),
            Self::Tokens(values) => values.len(),
        }
    }
}

/// What a reader finds, before normalisation is chosen.
struct Raw {
    sample_shape: Vec<usize>,
    labels: Vec<u32>,
    classes: usize,
    samples: Samples,
}

/// Samples that contradict themselves.
fn content(name: &str, subject: &str, expected: String, found: String) -> DatasetError {
    DatasetError::Content { path: name.into(), subject: subject.into(), expected, found, hint: None }
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
        let wrong = |subject: &str, expected: String, found: String| content(name, subject, expected, found);
        let values = raw.samples.len();
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
            labels_per_sample: 1,
            vocabulary: None,
        })
    }

    /// Samples of `length` tokens each, one after the other, with one label a sample or one a token.
    ///
    /// # Errors
    /// Numbers of tokens and labels that do not agree, a token beyond the vocabulary, a label beyond the classes.
    pub fn from_tokens(
        name: &str,
        length: usize,
        tokens: Vec<u32>,
        labels: Vec<u32>,
        classes: usize,
        vocabulary: Vocabulary,
    ) -> Result<Self, DatasetError> {
        let wrong = |subject: &str, expected: String, found: String| content(name, subject, expected, found);
        let samples = tokens.len() / length.max(1);
        if length == 0 || !tokens.len().is_multiple_of(length) || vocabulary.len() >= MOST_TOKENS {
            let expected = format!("a multiple of {length} tokens of a vocabulary of fewer than {MOST_TOKENS}");
            return Err(wrong("tokens", expected, format!("{} of {}", tokens.len(), vocabulary.len())));
        }
        if labels.len() != samples && labels.len() != tokens.len() {
            let expected = format!("{samples} labels, or {} (one a token)", tokens.len());
            return Err(wrong("labels", expected, labels.len().to_string()));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary.len()) {
            return Err(wrong("token", format!("a token below {}", vocabulary.len()), token.to_string()));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            return Err(wrong("label", format!("a label below {classes}"), label.to_string()));
        }
        let labels_per_sample = if labels.len() == samples { 1 } else { length };
        Ok(Self {
            name: name.to_owned(),
            sample_shape: vec![length],
            labels,
            classes,
            samples: Samples::Tokens(tokens),
            normalization: Normalization::none(),
            labels_per_sample,
            vocabulary: Some(Arc::new(vocabulary)),
        })
    }

    /// What it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.labels.len() / self.labels_per_sample
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of one sample: channels x height x width for images, the length for tokens.
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// The class of each sample, below [`classes`](Self::classes); of a [language model's](Self::is_language) samples
    /// the next token of each token, one sample after the other.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// How many labels each sample has: 1, or its length in tokens where each has one.
    pub fn labels_per_sample(&self) -> usize {
        self.labels_per_sample
    }

    /// The labels of one sample. Panics if `index` is not below [`len`](Self::len).
    pub fn labels_of(&self, index: usize) -> &[u32] {
        &self.labels[index * self.labels_per_sample..(index + 1) * self.labels_per_sample]
    }

    /// Whether every token of a sample has a label: the token behind it.
    pub fn is_language(&self) -> bool {
        self.vocabulary.is_some() && self.labels_per_sample > 1
    }

    /// What tokens stand for, if samples are made of tokens.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_deref()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How samples are normalised when they are taken.
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// The normalised samples at `indices`, one after the other; tokens are their ids, which are exact. Panics if an index is not below [`len`](Self::len).
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
                Samples::Tokens(values) => result.extend(values[range].iter().map(|&token| token as f32)),
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
            Samples::Tokens(values) => {
                let values = indices.iter().flat_map(|&index| &values[index * size..(index + 1) * size]);
                Samples::Tokens(values.copied().collect())
            }
        };
        Self {
            name: self.name.clone(),
            sample_shape: self.sample_shape.clone(),
            labels: indices.iter().flat_map(|&index| self.labels_of(index)).copied().collect(),
            classes: self.classes,
            samples,
            normalization: self.normalization.clone(),
            labels_per_sample: self.labels_per_sample,
            vocabulary: self.vocabulary.clone(),
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
        self.labels.truncate(count.saturating_mul(self.labels_per_sample));
        match &mut self.samples {
            Samples::Bytes { values, .. } => values.truncate(count.saturating_mul(size)),
            Samples::Floats(values) => values.truncate(count.saturating_mul(size)),
            Samples::Tokens(values) => values.truncate(count.saturating_mul(size)),
        }
        self
    }
}
