//! The CPU backend's kernels against Burn's own operations.

use std::fmt::Debug;

use burn_autodiff::Autodiff;
use burn_backend::ops::{ActivationOps, FloatTensorOps};
use burn_backend::{AutodiffBackend, Shape, TensorData};
use burn_flex::{Flex, FlexTensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::*;

fn random(random: &mut ChaCha8Rng, shape: &[usize]) -> FlexTensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| random.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
    FlexTensor::from_data(TensorData::new(values, Shape::from(shape.to_vec())))
}

/// An axis, if a window fits.
fn axis([input, kernel, stride, dilation, before, after]: [usize; 6]) -> Option<SlidingAxis> {
    let free = (before + input + after).checked_sub(dilation * (kernel - 1) + 1)?;
    Some(SlidingAxis { input, kernel, stride, dilation, before, after, output: free / stride + 1 })
}

fn shape(batch: usize, [groups, inputs, outputs]: [usize; 3], axes: [[usize; 6]; 2]) -> Option<ConvolutionShape> {
    let [Some(rows), Some(columns)] = axes.map(axis) else { return None };
    let (in_channels, out_channels) = (groups * inputs, groups * outputs);
    Some(ConvolutionShape { batch, groups, in_channels, out_channels, axes: [rows, columns] })
}

#[track_caller]
fn assert_close(name: &str, shape: &impl Debug, found: FlexTensor, expected: FlexTensor) {
    assert_eq!(found.layout().shape(), expected.layout().shape(), "{name} of {shape:?}");
    let (found, expected) = (found.to_contiguous(), expected.to_contiguous());
    let (found, expected) = (found.storage::<f32>(), expected.storage::<f32>());
    let scale = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference <= 4e-6 * scale, "{name}[{at}] of {shape:?}: expected {expected}, found {found}");
    }
}

fn check(shape: &ConvolutionShape, generator: &mut ChaCha8Rng) {
    let mut random = |lengths: &[usize]| random(generator, lengths);
    let (x, weight, bias) = (random(&shape.input()), random(&shape.weight()), random(&[shape.out_channels]));
    let gradient = random(&shape.output());
    for bias in [None, Some(bias)] {
        let found = Flex::convolution(x.clone(), weight.clone(), bias.clone(), shape);
        assert_close("convolution", shape, found, burn::convolution::<Flex>(x.clone(), weight.clone(), bias, shape));
    }
    let arguments = || (x.clone(), weight.clone(), gradient.clone());
    let (x, weight, gradient) = arguments();
    let found = Flex::convolution_input_gradient(x, weight, gradient, shape);
    let (x, weight, gradient) = arguments();
    let expected = burn::convolution_input_gradient::<Flex>(x, weight, gradient, shape);
    assert_close("input gradient", shape, found, expected);
    let (x, weight, gradient) = arguments();
    let found = Flex::convolution_weight_gradient(x, weight, gradient, shape);
    let (x, weight, gradient) = arguments();
    let expected = burn::convolution_weight_gradient::<Flex>(x, weight, gradient, shape);
    assert_close("weight gradient", shape, found, expected);
    let (_, _, gradient) = arguments();
    let found = Flex::convolution_bias_gradient(gradient.clone(), shape);
    assert_close("bias gradient", shape, found, burn::convolution_bias_gradient::<Flex>(gradient, shape));
}

#[test]
fn kernels_agree_with_burn_on_random_shapes() {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let mut checked = 0;
    while checked < 300 {
        let mut below = |most: usize| generator.next_u32() as usize % most;
        let batch = 1 + below(9);
        let channels = [[1, 1, 2, 3][below(4)], 1 + below(6), 1 + below(6)];
        let mut random_axis = || [1 + below(20), 1 + below(4), 1 + below(3), 1 + below(2), below(3), below(3)];
        let axes = [random_axis(), random_axis()];
        let Some(shape) = shape(batch, channels, axes) else { continue };
        check(&shape, &mut generator);
        checked += 1;
    }
}

