//! The kernels in terms of Burn's own operations, for backends without kernels of their own.

use burn_backend::ops::ConvOptions;
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Scalar, Shape, TensorMetadata, get_or_init_device_settings};

use super::descent::Descent;
use super::shape::{ConvolutionShape, SlidingAxis};

fn options(shape: &ConvolutionShape) -> ConvOptions<2> {
    ConvOptions::new_with_padding(
        shape.axes.map(|axis| axis.stride),
        shape.axes.map(|axis| (axis.before, axis.after)),
        shape.axes.map(|axis| axis.dilation),
        shape.groups,
    )
}

pub(super) fn convolution<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    shape: &ConvolutionShape,
) -> FloatTensor<B> {
    B::conv2d(x, weight, bias, options(shape))
}

pub(super) fn convolution_input_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    shape: &ConvolutionShape,
) -> FloatTensor<B> {
    B::conv2d_x_backward(x, weight, gradient, options(shape))
}

pub(super) fn convolution_weight_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    shape: &ConvolutionShape,
) -> FloatTensor<B> {
    B::conv2d_weight_backward(x, weight, gradient, options(shape))
}

pub(super) fn convolution_bias_gradient<B: Backend>(
    gradient: FloatTensor<B>,
    shape: &ConvolutionShape,
) -> FloatTensor<B> {
    B::float_reshape(B::float_sum_dims(gradient, &[0, 2, 3]), Shape::from(vec![shape.out_channels]))
}

pub(super) fn layer<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let product = B::float_matmul(x, B::float_transpose(weight));
    match bias {
        Some(bias) => {
            let outputs = bias.shape().num_elements();
            B::float_add(product, B::float_reshape(bias, Shape::from(vec![1, outputs])))
        }
        None => product,
    }
}

pub(super) fn layer_input_gradient<B: Backend>(weight: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(gradient, weight)
}

pub(super) fn layer_weight_gradient<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(B::float_transpose(gradient), x)
}

/// Kernel, stride, padding and dilation.
fn window(axes: &[SlidingAxis; 2]) -> [[usize; 2]; 4] {
    [axes.map(|axis| axis.kernel), axes.map(|axis| axis.stride), [0, 0], axes.map(|axis| axis.dilation)]
}

pub(super) fn max_pool<B: Backend>(x: FloatTensor<B>, axes: &[SlidingAxis; 2]) -> FloatTensor<B> {
    let [kernel, stride, padding, dilation] = window(axes);
    B::max_pool2d(x, kernel, stride, padding, dilation, false)
}

pub(super) fn max_pool_gradient<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
    axes: &[SlidingAxis; 2],
) -> FloatTensor<B> {
    let [kernel, stride, padding, dilation] = window(axes);
    let int_type = get_or_init_device_settings::<B>(&x.device()).int_dtype;
    let indices = B::max_pool2d_with_indices(x.clone(), kernel, stride, padding, dilation, false, int_type).indices;
    B::max_pool2d_with_indices_backward(x, kernel, stride, padding, dilation, false, gradient, indices).x_grad
}

pub(super) fn descend<B: Backend>(
    weight: FloatTensor<B>,
    velocity: Option<FloatTensor<B>>,
    mut gradient: FloatTensor<B>,
    step: &Descent,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let scaled = |x: FloatTensor<B>, factor: f64| B::float_mul_scalar(x, Scalar::Float(factor));
    if step.decay != 0.0 {
        gradient = B::float_add(gradient, scaled(weight.clone(), step.decay));
    }
    if let Some(velocity) = velocity {
        gradient = B::float_add(gradient, scaled(velocity, step.momentum));
    }
    (B::float_sub(weight, scaled(gradient.clone(), step.rate)), gradient)
}

pub(super) fn standardised<B: Backend>(x: FloatTensor<B>, axis: usize, epsilon: f32) -> FloatTensor<B> {
    let centred = B::float_sub(x.clone(), B::float_mean_dim(x, axis));
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), axis);
    let epsilon = Scalar::Float(f64::from(epsilon));
    B::float_div(centred, B::float_sqrt(B::float_add_scalar(variance, epsilon)))
}
