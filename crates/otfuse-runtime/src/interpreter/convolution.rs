//! Convolutions over one, two or three spatial axes.

use burn_backend::Backend;
use burn_backend::ops::{ConvOptions, ConvTransposeOptions};
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Conv, ConvTranspose, Padding};

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};
use super::floats::Floats;
use super::layout::pad_with;
use super::value::Operands;
use super::window::{Sliding, check, slide};
use crate::{ConvolutionShape, RuntimeBackend, SlidingAxis};

/// The largest plane, with its padding, that the kernels are given: they hold a channel of a tile in memory.
const MOST_COVERED: usize = 1 << 26;

/// Checks what both convolutions share; returns the number of spatial axes.
fn spatial_rank<B: Backend>(x: &Floats<B>, weight: &Floats<B>, groups: usize) -> Outcome<usize> {
    let rank = x.rank();
    if !(3..=5).contains(&rank) {
        return Err(Fault::new("input", "3 to 5 axes", format!("shape {:?}", x.shape())));
    }
    if weight.rank() != rank {
        return Err(Fault::new("weight", format!("{rank} axes"), format!("shape {:?}", weight.shape())));
    }
    if groups == 0 || !x.shape()[1].is_multiple_of(groups) || !weight.shape()[0].is_multiple_of(groups) {
        let expected = format!("a divisor of {} and {}", x.shape()[1], weight.shape()[0]);
        return Err(Fault::new("groups", expected, groups));
    }
    Ok(rank - 2)
}

fn check_bias<B: Backend>(bias: Option<&Floats<B>>, channels: usize) -> Outcome<()> {
    match bias {
        Some(bias) if bias.shape() != [channels] => {
            Err(Fault::new("bias", format!("shape [{channels}]"), format!("{:?}", bias.shape())))
        }
        _ => Ok(()),
    }
}

pub(super) fn convolution<B: RuntimeBackend>(conv: &Conv, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let (x, weight) = (operands.floats(0)?, operands.floats(1)?);
    let bias = operands.optional_floats(2)?;
    spatial_rank(&x, &weight, conv.groups)?;
    let expected = x.shape()[1] / conv.groups;
    if weight.shape()[1] != expected {
        return Err(Fault::new("weight's axis 1", expected, weight.shape()[1]));
    }
    check_bias(bias.as_ref(), weight.shape()[0])?;
    let axes = slide(&conv.window, &x.shape()[2..], &weight.shape()[2..], false)?;
    let outputs: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let output = [&[x.shape()[0], weight.shape()[0]], outputs.as_slice()].concat();
    element_count(&output)?;
    if let &[height, ref rest @ ..] = axes.as_slice()
        && rest.len() < 2
        && element_count(x.shape())? > 0
        && element_count(&axes.iter().map(Sliding::covered).collect::<Vec<_>>())? <= MOST_COVERED
    {
        // One spatial axis is taken as a column.
        let width = rest.first().copied().unwrap_or(Sliding::SINGLE);
        return Ok(on_planes(x, weight, bias, conv.groups, [height, width]).reshaped(&output));
    }
    by_backend(x, weight, bias, axes, conv.groups)
}

/// One or two spatial axes.
fn on_planes<B: RuntimeBackend>(
    x: Floats<B>,
    weight: Floats<B>,
    bias: Option<Floats<B>>,
    groups: usize,
    axes: [Sliding; 2],
) -> Floats<B> {
    let [batch, in_channels, lengths @ ..] = x.shape() else { return x };
    let length = |axis: usize| lengths.get(axis).copied().unwrap_or(1);
    let axes = [(axes[0], length(0)), (axes[1], length(1))].map(|(axis, input)| SlidingAxis {
        input,
        kernel: axis.kernel,
        stride: axis.stride,
        dilation: axis.dilation,
        before: axis.before,
        after: axis.after,
        output: axis.output,
    });
    let shape =
        ConvolutionShape { batch: *batch, groups, in_channels: *in_channels, out_channels: weight.shape()[0], axes };
    let (x, weight) = (x.reshaped(&shape.input()), weight.reshaped(&shape.weight()));
    let bias = bias.map(Floats::into_tensor);
    Floats::new(B::convolution(x.into_tensor(), weight.into_tensor(), bias, &shape))
}

/// Any number of spatial axes, with the backend's own operations.
fn by_backend<B: Backend>(
    mut x: Floats<B>,
    weight: Floats<B>,
    bias: Option<Floats<B>>,
    mut axes: Vec<Sliding>,
    groups: usize,
) -> Outcome<Floats<B>> {
    if axes.iter().any(|axis| axis.before != axis.after) {
        let before: Vec<usize> = axes.iter().map(|axis| axis.before).collect();
        let after: Vec<usize> = axes.iter().map(|axis| axis.after).collect();
        x = pad_with(x, &spatial_pads(&before), &spatial_pads(&after), 0.0)?;
        axes.iter_mut().for_each(|axis| (axis.before, axis.after) = (0, 0));
    }
    let (x, weight, bias) = (x.into_tensor(), weight.into_tensor(), bias.map(Floats::into_tensor));
    Ok(Floats::new(match axes.len() {
        1 => B::conv1d(x, weight, bias, options(&axes, groups)),
        2 => B::conv2d(x, weight, bias, options(&axes, groups)),
        _ => B::conv3d(x, weight, bias, options(&axes, groups)),
    }))
}

fn options<const N: usize>(axes: &[Sliding], groups: usize) -> ConvOptions<N> {
    let each = |field: fn(&Sliding) -> usize| std::array::from_fn(|axis| field(&axes[axis]));
    ConvOptions::new(each(|axis| axis.stride), each(|axis| axis.before), each(|axis| axis.dilation), groups)
}

