//! One of each operator, for tables and tests.

use std::sync::Arc;

use super::{
    Attention, Binary, Body, Cell, Conv, ConvTranspose, Coordinates, DeformConv, DepthOrder, Einsum, Gemm, GridMode,
    GridPadding, GridSample, Nearest, Operator, PadMode, Pool, PoolKind, Random, RandomKind, Recurrent, Reduce,
    ReduceKind, Resize, ResizeMode, Scan, ScatterReduction, Unary, Variadic, Window,
};
use crate::{DataType, Tensor};

impl Operator {
    /// One operator of each name but the opaque ones, with ONNX's defaults where there are any, sorted by name.
    pub fn one_of_each() -> Vec<Self> {
        let mut all = elementwise();
        all.extend(layers());
        all.extend(moves());
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }
}

fn elementwise() -> Vec<Operator> {
    use Unary::*;
    let unary = [
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
        LeakyRelu { alpha: 0.01 },
        Elu { alpha: 1.0 },
        Celu { alpha: 1.0 },
        Selu { alpha: 1.673_263_2, gamma: 1.050_701 },
        HardSigmoid { alpha: 0.2, beta: 0.5 },
        ThresholdedRelu { alpha: 1.0 },
        Gelu { tanh: false },
        Asin,
        Acos,
        Atan,
        Sinh,
        Cosh,
        Asinh,
        Acosh,
        Atanh,
        Swish { alpha: 1.0 },
        Shrink { bias: 0.0, lambda: 0.5 },
        BitwiseNot,
        IsNan,
        IsInf { negative: true, positive: true },
    ];
    let binary = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Pow,
        Binary::Mod { truncated: true },
        Binary::Equal,
        Binary::Less,
        Binary::LessOrEqual,
        Binary::Greater,
        Binary::GreaterOrEqual,
        Binary::And,
        Binary::Or,
        Binary::Xor,
        Binary::BitwiseAnd,
        Binary::BitwiseOr,
        Binary::BitwiseXor,
        Binary::BitShift { left: true },
    ];
    let variadic = [Variadic::Sum, Variadic::Mean, Variadic::Min, Variadic::Max];
    let rest = [
        Operator::PRelu,
        Operator::Clip,
        Operator::Where,
        Operator::Cast { to: DataType::F16 },
        Operator::Identity,
        Operator::QuantizeLinear { axis: 1, data_type: None },
        Operator::DequantizeLinear { axis: 1 },
    ];
    let mut all: Vec<Operator> = unary.into_iter().map(Operator::Unary).collect();
    all.extend(binary.into_iter().map(Operator::Binary));
    all.extend(variadic.into_iter().map(Operator::Variadic));
    all.extend(rest);
    all
}

