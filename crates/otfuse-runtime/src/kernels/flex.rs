//! The kernels on Burn's portable CPU backend.

use burn_backend::ops::ActivationOps;
use burn_backend::{DType, Shape, TensorData, TensorMetadata};
use burn_flex::{Flex, FlexTensor};
use otfuse_graph::Unary;

use super::descent::{self, Descent};
use super::functions::{self, Function};
use super::linear::{self, LinearShape};
use super::shape::{ConvolutionShape, SlidingAxis};
use super::{RuntimeBackend, backward, burn, elementwise, forward, pooling};

/// Whether a tensor holds float32, which is what the kernels are written for.
fn is_single(tensor: &FlexTensor) -> bool {
    tensor.dtype() == DType::F32
}

/// Lends the elements of a float32 tensor in row-major order.
fn read<T>(tensor: &FlexTensor, work: impl FnOnce(&[f32]) -> T) -> T {
    match tensor.as_slice::<f32>() {
        Some(values) => work(values),
        None => work(tensor.to_contiguous().storage::<f32>()),
    }
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, Shape::from(shape.to_vec())))
}

/// Changes the elements of a float32 tensor in row-major order: in place if nothing else reads them.
fn changed(x: FlexTensor, change: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut x = whole(x);
    change(x.storage_mut());
    x
}

/// A float32 tensor whose storage is its elements in row-major order.
fn whole(x: FlexTensor) -> FlexTensor {
    let is_whole = x.layout().contiguous_offsets() == Some((0, x.storage::<f32>().len()));
    if is_whole { x } else { x.to_contiguous() }
}

/// The length of the last axis, if that is meant and there are elements of float32.
fn row_length(x: &FlexTensor, axis: usize) -> Option<usize> {
    let shape = x.shape();
    (is_single(x) && axis + 1 == shape.num_dims() && shape.num_elements() > 0).then(|| shape[axis])
}

impl RuntimeBackend for Flex {
    fn convolution(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Option<FlexTensor>,
        shape: &ConvolutionShape,
    ) -> FlexTensor {
        if ![&x, &weight].into_iter().chain(&bias).all(is_single) {
            return burn::convolution::<Self>(x, weight, bias, shape);
        }
        let compute = |x: &[f32], weight: &[f32]| match &bias {
            Some(bias) => read(bias, |bias| forward::convolution(shape, x, weight, Some(bias))),
            None => forward::convolution(shape, x, weight, None),
        };
        tensor(read(&x, |x| read(&weight, |weight| compute(x, weight))), &shape.output())
    }