/// Pads of spatial axes with the batch and channel axes before them.
fn spatial_pads(pads: &[usize]) -> Vec<usize> {
    [&[0, 0], pads].concat()
}

pub(super) fn transposed<B: Backend>(conv: &ConvTranspose, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let (x, weight) = (operands.floats(0)?, operands.floats(1)?);
    let bias = operands.optional_floats(2)?;
    let spatial = spatial_rank(&x, &weight, conv.groups)?;
    if weight.shape()[0] != x.shape()[1] {
        return Err(Fault::new("weight's axis 0", x.shape()[1], weight.shape()[0]));
    }
    check(&conv.window, spatial)?;
    let channels = weight.shape()[1].saturating_mul(conv.groups);
    check_bias(bias.as_ref(), channels)?;
    let crops = (0..spatial)
        .map(|axis| crop(conv, axis, spatial, x.shape()[2 + axis], weight.shape()[2 + axis]))
        .collect::<Outcome<Vec<_>>>()?;
    let full: Vec<usize> = crops.iter().map(|crop| crop.full).collect();
    element_count(&[&[x.shape()[0], channels], full.as_slice()].concat())?;

    // The backend computes every element; cropping and padding afterwards covers every kind of padding.
    let (x, weight) = (x.into_tensor(), weight.into_tensor());
    let window = (0..spatial).map(|axis| (conv.window.stride(axis), conv.window.dilation(axis)));
    let window: Vec<_> = window.collect();
    let whole = match spatial {
        1 => B::conv_transpose1d(x, weight, None, transposed_options(&window, conv.groups)),
        2 => B::conv_transpose2d(x, weight, None, transposed_options(&window, conv.groups)),
        _ => B::conv_transpose3d(x, weight, None, transposed_options(&window, conv.groups)),
    };
    let mut result = Floats::<B>::new(whole);
    let mut missing = vec![0; spatial];
    for (axis, crop) in crops.iter().enumerate() {
        let end = (crop.before + crop.output).min(crop.full);
        let length = end.saturating_sub(crop.before);
        missing[axis] = crop.output - length;
        result = result.range(2 + axis, crop.before.min(end), length);
    }
    if missing.iter().any(|&count| count > 0) {
        result = pad_with(result, &vec![0; 2 + spatial], &spatial_pads(&missing), 0.0)?;
    }
    Ok(match bias {
        Some(bias) => result.map(|x| add_to_channels::<B>(x, bias, spatial)),
        None => result,
    })
}

fn transposed_options<const N: usize>(window: &[(usize, usize)], groups: usize) -> ConvTransposeOptions<N> {
    let strides = std::array::from_fn(|axis| window[axis].0);
    let dilations = std::array::from_fn(|axis| window[axis].1);
    ConvTransposeOptions::new(strides, [0; N], [0; N], dilations, groups)
}

fn add_to_channels<B: Backend>(x: FloatTensor<B>, bias: Floats<B>, spatial: usize) -> FloatTensor<B> {
    let channels = bias.shape()[0];
    let shape = [&[1, channels], vec![1; spatial].as_slice()].concat();
    B::float_add(x, bias.reshaped(&shape).into_tensor())
}

/// Which part of the whole result of a transposed convolution is kept along an axis.
struct Crop {
    full: usize,
    before: usize,
    output: usize,
}

/// The lengths of the whole result of a transposed convolution, and of what is kept of it.
pub(super) fn transposed_lengths(
    conv: &ConvTranspose,
    input: &[usize],
    kernel: &[usize],
) -> Outcome<(Vec<usize>, Vec<usize>)> {
    check(&conv.window, input.len())?;
    let crops = input.iter().zip(kernel).enumerate();
    let crops = crops.map(|(axis, (&input_length, &kernel))| crop(conv, axis, input.len(), input_length, kernel));
    Ok(crops.collect::<Outcome<Vec<_>>>()?.into_iter().map(|crop| (crop.full, crop.output)).unzip())
}

fn crop(conv: &ConvTranspose, axis: usize, spatial: usize, input: usize, kernel: usize) -> Outcome<Crop> {
    let stride = conv.window.stride(axis);
    let extra = conv.output_padding.get(axis).copied().unwrap_or(0);
    let too_large = || Fault::new("result", "a length that fits", "an overflow");
    let full = (input.max(1) - 1)
        .checked_mul(stride)
        .and_then(|steps| steps.checked_add(conv.window.extent(axis, kernel)))
        .ok_or_else(too_large)?;
    let extended = full.checked_add(extra).ok_or_else(too_large)?;
    let given = match &conv.output_shape {
        Some(shape) => Some(
            *shape
                .get(axis)
                .ok_or_else(|| Fault::new("output shape", format!("{spatial} lengths"), format!("{shape:?}")))?,
        ),
        None if !matches!(conv.window.padding, Padding::Explicit(_)) => {
            Some(input.checked_mul(stride).ok_or_else(too_large)?)
        }
        None => None,
    };
    let (before, output) = match given {
        Some(output) => {
            // ONNX, ConvTranspose: the padding that makes the output as long as asked for.
            let total = extended.saturating_sub(output);
            let before = if conv.window.padding == Padding::SameUpper { total / 2 } else { total - total / 2 };
            (before, output)
        }
        None => {
            let (before, after) = conv.window.pads(axis, spatial, input, kernel);
            let output = extended.checked_sub(before.saturating_add(after)).filter(|&output| output > 0);
            let found = format!("{before} and {after} of {extended}");
            (before, output.ok_or_else(|| Fault::new("pads", "pads that leave something", found))?)
        }
    };
    Ok(Crop { full, before, output })
}
