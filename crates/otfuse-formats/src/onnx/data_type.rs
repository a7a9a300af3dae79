//! ONNX's numbers for element types.

use otfuse_graph::DataType;

const SUPPORTED: [(i32, DataType); 13] = [
    (1, DataType::F32),
    (2, DataType::U8),
    (3, DataType::I8),
    (4, DataType::U16),
    (5, DataType::I16),
    (6, DataType::I32),
    (7, DataType::I64),
    (9, DataType::Bool),
    (10, DataType::F16),
    (11, DataType::F64),
    (12, DataType::U32),
    (13, DataType::U64),
    (16, DataType::BF16),
];

/// The element type of that number, if it has a counterpart.
pub(super) fn from_number(number: i32) -> Option<DataType> {
    SUPPORTED.iter().find(|(known, _)| *known == number).map(|&(_, data_type)| data_type)
}

/// The number of an element type.
pub(super) fn to_number(data_type: DataType) -> i32 {
    SUPPORTED.iter().find(|(_, known)| *known == data_type).map_or(0, |&(number, _)| number)
}

/// What errors call the element type of that number.
pub(super) fn describe(number: i32) -> String {
    let name = match number {
        0 => "elements of undefined type",
        8 => "strings",
        14 => "complex64 elements",
        15 => "complex128 elements",
        17 => "float8e4m3fn elements",
        18 => "float8e4m3fnuz elements",
        19 => "float8e5m2 elements",
        20 => "float8e5m2fnuz elements",
        21 => "uint4 elements",
        22 => "int4 elements",
        23 => "float4e2m1 elements",
        24 => "float8e8m0 elements",
        25 => "uint2 elements",
        26 => "int2 elements",
        _ => {
            return match from_number(number) {
                Some(data_type) => format!("{data_type} elements"),
                None => format!("elements of the unknown type {number}"),
            };
        }
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_types_agree() {
        for (number, data_type) in SUPPORTED {
            assert_eq!((from_number(number), to_number(data_type)), (Some(data_type), number));
        }
        assert_eq!((from_number(8), from_number(-1)), (None, None));
        assert_eq!(describe(17), "float8e4m3fn elements");
    }
}
