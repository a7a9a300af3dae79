//! Tensors as views of storages.

use bytes::Bytes;
use otfuse_graph::Tensor;

use super::element::Element;
use super::origin::{Place, Stored};
use super::pickle::{Arena, StorageReference, TensorReference, Value, ValueId};
use super::storage::Storages;
use crate::FormatError;
use crate::error::Blame;

/// The greatest number of axes; PyTorch has the same limit.
pub(super) const MAX_RANK: usize = 64;

/// Memory for copies: tensors that are contiguous in the file are slices of it, and a file whose others take more
/// than this multiple of its length was not written by a training program.
const COPY_FACTOR: u64 = 16;
const COPY_ALLOWANCE: u64 = 64 << 20;

/// Builds tensors from references.
pub(super) struct Builder<'a> {
    pub(super) blame: Blame<'a>,
    pub(super) arena: &'a Arena,
    pub(super) storages: Storages<'a>,
    copied: u64,
    limit: u64,
}

/// A reference resolved to numbers.
struct Layout {
    stored: Stored,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(blame: Blame<'a>, arena: &'a Arena, storages: Storages<'a>, file_length: usize) -> Self {
        let limit = (file_length as u64).saturating_mul(COPY_FACTOR).saturating_add(COPY_ALLOWANCE);
        Self { blame, arena, storages, copied: 0, limit }
    }

    /// The tensor that `reference` describes: a slice of the file if its elements lie in order, else a copy.
    /// Floats of 8 bits are widened.
    pub(super) fn build(&mut self, name: &str, reference: TensorReference) -> Result<(Tensor, Place), FormatError> {
        let blame = self.blame;
        let storage = match self.arena.get(reference.storage) {
            Value::Storage(storage) => Some(storage.clone()),
            // Some programs leave the persistent id as a plain tuple.
            _ => StorageReference::parse(self.arena, reference.storage),
        };
        let found = || self.arena.describe(reference.storage);
        let storage = storage.ok_or_else(|| blame.malformed(name, "a tensor with a storage", found()))?;
        let layout = self.layout(name, reference, &storage)?;

        let size = layout.size();
        let bytes = match layout.extent() {
            Some(0) => Bytes::new(),
            extent => {
                let whole = self.storages.get(&storage.key)?;
                let found = whole.len() as u64;
                let needed = extent.and_then(|extent| extent.checked_mul(size)).unwrap_or(usize::MAX);
                let start = layout.offset.saturating_mul(size);
                let end = start.checked_add(needed).filter(|&end| end <= whole.len());
                let Some(end) = end else {
                    let expected = (start as u64).saturating_add(needed as u64);
                    return Err(blame.truncated(format_args!("storage of tensor {name:?}"), expected, found));
                };
                whole.slice(start..end)
            }
        };
        let big_endian = self.storages.big_endian && size > 1;
        let bytes = if bytes.is_empty() || (layout.is_contiguous() && !big_endian) {
            bytes
        } else {
            self.gather(name, &layout, &bytes, big_endian)?
        };
        let Layout { stored, shape, strides, offset } = layout;
        let tensor = match stored {
            Stored::Known(data_type) => Tensor::new(data_type, shape.clone(), bytes).map_err(|error| {
                blame.malformed(format_args!("tensor {name:?}"), format_args!("{} bytes", error.expected), error.found)
            })?,
            Stored::Narrow(kind) => {
                self.count_copy(name, (bytes.len() as u64).saturating_mul(4))?;
                kind.widened(shape.clone(), &bytes)
            }
        };
        Ok((tensor, Place { storage: storage.key, stored, offset, shape, strides }))
    }

    /// Whether a tensor's elements are of a type that has no counterpart here: complex numbers, quantised ones.
    pub(super) fn is_odd(&self, reference: TensorReference) -> bool {
        let storage = match self.arena.get(reference.storage) {
            Value::Storage(storage) => Some(storage.clone()),
            _ => StorageReference::parse(self.arena, reference.storage),
        };
        let class = |id: ValueId| self.arena.class(id);
        let element = storage.and_then(|storage| class(storage.class));
        let element = element.and_then(|(module, name)| Element::of_storage(module, name));
        match (reference.data_type, element) {
            (Some(id), _) => class(id)
                .is_some_and(|(module, name)| module == "torch" && Element::of_data_type(module, name).is_none()),
            (None, element) => matches!(element, Some(Element::Foreign(_))),
        }
    }

