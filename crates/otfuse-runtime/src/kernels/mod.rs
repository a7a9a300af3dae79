//! Operations that a backend may have kernels for, beyond those of Burn.
//!
//! [`RuntimeBackend`] extends Burn's `Backend`; its methods fall back on Burn's own operations. The CPU backend has
//! kernels (`flex`; `forward`, `backward`: products of matrices over unfolded tiles; `linear`), and the decorator for gradients
//! records the operations and computes their gradients by the kernels of the backend inside (`autodiff`).

#[cfg(feature = "training")]
mod autodiff;
mod backward;
mod burn;
mod descent;
mod direct;
mod elementwise;
mod flex;
mod forward;
mod functions;
mod linear;
mod parallel;
mod pooling;
mod scratch;
mod shape;
mod tile;
mod transpose;

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::Unary;

pub use descent::Descent;
pub use shape::{ConvolutionShape, SlidingAxis};

/// A backend that networks run on. For a backend of Burn without kernels of its own, an empty implementation does.
///
/// Tensors have the shapes that [`ConvolutionShape`] gives; `gradient` is the gradient by the output.
pub trait RuntimeBackend: Backend {
    /// A convolution (strictly, a cross-correlation) over two spatial axes, plus a bias for each output channel.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        shape: &ConvolutionShape,
    ) -> FloatTensor<Self> {
        burn::convolution::<Self>(x, weight, bias, shape)
    }

    /// The gradient by the input.
    fn convolution_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: &ConvolutionShape,
    ) -> FloatTensor<Self> {
        burn::convolution_input_gradient::<Self>(x, weight, gradient, shape)
    }

    /// The gradient by the weights.
    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        shape: &ConvolutionShape,
    ) -> FloatTensor<Self> {
        burn::convolution_weight_gradient::<Self>(x, weight, gradient, shape)
    }

    /// The gradient by the bias.
    fn convolution_bias_gradient(gradient: FloatTensor<Self>, shape: &ConvolutionShape) -> FloatTensor<Self> {
        burn::convolution_bias_gradient::<Self>(gradient, shape)
    }

    /// A linear layer, `x W^t + b`, with x of shape rows x inputs, W of shape outputs x inputs and b of outputs.
    fn layer(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Option<FloatTensor<Self>>) -> FloatTensor<Self> {
        burn::layer::<Self>(x, weight, bias)
    }

    /// The gradient by the input of [`layer`](Self::layer).
    fn layer_input_gradient(weight: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        burn::layer_input_gradient::<Self>(weight, gradient)
    }

    /// The gradient by the weights of [`layer`](Self::layer).
    fn layer_weight_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        burn::layer_weight_gradient::<Self>(x, gradient)
    }

    /// The largest element of each window over the last two of four axes, which have no padding; NaN wins.
    fn max_pool(x: FloatTensor<Self>, axes: &[SlidingAxis; 2]) -> FloatTensor<Self> {
        burn::max_pool::<Self>(x, axes)
    }

    /// The gradient by the input of [`max_pool`](Self::max_pool).
    fn max_pool_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        axes: &[SlidingAxis; 2],
    ) -> FloatTensor<Self> {
        burn::max_pool_gradient::<Self>(x, gradient, axes)
    }

    /// `max(x, 0)`.
    fn rectified(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(x)
    }

    /// A function of each element, where there is a kernel for it; otherwise the tensor comes back.
    fn function(x: FloatTensor<Self>, _: Unary) -> Result<FloatTensor<Self>, FloatTensor<Self>> {
        Err(x)
    }

    /// `exp(x) / sum exp(x)` over an axis.
    fn shares(x: FloatTensor<Self>, axis: usize) -> FloatTensor<Self> {
        Self::softmax(x, axis)
    }

    /// Mean 0 and variance 1 along an axis; `epsilon` is added to the variance.
    fn standardised(x: FloatTensor<Self>, axis: usize, epsilon: f32) -> FloatTensor<Self> {
        burn::standardised::<Self>(x, axis, epsilon)
    }

    /// The gradient by the input of [`rectified`](Self::rectified).
    fn rectified_gradient(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu_backward(output, gradient)
    }

    /// A step of gradient descent: `velocity = momentum velocity + (gradient + decay weight)` and
    /// `weight = weight - rate velocity`. Returns the weight and the velocity, which begins as 0 where there is none.
    fn descend(
        weight: FloatTensor<Self>,
        velocity: Option<FloatTensor<Self>>,
        gradient: FloatTensor<Self>,
        step: &Descent,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        burn::descend::<Self>(weight, velocity, gradient, step)
    }
}

/// GPUs have Burn's own kernels.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl RuntimeBackend for crate::device::Gpu {}

#[cfg(test)]
mod tests;
