//! Constant tensors: the weights of a network.

use bytes::Bytes;
use half::{bf16, f16};

use crate::DataType;

/// A constant, dense, row-major tensor. The bytes are little-endian and may be a slice of a memory-mapped file, so
/// that cloning and carrying a tensor costs nothing; no arithmetic is done on it here.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    data_type: DataType,
    shape: Vec<usize>,
    data: Bytes,
}

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
        Ok(Self { data_type, shape, data })
    }

    /// A float32 tensor. Panics if `values` does not fill `shape`: for values computed, not read.
    pub fn from_f32(shape: &[usize], values: Vec<f32>) -> Self {
        Self::from_elements(DataType::F32, shape, values, f32::to_le_bytes)
    }

    /// An int64 tensor. Panics if `values` does not fill `shape`: for values computed, not read.
    pub fn from_i64(shape: &[usize], values: Vec<i64>) -> Self {
        Self::from_elements(DataType::I64, shape, values, i64::to_le_bytes)
    }

    /// A float32 tensor of rank 0.
    pub fn scalar(value: f32) -> Self {
        Self::from_f32(&[], vec![value])
    }

    /// `values` rounded to `data_type`, which must be a floating-point type.
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
        let data: Vec<u8> = values.into_iter().flat_map(bytes).collect();
        Self::new(data_type, shape.to_vec(), data.into()).expect("as many values as the shape asks for")
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
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
        Self::new(self.data_type, shape.to_vec(), self.data.clone())
    }

    /// The elements as `f32` (rounded from float64, exact from the narrower types), or `None` if they are not floats.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        Some(match self.data_type {
            DataType::F32 => self.elements(f32::from_le_bytes),
            DataType::F64 => self.elements(|bytes| f64::from_le_bytes(bytes) as f32),
            DataType::F16 => self.elements(|bytes| f16::from_le_bytes(bytes).to_f32()),
            DataType::BF16 => self.elements(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => return None,
        })
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
        let (chunks, _) = self.data.as_chunks::<N>();
        chunks.iter().map(|&chunk| from(chunk)).collect()
    }
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
