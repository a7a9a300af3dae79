//! How a constant tensor of a graph is made of a checkpoint's tensors, and they of it.

use otfuse_graph::{DataType, Tensor};

use super::parametrization::{self, SpectralNorm, WeightNorm};
use super::table::Table;
use crate::StateDict;

/// One constant tensor of the graph, and the tensors of the checkpoint that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The name in the graph.
    pub(crate) initializer: String,
    /// The axes of the graph's tensor in the order of the checkpoint; `None` if they are in this order already.
    pub(crate) permutation: Option<Vec<usize>>,
    /// What the tensor is, its axes in the checkpoint's order.
    pub(crate) source: Source,
}

/// What a tensor is in terms of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Parts of tensors, laid end to end.
    Pieces(Vec<Piece>),
    /// Direction and length of each neuron's weights are learned apart.
    WeightNorm(WeightNorm),
    /// Weights over their largest singular value.
    SpectralNorm(SpectralNorm),
    /// Entries of a table.
    Table(Table),
}

/// Consecutive elements of one of the checkpoint's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The name in the checkpoint.
    pub(crate) key: String,
    /// The first element; `None` if the piece is the whole tensor.
    pub(crate) range: Option<std::ops::Range<usize>>,
}

impl Piece {
    pub(crate) fn whole(key: &str) -> Self {
        Self { key: key.into(), range: None }
    }

    fn of(&self, dict: &StateDict) -> Option<std::ops::Range<usize>> {
        let length = dict.get(&self.key)?.len();
        self.range.clone().or(Some(0..length)).filter(|range| range.start <= range.end && range.end <= length)
    }
}

impl Binding {
    /// A tensor that is in the graph as it is in the checkpoint.
    pub(crate) fn same(key: &str, initializer: &str) -> Self {
        Self::of(initializer, None, Source::Pieces(vec![Piece::whole(key)]))
    }

    pub(crate) fn of(initializer: &str, permutation: Option<Vec<usize>>, source: Source) -> Self {
        Self { initializer: initializer.into(), permutation, source }
    }

    /// The tensors of the checkpoint that the graph's tensor is made of and gives back.
    pub(crate) fn keys(&self) -> Vec<&str> {
        match &self.source {
            Source::Pieces(pieces) => pieces.iter().map(|piece| piece.key.as_str()).collect(),
            Source::WeightNorm(norm) => norm.keys(),
            Source::SpectralNorm(norm) => norm.keys(),
            Source::Table(table) => vec![&table.entries],
        }
    }

    /// The key that the tensor is, if it is one key's whole tensor.
    pub(crate) fn whole(&self) -> Option<&str> {
        match &self.source {
            Source::Pieces(pieces) => match pieces.as_slice() {
                [Piece { key, range: None }] => Some(key),
                _ => None,
            },
            _ => None,
        }
    }

    /// The graph's tensor of these values, in the form of `wanted`; `None` if something is lost or does not fit.
    pub(crate) fn read(&self, dict: &StateDict, wanted: &Tensor) -> Option<Tensor> {
        let shape: Vec<usize> = match &self.permutation {
            Some(permutation) => {
                permutation.iter().map(|&axis| wanted.shape().get(axis).copied()).collect::<Option<_>>()?
            }
            None => wanted.shape().to_vec(),
        };
        let tensor = match &self.source {
            Source::Pieces(pieces) => joined(dict, pieces, &shape)?,
            Source::WeightNorm(norm) => norm.weight(dict, &shape)?,
            Source::SpectralNorm(norm) => norm.weight(dict, &shape)?,
            Source::Table(table) => table.read(dict, &shape)?,
        };
        if tensor.data_type().size() > wanted.data_type().size() {
            return None;
        }
        let tensor = cast(tensor, wanted.data_type())?;
        match &self.permutation {
            Some(permutation) => permuted(&tensor, &inverse(permutation)),
            None => Some(tensor),
        }
    }

    /// The graph's tensor with its axes in the checkpoint's order.
    fn in_order(&self, tensor: &Tensor) -> Option<Tensor> {
        match &self.permutation {
            Some(permutation) => permuted(tensor, permutation),
            None => Some(tensor.clone()),
        }
    }
}

