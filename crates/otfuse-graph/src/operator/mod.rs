//! Operators with ONNX semantics.
//!
//! An operator carries what ONNX calls attributes; everything that ONNX (opset 18 and later) passes as an input is an
//! input here as well, also where older opsets had an attribute: readers bring older files into this one form, so that
//! every rule is written once. Inputs and outputs are named in the order of the ONNX specification.

mod window;

pub use window::{Padding, Window};

use crate::{DataType, Tensor};

/// What a node computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// `(A, B, C?) -> Y`: `alpha * A' B' + beta * C`, with `A' = A^t` if `transpose_a`, likewise for B.
    Gemm(Gemm),
    /// `(A, B) -> Y`: NumPy's `matmul`, batch axes broadcast.
    MatMul,
    /// `(X, W, B?) -> Y`: X of shape N, C, spatial..; W of shape M, C / groups, kernel..; B of shape M.
    Conv(Conv),
    /// `(X, W, B?) -> Y`: X of shape N, C, spatial..; W of shape C, M / groups, kernel..; B of shape M.
    ConvTranspose(ConvTranspose),
    /// `(X, scale, bias, mean, variance) -> Y` in inference mode over axis 1.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
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
    /// An operator without a meaning here: it can be written back, but neither executed nor aligned through.
    Opaque {
        /// The ONNX domain; empty for ONNX's own operators.
        domain: String,
        /// The operator's name in that domain.
        name: String,
    },
}

/// See [`Operator::Gemm`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of C.
    pub beta: f32,
    /// Transpose A first.
    pub transpose_a: bool,
    /// Transpose B first.
    pub transpose_b: bool,
}

impl Default for Gemm {
    fn default() -> Self {
        Self { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: false }
    }
}

/// See [`Operator::Conv`]. The kernel's size is that of the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Independent parts that the channels are split into.
    pub groups: usize,
    /// Strides, dilations and padding.
    pub window: Window,
}

impl Default for Conv {
    fn default() -> Self {
        Self { groups: 1, window: Window::default() }
    }
}

/// See [`Operator::ConvTranspose`]. The kernel's size is that of the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvTranspose {
    /// Independent parts that the channels are split into.
    pub groups: usize,
    /// Strides, dilations and padding (cut off the output).
    pub window: Window,
    /// Elements added at the end of each spatial axis of the output; empty for none.
    pub output_padding: Vec<usize>,
    /// The output's spatial lengths where given; the padding follows from them.
    pub output_shape: Option<Vec<usize>>,
}

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Unary {
    Relu,
    Sigmoid,
    Tanh,
    Exp,
    Log,
    Sqrt,
    Reciprocal,
    Abs,
    Neg,
    Sign,
    Erf,
    Floor,
    Ceil,
    Round,
    Sin,
    Cos,
    Tan,
    Not,
    Softplus,
    Softsign,
    Mish,
    HardSwish,
    LeakyRelu { alpha: f32 },
    Elu { alpha: f32 },
    Celu { alpha: f32 },
    Selu { alpha: f32, gamma: f32 },
    HardSigmoid { alpha: f32, beta: f32 },
    ThresholdedRelu { alpha: f32 },
    Gelu { tanh: bool },
}

/// Functions of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    /// Remainder; with `truncated` the sign is that of the dividend (C's `fmod`), else that of the divisor.
    Mod {
        truncated: bool,
    },
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

/// Functions of any number of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Variadic {
    Sum,
    Mean,
    Min,
    Max,
}

/// See [`Operator::Reduce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// What is computed over the reduced axes.
    pub kind: ReduceKind,
    /// Keep the reduced axes with length 1.
    pub keep_dims: bool,
    /// An absent or empty list of axes means none instead of all.
    pub noop_with_empty_axes: bool,
}

/// Functions of all numbers along some axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

/// See [`Operator::Pool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What is computed over the window.
    pub kind: PoolKind,
    /// The window's size along each spatial axis.
    pub kernel: Vec<usize>,
    /// Strides, dilations and padding.
    pub window: Window,
    /// Let the last window hang over the end.
    pub ceil: bool,
    /// An average counts padded elements.
    pub count_include_pad: bool,
}

/// Maximum or mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PoolKind {
    Max,
    Average,
}

/// What [`Operator::Pad`] writes beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PadMode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