    fn layout(
        &self,
        name: &str,
        reference: TensorReference,
        storage: &StorageReference,
    ) -> Result<Layout, FormatError> {
        let (arena, blame) = (self.arena, self.blame);
        let entry = format!("tensor {name:?}");
        let element = arena.class(storage.class).and_then(|(module, name)| Element::of_storage(module, name));
        let declared = reference.data_type.and_then(|id| arena.class(id));
        let stored = match (reference.data_type, declared, element) {
            (Some(id), declared, _) => declared
                .and_then(|(module, name)| Element::of_data_type(module, name))
                .ok_or_else(|| blame.unsupported(&entry, "a real element type", arena.describe(id)))?,
            (None, _, Some(Element::Known(data_type))) => Stored::Known(data_type),
            (None, _, Some(Element::Narrow(kind))) => Stored::Narrow(kind),
            _ => {
                let found = arena.describe(storage.class);
                return Err(blame.unsupported(&entry, "a real element type", found));
            }
        };
        let numbers = |what: &str, id: ValueId| -> Result<Vec<usize>, FormatError> {
            let elements = arena.sequence(id).filter(|elements| elements.len() <= MAX_RANK);
            let numbers = elements.and_then(|elements| elements.iter().map(|&id| arena.natural(id)).collect());
            let expected = format!("{what} of up to {MAX_RANK} natural numbers");
            numbers.ok_or_else(|| blame.malformed(&entry, expected, arena.describe(id)))
        };
        let shape = numbers("a size", reference.size)?;
        let strides = numbers("strides", reference.stride)?;
        if shape.len() != strides.len() {
            let expected = format!("{} strides, one an axis", shape.len());
            return Err(blame.malformed(&entry, expected, strides.len()));
        }
        let offset = arena.natural(reference.offset);
        let view_offset = usize::try_from(storage.view_offset).ok();
        let offset = offset.zip(view_offset).and_then(|(offset, view)| offset.checked_add(view));
        let offset = offset
            .ok_or_else(|| blame.malformed(&entry, "a natural number as offset", arena.describe(reference.offset)))?;
        Ok(Layout { stored, shape, strides, offset })
    }

    /// Refuses to copy more than a file of this length can need.
    fn count_copy(&mut self, name: &str, bytes: u64) -> Result<(), FormatError> {
        self.copied = self.copied.saturating_add(bytes);
        if self.copied > self.limit {
            let entry = format_args!("tensor {name:?}, repeated or reordered").to_string();
            return Err(self.blame.limit(entry, self.limit, self.copied));
        }
        Ok(())
    }

    /// Copies the elements of a strided view into row-major order, little-endian.
    fn gather(&mut self, name: &str, layout: &Layout, source: &[u8], big_endian: bool) -> Result<Bytes, FormatError> {
        let size = layout.size();
        let total = layout.shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
        let total = total.unwrap_or(usize::MAX);
        self.count_copy(name, total as u64)?;
        let mut target = Vec::with_capacity(total);
        let mut index = vec![0; layout.shape.len()];
        let mut position = 0;
        while target.len() < total {
            // `extent` has shown that every position lies inside the source.
            let element = &source[position * size..(position + 1) * size];
            target.extend_from_slice(element);
            if big_endian {
                let start = target.len() - size;
                target[start..].reverse();
            }
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                position += layout.strides[axis];
                if index[axis] < layout.shape[axis] {
                    break;
                }
                position -= layout.strides[axis] * layout.shape[axis];
                index[axis] = 0;
            }
        }
        Ok(target.into())
    }
}

impl Layout {
    /// Bytes an element.
    fn size(&self) -> usize {
        match self.stored {
            Stored::Known(data_type) => data_type.size(),
            Stored::Narrow(_) => 1,
        }
    }

    /// Elements from the first to behind the last; 0 if there are none, `None` on overflow.
    fn extent(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let axes = self.shape.iter().zip(&self.strides);
        axes.filter(|(dim, _)| **dim > 1)
            // One step more than the last index, so that `gather` cannot overflow when an axis wraps.
            .try_fold(1usize, |extent, (&dim, &stride)| {
                stride.checked_mul(dim)?;
                extent.checked_add(stride.checked_mul(dim - 1)?)
            })
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        for (&dim, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if dim != 1 {
                if stride != expected {
                    return false;
                }
                expected = expected.saturating_mul(dim);
            }
        }
        true
    }
}
