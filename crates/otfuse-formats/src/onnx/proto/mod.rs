//! The messages of an ONNX file.
//!
//! One struct per message of the ONNX specification (IR version 14), with its field numbers. Every field is kept, and
//! whether it was present: a model that is read and written back means the same. The bytes of tensors are slices of the
//! bytes that were decoded.

mod extent;
mod graph;
mod model;
mod tensor;
mod types;

pub(crate) use extent::too_large;
pub use graph::{AttributeProto, GraphProto, NodeProto, TensorAnnotation, ValueInfoProto};
pub use graph::{IntIntListEntryProto, NodeDeviceConfigurationProto, ShardedDimProto, ShardingSpecProto};
pub use graph::{SimpleShardedDim, SimpleShardedDimProto};
pub use model::{DeviceConfigurationProto, FunctionProto, ModelProto, OperatorSetIdProto, TrainingInfoProto};
pub use tensor::{SparseTensorProto, StringStringEntryProto, TensorProto, TensorSegment};
pub use types::{DimensionProto, DimensionValue, TensorShapeProto, TypeProto, TypeValue};
pub use types::{MapType, OpaqueType, OptionalType, SequenceType, TensorType};

/// `AttributeProto.type`: what an attribute holds.
pub mod attribute_type {
    #![allow(missing_docs)]
    pub const FLOAT: i32 = 1;
    pub const INT: i32 = 2;
    pub const STRING: i32 = 3;
    pub const TENSOR: i32 = 4;
    pub const GRAPH: i32 = 5;
    pub const FLOATS: i32 = 6;
    pub const INTS: i32 = 7;
    pub const STRINGS: i32 = 8;
    pub const TENSORS: i32 = 9;
    pub const GRAPHS: i32 = 10;
    pub const SPARSE_TENSOR: i32 = 11;
    pub const SPARSE_TENSORS: i32 = 12;
    pub const TYPE_PROTO: i32 = 13;
    pub const TYPE_PROTOS: i32 = 14;
}