impl Operator {
    /// The operator's ONNX name.
    pub fn name(&self) -> &str {
        match self {
            Self::Gemm(_) => "Gemm",
            Self::MatMul => "MatMul",
            Self::Conv(_) => "Conv",
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::InstanceNormalization { .. } => "InstanceNormalization",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::LocalResponseNormalization { .. } => "LRN",
            Self::Unary(unary) => unary.name(),
            Self::Binary(binary) => binary.name(),
            Self::Variadic(variadic) => variadic.name(),
            Self::PRelu => "PRelu",
            Self::Clip => "Clip",
            Self::Where => "Where",
            Self::Softmax { .. } => "Softmax",
            Self::LogSoftmax { .. } => "LogSoftmax",
            Self::Reduce(reduce) => reduce.kind.name(),
            Self::ArgExtremum { largest: true, .. } => "ArgMax",
            Self::ArgExtremum { largest: false, .. } => "ArgMin",
            Self::Pool(Pool { kind: PoolKind::Max, .. }) => "MaxPool",
            Self::Pool(Pool { kind: PoolKind::Average, .. }) => "AveragePool",
            Self::GlobalPool(PoolKind::Max) => "GlobalMaxPool",
            Self::GlobalPool(PoolKind::Average) => "GlobalAveragePool",
            Self::Flatten { .. } => "Flatten",
            Self::Reshape { .. } => "Reshape",
            Self::Transpose { .. } => "Transpose",
            Self::Squeeze => "Squeeze",
            Self::Unsqueeze => "Unsqueeze",
            Self::Concat { .. } => "Concat",
            Self::Split { .. } => "Split",
            Self::Slice => "Slice",
            Self::Pad(_) => "Pad",
            Self::Gather { .. } => "Gather",
            Self::Expand => "Expand",
            Self::Tile => "Tile",
            Self::Shape { .. } => "Shape",
            Self::ConstantOfShape { .. } => "ConstantOfShape",
            Self::Range => "Range",
            Self::Cast { .. } => "Cast",
            Self::Identity => "Identity",
            Self::Opaque { name, .. } => name,
        }
    }

    /// How many inputs the operator takes at least and at most.
    pub fn input_arity(&self) -> (usize, usize) {
        match self {
            Self::Gemm(_) => (2, 3),
            Self::Conv(_) | Self::ConvTranspose(_) | Self::LayerNormalization { .. } => (2, 3),
            Self::InstanceNormalization { .. } | Self::Where | Self::Range => (3, 3),
            Self::BatchNormalization { .. } => (5, 5),
            Self::MatMul | Self::Binary(_) | Self::PRelu | Self::Reshape { .. } | Self::Unsqueeze => (2, 2),
            Self::Gather { .. } | Self::Expand | Self::Tile => (2, 2),
            Self::Variadic(_) | Self::Concat { .. } => (1, usize::MAX),
            Self::Clip => (1, 3),
            Self::Reduce(_) | Self::Squeeze | Self::Split { .. } => (1, 2),
            Self::Slice => (3, 5),
            Self::Pad(_) => (2, 4),
            Self::Opaque { .. } => (0, usize::MAX),
            _ => (1, 1),
        }
    }
}

impl Unary {
    /// The function's ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
            Self::Exp => "Exp",
            Self::Log => "Log",
            Self::Sqrt => "Sqrt",
            Self::Reciprocal => "Reciprocal",
            Self::Abs => "Abs",
            Self::Neg => "Neg",
            Self::Sign => "Sign",
            Self::Erf => "Erf",
            Self::Floor => "Floor",
            Self::Ceil => "Ceil",
            Self::Round => "Round",
            Self::Sin => "Sin",
            Self::Cos => "Cos",
            Self::Tan => "Tan",
            Self::Not => "Not",
            Self::Softplus => "Softplus",
            Self::Softsign => "Softsign",
            Self::Mish => "Mish",
            Self::HardSwish => "HardSwish",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Elu { .. } => "Elu",
            Self::Celu { .. } => "Celu",
            Self::Selu { .. } => "Selu",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::ThresholdedRelu { .. } => "ThresholdedRelu",
            Self::Gelu { .. } => "Gelu",
        }
    }
}

impl Binary {
    /// The function's ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::Pow => "Pow",
            Self::Mod { .. } => "Mod",
            Self::Equal => "Equal",
            Self::Less => "Less",
            Self::LessOrEqual => "LessOrEqual",
            Self::Greater => "Greater",
            Self::GreaterOrEqual => "GreaterOrEqual",
            Self::And => "And",
            Self::Or => "Or",
            Self::Xor => "Xor",
        }
    }

    /// Whether the result is a truth value.
    pub fn is_comparison(self) -> bool {
        !matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Pow | Self::Mod { .. })
    }
}

impl Variadic {
    /// The function's ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "Sum",
            Self::Mean => "Mean",
            Self::Min => "Min",
            Self::Max => "Max",
        }
    }
}

impl ReduceKind {
    /// The function's ONNX name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "ReduceSum",
            Self::Mean => "ReduceMean",
            Self::Max => "ReduceMax",
            Self::Min => "ReduceMin",
            Self::Prod => "ReduceProd",
            Self::L1 => "ReduceL1",
            Self::L2 => "ReduceL2",
            Self::SumSquare => "ReduceSumSquare",
            Self::LogSum => "ReduceLogSum",
            Self::LogSumExp => "ReduceLogSumExp",
        }
    }
}
