//! Neural networks as graphs.
//!
//! A [`Graph`] is a network as a value: nodes with typed [`Operator`]s of ONNX semantics, constant tensors, inputs and
//! outputs. This crate does no input or output and no arithmetic on tensors.

mod blocks;
mod builder;
mod data_type;
mod dim;
mod editor;
mod error;
mod fold;
mod graph;
mod id;
mod infer;
mod stacked;
mod states;
mod symmetry;
mod tensor;

pub use blocks::{Block, blocks_of};
pub use builder::GraphBuilder;
pub use data_type::DataType;
pub use dim::{Dim, Shape};
pub use editor::GraphEditor;
pub use error::GraphError;
pub use fold::{FoldError, fold_constants};
pub use graph::operator::{
    Aspect, Attention, Binary, Body, Cell, Conv, ConvTranspose, Coordinates, DeformConv, DepthOrder, Direction, Einsum,
    Gemm, GridMode, GridPadding, GridSample, Nearest, Operator, PadMode, Padding, Pool, PoolKind, Random, RandomKind,
    Recurrent, Reduce, ReduceKind, Resize, ResizeMode, Scan, ScatterReduction, Scores, Unary, Variadic, Window,
};
pub use graph::{Declared, Graph, Node, Value};
pub use id::{NodeId, ValueId};
pub use infer::{Element, Fact, Facts, InferenceError, Mismatch, ShapeSource};
pub use stacked::{join_stacked, pass_parts};
pub use states::separate_states;
pub use symmetry::{
    AxisLayout, AxisRule, GroupId, Member, NeuronGroup, NeuronGroups, Observation, PinReason, PinnedGroup, Role,
    SelectError, permute, permuted, select,
};
#[doc(hidden)]
pub use symmetry::{Change, Mutation};
pub use tensor::{Lender, Tensor, TensorSizeError};
