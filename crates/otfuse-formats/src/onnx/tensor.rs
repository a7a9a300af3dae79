//! `TensorProto` to tensor and back.

use bytes::Bytes;
use otfuse_graph::{DataType, Tensor};

use super::data_type;
use super::external::ExternalFiles;
use super::proto::TensorProto;
use crate::error::OnnxError;
use crate::mapped::lent;

/// What a `TensorProto` is read as.
#[derive(Debug)]
pub(super) enum Constant {
    /// A tensor.
    Tensor(Tensor),
    /// Elements without a counterpart here, described.
    Unsupported(String),
}

/// Reads a constant tensor. Raw and external data are shared with the file, typed fields are converted.
///
/// # Errors
/// If the elements are not as many as the shape asks for, or out of the type's range.
pub(super) fn read(proto: &TensorProto, external: &mut ExternalFiles) -> Result<Constant, OnnxError> {
    let number = proto.data_type.unwrap_or(0);
    let wrong = |expected: String, found: String| OnnxError::Tensor {
        tensor: proto.name.clone().unwrap_or_default(),
        expected,
        found,
    };
    let shape: Result<Vec<usize>, _> = proto.dims.iter().map(|&dim| usize::try_from(dim)).collect();
    let shape =
        shape.map_err(|_| wrong("lengths of axes that are not negative".into(), format!("{:?}", proto.dims)))?;
    let Some(data_type) = data_type::from_number(number) else {
        return Ok(Constant::Unsupported(data_type::describe(number)));
    };
    let elements = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
    let bytes = elements.and_then(|elements| elements.checked_mul(data_type.size()));
    let (Some(elements), Some(expected)) = (elements, bytes) else {
        return Err(wrong("a shape that fits into memory".into(), format!("{shape:?}")));
    };
    if proto.segment.is_some() {
        return Ok(Constant::Unsupported("a segment of a larger tensor".into()));
    }
    let data = if proto.data_location == Some(1) {
        external.load(proto, expected)?
    } else if let Some(raw) = &proto.raw_data {
        raw.clone()
    } else {
        let (found, data) = typed_data(proto, data_type)
            .ok_or_else(|| wrong(format!("elements in the range of {data_type}"), "one out of range".into()))?;
        if found != elements {
            return Err(wrong(format!("{elements} elements for shape {shape:?}"), found.to_string()));
        }
        data.into()
    };
    let tensor = Tensor::new(data_type, shape, data).map_err(|error| {
        wrong(
            format!("{} bytes for {} of shape {:?}", error.expected, error.data_type, error.shape),
            format!("{} bytes", error.found),
        )
    })?;
    Ok(Constant::Tensor(lent(tensor)))
}

/// The number of elements in the field for the type, and their little-endian bytes; `None` if one is out of range.
fn typed_data(proto: &TensorProto, data_type: DataType) -> Option<(usize, Vec<u8>)> {
    fn collect<T: Copy, const N: usize>(
        values: &[T],
        bytes: impl Fn(T) -> Option<[u8; N]>,
    ) -> Option<(usize, Vec<u8>)> {
        let mut data = Vec::with_capacity(values.len() * N);
        for &value in values {
            data.extend_from_slice(&bytes(value)?);
        }
        Some((values.len(), data))
    }
    macro_rules! narrow {
        ($values:expr, $narrow:ty) => {
            collect($values, |value| <$narrow>::try_from(value).ok().map(<$narrow>::to_le_bytes))
        };
    }
    match data_type {
        DataType::F32 => collect(&proto.float_data, |value| Some(value.to_le_bytes())),
        DataType::F64 => collect(&proto.double_data, |value| Some(value.to_le_bytes())),
        DataType::I64 => collect(&proto.int64_data, |value| Some(value.to_le_bytes())),
        DataType::I32 => collect(&proto.int32_data, |value| Some(value.to_le_bytes())),
        DataType::U64 => collect(&proto.uint64_data, |value| Some(value.to_le_bytes())),
        DataType::U32 => narrow!(&proto.uint64_data, u32),
        DataType::I16 => narrow!(&proto.int32_data, i16),
        DataType::I8 => narrow!(&proto.int32_data, i8),
        DataType::U8 => narrow!(&proto.int32_data, u8),
        // The bits of a 16-bit float stand in the lower half of the integer.
        DataType::U16 | DataType::F16 | DataType::BF16 => narrow!(&proto.int32_data, u16),
        DataType::Bool => collect(&proto.int32_data, |value| Some([u8::from(value != 0)])),
    }
}

