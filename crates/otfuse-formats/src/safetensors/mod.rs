//! The safetensors format: a JSON header of names, types, shapes and offsets, then the bytes. A large model may be
//! spread over several files with an index (`model.safetensors.index.json`).

mod reader;
mod sharded;
mod writer;

use otfuse_graph::DataType;
use safetensors::Dtype;

pub use self::reader::{read_safetensors, read_safetensors_bytes};
pub use self::sharded::read_sharded_safetensors;
pub(crate) use self::writer::write_safetensors_of;
pub use self::writer::{write_safetensors, write_safetensors_to};

/// The key of the header that holds text instead of a tensor.
const METADATA_KEY: &str = "__metadata__";

/// The greatest header that the format allows, in bytes.
const MAX_HEADER: usize = 100_000_000;

/// Whether the bytes begin like a safetensors file.
pub(crate) fn looks_like_safetensors(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else { return false };
    u64::from_le_bytes(*length) <= MAX_HEADER as u64 && rest.first() == Some(&b'{')
}

/// The element type here of a type there; `None` for those without a counterpart.
fn data_type(dtype: Dtype) -> Option<DataType> {
    Some(match dtype {
        Dtype::F16 => DataType::F16,
        Dtype::BF16 => DataType::BF16,
        Dtype::F32 => DataType::F32,
        Dtype::F64 => DataType::F64,
        Dtype::I8 => DataType::I8,
        Dtype::I16 => DataType::I16,
        Dtype::I32 => DataType::I32,
        Dtype::I64 => DataType::I64,
        Dtype::U8 => DataType::U8,
        Dtype::U16 => DataType::U16,
        Dtype::U32 => DataType::U32,
        Dtype::U64 => DataType::U64,
        Dtype::BOOL => DataType::Bool,
        _ => return None,
    })
}

/// The inverse of [`data_type`].
fn dtype(data_type: DataType) -> Dtype {
    match data_type {
        DataType::F16 => Dtype::F16,
        DataType::BF16 => Dtype::BF16,
        DataType::F32 => Dtype::F32,
        DataType::F64 => Dtype::F64,
        DataType::I8 => Dtype::I8,
        DataType::I16 => Dtype::I16,
        DataType::I32 => Dtype::I32,
        DataType::I64 => Dtype::I64,
        DataType::U8 => Dtype::U8,
        DataType::U16 => Dtype::U16,
        DataType::U32 => Dtype::U32,
        DataType::U64 => Dtype::U64,
        DataType::Bool => Dtype::BOOL,
    }
}
