//! Arrays of NumPy inside pickles.

use bytes::Bytes;
use otfuse_graph::{DataType, Tensor};

use super::pickle::{Arena, Value, ValueId};

/// An array as a pickle describes it: `_reconstruct(...)` with the state `(version, shape, type, order, bytes)`.
pub(super) struct Array {
    shape: Vec<usize>,
    data_type: DataType,
    data: Bytes,
}

/// The array that a value is, in C order and of little-endian numbers that tensors can have.
pub(super) fn array(arena: &Arena, value: ValueId) -> Option<Array> {
    let Value::Object(object) = arena.get(value) else { return None };
    let (module, name) = arena.class(object.class)?;
    if name != "_reconstruct" || !matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray") {
        return None;
    }
    let &[_version, shape, data_type, fortran, data] = arena.sequence(object.state?)? else { return None };
    let shape: Vec<usize> =
        arena.sequence(shape)?.iter().map(|&length| arena.natural(length)).collect::<Option<_>>()?;
    let is_row_major = matches!(arena.get(fortran), Value::Bool(false)) || shape.len() < 2;
    let data = match arena.get(data) {
        Value::Raw(bytes) | Value::Text(bytes) => bytes.clone(),
        _ => return None,
    };
    is_row_major.then_some(())?;
    Some(Array { shape, data_type: element(arena, data_type)?, data })
}

/// The type of `numpy.dtype(code, ...)` with the state `(version, order, ...)`.
fn element(arena: &Arena, value: ValueId) -> Option<DataType> {
    let Value::Object(object) = arena.get(value) else { return None };
    if arena.class(object.class) != Some(("numpy", "dtype")) {
        return None;
    }
    let code = arena.text(*arena.sequence(object.arguments)?.first()?)?;
    let order = object.state.and_then(|state| arena.text(*arena.sequence(state)?.get(1)?));
    if order == Some(">") {
        return None;
    }
    Some(match code.trim_start_matches(['<', '=', '|']) {
        "f8" => DataType::F64,
        "f4" => DataType::F32,
        "f2" => DataType::F16,
        "i8" => DataType::I64,
        "i4" => DataType::I32,
        "i2" => DataType::I16,
        "i1" => DataType::I8,
        "u8" => DataType::U64,
        "u4" => DataType::U32,
        "u2" => DataType::U16,
        "u1" => DataType::U8,
        "b1" => DataType::Bool,
        _ => return None,
    })
}

impl Array {
    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The same as a tensor; `None` if there are more or fewer bytes than the shape asks for.
    pub(super) fn into_tensor(self) -> Option<Tensor> {
        Tensor::new(self.data_type, self.shape, self.data).ok()
    }
}