    fn convolution_input_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        shape: &ConvolutionShape,
    ) -> FlexTensor {
        if ![&weight, &gradient].into_iter().all(is_single) {
            return burn::convolution_input_gradient::<Self>(x, weight, gradient, shape);
        }
        let compute = |weight: &[f32], gradient: &[f32]| backward::input_gradient(shape, weight, gradient);
        tensor(read(&weight, |weight| read(&gradient, |gradient| compute(weight, gradient))), &shape.input())
    }

    fn convolution_weight_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        shape: &ConvolutionShape,
    ) -> FlexTensor {
        if ![&x, &gradient].into_iter().all(is_single) {
            return burn::convolution_weight_gradient::<Self>(x, weight, gradient, shape);
        }
        let compute = |x: &[f32], gradient: &[f32]| backward::weight_gradient(shape, x, gradient);
        tensor(read(&x, |x| read(&gradient, |gradient| compute(x, gradient))), &shape.weight())
    }

    fn convolution_bias_gradient(gradient: FlexTensor, shape: &ConvolutionShape) -> FlexTensor {
        if !is_single(&gradient) {
            return burn::convolution_bias_gradient::<Self>(gradient, shape);
        }
        tensor(read(&gradient, |gradient| backward::bias_gradient(shape, gradient)), &[shape.out_channels])
    }

    fn layer(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
        let shape = LinearShape { rows: x.shape()[0], inputs: x.shape()[1], outputs: weight.shape()[0] };
        if !shape.forward_pays() || ![&x, &weight].into_iter().chain(&bias).all(is_single) {
            return burn::layer::<Self>(x, weight, bias);
        }
        let compute = |x: &[f32], weight: &[f32]| match &bias {
            Some(bias) => read(bias, |bias| linear::forward(&shape, x, weight, Some(bias))),
            None => linear::forward(&shape, x, weight, None),
        };
        tensor(read(&x, |x| read(&weight, |weight| compute(x, weight))), &[shape.rows, shape.outputs])
    }

    fn layer_input_gradient(weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let shape = LinearShape { rows: gradient.shape()[0], inputs: weight.shape()[1], outputs: gradient.shape()[1] };
        if !shape.pays() || ![&weight, &gradient].into_iter().all(is_single) {
            return burn::layer_input_gradient::<Self>(weight, gradient);
        }
        let compute = |weight: &[f32], gradient: &[f32]| linear::input_gradient(&shape, weight, gradient);
        let values = read(&weight, |weight| read(&gradient, |gradient| compute(weight, gradient)));
        tensor(values, &[shape.rows, shape.inputs])
    }

    fn layer_weight_gradient(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let shape = LinearShape { rows: x.shape()[0], inputs: x.shape()[1], outputs: gradient.shape()[1] };
        if !shape.pays() || ![&x, &gradient].into_iter().all(is_single) {
            return burn::layer_weight_gradient::<Self>(x, gradient);
        }
        let compute = |x: &[f32], gradient: &[f32]| linear::weight_gradient(&shape, x, gradient);
        tensor(read(&x, |x| read(&gradient, |gradient| compute(x, gradient))), &[shape.outputs, shape.inputs])
    }

    fn max_pool(x: FlexTensor, axes: &[SlidingAxis; 2]) -> FlexTensor {
        if !is_single(&x) || x.shape().num_elements() == 0 {
            return burn::max_pool::<Self>(x, axes);
        }
        let [batch, channels] = [0, 1].map(|axis| x.shape()[axis]);
        let shape = [batch, channels, axes[0].output, axes[1].output];
        tensor(read(&x, |x| pooling::max_pool(axes, x)), &shape)
    }

    fn max_pool_gradient(x: FlexTensor, gradient: FlexTensor, axes: &[SlidingAxis; 2]) -> FlexTensor {
        if ![&x, &gradient].into_iter().all(is_single) || x.shape().num_elements() == 0 {
            return burn::max_pool_gradient::<Self>(x, gradient, axes);
        }
        let compute = |x: &[f32], gradient: &[f32]| pooling::max_pool_gradient(axes, x, gradient);
        tensor(read(&x, |x| read(&gradient, |gradient| compute(x, gradient))), &x.shape().to_vec())
    }

    fn rectified(x: FlexTensor) -> FlexTensor {
        if !is_single(&x) {
            return Self::relu(x);
        }
        changed(x, |values| elementwise::change(values, elementwise::rectified))
    }

    fn function(x: FlexTensor, unary: Unary) -> Result<FlexTensor, FlexTensor> {
        match Function::of(unary) {
            Some(function) if is_single(&x) => Ok(changed(x, |values| function.apply(values))),
            _ => Err(x),
        }
    }

    fn shares(x: FlexTensor, axis: usize) -> FlexTensor {
        match row_length(&x, axis) {
            Some(length) => changed(x, |values| functions::softmax(values, length)),
            None => Self::softmax(x, axis),
        }
    }

    fn standardised(x: FlexTensor, axis: usize, epsilon: f32) -> FlexTensor {
        match row_length(&x, axis) {
            Some(length) => changed(x, |values| functions::standardise(values, length, epsilon)),
            None => burn::standardised::<Self>(x, axis, epsilon),
        }
    }

    fn rectified_gradient(output: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        if ![&output, &gradient].into_iter().all(is_single) || output.shape() != gradient.shape() {
            return Self::relu_backward(output, gradient);
        }
        changed(gradient, |values| {
            read(&output, |output| elementwise::combine(values, output, elementwise::rectified_gradient));
        })
    }

    fn descend(
        weight: FlexTensor,
        velocity: Option<FlexTensor>,
        gradient: FlexTensor,
        step: &Descent,
    ) -> (FlexTensor, FlexTensor) {
        let alike = |x: &FlexTensor| is_single(x) && x.shape() == weight.shape();
        if ![&weight, &gradient].into_iter().chain(&velocity).all(alike) {
            return burn::descend::<Self>(weight, velocity, gradient, step);
        }
        let (mut velocity, gradient) = match velocity {
            Some(velocity) => (whole(velocity), Some(gradient)),
            None => (whole(gradient), None),
        };
        let mut weight = whole(weight);
        let (weights, velocities) = (weight.storage_mut(), velocity.storage_mut());
        match gradient {
            Some(gradient) => read(&gradient, |it| descent::descend(weights, velocities, Some(it), step)),
            None => descent::descend(weights, velocities, None, step),
        }
        (weight, velocity)
    }
}
