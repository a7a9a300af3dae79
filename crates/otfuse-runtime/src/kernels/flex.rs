//! The kernels on Burn's portable CPU backend.

use burn_backend::{DType, Shape, TensorData};
use burn_flex::{Flex, FlexTensor};

use super::shape::ConvolutionShape;
use super::{RuntimeBackend, backward, burn, forward};

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
}
