//! The points that are to be matched.

use std::ops::Range;

use crate::error::{TransportError, check_length};

/// A borrowed table of `n` feature vectors in single precision, made of one or more row-major parts that lie side by
/// side: row `i` is the concatenation of the `i`-th rows of all parts. Nothing is copied.
#[derive(Debug, Clone)]
pub struct Features<'a> {
    rows: usize,
    dimension: usize,
    parts: Vec<Part<'a>>,
}

/// A row-major `n x dimension` table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) dimension: usize,
    pub(crate) data: &'a [f32],
}

impl<'a> Part<'a> {
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.dimension..(row + 1) * self.dimension]
    }
}

impl<'a> Features<'a> {
    /// A single row-major `rows x dimension` table.
    ///
    /// # Errors
    /// No rows, a buffer of another length, an entry that is NaN or infinite.
    pub fn new(rows: usize, dimension: usize, data: &'a [f32]) -> Result<Self, TransportError> {
        let entries = rows.checked_mul(dimension).ok_or(TransportError::TooLarge {
            what: "features",
            rows,
            columns: dimension,
        })?;
        check_length("features", entries, data.len())?;
        Self::joined(rows, &[data])
    }

    /// Several row-major tables of `rows` rows each, side by side.
    ///
    /// # Errors
    /// No rows, a part whose length is no multiple of `rows`, an entry that is NaN or infinite.
    ///
    /// ```
    /// use otfuse_transport::Features;
    /// let (weights, bias) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0]);
    /// let features = Features::joined(2, &[&weights, &bias])?;
    /// assert_eq!((features.rows(), features.dimension()), (2, 3));
    /// # Ok::<(), otfuse_transport::TransportError>(())
    /// ```
    pub fn joined(rows: usize, tables: &[&'a [f32]]) -> Result<Self, TransportError> {
        if rows == 0 {
            return Err(TransportError::Empty { what: "features" });
        }
        let mut parts = Vec::with_capacity(tables.len());
        let mut before = 0;
        for &data in tables {
            let dimension = data.len() / rows;
            check_length("features", rows * dimension, data.len())?;
            if let Some(at) = data.iter().position(|value| !value.is_finite()) {
                let (row, column) = (at / dimension, before + at % dimension);
                return Err(TransportError::NotFinite { what: "features", row, column, value: f64::from(data[at]) });
            }
            if dimension > 0 {
                parts.push(Part { dimension, data });
            }
            before += dimension;
        }
        Ok(Self { rows, dimension: before, parts })
    }

    /// Number of feature vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Length of a feature vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Some of the rows.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        let part = |part: &Part<'a>| {
            let data = &part.data[rows.start * part.dimension..rows.end * part.dimension];
            Part { data, ..*part }
        };
        Self { rows: rows.len(), dimension: self.dimension, parts: self.parts.iter().map(part).collect() }
    }

    /// Copies the features `start .. start + into.len()` of one row into `into`, times `scale`.
    pub(crate) fn read(&self, row: usize, start: usize, scale: f64, into: &mut [f64]) {
        let (mut skip, mut into) = (start, into);
        for part in &self.parts {
            if skip >= part.dimension {
                skip -= part.dimension;
                continue;
            }
            let source = &part.row(row)[skip..];
            let (here, rest) = into.split_at_mut(source.len().min(into.len()));
            here.iter_mut().zip(source).for_each(|(to, &from)| *to = f64::from(from) * scale);
            (skip, into) = (0, rest);
            if into.is_empty() {
                break;
            }
        }
    }
}
