//! Samples to run, measure and train networks on, with or without what the networks are to say of them.
//!
//! A [`DataSpec`] names a data set (`digits`, `mnist:DIR`, `cifar10:DIR`, `npz:FILE`, `images:DIR`, ..); loading it gives a
//! [`Dataset`].

use std::sync::Arc;

mod arrays;
mod cifar;
mod column;
mod csv;
mod digits;
mod error;
mod idx;
#[cfg(feature = "images")]
mod images;
mod noise;
mod normalization;
mod order;
mod partition;
mod read;
mod spec;
mod split;
mod statistics;
mod targets;
mod text;
mod vocabulary;

pub use column::Numbers;
use column::{Column, Values};
pub use error::DatasetError;
#[cfg(feature = "images")]
pub use images::encode_png;
pub use noise::{Noise, NoiseLaw};
pub use normalization::Normalization;
pub use partition::Partition;
pub use spec::{DataKind, DataSpec};
pub use split::Split;
pub use statistics::Statistics;
pub use targets::Targets;
pub use vocabulary::{TextUnit, Vocabulary};

/// Vocabularies from here on would have ids that float32 does not hold exactly.
const MOST_TOKENS: usize = 1 << 24;

/// Samples, and what networks are to say of them where that is known. Bytes stay bytes until a batch is taken, so a data
/// set takes as much memory as its file.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    count: usize,
    /// One or more; the first is the samples where a network has a single input.
    columns: Vec<Column>,
    is_named: bool,
    targets: Targets,
    normalization: Normalization,
    /// What tokens stand for, where samples are tokens.
    vocabulary: Option<Arc<Vocabulary>>,
    /// What a reader left out or cut.
    remarks: Vec<String>,
    /// Whether they are noise that networks make something of.
    is_noise: bool,
}

/// What a reader finds, before normalisation is chosen.
struct Raw {
    columns: Vec<Column>,
    /// Whether each array is for the input of its name, and none for any input.
    is_named: bool,
    targets: Targets,
    remarks: Vec<String>,
}

impl Raw {
    fn of(shape: Vec<usize>, values: Values, targets: Targets) -> Self {
        Self { columns: vec![Column::unnamed(shape, values)], is_named: false, targets, remarks: Vec::new() }
    }

