//! Tensors whose elements are entries of a learned table, as the position biases of windowed attention are.

use otfuse_graph::Tensor;

use crate::StateDict;

/// For each index the row of a table of that number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// The learned table: rows, then what belongs to each.
    pub(crate) entries: String,
    /// The integers that say which row stands where.
    pub(crate) index: String,
}

impl Table {
    fn rows(&self, dict: &StateDict) -> Option<Vec<usize>> {
        let count = *dict.get(&self.entries)?.shape().first()?;
        let index = dict.get(&self.index)?.to_i64()?;
        index.into_iter().map(|row| usize::try_from(row).ok().filter(|&row| row < count)).collect()
    }

    /// The rows that the index names, in the index's order.
    pub(super) fn read(&self, dict: &StateDict, shape: &[usize]) -> Option<Tensor> {
        let entries = dict.get(&self.entries)?;
        let width = entries.len() / entries.shape().first().filter(|&&rows| rows > 0)? * entries.data_type().size();
        let rows = self.rows(dict)?;
        let bytes: Vec<u8> =
            rows.iter().flat_map(|row| &entries.bytes()[row * width..(row + 1) * width]).copied().collect();
        Tensor::new(entries.data_type(), shape.to_vec(), bytes.into()).ok()
    }

    /// The table whose rows stand there; rows that stand nowhere stay as they are. All places of a row have gone the same way,
    /// so that the last one is as good as any.
    pub(super) fn part(&self, dict: &StateDict, found: &Tensor) -> Option<Tensor> {
        let entries = dict.get(&self.entries)?;
        let width = entries.len() / entries.shape().first().filter(|&&rows| rows > 0)?;
        let mut values = entries.to_f32()?;
        let new = found.to_f32()?;
        let rows = self.rows(dict)?;
        if rows.len().checked_mul(width) != Some(new.len()) {
            return None;
        }
        for (place, row) in rows.into_iter().enumerate() {
            values[row * width..(row + 1) * width].copy_from_slice(&new[place * width..(place + 1) * width]);
        }
        Some(Tensor::from_f32_as(entries.data_type(), entries.shape(), values))
    }
}
