//! Operators with ONNX semantics.
//!
//! An operator carries what ONNX calls attributes; everything that ONNX (opset 18 and later) passes as an input is an
//! input here as well, also where older opsets had an attribute: readers bring older files into this one form, so that
//! every rule is written once. Inputs and outputs are named in the order of the ONNX specification.

mod attention;
mod catalogue;
mod control;
mod einsum;
mod elementwise;
mod indexing;
mod movement;
mod names;
mod product;
mod random;
mod recurrent;
mod reduction;
mod sampling;
mod window;

pub use attention::{Attention, Scores};
pub use control::{Body, Direction, Scan};
pub use einsum::Einsum;
pub use elementwise::{Binary, Unary, Variadic};
pub use indexing::{DepthOrder, PadMode, ScatterReduction};
pub use product::{Conv, ConvTranspose, DeformConv, Gemm};
pub use random::{Random, RandomKind};
pub use recurrent::{Cell, Recurrent};
pub use reduction::{Pool, PoolKind, Reduce, ReduceKind};
pub use sampling::{Aspect, Coordinates, GridMode, GridPadding, GridSample, Nearest, Resize, ResizeMode};
pub use window::{Padding, Window};

use crate::{DataType, Tensor};

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// `(A, B, C?) -> Y`: `alpha * A' B' + beta * C`, with `A' = A^t` if `transpose_a`, likewise for B.
    Gemm(Gemm),
    /// `(A, B) -> Y`: NumPy's `matmul`, batch axes broadcast.
    MatMul,
    /// `(A, ...) -> Y`: axes of the same letter are one; those that Y does not have are summed over.
    Einsum(Einsum),
    /// `(X, W, B?) -> Y`: X of shape N, C, spatial..; W of shape M, C / groups, kernel..; B of shape M.
    Conv(Conv),
    /// `(X, W, B?) -> Y`: X of shape N, C, spatial..; W of shape C, M / groups, kernel..; B of shape M.
    ConvTranspose(ConvTranspose),
    /// `(X, scale, bias, mean, variance) -> Y` in inference mode over axis 1.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// `(X, scale, bias, mean, variance) -> (Y, mean?, variance?)`: as [`BatchNormalization`](Self::BatchNormalization) in
    /// training mode, by the batch's own statistics; the statistics that go in are moved towards these.
    BatchNormalizationInTraining {
        /// Added to the variance.
        epsilon: f32,
        /// The share of the statistics that go in.
        momentum: f32,
    },
    /// `(X, scale, bias) -> Y`: every channel of every sample normalised over its positions.
    InstanceNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// `(X, scale, bias?) -> Y` normalised over the axes from `axis` on.
    LayerNormalization {
        /// First normalised axis; may be negative.
        axis: i64,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `(X) -> Y`: local response normalisation across `size` neighbouring channels.
    LocalResponseNormalization {
        /// Scaling parameter.
        alpha: f32,
        /// Exponent.
        beta: f32,
        /// Added to the scaled sum.
        bias: f32,
        /// Channels summed over.
        size: usize,
    },
    /// `(X) -> Y`, element by element.
    Unary(Unary),
    /// `(A, B) -> Y`, element by element with NumPy's broadcasting.
    Binary(Binary),
    /// `(X, ...) -> Y`: any number of inputs, element by element with broadcasting.
    Variadic(Variadic),
    /// `(X, slope) -> Y`: `slope * x` for negative x; the slope broadcasts to X.
    PRelu,
    /// `(X, min?, max?) -> Y`.
    Clip,
    /// `(condition, X, Y) -> Z` with broadcasting.
    Where,
    /// `(X) -> Y` along one axis.
    Softmax {
        /// May be negative.
        axis: i64,
    },
    /// `(X) -> Y` along one axis.
    LogSoftmax {
        /// May be negative.
        axis: i64,
    },
    /// `(X, axes?) -> Y`.
    Reduce(Reduce),
    /// `(X) -> Y`: index of the largest (smallest) element along `axis`, as int64.
    ArgExtremum {
        /// Largest or smallest.
        largest: bool,
        /// May be negative.
        axis: i64,
        /// Keep the axis with length 1.
        keep_dims: bool,
    },
    /// `(X) -> Y` with a window over the spatial axes (axis 2 and later).
    Pool(Pool),
    /// `(X) -> Y`: one number per channel; spatial axes become 1.
    GlobalPool(PoolKind),
    /// `(X) -> Y`: the axes before `axis` become one, the others become one.
    Flatten {
        /// May be negative.
        axis: i64,
    },
    /// `(X, shape) -> Y`.
    Reshape {
        /// A 0 in the shape means length 0 instead of "as in the input".
        allow_zero: bool,
    },
    /// `(X) -> Y`: axis i of Y is axis `permutation[i]` of X; `None` reverses the axes.
    Transpose {
        /// The order of the axes.
        permutation: Option<Vec<usize>>,
    },
    /// `(X, axes?) -> Y`.
    Squeeze,
    /// `(X, axes) -> Y`.
    Unsqueeze,
    /// `(X, ...) -> Y`.
    Concat {
        /// May be negative.
        axis: i64,
    },
    /// `(X, lengths?) -> (Y, ...)`: without lengths, equal parts (the last may be smaller).
    Split {
        /// May be negative.
        axis: i64,
    },
    /// `(X, starts, ends, axes?, steps?) -> Y`.
    Slice,
    /// `(X, pads, value?, axes?) -> Y`.
    Pad(PadMode),
    /// `(X, indices) -> Y`: the indices' axes replace `axis`.
    Gather {
        /// May be negative.
        axis: i64,
    },
    /// `(X, shape) -> Y` with two-way broadcasting.
    Expand,
    /// `(X, repeats) -> Y`.
    Tile,
    /// `(X) -> shape of X` as int64, of the axes from `start` up to `end`.
    Shape {
        /// First axis; may be negative.
        start: i64,
        /// One after the last axis; may be negative; `None` for all.
        end: Option<i64>,
    },
    /// `(shape) -> Y` filled with a value.
    ConstantOfShape {
        /// One element, of any type.
        value: Tensor,
    },
    /// `(start, limit, delta) -> Y`.
    Range,
    /// `(X) -> Y` of another element type.
    Cast {
        /// The element type of Y.
        to: DataType,
    },
    /// `(X) -> Y`: Y = X. Dropout is read as this, since networks are fused and evaluated in inference mode.
    Identity,
    /// `(X, W, offset, B?, mask?) -> Y`: a convolution whose window's elements are moved by `offset` (N, offset groups x
    /// kernel x 2, positions..) and weighed by `mask` (N, offset groups x kernel, positions..).
    DeformConv(DeformConv),
    /// `(A, B, a_zero?, b_zero?) -> Y`: `(A - a_zero) (B - b_zero)` as int32 of 8-bit integers; a zero point is one
    /// number, or one for each row of A or column of B.
    MatMulInteger,
    /// `(X, x_scale, x_zero, W, w_scale, w_zero, y_scale, y_zero, B?) -> Y`: a convolution of quantized numbers.
    QLinearConv(Conv),
    /// `(X, scale, zero?) -> Y`: `round(x / scale) + zero`, saturated; scale and zero may be one for each index of `axis`.
    QuantizeLinear {
        /// May be negative.
        axis: i64,
        /// The element type of Y where there is no zero point; uint8 if absent.
        data_type: Option<DataType>,
    },
    /// `(X, scale, zero?) -> Y`: `(x - zero) * scale`.
    DequantizeLinear {
        /// May be negative.
        axis: i64,
    },
    /// `(X, scale, bias) -> Y`: every group of channels of every sample normalised.
    GroupNormalization {
        /// Groups that the channels are split into.
        groups: usize,
        /// Scale and bias are one number for each group (opset 18 to 20) instead of one for each channel.
        per_group: bool,
        /// Added to the variance.
        epsilon: f32,
    },
    /// `(X, W, R, B?, lengths?, initial_h?, initial_c?, P?) -> (Y?, Y_h?, Y_c?)` with ONNX's shapes for one direction.
    Recurrent(Recurrent),
    /// `(Q, K, V, mask?, past_key?, past_value?, lengths?) -> (Y, present_key?, present_value?, scores?)`.
    Attention(Attention),
    /// `(X, roi?, scales?, sizes?) -> Y`.
    Resize(Resize),
    /// `(X, grid) -> Y`: X of shape N, C, spatial.., sampled at the places (last axis first, in [-1, 1]) that the grid's
    /// last axis holds.
    GridSample(GridSample),
    /// `(X) -> Y`: blocks of channels become squares of positions.
    DepthToSpace {
        /// The length of a square's side.
        block: usize,
        /// How the channels are split.
        order: DepthOrder,
    },
    /// `(X) -> Y`: squares of positions become blocks of channels, the square's positions first.
    SpaceToDepth {
        /// The length of a square's side.
        block: usize,
    },
    /// `(X, image shape, block shape) -> Y`: the blocks of X (N, C x block, count) summed up at their places.
    Col2Im(Window),
    /// `(X, axis) -> Y`: sums of all elements up to each.
    CumSum {
        /// Without the element itself.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
    /// `(X, k) -> (values, indices)`: the first k elements in order of size along an axis.
    TopK {
        /// May be negative.
        axis: i64,
        /// Largest or smallest first.
        largest: bool,
    },
    /// `(X) -> Y`: 1 at the first largest element along an axis, 0 elsewhere.
    Hardmax {
        /// May be negative.
        axis: i64,
    },
    /// `(X, indices) -> Y`: for each index its element along `axis`, at the same place along the other axes.
    GatherElements {
        /// May be negative.
        axis: i64,
    },
    /// `(X, indices) -> Y`: the last axis of the indices addresses slices of X.
    GatherNd {
        /// Leading axes that X and the indices share.
        batch_dims: usize,
    },
    /// `(X, indices, updates) -> Y`: the inverse of [`GatherElements`](Self::GatherElements).
    ScatterElements {
        /// May be negative.
        axis: i64,
        /// How an update meets an element.
        reduction: ScatterReduction,
    },
    /// `(X, indices, updates) -> Y`: the inverse of [`GatherNd`](Self::GatherNd).
    ScatterNd {
        /// How an update meets a slice.
        reduction: ScatterReduction,
    },
    /// `(indices, depth, [off, on]) -> Y`.
    OneHot {
        /// The new axis; may be negative.
        axis: i64,
    },
    /// `(X) -> Y`: the indices of all elements other than 0, an index a column.
    NonZero,
    /// `(X, k?) -> Y`: zeros below (or above) the k-th diagonal of the last two axes.
    Trilu {
        /// Keep the upper part.
        upper: bool,
    },
    /// `(X) -> Y`: ones on a diagonal of a matrix of X's shape.
    EyeLike {
        /// The element type of Y; that of X if absent.
        data_type: Option<DataType>,
        /// Which diagonal, counted upwards.
        offset: i64,
    },
    /// `(X) -> number of elements` as int64.
    Size,
    /// `(condition, outside..) -> (Y, ...)`: the outputs of one of two networks without inputs of their own.
    If {
        /// Run where the condition is true.
        then_branch: Body,
        /// Run where it is false.
        else_branch: Body,
    },
    /// `(most steps?, condition?, states.., outside..) -> (states.., results..)`: the body takes the step, the condition
    /// and the states, and gives the next condition, the next states and an element of each result.
    Loop {
        /// What is repeated.
        body: Body,
        /// The number of states.
        states: usize,
    },
    /// `(states.., sequences.., outside..) -> (states.., results..)`: a body for each element of the sequences.
    Scan(Scan),
    /// `(X?) -> Y`: random numbers. Read and written back, but not drawn: a network's function is fixed.
    Random(Random),
    /// An operator without a meaning here: it can be written back, but neither executed nor aligned through.
    Opaque {
        /// The ONNX domain; empty for ONNX's own operators.
        domain: String,
        /// The operator's name in that domain.
        name: String,
        /// Why it is not executed, as the end of a sentence; empty if nothing is known of it.
        reason: String,
    },
}