/// Replaces the elements, type and shape of a `TensorProto` by those of a tensor; its name and documentation stay.
pub(super) fn store(tensor: &Tensor, proto: &mut TensorProto) {
    *proto = TensorProto {
        dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
        data_type: Some(data_type::to_number(tensor.data_type())),
        raw_data: Some(tensor.bytes().clone()),
        name: proto.name.take(),
        doc_string: proto.doc_string.take(),
        metadata_props: std::mem::take(&mut proto.metadata_props),
        ..TensorProto::default()
    };
}

/// A tensor as a `TensorProto` of that name; the bytes are shared.
pub(super) fn write(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto { name: Some(name.into()), ..TensorProto::default() };
    store(tensor, &mut proto);
    proto
}

/// A tensor of rank 0 or 1 with `value` converted to a floating-point type.
pub(super) fn scalar(data_type: DataType, value: f32) -> Tensor {
    let data_type = if data_type.is_float() { data_type } else { DataType::F32 };
    Tensor::from_f32_as(data_type, &[], vec![value])
}

/// Whether two tensors share their bytes or hold the same ones.
pub(super) fn same(a: &Tensor, b: &Tensor) -> bool {
    let shared = |a: &Bytes, b: &Bytes| a.as_ptr() == b.as_ptr() && a.len() == b.len();
    a.data_type() == b.data_type() && a.shape() == b.shape() && (shared(a.bytes(), b.bytes()) || a.bytes() == b.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_alone(proto: &TensorProto) -> Result<Constant, OnnxError> {
        read(proto, &mut ExternalFiles::default())
    }

    #[test]
    fn typed_fields_are_read() {
        let half = TensorProto {
            dims: vec![2],
            data_type: Some(10),
            int32_data: vec![0x3c00, 0xc000],
            ..TensorProto::default()
        };
        let Ok(Constant::Tensor(tensor)) = read_alone(&half) else { panic!("a tensor") };
        assert_eq!(tensor.to_f32(), Some(vec![1.0, -2.0]));
        let small = TensorProto { dims: vec![], data_type: Some(3), int32_data: vec![-7], ..TensorProto::default() };
        let Ok(Constant::Tensor(tensor)) = read_alone(&small) else { panic!("a tensor") };
        assert_eq!(tensor.to_i64(), Some(vec![-7]));
    }

    #[test]
    fn wrong_lengths_and_ranges_are_errors() {
        let float = TensorProto { dims: vec![3], data_type: Some(1), float_data: vec![1.0], ..TensorProto::default() };
        assert!(matches!(read_alone(&float), Err(OnnxError::Tensor { .. })));
        let byte = TensorProto { dims: vec![1], data_type: Some(2), int32_data: vec![300], ..TensorProto::default() };
        assert!(matches!(read_alone(&byte), Err(OnnxError::Tensor { .. })));
        let huge = TensorProto { dims: vec![i64::MAX; 3], data_type: Some(1), ..TensorProto::default() };
        assert!(matches!(read_alone(&huge), Err(OnnxError::Tensor { .. })));
        let negative = TensorProto { dims: vec![-1], data_type: Some(1), ..TensorProto::default() };
        assert!(matches!(read_alone(&negative), Err(OnnxError::Tensor { .. })));
        let raw = TensorProto {
            dims: vec![2],
            data_type: Some(1),
            raw_data: Some(Bytes::from_static(&[0; 7])),
            ..TensorProto::default()
        };
        assert!(read_alone(&raw).is_err_and(|error| error.to_string().contains("8 bytes")));
    }

    #[test]
    fn tensors_survive_a_round_trip() {
        let tensor = Tensor::from_f32(&[1, 2], vec![0.5, -1.5]);
        let Ok(Constant::Tensor(back)) = read_alone(&write("w", &tensor)) else { panic!("a tensor") };
        assert_eq!(back, tensor);
    }
}
