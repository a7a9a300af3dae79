//! Arrays between NumPy and the library. They come as flat arrays of bytes that stay where they are; the library's tensors
//! go out as such.

use bytes::Bytes;
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use otfuse::formats::StateDict;
use otfuse::graph::{DataType, Tensor};
use pyo3::prelude::*;

use crate::error::{exception, input};

/// A named array: name, element type, shape and bytes.
pub type Named<'py> = (String, String, Vec<usize>, Bound<'py, PyArray1<u8>>);

/// Element types by name.
const TYPES: [(&str, DataType); 13] = [
    ("float16", DataType::F16),
    ("bfloat16", DataType::BF16),
    ("float32", DataType::F32),
    ("float64", DataType::F64),
    ("int8", DataType::I8),
    ("int16", DataType::I16),
    ("int32", DataType::I32),
    ("int64", DataType::I64),
    ("uint8", DataType::U8),
    ("uint16", DataType::U16),
    ("uint32", DataType::U32),
    ("uint64", DataType::U64),
    ("bool", DataType::Bool),
];

/// Elements of an array of Python's, which is kept alive. Whoever lends an array to the library does not write to it
/// meanwhile.
pub struct Lent<T> {
    start: *const T,
    length: usize,
    _array: Py<PyAny>,
}

// SAFETY: the elements are plain numbers that nobody writes to, and Py may be dropped on any thread.
unsafe impl<T: Sync> Send for Lent<T> {}
// SAFETY: as above; only shared references to the elements are given out.
unsafe impl<T: Sync> Sync for Lent<T> {}

impl<T: numpy::Element> Lent<T> {
    /// The elements of a contiguous array, in C's order; `None` of another.
    pub fn of<D: numpy::ndarray::Dimension>(array: &Bound<'_, numpy::PyArray<T, D>>) -> Option<Self> {
        array.is_c_contiguous().then(|| {
            let (start, length) = (array.data().cast_const(), array.len());
            Self { start, length, _array: array.clone().into_any().unbind() }
        })
    }
}

impl<T> AsRef<[T]> for Lent<T> {
    fn as_ref(&self) -> &[T] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: a contiguous array of so many elements, which lives as long as `_array`.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// Named arrays as tensors over the same memory.
pub fn tensors(py: Python<'_>, arrays: Vec<Named<'_>>) -> PyResult<StateDict> {
    let mut dict = StateDict::new();
    for (name, kind, shape, array) in arrays {
        let Some(&(_, data_type)) = TYPES.iter().find(|(known, _)| *known == kind) else {
            let expected = TYPES.map(|(name, _)| name).join(", ");
            let message = format!("'{name}': expected elements of {expected}, found {kind}");
            let mut error = otfuse::Error::input(message).hint("convert it to one of these, for example to float32");
            error.tensor = Some(name);
            return Err(exception(py, &error));
        };
        let lent = Lent::of(&array).ok_or_else(|| input(py, format!("'{name}': not contiguous"), "copy it first"))?;
        let made = Tensor::new(data_type, shape, Bytes::from_owner(lent));
        let tensor = made.map_err(|error| input(py, format!("'{name}': {error}"), "its bytes do not fit its shape"))?;
        dict.insert(name, tensor).map_err(|error| input(py, error, "names must differ"))?;
    }
    Ok(dict)
}

/// Tensors as named arrays.
pub fn arrays<'py, 'a>(py: Python<'py>, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Vec<Named<'py>> {
    let one = |(name, tensor): (&str, &Tensor)| {
        let kind = TYPES.iter().find(|(_, known)| *known == tensor.data_type()).map_or("", |(name, _)| name);
        (name.to_owned(), kind.to_owned(), tensor.shape().to_vec(), PyArray1::from_slice(py, tensor.bytes()))
    };
    tensors.into_iter().map(one).collect()
}