/// The value of `key` that these tensors of the graph ask for, each with its binding, in the type and shape of the
/// checkpoint's own. Elements that no binding has a part in stay as they are.
pub(crate) fn written(key: &str, dict: &StateDict, parts: &[(&Binding, &Tensor)]) -> Option<Tensor> {
    let own = dict.get(key)?;
    let (binding, first) = parts.first()?;
    match &binding.source {
        Source::WeightNorm(norm) => norm.part(key, own, &binding.in_order(first)?),
        Source::SpectralNorm(norm) => norm.part(key, dict, &binding.in_order(first)?),
        Source::Table(table) => table.part(dict, &binding.in_order(first)?),
        Source::Pieces(_) if binding.whole() == Some(key) => {
            // Where sizes differ from the checkpoint's (a pruned network), the shape is that of the graph.
            let tensor = cast(binding.in_order(first)?, own.data_type())?;
            if tensor.shape().len() == own.shape().len() || tensor.len() != own.len() {
                return Some(tensor);
            }
            tensor.reshaped(own.shape()).ok()
        }
        Source::Pieces(_) => {
            let size = own.data_type().size();
            let mut bytes = own.bytes().to_vec();
            own.release();
            for (binding, tensor) in parts {
                let Source::Pieces(pieces) = &binding.source else { return None };
                let tensor = cast(binding.in_order(tensor)?, own.data_type())?;
                let mut offset = 0;
                for piece in pieces {
                    let range = piece.of(dict)?;
                    let length = range.len();
                    if piece.key == key {
                        let found = tensor.bytes().get(offset * size..(offset + length) * size)?;
                        bytes.get_mut(range.start * size..range.end * size)?.copy_from_slice(found);
                    }
                    offset += length;
                }
                if offset != tensor.len() {
                    return None;
                }
            }
            Tensor::new(own.data_type(), own.shape().to_vec(), bytes.into()).ok()
        }
    }
}

fn joined(dict: &StateDict, pieces: &[Piece], shape: &[usize]) -> Option<Tensor> {
    if let [Piece { key, range: None }] = pieces {
        let found = dict.get(key)?;
        return if found.shape() == shape { Some(found.clone()) } else { found.reshaped(shape).ok() };
    }
    let data_type = dict.get(&pieces.first()?.key)?.data_type();
    let size = data_type.size();
    let mut bytes = Vec::new();
    for piece in pieces {
        let found = dict.get(&piece.key).filter(|tensor| tensor.data_type() == data_type)?;
        let range = piece.of(dict)?;
        bytes.extend_from_slice(found.bytes().get(range.start * size..range.end * size)?);
        found.release();
    }
    Tensor::new(data_type, shape.to_vec(), bytes.into()).ok()
}

/// The tensor in another floating-point type; `None` if one of the types is none.
pub(crate) fn cast(tensor: Tensor, to: DataType) -> Option<Tensor> {
    if tensor.data_type() == to {
        return Some(tensor);
    }
    let values = tensor.to_f32().filter(|_| to.is_float())?;
    Some(Tensor::from_f32_as(to, tensor.shape(), values))
}

/// The permutation that undoes another.
pub(crate) fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (to, &from) in permutation.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

/// The tensor whose axis `i` is axis `permutation[i]`; `None` if that is no permutation of its axes. `O(elements)`.
pub(crate) fn permuted(tensor: &Tensor, permutation: &[usize]) -> Option<Tensor> {
    let shape = tensor.shape();
    let mut sorted = permutation.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..shape.len()) {
        return None;
    }
    if permutation.is_sorted() {
        return Some(tensor.clone());
    }
    let size = tensor.data_type().size();
    let steps = parametrization::strides(shape);
    let lengths: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
    let steps: Vec<usize> = permutation.iter().map(|&axis| steps[axis]).collect();
    let mut bytes = Vec::with_capacity(tensor.bytes().len());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..tensor.len() {
        bytes.extend_from_slice(&tensor.bytes()[at * size..(at + 1) * size]);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += steps[axis];
            if index[axis] < lengths[axis] {
                break;
            }
            at -= steps[axis] * lengths[axis];
            index[axis] = 0;
        }
    }
    tensor.release();
    Tensor::new(tensor.data_type(), lengths, bytes.into()).ok()
}
