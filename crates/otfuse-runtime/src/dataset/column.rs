//! What samples are made of: one array, or several under the names of a network's inputs.

/// Numbers of samples, one sample after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// For inputs of floats.
    Floats(Vec<f32>),
    /// For inputs of integers and of truth values.
    Integers(Vec<i64>),
}

/// One array of samples.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// As the file calls it; empty where it has no names.
    pub(super) name: String,
    /// The shape of one sample.
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Values that `scale` brings to 0..1.
    Bytes {
        values: Vec<u8>,
        scale: f32,
    },
    Floats(Vec<f32>),
    Integers(Vec<i64>),
    Tokens(Vec<u32>),
}

impl Column {
    pub(super) fn unnamed(shape: Vec<usize>, values: Values) -> Self {
        Self { name: String::new(), shape, values }
    }

    /// The numbers of one sample.
    pub(super) fn size(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether its numbers are whole, as they stand in the file.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self.values, Values::Floats(_))
    }

    /// Appends a sample, as floats.
    pub(super) fn extend(&self, index: usize, result: &mut Vec<f32>) {
        let range = index * self.size()..(index + 1) * self.size();
        match &self.values {
            Values::Bytes { values, scale } => {
                result.extend(values[range].iter().map(|&value| f32::from(value) * scale));
            }
            Values::Floats(values) => result.extend_from_slice(&values[range]),
            Values::Integers(values) => result.extend(values[range].iter().map(|&value| value as f32)),
            Values::Tokens(values) => result.extend(values[range].iter().map(|&token| token as f32)),
        }
    }

    /// Appends a sample as the whole numbers of the file; nothing of floats.
    pub(super) fn extend_whole(&self, index: usize, result: &mut Vec<i64>) {
        let range = index * self.size()..(index + 1) * self.size();
        match &self.values {
            Values::Bytes { values, .. } => result.extend(values[range].iter().map(|&value| i64::from(value))),
            Values::Integers(values) => result.extend_from_slice(&values[range]),
            Values::Tokens(values) => result.extend(values[range].iter().map(|&token| i64::from(token))),
            Values::Floats(_) => {}
        }
    }

    /// The samples at these places.
    pub(super) fn chosen(&self, indices: &[usize]) -> Self {
        let size = self.size();
        let values = match &self.values {
            Values::Bytes { values, scale } => Values::Bytes { values: chosen(values, size, indices), scale: *scale },
            Values::Floats(values) => Values::Floats(chosen(values, size, indices)),
            Values::Integers(values) => Values::Integers(chosen(values, size, indices)),
            Values::Tokens(values) => Values::Tokens(chosen(values, size, indices)),
        };
        Self { name: self.name.clone(), shape: self.shape.clone(), values }
    }

    /// The first samples alone.
    pub(super) fn truncate(&mut self, count: usize) {
        let length = count.saturating_mul(self.size());
        match &mut self.values {
            Values::Bytes { values, .. } => values.truncate(length),
            Values::Floats(values) => values.truncate(length),
            Values::Integers(values) => values.truncate(length),
            Values::Tokens(values) => values.truncate(length),
        }
    }

    /// Each sample cut along its only axis into as many pieces of `length` as it has; the rest is left out.
    pub(super) fn windowed(&self, length: usize) -> Self {
        let size = self.size();
        let values = match &self.values {
            Values::Bytes { values, scale } => Values::Bytes { values: windows(values, size, length), scale: *scale },
            Values::Floats(values) => Values::Floats(windows(values, size, length)),
            Values::Integers(values) => Values::Integers(windows(values, size, length)),
            Values::Tokens(values) => Values::Tokens(windows(values, size, length)),
        };
        Self { name: self.name.clone(), shape: vec![length], values }
    }
}

impl Values {
    /// The place of the largest of whole numbers, and that number.
    pub(super) fn largest(&self) -> Option<(usize, i64)> {
        match self {
            Self::Integers(values) => values.iter().copied().enumerate().max_by_key(|&(_, value)| value),
            Self::Tokens(values) => {
                values.iter().map(|&value| i64::from(value)).enumerate().max_by_key(|&(_, value)| value)
            }
            Self::Bytes { .. } | Self::Floats(_) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes { values, .. } => values.len(),
            Self::Floats(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Tokens(values) => values.len(),
        }
    }
}

/// The rows of `size` values at these places.
pub(super) fn chosen<T: Copy>(values: &[T], size: usize, indices: &[usize]) -> Vec<T> {
    indices.iter().flat_map(|&index| &values[index * size..(index + 1) * size]).copied().collect()
}

/// Rows of `size` values, each without what is behind the last multiple of `length`.
pub(super) fn windows<T: Copy>(values: &[T], size: usize, length: usize) -> Vec<T> {
    let kept = size / length.max(1) * length;
    values.chunks_exact(size.max(1)).flat_map(|row| &row[..kept]).copied().collect()
}
