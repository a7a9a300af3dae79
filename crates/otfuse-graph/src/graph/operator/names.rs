//! Names and arities.

use super::{Cell, Operator, Pool, PoolKind};

impl Operator {
    /// The operator's ONNX name.
    pub fn name(&self) -> &str {
        match self {
            Self::Gemm(_) => "Gemm",
            Self::MatMul => "MatMul",
            Self::Einsum(_) => "Einsum",
            Self::Conv(_) => "Conv",
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::BatchNormalization { .. } | Self::BatchNormalizationInTraining { .. } => "BatchNormalization",
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
            Self::DeformConv(_) => "DeformConv",
            Self::MatMulInteger => "MatMulInteger",
            Self::QLinearConv(_) => "QLinearConv",
            Self::QuantizeLinear { .. } => "QuantizeLinear",
            Self::DequantizeLinear { .. } => "DequantizeLinear",
            Self::GroupNormalization { .. } => "GroupNormalization",
            Self::Recurrent(recurrent) => recurrent.cell.name(),
            Self::Attention(_) => "Attention",
            Self::Resize(_) => "Resize",
            Self::GridSample(_) => "GridSample",
            Self::DepthToSpace { .. } => "DepthToSpace",
            Self::SpaceToDepth { .. } => "SpaceToDepth",
            Self::Col2Im(_) => "Col2Im",
            Self::CumSum { .. } => "CumSum",
            Self::TopK { .. } => "TopK",
            Self::Hardmax { .. } => "Hardmax",
            Self::GatherElements { .. } => "GatherElements",
            Self::GatherNd { .. } => "GatherND",
            Self::ScatterElements { .. } => "ScatterElements",
            Self::ScatterNd { .. } => "ScatterND",
            Self::OneHot { .. } => "OneHot",
            Self::NonZero => "NonZero",
            Self::Trilu { .. } => "Trilu",
            Self::EyeLike { .. } => "EyeLike",
            Self::Size => "Size",
            Self::If { .. } => "If",
            Self::Loop { .. } => "Loop",
            Self::Scan(_) => "Scan",
            Self::Random(random) => random.kind.name(),
            Self::Opaque { name, .. } => name,
        }
    }

    /// How many inputs the operator takes at least and at most.
    pub fn input_arity(&self) -> (usize, usize) {
        match self {
            Self::Gemm(_) => (2, 3),
            Self::Conv(_) | Self::ConvTranspose(_) | Self::LayerNormalization { .. } => (2, 3),
            Self::InstanceNormalization { .. } | Self::Where | Self::Range => (3, 3),
            Self::BatchNormalization { .. } | Self::BatchNormalizationInTraining { .. } => (5, 5),
            Self::MatMul | Self::Binary(_) | Self::PRelu | Self::Reshape { .. } | Self::Unsqueeze => (2, 2),
            Self::Gather { .. } | Self::Expand | Self::Tile => (2, 2),
            Self::Variadic(_) | Self::Concat { .. } | Self::Einsum(_) => (1, usize::MAX),
            Self::Clip => (1, 3),
            Self::Reduce(_) | Self::Squeeze | Self::Split { .. } => (1, 2),
            Self::Slice => (3, 5),
            Self::Pad(_) => (2, 4),
            Self::DeformConv(_) => (3, 5),
            Self::MatMulInteger => (2, 4),
            Self::QLinearConv(_) => (8, 9),
            Self::QuantizeLinear { .. } | Self::DequantizeLinear { .. } => (2, 3),
            Self::GroupNormalization { .. } | Self::Col2Im(_) | Self::OneHot { .. } => (3, 3),
            Self::Recurrent(recurrent) if matches!(recurrent.cell, Cell::Lstm { .. }) => (3, 8),
            Self::Recurrent(_) => (3, 6),
            Self::Attention(_) => (3, 7),
            Self::Resize(_) => (1, 4),
            Self::GridSample(_) | Self::CumSum { .. } | Self::TopK { .. } => (2, 2),
            Self::GatherElements { .. } | Self::GatherNd { .. } => (2, 2),
            Self::ScatterElements { .. } | Self::ScatterNd { .. } => (3, 3),
            Self::Trilu { .. } => (1, 2),
            Self::Random(random) => {
                if random.kind.has_input() {
                    (1, 1)
                } else {
                    (0, 0)
                }
            }
            Self::If { .. } | Self::Scan(_) => (1, usize::MAX),
            Self::Loop { .. } | Self::Opaque { .. } => (0, usize::MAX),
            _ => (1, 1),
        }
    }

    /// How many outputs the operator has at most.
    pub fn most_outputs(&self) -> usize {
        match self {
            Self::Split { .. } | Self::If { .. } | Self::Loop { .. } | Self::Scan(_) => usize::MAX,
            Self::Opaque { .. } => usize::MAX,
            Self::Recurrent(recurrent) if matches!(recurrent.cell, Cell::Lstm { .. }) => 3,
            Self::Recurrent(_) | Self::TopK { .. } => 2,
            Self::Attention(_) => 4,
            Self::BatchNormalizationInTraining { .. } => 3,
            _ => 1,
        }
    }
}
