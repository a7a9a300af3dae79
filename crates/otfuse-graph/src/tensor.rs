//! Constant tensors: the weights of a network.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::DataType;

/// A constant, dense, row-major tensor. The bytes are little-endian and may be a slice of a memory-mapped file, so
/// that cloning and carrying a tensor costs nothing; no arithmetic is done on it here.
#[derive(Clone)]
pub struct Tensor {
    data_type: DataType,
    shape: Vec<usize>,
    data: Bytes,
    lender: Option<Arc<dyn Lender>>,
}

/// Whoever lends the bytes of tensors and can bring them back at any time: a memory-mapped file.
pub trait Lender: Send + Sync {
    /// The bytes will not be read soon and need not stay in memory. They stay readable.
    fn release(&self, bytes: &[u8]);
}

/// Lent tensors of fewer bytes are not worth a call to the lender.
const WORTH_RELEASING: usize = 1 << 16;

/// Elements that are looked through at a time.
const SCANNED: usize = 1 << 16;

/// The bytes given for a tensor do not have the length that its type and shape ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {data_type} tensor of shape {shape:?} takes {expected} bytes, found {found}")]
pub struct TensorSizeError {
    /// The element type asked for.
    pub data_type: DataType,
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// Bytes that type and shape need (`usize::MAX` if that overflows).
    pub expected: usize,
    /// Bytes given.
    pub found: usize,
}

impl Tensor {
    /// A tensor over `data`, which must hold exactly `shape.product() * data_type.size()` little-endian bytes.
    pub fn new(data_type: DataType, shape: Vec<usize>, data: Bytes) -> Result<Self, TensorSizeError> {
        let expected =
            element_count(&shape).and_then(|count| count.checked_mul(data_type.size())).unwrap_or(usize::MAX);
        if expected != data.len() {
            let found = data.len();
            return Err(TensorSizeError { data_type, shape, expected, found });
        }
        Ok(Self { data_type, shape, data, lender: None })
    }

    /// The same tensor, whose bytes `lender` brings into memory when they are read.
    #[must_use]
    pub fn lent_by(self, lender: Arc<dyn Lender>) -> Self {
        Self { lender: Some(lender), ..self }
    }

    /// Lets go of the memory that the bytes take, if they are lent. They stay readable, which may take longer then.
    /// [`to_f32`](Self::to_f32) and [`find`](Self::find) do so by themselves.
    pub fn release(&self) {
        if let Some(lender) = self.lender.as_ref().filter(|_| self.data.len() >= WORTH_RELEASING) {
            lender.release(&self.data);
        }
    }

    /// A float32 tensor. Panics if `values` does not fill `shape`: for values computed, not read.
    pub fn from_f32(shape: &[usize], values: Vec<f32>) -> Self {
        if cfg!(target_endian = "big") {
            return Self::from_elements(DataType::F32, shape, values, f32::to_le_bytes);
        }
        Self::computed(DataType::F32, shape, Bytes::from_owner(Singles(values)))
    }

    /// An int64 tensor. Panics if `values` does not fill `shape`: for values computed, not read.
    pub fn from_i64(shape: &[usize], values: Vec<i64>) -> Self {
        Self::from_elements(DataType::I64, shape, values, i64::to_le_bytes)
    }

    /// A tensor of truth values. Panics if `values` does not fill `shape`: for values computed, not read.
    pub fn from_bools(shape: &[usize], values: Vec<bool>) -> Self {
        Self::from_elements(DataType::Bool, shape, values, |value| [u8::from(value)])
    }

    /// A float32 tensor of rank 0.
    pub fn scalar(value: f32) -> Self {
        Self::from_f32(&[], vec![value])
    }

    /// `values` rounded to `data_type`.
    ///
    /// # Panics
    /// If `data_type` is no floating-point type, or there are more or fewer values than the shape asks for.
    pub fn from_f32_as(data_type: DataType, shape: &[usize], values: Vec<f32>) -> Self {
        match data_type {
            DataType::F32 => Self::from_f32(shape, values),
            DataType::F64 => Self::from_elements(data_type, shape, values, |value| f64::from(value).to_le_bytes()),
            DataType::F16 => Self::from_elements(data_type, shape, values, |value| f16::from_f32(value).to_le_bytes()),
            DataType::BF16 => {
                Self::from_elements(data_type, shape, values, |value| bf16::from_f32(value).to_le_bytes())
            }
            other => panic!("{other} is not a floating-point type"),
        }
    }

    fn from_elements<T: Copy, const N: usize>(
        data_type: DataType,
        shape: &[usize],
        values: Vec<T>,
        bytes: impl Fn(T) -> [u8; N],
    ) -> Self {
        let mut data = vec![0; values.len() * N];
        let (places, _) = data.as_chunks_mut::<N>();
        places.iter_mut().zip(values).for_each(|(place, value)| *place = bytes(value));
        Self::computed(data_type, shape, data.into())
    }

