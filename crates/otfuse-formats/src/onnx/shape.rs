//! Declared types and shapes.

use otfuse_graph::{Declared, Dim};

use super::data_type;
use super::proto::{
    DimensionProto, DimensionValue, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};

/// What a file says of a value, if it is a dense tensor of a known element type.
pub(super) fn read(info: &ValueInfoProto) -> Option<Declared> {
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref()?.value.as_ref() else { return None };
    let data_type = data_type::from_number(tensor.elem_type?)?;
    let value = info.name.as_deref().unwrap_or_default();
    let dims =
        |shape: &TensorShapeProto| shape.dim.iter().enumerate().map(|(axis, dim)| length(value, axis, dim)).collect();
    Some(Declared { data_type, shape: tensor.shape.as_ref().map(dims) })
}

fn length(value: &str, axis: usize, dim: &DimensionProto) -> Dim {
    let known = match &dim.value {
        Some(DimensionValue::DimValue(length)) => usize::try_from(*length).ok().map(Dim::known),
        Some(DimensionValue::DimParam(name)) if !name.is_empty() => Some(Dim::symbol(name.as_str())),
        _ => None,
    };
    // Two lengths without a name need not be the same.
    known.unwrap_or_else(|| Dim::symbol(format!("{value}.{axis}")))
}

/// The declaration of a tensor.
pub(super) fn write(name: &str, data_type: otfuse_graph::DataType, shape: Option<&[Dim]>) -> ValueInfoProto {
    let dimension = |dim: &Dim| {
        let value = match dim.as_known() {
            Some(length) => DimensionValue::DimValue(length as i64),
            None => DimensionValue::DimParam(dim.to_string()),
        };
        DimensionProto { value: Some(value), denotation: None }
    };
    let shape = shape.map(|dims| TensorShapeProto { dim: dims.iter().map(dimension).collect() });
    let tensor = TensorType { elem_type: Some(data_type::to_number(data_type)), shape };
    let r#type = TypeProto { value: Some(TypeValue::Tensor(tensor)), denotation: None };
    ValueInfoProto { name: Some(name.into()), r#type: Some(r#type), ..ValueInfoProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use otfuse_graph::DataType;

    #[test]
    fn shapes_survive_a_round_trip() {
        let shape = [Dim::symbol("batch"), Dim::known(3)];
        let declared = read(&write("x", DataType::F16, Some(&shape)));
        assert_eq!(declared, Some(Declared { data_type: DataType::F16, shape: Some(shape.to_vec()) }));
        let unknown = DimensionProto { value: Some(DimensionValue::DimValue(-1)), denotation: None };
        assert_eq!(length("x", 1, &unknown), Dim::symbol("x.1"));
    }
}
