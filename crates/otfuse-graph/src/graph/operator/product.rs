//! Matrix products and convolutions.

use super::Window;

/// See [`Operator::Gemm`](super::Operator::Gemm).
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

/// See [`Operator::Conv`](super::Operator::Conv). The kernel's size is that of the weight.
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

/// See [`Operator::ConvTranspose`](super::Operator::ConvTranspose). The kernel's size is that of the weight.
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

/// See [`Operator::DeformConv`](super::Operator::DeformConv). The kernel's size is that of the weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeformConv {
    /// Independent parts that the channels are split into.
    pub groups: usize,
    /// Parts of the input channels with offsets of their own.
    pub offset_groups: usize,
    /// Strides, dilations and padding.
    pub window: Window,
}
