//! PyTorch's names for element types.

use otfuse_graph::DataType;

use super::float8::Float8;
use super::origin::Stored;

/// The element type of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A type that tensors can have here.
    Known(DataType),
    /// Floats of 8 bits.
    Narrow(Float8),
    /// A type without a counterpart here, of so many bytes.
    Foreign(usize),
    /// Bytes of any type.
    Untyped,
}

impl Element {
    /// Bytes an element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Known(data_type) => data_type.size(),
            Self::Foreign(size) => size,
            Self::Untyped | Self::Narrow(_) => 1,
        }
    }

    /// The element type of a storage class.
    pub(super) fn of_storage(module: &str, name: &str) -> Option<Self> {
        if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
            return None;
        }
        Some(match name {
            "DoubleStorage" => Self::Known(DataType::F64),
            "FloatStorage" => Self::Known(DataType::F32),
            "HalfStorage" => Self::Known(DataType::F16),
            "BFloat16Storage" => Self::Known(DataType::BF16),
            "LongStorage" => Self::Known(DataType::I64),
            "IntStorage" => Self::Known(DataType::I32),
            "ShortStorage" => Self::Known(DataType::I16),
            "CharStorage" => Self::Known(DataType::I8),
            "ByteStorage" => Self::Known(DataType::U8),
            "BoolStorage" => Self::Known(DataType::Bool),
            "UntypedStorage" => Self::Untyped,
            "ComplexDoubleStorage" => Self::Foreign(16),
            "ComplexFloatStorage" => Self::Foreign(8),
            "QInt32Storage" => Self::Foreign(4),
            "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => Self::Foreign(1),
            name => Self::Narrow(Float8::of_name(name)?),
        })
    }

    /// The element type that a `torch.dtype` names.
    pub(super) fn of_data_type(module: &str, name: &str) -> Option<Stored> {
        if module != "torch" {
            return None;
        }
        if let Some(narrow) = Float8::of_name(name) {
            return Some(Stored::Narrow(narrow));
        }
        Some(Stored::Known(match name {
            "float64" | "double" => DataType::F64,
            "float32" | "float" => DataType::F32,
            "float16" | "half" => DataType::F16,
            "bfloat16" => DataType::BF16,
            "int64" | "long" => DataType::I64,
            "int32" | "int" => DataType::I32,
            "int16" | "short" => DataType::I16,
            "int8" => DataType::I8,
            "uint8" => DataType::U8,
            "uint16" => DataType::U16,
            "uint32" => DataType::U32,
            "uint64" => DataType::U64,
            "bool" => DataType::Bool,
            _ => return None,
        }))
    }
}

/// The storage class that PyTorch writes for an element type; `None` for the types that it stores untyped.
pub(super) fn storage_class(data_type: DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::F64 => "DoubleStorage",
        DataType::F32 => "FloatStorage",
        DataType::F16 => "HalfStorage",
        DataType::BF16 => "BFloat16Storage",
        DataType::I64 => "LongStorage",
        DataType::I32 => "IntStorage",
        DataType::I16 => "ShortStorage",
        DataType::I8 => "CharStorage",
        DataType::U8 => "ByteStorage",
        DataType::Bool => "BoolStorage",
        DataType::U16 | DataType::U32 | DataType::U64 => return None,
    })
}