fn layers() -> Vec<Operator> {
    let epsilon = 1e-5;
    let conv = Conv { groups: 1, window: Window::default() };
    let transposed =
        ConvTranspose { groups: 1, window: Window::default(), output_padding: Vec::new(), output_shape: None };
    let deform = DeformConv { groups: 1, offset_groups: 1, window: Window::default() };
    let cells = [Cell::Rnn, Cell::Gru { linear_before_reset: false }, Cell::Lstm { input_forget: false }].map(|cell| {
        Recurrent {
            cell,
            hidden: 6,
            reverse: false,
            batch_first: false,
            activations: cell.activations().to_vec(),
            clip: None,
        }
    });
    let pools = [PoolKind::Max, PoolKind::Average].map(|kind| Pool {
        kind,
        kernel: vec![2, 2],
        window: Window::default(),
        ceil: false,
        count_include_pad: false,
    });
    let random = RandomKind::ALL.map(|kind| Random {
        kind,
        data_type: None,
        shape: vec![2],
        parameters: [0.0, 1.0],
        seed: None,
        samples: 1,
    });
    let mut all = vec![
        Operator::Gemm(Gemm::default()),
        Operator::MatMul,
        Operator::Einsum(Einsum { inputs: vec![vec!['i', 'j'], vec!['j', 'k']], output: vec!['i', 'k'] }),
        Operator::MatMulInteger,
        Operator::QLinearConv(conv.clone()),
        Operator::Conv(conv),
        Operator::ConvTranspose(transposed),
        Operator::DeformConv(deform),
        Operator::BatchNormalization { epsilon },
        Operator::InstanceNormalization { epsilon },
        Operator::LayerNormalization { axis: -1, epsilon },
        Operator::GroupNormalization { groups: 2, per_group: false, epsilon },
        Operator::LocalResponseNormalization { alpha: 1e-4, beta: 0.75, bias: 1.0, size: 3 },
        Operator::Softmax { axis: -1 },
        Operator::LogSoftmax { axis: -1 },
        Operator::Hardmax { axis: -1 },
        Operator::Attention(Attention::default()),
        Operator::GlobalPool(PoolKind::Max),
        Operator::GlobalPool(PoolKind::Average),
    ];
    all.extend(cells.map(Operator::Recurrent));
    all.extend(pools.map(Operator::Pool));
    all.extend(random.map(Operator::Random));
    let kinds = [
        ReduceKind::Sum,
        ReduceKind::Mean,
        ReduceKind::Max,
        ReduceKind::Min,
        ReduceKind::Prod,
        ReduceKind::L1,
        ReduceKind::L2,
        ReduceKind::SumSquare,
        ReduceKind::LogSum,
        ReduceKind::LogSumExp,
    ];
    let reduce = |kind| Operator::Reduce(Reduce { kind, keep_dims: false, noop_with_empty_axes: false });
    all.extend(kinds.map(reduce));
    all.extend([true, false].map(|largest| Operator::ArgExtremum { largest, axis: 1, keep_dims: true }));
    all
}

fn moves() -> Vec<Operator> {
    let reduction = ScatterReduction::None;
    vec![
        Operator::Flatten { axis: 1 },
        Operator::Reshape { allow_zero: false },
        Operator::Transpose { permutation: None },
        Operator::Squeeze,
        Operator::Unsqueeze,
        Operator::Concat { axis: 1 },
        Operator::Split { axis: 1 },
        Operator::Slice,
        Operator::Pad(PadMode::Constant),
        Operator::Gather { axis: 1 },
        Operator::GatherElements { axis: 0 },
        Operator::GatherNd { batch_dims: 0 },
        Operator::ScatterElements { axis: 0, reduction },
        Operator::ScatterNd { reduction },
        Operator::OneHot { axis: -1 },
        Operator::NonZero,
        Operator::Trilu { upper: true },
        Operator::CumSum { exclusive: false, reverse: false },
        Operator::TopK { axis: 1, largest: true },
        Operator::Expand,
        Operator::Tile,
        Operator::Shape { start: 0, end: None },
        Operator::Size,
        Operator::If { then_branch: nothing(), else_branch: nothing() },
        Operator::Loop { body: nothing(), states: 0 },
        Operator::Scan(Scan { body: nothing(), states: 0, inputs: Vec::new(), outputs: Vec::new() }),
        Operator::ConstantOfShape { value: Tensor::scalar(0.0) },
        Operator::Range,
        Operator::EyeLike { data_type: None, offset: 0 },
        Operator::Resize(Resize {
            mode: ResizeMode::Nearest(Nearest::RoundPreferFloor),
            coordinates: Coordinates::HalfPixel,
            axes: None,
            antialias: false,
            exclude_outside: false,
            extrapolation: 0.0,
            aspect: super::Aspect::Stretch,
        }),
        Operator::GridSample(GridSample { mode: GridMode::Linear, padding: GridPadding::Zeros, align_corners: false }),
        Operator::DepthToSpace { block: 2, order: DepthOrder::BlockFirst },
        Operator::SpaceToDepth { block: 2 },
        Operator::Col2Im(Window::default()),
    ]
}

/// A network of nothing.
fn nothing() -> Body {
    Body { graph: Arc::default(), captures: Vec::new() }
}
