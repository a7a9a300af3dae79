//! Neural networks as graphs.
//!
//! A [`Graph`] is a network as a value: nodes with typed [`Operator`]s of ONNX semantics, constant tensors, inputs and
//! outputs. This crate does no input or output and no arithmetic on tensors.

mod builder;
mod data_type;
mod dim;
mod editor;
mod error;
mod fold;
mod graph;
mod id;
mod infer;
mod operator;
mod symmetry;
mod tensor;

pub use builder::GraphBuilder;
pub use data_type::DataType;
pub use dim::{Dim, Shape};
pub use editor::GraphEditor;
pub use error::GraphError;
pub use fold::{FoldError, fold_constants};
pub use graph::{Declared, Graph, Node, Value};
pub use id::{NodeId, ValueId};
pub use infer::{Element, Fact, Facts, InferenceError, Mismatch};
pub use operator::{
    Binary, Conv, ConvTranspose, Gemm, Operator, PadMode, Padding, Pool, PoolKind, Reduce, ReduceKind, Unary, Variadic,
    Window,
};
pub use symmetry::{
    AxisLayout, GroupId, Member, NeuronGroup, NeuronGroups, Observation, PinReason, PinnedGroup, Role, SelectError,
    permute, select,
};
pub use tensor::{Tensor, TensorSizeError};