    /// Samples with a class each.
    fn classified(shape: Vec<usize>, values: Values, labels: Vec<u32>, classes: usize) -> Self {
        let targets = Targets::Classes { labels, classes, shape: Vec::new() };
        Self::of(shape, values, targets)
    }
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
        Self::new(name, Raw::classified(sample_shape, Values::Floats(values), labels, classes), Normalization::none())
    }

    /// As [`from_floats`](Self::from_floats), with any targets, or none: then as many samples as the values fill.
    ///
    /// # Errors
    /// Numbers of values and targets that do not agree, a label beyond the classes.
    pub fn with_targets(
        name: &str,
        sample_shape: Vec<usize>,
        values: Vec<f32>,
        targets: Targets,
    ) -> Result<Self, DatasetError> {
        Self::new(name, Raw::of(sample_shape, Values::Floats(values), targets), Normalization::none())
    }

    /// Arrays by name, as a NumPy archive holds them: `x` are the samples and `y`, where it is there, what networks are to say
    /// of them; other arrays are for the inputs of their names. The first axis counts samples.
    ///
    /// # Errors
    /// Arrays of unequal numbers of samples, or that are no numbers.
    pub fn from_arrays(name: &str, arrays: otfuse_formats::StateDict) -> Result<Self, DatasetError> {
        let path = std::path::Path::new(name);
        Self::new(
            name,
            arrays::load(path, arrays::Source::Safetensors(path, arrays), Split::Train)?,
            Normalization::none(),
        )
    }

    fn new(name: &str, raw: Raw, normalization: Normalization) -> Result<Self, DatasetError> {
        let wrong = |subject: &str, expected: String, found: String| content(name, subject, expected, found);
        let Raw { columns, is_named, targets, remarks } = raw;
        let Some(first) = columns.first() else {
            return Err(wrong("samples", "an array".into(), "none".into()));
        };
        let count = match &targets {
            Targets::None => first.values.len() / first.size().max(1),
            Targets::Classes { labels, .. } => labels.len() / targets.size().max(1),
            Targets::Numbers { values, .. } => values.len() / targets.size().max(1),
        };
        let given = match &targets {
            Targets::None => 0,
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Numbers { values, .. } => values.len(),
        };
        if count.checked_mul(targets.size()) != Some(given) {
            let expected = format!("{} a sample", targets.size());
            return Err(wrong("targets", expected, format!("{given} for {count} samples")));
        }
        for column in &columns {
            let values = column.values.len();
            if count.checked_mul(column.size()) != Some(values) {
                let expected = format!("{count} samples of shape {:?}", column.shape);
                return Err(wrong("values", expected, format!("{values} values")));
            }
        }
        if let Targets::Classes { labels, classes, .. } = &targets
            && let Some(label) = labels.iter().find(|&&label| label as usize >= *classes && label != Targets::VOID)
        {
            return Err(wrong("label", format!("a label below {classes}"), label.to_string()));
        }
        if normalization.channel_axis(&first.shape).is_none() {
            let expected = format!("{} channels", normalization.channels());
            return Err(wrong("normalisation", expected, format!("samples of shape {:?}", first.shape)));
        }
        let name = name.to_owned();
        Ok(Self { name, count, columns, is_named, targets, normalization, vocabulary: None, remarks, is_noise: false })
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
        let shape = if labels.len() == samples { Vec::new() } else { vec![length] };
        Ok(Self {
            name: name.to_owned(),
            count: samples,
            columns: vec![Column::unnamed(vec![length], Values::Tokens(tokens))],
            is_named: false,
            targets: Targets::Classes { labels, classes, shape },
            normalization: Normalization::none(),
            vocabulary: Some(Arc::new(vocabulary)),
            remarks: Vec::new(),
            is_noise: false,
        })
    }

    fn remarked(mut self, remarks: impl IntoIterator<Item = String>) -> Self {
        self.remarks.extend(remarks);
        self
    }

    /// What it was loaded from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The shape of one sample: channels x height x width for images, the length for tokens. Where samples are several
    /// arrays, of the first.
    pub fn sample_shape(&self) -> &[usize] {
        &self.columns[0].shape
    }

    /// The arrays that samples are made of: their names in the file (empty where there are none) and the shape of one
    /// sample in each.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.columns.iter().map(|column| (column.name.as_str(), column.shape.as_slice()))
    }

    /// What is known of the samples.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Whether it is known what networks are to say of the samples.
    pub fn is_labelled(&self) -> bool {
        self.targets != Targets::None
    }

    /// Noise for the inputs of these names (one for any input has none), each with the shape of a sample: what networks make of it
    /// are numbers, and no scores of classes.
    ///
    /// # Errors
    /// Arrays of unequal numbers of samples.
    pub fn of_noise(name: &str, inputs: Vec<(String, Vec<usize>, Numbers)>) -> Result<Self, DatasetError> {
        let is_named = inputs.iter().any(|(name, _, _)| !name.is_empty());
        let column = |(name, shape, numbers)| {
            let values = match numbers {
                Numbers::Floats(values) => Values::Floats(values),
                Numbers::Integers(values) => Values::Integers(values),
            };
            Column { name, shape, values }
        };
        let columns = inputs.into_iter().map(column).collect();
        let raw = Raw { columns, is_named, targets: Targets::None, remarks: Vec::new() };
        Ok(Self::new(name, raw, Normalization::none())?.as_noise())
    }

    /// The same samples, taken for noise.
    #[must_use]
    pub fn as_noise(self) -> Self {
        Self { is_noise: true, ..self }
    }

    /// Whether they are noise that networks make something of: numbers, and no scores of classes.
    pub fn is_noise(&self) -> bool {
        self.is_noise
    }

    /// What a reader has to say: what was cut or left out.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The class of each sample, below [`classes`](Self::classes); of a [language model's](Self::is_language) samples
    /// the next token of each token, of dense ones the class of each place, one sample after the other. None where
    /// samples have no classes.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes { labels, .. } => labels,
            _ => &[],
        }
    }

    /// How many labels each sample has: 1, or as many as it has tokens or places with one each.
    pub fn labels_per_sample(&self) -> usize {
        match &self.targets {
            Targets::Classes { .. } => self.targets.size(),
            _ => 1,
        }
    }

    /// The labels of one sample; none where samples have no classes. Panics if `index` is not below [`len`](Self::len).
    pub fn labels_of(&self, index: usize) -> &[u32] {
        match &self.targets {
            Targets::Classes { labels, .. } => {
                let size = self.targets.size();
                &labels[index * size..(index + 1) * size]
            }
            _ => &[],
        }
    }

    /// The numbers that networks are to meet in one sample; none where samples have no such targets. Panics if `index` is
    /// not below [`len`](Self::len).
    pub fn numbers_of(&self, index: usize) -> &[f32] {
        match &self.targets {
            Targets::Numbers { values, .. } => {
                let size = self.targets.size();
                &values[index * size..(index + 1) * size]
            }
            _ => &[],
        }
    }

    /// Whether every token of a sample has a label: the token behind it.
    pub fn is_language(&self) -> bool {
        self.vocabulary.is_some() && self.is_dense()
    }

    /// Whether samples have a class at each of their tokens or places.
    pub fn is_dense(&self) -> bool {
        matches!(&self.targets, Targets::Classes { shape, .. } if !shape.is_empty()) && self.labels_per_sample() > 1
    }

    /// What tokens stand for, if samples are made of tokens.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.vocabulary.as_deref()
    }

    /// The number of classes; 0 where samples have none.
    pub fn classes(&self) -> usize {
        match &self.targets {
            Targets::Classes { classes, .. } => *classes,
            _ => 0,
        }
    }

    /// How samples are normalised when they are taken.
    pub fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    /// The same samples, normalised otherwise; `None` where samples have other channels, or are no numbers.
    pub fn normalized(&self, normalization: Normalization) -> Option<Self> {
        let fits = self.vocabulary.is_none() && normalization.channel_axis(self.sample_shape()).is_some();
        fits.then(|| Self { normalization, ..self.clone() })
    }

    /// The normalised samples at `indices`, one after the other; tokens are their ids, which are exact. Where samples are
    /// several arrays, of the first. Panics if an index is not below [`len`](Self::len).
    pub fn samples(&self, indices: impl IntoIterator<Item = usize>) -> Vec<f32> {
        let mut result = Vec::new();
        for index in indices {
            let start = result.len();
            self.columns[0].extend(index, &mut result);
            self.normalization.apply(self.sample_shape(), &mut result[start..]);
        }
        result
    }

    /// The array with this name, by its place among [`arrays`](Self::arrays).
    pub(crate) fn array_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The array that any single input takes, unless all are for inputs of their names.
    pub(crate) fn main_array(&self) -> Option<usize> {
        (!self.is_named).then_some(0)
    }

    /// The largest whole number that an input takes, and the sample that has it: of the array of its name, or of the only one.
    /// `None` where those are no whole numbers.
    pub fn largest(&self, input: &str) -> Option<(usize, i64)> {
        let array = self.array_of(input).or_else(|| self.main_array())?;
        let column = &self.columns[array];
        let (at, largest) = column.values.largest()?;
        Some((at / column.size().max(1), largest))
    }

    /// Whether the numbers of an array are whole in the file.
    pub(crate) fn is_whole(&self, array: usize) -> bool {
        self.columns[array].is_whole()
    }

    /// Samples of one array as a network's input takes them; `as_integers` gives the whole numbers of the file.
    pub(crate) fn numbers(&self, array: usize, indices: &[usize], as_integers: bool) -> Numbers {
        let column = &self.columns[array];
        if as_integers && column.is_whole() {
            let mut result = Vec::with_capacity(indices.len() * column.size());
            indices.iter().for_each(|&index| column.extend_whole(index, &mut result));
            return Numbers::Integers(result);
        }
        if array == 0 {
            return Numbers::Floats(self.samples(indices.iter().copied()));
        }
        let mut result = Vec::with_capacity(indices.len() * column.size());
        indices.iter().for_each(|&index| column.extend(index, &mut result));
        Numbers::Floats(result)
    }

    /// The samples at `indices`, in that order. Panics if an index is not below [`len`](Self::len).
    #[must_use]
    pub fn chosen(&self, indices: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            count: indices.len(),
            columns: self.columns.iter().map(|column| column.chosen(indices)).collect(),
            is_named: self.is_named,
            targets: self.targets.chosen(indices),
            normalization: self.normalization.clone(),
            vocabulary: self.vocabulary.clone(),
            remarks: self.remarks.clone(),
            is_noise: self.is_noise,
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
        self.columns.iter_mut().for_each(|column| column.truncate(count));
        self.targets.truncate(count);
        self.count = self.count.min(count);
        self
    }

    /// Samples of tokens cut into windows of `length` tokens, one after the other; what is left over of each sample is left
    /// out. `None` where samples are no tokens, shorter, or have a class each, which a part of one does not have.
    pub fn windowed(&self, length: usize) -> Option<Self> {
        let &[long] = self.sample_shape() else { return None };
        let is_each = matches!(&self.targets, Targets::Classes { shape, .. } if *shape == [long]);
        let is_whole = self.columns.iter().all(|column| column.shape == [long] && column.is_whole());
        if length == 0 || length >= long || !is_whole || (!is_each && self.is_labelled()) {
            return None;
        }
        let targets = match &self.targets {
            Targets::Classes { labels, classes, .. } => Targets::Classes {
                labels: column::windows(labels, long, length),
                classes: *classes,
                shape: vec![length],
            },
            other => other.clone(),
        };
        Some(Self {
            name: self.name.clone(),
            count: self.count * (long / length),
            columns: self.columns.iter().map(|column| column.windowed(length)).collect(),
            is_named: self.is_named,
            targets,
            normalization: self.normalization.clone(),
            vocabulary: self.vocabulary.clone(),
            remarks: self.remarks.clone(),
            is_noise: self.is_noise,
        })
    }
}