#[test]
fn kernels_agree_with_burn_on_each_kind_of_tiling() {
    let single = [1, 1, 1, 1, 0, 0];
    let padded = |length| [length, 3, 1, 1, 1, 1];
    let cases = [
        // Several images in a tile, the last part smaller; many input channels, unfolded in blocks.
        (45, [1, 70, 20], [padded(4), padded(4)]),
        (9, [2, 80, 24], [padded(2), padded(2)]),
        // A tile of some rows; strides and dilations across tiles.
        (2, [1, 3, 8], [padded(40), padded(40)]),
        (3, [1, 5, 6], [[41, 3, 2, 2, 3, 1], [37, 5, 2, 1, 2, 0]]),
        // Few images: the output channels are divided.
        (1, [1, 6, 64], [padded(20), padded(20)]),
        (1, [4, 2, 6], [padded(20), padded(20)]),
        // Kernels of one element, with and without strides.
        (5, [1, 20, 30], [[14, 1, 1, 1, 0, 0], [14, 1, 1, 1, 0, 0]]),
        (5, [1, 20, 30], [[14, 1, 2, 1, 0, 0], [14, 1, 2, 1, 0, 0]]),
        (20, [1, 20, 30], [[3, 1, 1, 1, 0, 0], [3, 1, 1, 1, 1, 0]]),
        // Depthwise.
        (6, [24, 1, 1], [padded(30), padded(30)]),
        (6, [24, 1, 2], [[9, 3, 2, 1, 1, 1], [9, 5, 2, 1, 2, 2]]),
        // One axis.
        (3, [1, 4, 8], [[900, 9, 1, 1, 4, 4], single]),
        (3, [2, 4, 8], [[900, 4, 3, 2, 0, 2], single]),
        (3, [1, 4, 8], [single, [900, 9, 2, 1, 4, 4]]),
        // Rows longer than a tile; nothing but padding under most windows.
        (1, [1, 2, 3], [[3, 3, 1, 1, 1, 1], [700, 3, 1, 1, 1, 1]]),
        (2, [1, 2, 3], [[1, 2, 1, 1, 5, 4], [2, 2, 3, 1, 6, 5]]),
        (0, [1, 2, 3], [padded(4), padded(4)]),
    ];
    let mut generator = ChaCha8Rng::seed_from_u64(2);
    for (batch, channels, axes) in cases {
        let shape = shape(batch, channels, axes).unwrap();
        if batch == 0 {
            let (x, weight) = (random(&mut generator, &shape.input()), random(&mut generator, &shape.weight()));
            assert!(Flex::convolution(x, weight, None, &shape).storage::<f32>().is_empty());
            continue;
        }
        check(&shape, &mut generator);
    }
}

fn bits(x: &FlexTensor) -> Vec<u32> {
    x.to_contiguous().storage::<f32>().iter().map(|value| value.to_bits()).collect()
}

/// A layer's output, without and with bias, and its gradients by the input and the weights, by the kernels and by Burn.
fn layer(generator: &mut ChaCha8Rng, [rows, inputs, outputs]: [usize; 3]) -> [[FlexTensor; 4]; 2] {
    let x = random(generator, &[rows, inputs]);
    let weight = random(generator, &[outputs, inputs]);
    let bias = Some(random(generator, &[outputs]));
    // As it comes from a transposition.
    let gradient = Flex::float_transpose(random(generator, &[outputs, rows]));
    let found = [
        Flex::layer(x.clone(), weight.clone(), None),
        Flex::layer(x.clone(), weight.clone(), bias.clone()),
        Flex::layer_input_gradient(weight.clone(), gradient.clone()),
        Flex::layer_weight_gradient(x.clone(), gradient.clone()),
    ];
    let expected = [
        burn::layer::<Flex>(x.clone(), weight.clone(), None),
        burn::layer::<Flex>(x.clone(), weight.clone(), bias),
        burn::layer_input_gradient::<Flex>(weight, gradient.clone()),
        burn::layer_weight_gradient::<Flex>(x, gradient),
    ];
    [found, expected]
}

#[test]
fn layers_agree_with_burn() {
    let mut generator = ChaCha8Rng::seed_from_u64(6);
    let small = [[8, 1, 1], [1, 5, 7], [9, 30, 4], [17, 3, 40], [8, 0, 3], [0, 4, 3], [8, 4, 0]];
    let divided = [[64, 784, 400], [300, 200, 100], [33, 500, 333], [1000, 70, 70], [30, 20, 9000]];
    for shape in small.into_iter().chain(divided) {
        let [found, expected] = layer(&mut generator, shape);
        let names = ["without bias", "with bias", "input gradient", "weight gradient"];
        for ((name, found), expected) in names.into_iter().zip(found).zip(expected) {
            assert_close(name, &shape, found, expected);
        }
    }
}

#[test]
fn layers_are_the_same_on_any_number_of_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut generator = ChaCha8Rng::seed_from_u64(7);
            let shapes = [[64, 784, 400], [500, 200, 100], [16, 900, 3000]];
            shapes.map(|shape| layer(&mut generator, shape)[0].each_ref().map(bits))
        })
    };
    let alone = on(1);
    assert!(on(2) == alone && on(5) == alone);
}

