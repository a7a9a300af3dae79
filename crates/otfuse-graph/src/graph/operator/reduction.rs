//! Functions of all numbers along some axes or under a window.

use super::Window;

/// See [`Operator::Reduce`](super::Operator::Reduce).
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

/// See [`Operator::Pool`](super::Operator::Pool).
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
