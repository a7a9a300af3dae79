//! Token ids as what networks of text take.

use otfuse_graph::{DataType, Graph, Tensor, ValueId};

use crate::RuntimeError;

/// Whether an input of this name is filled where nothing is given for it.
pub(crate) fn filled_by_name(name: &str) -> bool {
    Feed::by_name(name) != Feed::Tokens
}

/// What an input is fed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    Tokens,
    /// 1 for tokens, 0 for padding.
    Mask,
    /// The first token type, for all.
    Types,
    /// 0, 1, ..
    Positions,
}

impl Feed {
    fn by_name(name: &str) -> Self {
        match name {
            name if name.contains("mask") => Self::Mask,
            name if name.contains("token_type") || name.contains("segment") => Self::Types,
            name if name.contains("position") => Self::Positions,
            _ => Self::Tokens,
        }
    }
}

/// How token ids are brought to the inputs of a network, which are known by their names: `attention_mask`,
/// `token_type_ids`, `position_ids`, and one for the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenLayout {
    length: usize,
    padding: Option<u32>,
    /// Whether the network takes shorter batches.
    is_free: bool,
    feeds: Vec<(ValueId, Feed, DataType)>,
}

impl TokenLayout {
    /// Fits samples of `length` tokens, filled up with `padding`, to the inputs of a network, all batch x sequence.
    pub(crate) fn fit(graph: &Graph, length: usize, padding: Option<u32>) -> Result<Self, RuntimeError> {
        let mut layout = Self { length, padding, is_free: true, feeds: Vec::new() };
        for &id in graph.inputs() {
            let value = graph.value(id);
            let wrong =
                |expected: String| RuntimeError::Samples { input: value.name.clone(), expected, found: vec![length] };
            let feed = Feed::by_name(&value.name);
            if feed == Feed::Tokens && layout.feeds.iter().any(|(_, feed, _)| *feed == Feed::Tokens) {
                return Err(wrong("something else than text: only one input of tokens is filled".into()));
            }
            let declared = value.declared.as_ref();
            let data_type = declared.map_or(DataType::I64, |declared| declared.data_type);
            let takes = match feed {
                Feed::Mask => true,
                _ => matches!(data_type, DataType::I64 | DataType::I32),
            };
            if !takes {
                return Err(wrong(format!("{data_type} in place of the ids of tokens")));
            }
            if let Some(shape) = declared.and_then(|declared| declared.shape.as_ref()) {
                let fixed = shape.get(1).and_then(|dim| dim.as_known());
                if shape.len() != 2 || fixed.is_some_and(|fixed| fixed != length) {
                    return Err(wrong(format!("a batch of shape {shape:?}")));
                }
                layout.is_free &= fixed.is_none();
            }
            layout.feeds.push((id, feed, data_type));
        }
        match layout.feeds.iter().any(|(_, feed, _)| *feed == Feed::Tokens) {
            true => Ok(layout),
            false => Err(RuntimeError::Samples {
                input: String::new(),
                expected: "no ids of tokens".into(),
                found: vec![length],
            }),
        }
    }

    /// Fills these inputs beside tokens of a length that are given otherwise.
    pub(crate) fn filling(graph: &Graph, inputs: &[ValueId], length: usize) -> Result<Self, RuntimeError> {
        let mut layout = Self { length, padding: None, is_free: false, feeds: Vec::new() };
        for &id in inputs {
            let value = graph.value(id);
            let declared = value.declared.as_ref();
            let dims = declared.and_then(|declared| declared.shape.as_ref());
            let fits = dims.is_none_or(|dims| {
                dims.len() == 2 && dims.get(1).and_then(|dim| dim.as_known()).is_none_or(|known| known == length)
            });
            if !fits {
                let expected = format!("an array called '{}', which cannot be filled in", value.name);
                return Err(RuntimeError::Samples { input: value.name.clone(), expected, found: vec![length] });
            }
            let data_type = declared.map_or(DataType::I64, |declared| declared.data_type);
            layout.feeds.push((id, Feed::by_name(&value.name), data_type));
        }
        Ok(layout)
    }

    /// The inputs that are filled for `count` samples without padding.
    pub(crate) fn fillings(&self, count: usize) -> Vec<(ValueId, Tensor)> {
        self.batch(&vec![0.0; count * self.length], count)
    }

    /// The inputs for `count` samples. Where the network leaves the length open, what is padding in all of them is
    /// left out: a mask keeps it from having any effect anyway.
    pub(crate) fn batch(&self, samples: &[f32], count: usize) -> Vec<(ValueId, Tensor)> {
        let ids: Vec<i64> = samples.iter().map(|&token| token as i64).collect();
        let is_padding = |token: i64| self.padding.is_some_and(|padding| i64::from(padding) == token);
        let is_masked = self.feeds.iter().any(|(_, feed, _)| *feed == Feed::Mask);
        let kept = match self.is_free && is_masked {
            true => {
                let used = |row: &[i64]| row.iter().rposition(|&token| !is_padding(token)).map_or(0, |at| at + 1);
                ids.chunks_exact(self.length).map(used).max().unwrap_or(self.length).max(1)
            }
            false => self.length,
        };
        let rows = || ids.chunks_exact(self.length).flat_map(|row| &row[..kept]).copied();
        let tensor = |feed: Feed, data_type: DataType| {
            let values: Vec<i64> = match feed {
                Feed::Tokens => rows().collect(),
                Feed::Mask => rows().map(|token| i64::from(!is_padding(token))).collect(),
                Feed::Types => vec![0; count * kept],
                Feed::Positions => (0..count).flat_map(|_| 0..kept as i64).collect(),
            };
            of_type(&[count, kept], values, data_type)
        };
        self.feeds.iter().map(|&(id, feed, data_type)| (id, tensor(feed, data_type))).collect()
    }
}

/// Integers as numbers of a type; truth values of what is not 0.
pub(crate) fn of_type(shape: &[usize], values: Vec<i64>, data_type: DataType) -> Tensor {
    let bytes: Vec<u8> = match data_type {
        DataType::I32 => values.iter().flat_map(|&value| (value as i32).to_le_bytes()).collect(),
        DataType::Bool => values.iter().map(|&value| u8::from(value != 0)).collect(),
        DataType::U8 | DataType::I8 => values.iter().map(|&value| value as u8).collect(),
        data_type if data_type.is_float() => {
            return Tensor::from_f32_as(data_type, shape, values.iter().map(|&value| value as f32).collect());
        }
        _ => return Tensor::from_i64(shape, values),
    };
    let fallback = || Tensor::from_i64(shape, values.clone());
    Tensor::new(data_type, shape.to_vec(), bytes.into()).unwrap_or_else(|_| fallback())
}