#[test]
fn pools_and_rectifiers_agree_with_burn() {
    let mut generator = ChaCha8Rng::seed_from_u64(4);
    let cases = [
        [[8, 2, 2, 1, 0, 0], [9, 2, 2, 1, 0, 0]],
        [[300, 2, 2, 1, 0, 0], [310, 2, 2, 1, 0, 0]],
        [[14, 3, 2, 2, 0, 0], [11, 2, 3, 1, 0, 0]],
        [[1, 1, 1, 1, 0, 0], [500, 3, 1, 1, 0, 0]],
    ];
    for [rows, columns] in cases {
        let axes = [axis(rows).unwrap(), axis(columns).unwrap()];
        let shape = shape(3, [1, 5, 5], [rows, columns]).unwrap();
        let mut x = random(&mut generator, &shape.input());
        let values: &mut [f32] = x.storage_mut();
        values.iter_mut().for_each(|value| *value = (*value * 16.0).round());
        values[7] = f32::NAN;
        let gradient = random(&mut generator, &shape.output());
        let found = Flex::max_pool(x.clone(), &axes);
        assert_eq!(bits(&found), bits(&burn::max_pool::<Flex>(x.clone(), &axes)));
        let found = Flex::max_pool_gradient(x.clone(), gradient.clone(), &axes);
        assert_eq!(bits(&found), bits(&burn::max_pool_gradient::<Flex>(x.clone(), gradient, &axes)));
        let (found, expected) = (Flex::rectified(x.clone()), Flex::relu(x.clone()));
        assert_eq!(bits(&found), bits(&expected));
        let gradient = random(&mut generator, &shape.input());
        let found = Flex::rectified_gradient(found, gradient.clone());
        assert_eq!(bits(&found), bits(&Flex::relu_backward(expected, gradient)));
    }
}

#[test]
fn steps_of_descent_agree_with_burn() {
    let mut generator = ChaCha8Rng::seed_from_u64(5);
    let shape = shape(90, [1, 33, 5], [[5, 1, 1, 1, 0, 0], [5, 1, 1, 1, 0, 0]]).unwrap();
    for decay in [0.0, 0.125] {
        let step = Descent { rate: 0.25, momentum: 0.5, decay };
        let [weight, gradient, velocity] = [0; 3].map(|_| random(&mut generator, &shape.input()));
        for velocity in [None, Some(velocity)] {
            let found = Flex::descend(weight.clone(), velocity.clone(), gradient.clone(), &step);
            let expected = burn::descend::<Flex>(weight.clone(), velocity, gradient.clone(), &step);
            assert_close("weight", &shape, found.0, expected.0);
            assert_close("velocity", &shape, found.1, expected.1);
        }
    }
}

#[test]
fn gradients_are_recorded() {
    type Recorded = Autodiff<Flex>;
    let mut generator = ChaCha8Rng::seed_from_u64(3);
    let shape = shape(3, [2, 3, 4], [[7, 3, 2, 1, 1, 0], [6, 2, 1, 1, 0, 1]]).unwrap();
    let lengths = [&shape.input()[..], &shape.weight(), &[shape.out_channels]];
    let values = lengths.map(|lengths| random(&mut generator, lengths));
    let leaves = values.clone().map(|value| Recorded::float_set_require_grad(Recorded::from_inner(value), true));
    let seed = random(&mut generator, &shape.output());
    for with_bias in [true, false] {
        let [x, weight, bias] = leaves.clone();
        let output = Recorded::convolution(x, weight, with_bias.then_some(bias), &shape);
        let product = Recorded::float_mul(output, Recorded::from_inner(seed.clone()));
        let gradients = Recorded::backward(Recorded::float_sum(product));
        let found = leaves.each_ref().map(|leaf| Recorded::grad(leaf, &gradients));
        let [x, weight, _] = values.clone();
        let expected = [
            Some(Flex::convolution_input_gradient(x.clone(), weight.clone(), seed.clone(), &shape)),
            Some(Flex::convolution_weight_gradient(x, weight, seed.clone(), &shape)),
            with_bias.then(|| Flex::convolution_bias_gradient(seed.clone(), &shape)),
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            assert_eq!(found.is_some(), expected.is_some());
            if let (Some(found), Some(expected)) = (found, expected) {
                assert_close("recorded", &shape, found, expected);
            }
        }
    }
}