    fn computed(data_type: DataType, shape: &[usize], data: Bytes) -> Self {
        Self::new(data_type, shape.to_vec(), data).expect("as many values as the shape asks for")
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether all elements are equal, bit by bit; those of an empty tensor are not.
    pub fn is_uniform(&self) -> bool {
        let mut elements = self.bytes().chunks_exact(self.data_type().size().max(1));
        elements.next().is_some_and(|first| elements.all(|element| element == first))
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.data_type.size()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The little-endian bytes of the elements in row-major order.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The same bytes under another shape of as many elements.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self, TensorSizeError> {
        let reshaped = Self::new(self.data_type, shape.to_vec(), self.data.clone())?;
        Ok(Self { lender: self.lender.clone(), ..reshaped })
    }

    /// The index of the first element for which `wanted` holds, as [`to_f32`](Self::to_f32) gives it, without a copy of
    /// all; `None` too if the elements are not floats.
    pub fn find(&self, wanted: impl Fn(f32) -> bool) -> Option<(usize, f32)> {
        if !self.data_type.is_float() {
            return None;
        }
        let width = self.data_type.size();
        let mut found = None;
        for (piece, bytes) in self.data.chunks(SCANNED * width).enumerate() {
            let values = floats(self.data_type, bytes)?;
            if let Some(at) = values.iter().position(|&value| wanted(value)) {
                found = Some((piece * SCANNED + at, values[at]));
                break;
            }
        }
        self.release();
        found
    }

    /// The elements `range` of all elements in row-major order, as [`to_f32`](Self::to_f32) gives them. Panics if the range
    /// is out of bounds.
    pub fn range_to_f32(&self, range: std::ops::Range<usize>) -> Option<Vec<f32>> {
        let width = self.data_type.size();
        let bytes = &self.data[range.start * width..range.end * width];
        let values = floats(self.data_type, bytes);
        if let Some(lender) = self.lender.as_ref().filter(|_| bytes.len() >= WORTH_RELEASING) {
            lender.release(bytes);
        }
        values
    }

    /// Whether another tensor has the same shape and numbers, in whatever types: of two types they are compared in single
    /// precision.
    pub fn has_numbers_of(&self, other: &Self) -> bool {
        if self.data_type == other.data_type {
            return self == other;
        }
        self.shape == other.shape && self.to_f32().is_some_and(|own| Some(own) == other.to_f32())
    }

    /// The elements as `f32` (rounded from float64, exact from the narrower types), or `None` if they are not floats.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let values = floats(self.data_type, &self.data);
        self.release();
        values
    }

    /// The elements as [`to_f32`](Self::to_f32) gives them, without a copy where the bytes are such numbers already.
    pub fn as_f32(&self) -> Option<Cow<'_, [f32]>> {
        match singles(&self.data).filter(|_| self.data_type == DataType::F32 && self.lender.is_none()) {
            Some(values) => Some(Cow::Borrowed(values)),
            None => self.to_f32().map(Cow::Owned),
        }
    }

    /// The elements as `i64`, or `None` if they are floats or do not fit.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        Some(match self.data_type {
            DataType::I8 => self.elements(|bytes| i8::from_le_bytes(bytes).into()),
            DataType::I16 => self.elements(|bytes| i16::from_le_bytes(bytes).into()),
            DataType::I32 => self.elements(|bytes| i32::from_le_bytes(bytes).into()),
            DataType::I64 => self.elements(i64::from_le_bytes),
            DataType::U8 => self.elements(|bytes| u8::from_le_bytes(bytes).into()),
            DataType::U16 => self.elements(|bytes| u16::from_le_bytes(bytes).into()),
            DataType::U32 => self.elements(|bytes| u32::from_le_bytes(bytes).into()),
            DataType::U64 => {
                let values = self.elements(u64::from_le_bytes);
                return values.into_iter().map(|value| i64::try_from(value).ok()).collect();
            }
            DataType::Bool => self.elements(|[byte]: [u8; 1]| i64::from(byte != 0)),
            _ => return None,
        })
    }

    fn elements<T, const N: usize>(&self, from: impl Fn([u8; N]) -> T) -> Vec<T> {
        elements(&self.data, from)
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        let kind = |tensor: &Self| (tensor.data_type, tensor.data.len());
        if kind(self) != kind(other) || self.shape != other.shape {
            return false;
        }
        let equal = self.data.as_ptr() == other.data.as_ptr() || self.data == other.data;
        self.release();
        other.release();
        equal
    }
}

fn elements<T, const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| from(chunk)).collect()
}

/// Numbers whose bytes a tensor has as they are.
struct Singles(Vec<f32>);

impl AsRef<[u8]> for Singles {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Bytes that are numbers of the machine as they lie.
fn singles(bytes: &[u8]) -> Option<&[f32]> {
    if cfg!(target_endian = "big") { None } else { bytemuck::try_cast_slice(bytes).ok() }
}

/// The library converts whole slices many times as fast as single numbers.
fn halves(bytes: &[u8]) -> Vec<f32> {
    const PIECE: usize = 1024;
    let (chunks, _) = bytes.as_chunks::<2>();
    let mut values = vec![0.0; chunks.len()];
    let mut aligned = [f16::ZERO; PIECE];
    for (chunks, into) in chunks.chunks(PIECE).zip(values.chunks_mut(PIECE)) {
        aligned.iter_mut().zip(chunks).for_each(|(half, &chunk)| *half = f16::from_le_bytes(chunk));
        aligned[..chunks.len()].convert_to_f32_slice(into);
    }
    values
}

fn floats(data_type: DataType, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match data_type {
        DataType::F32 => match singles(bytes) {
            Some(values) => values.to_vec(),
            None => elements(bytes, f32::from_le_bytes),
        },
        DataType::F64 => elements(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        DataType::F16 => halves(bytes),
        DataType::BF16 => elements(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => return None,
    })
}

/// The number of elements of a shape, unless it overflows. One length of 0 empties all others, however large.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |count, &length| count.checked_mul(length))
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {:?})", self.data_type, self.shape)
    }
}
