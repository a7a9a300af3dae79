//! Normalisation over channels, positions or classes.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast, resolve_axis};
use super::floats::Floats;
use super::layout::pad_with;
use super::unary::scalar;
use super::value::{Operands, Value};
use crate::RuntimeBackend;

/// A vector of one number per channel, as a tensor that broadcasts over `rank` axes.
fn per_channel<B: Backend>(x: Floats<B>, name: &str, channels: usize, rank: usize) -> Outcome<FloatTensor<B>> {
    if x.shape() != [channels] {
        return Err(Fault::new(name, format!("shape [{channels}]"), format!("{:?}", x.shape())));
    }
    let mut shape = vec![1; rank];
    shape[1] = channels;
    Ok(x.reshaped(&shape).into_tensor())
}

fn channels<B: Backend>(x: &Floats<B>) -> Outcome<usize> {
    let found = || format!("shape {:?}", x.shape());
    x.shape().get(1).copied().ok_or_else(|| Fault::new("input", "2 axes at least", found()))
}

/// Batch normalisation with fixed statistics, as one multiplication and one addition per element.
pub(super) fn batch<B: Backend>(epsilon: f32, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let (channels, rank) = (channels(&x)?, x.rank());
    let mut parameter = |index, name| per_channel(operands.floats(index)?, name, channels, rank);
    let scale = parameter(1, "scale")?;
    let bias = parameter(2, "bias")?;
    let mean = parameter(3, "mean")?;
    let variance = parameter(4, "variance")?;
    let deviation = B::float_sqrt(B::float_add_scalar(variance, scalar(epsilon)));
    let factor = B::float_div(scale, deviation);
    let offset = B::float_sub(bias, B::float_mul(mean, factor.clone()));
    Ok(x.map(|x| B::float_add(B::float_mul(x, factor), offset)))
}

/// What a batch says of its channels.
pub(crate) struct BatchStatistics<B: Backend> {
    /// The mean of each channel.
    pub(crate) mean: FloatTensor<B>,
    /// The mean squared deviation from it.
    pub(crate) variance: FloatTensor<B>,
    /// How many elements each is taken over.
    #[cfg_attr(not(feature = "training"), allow(dead_code))]
    pub(crate) count: usize,
}

/// Batch normalisation as in training: by the batch's own statistics (Ioffe and Szegedy 2015, algorithm 1).
pub(crate) fn batch_with_own_statistics<B: Backend>(
    epsilon: f32,
    operands: &mut Operands<B>,
) -> Outcome<(Floats<B>, BatchStatistics<B>)> {
    let x = operands.floats(0)?;
    let (channels, rank) = (channels(&x)?, x.rank());
    let scale = per_channel(operands.floats(1)?, "scale", channels, rank)?;
    let bias = per_channel(operands.floats(2)?, "bias", channels, rank)?;
    let count = x.shape().iter().product::<usize>() / channels.max(1);
    let mean_of = |mut tensor: FloatTensor<B>| {
        for axis in (0..rank).filter(|&axis| axis != 1) {
            tensor = B::float_mean_dim(tensor, axis);
        }
        tensor
    };
    let shape = x.shape().to_vec();
    let x = x.into_tensor();
    let mean = mean_of(x.clone());
    let centred = B::float_sub(x, mean.clone());
    let variance = mean_of(B::float_mul(centred.clone(), centred.clone()));
    let deviation = B::float_sqrt(B::float_add_scalar(variance.clone(), scalar(epsilon)));
    let normalised = B::float_mul(centred, B::float_div(scale, deviation));
    let flat = |tensor: FloatTensor<B>| Floats::<B>::new(tensor).reshaped(&[channels]).into_tensor();
    let statistics = BatchStatistics { mean: flat(mean), variance: flat(variance), count };
    Ok((Floats::<B>::new(B::float_add(normalised, bias)).reshaped(&shape), statistics))
}

/// As in training, with the running statistics behind: what goes in, moved towards the batch's own.
pub(super) fn batch_in_training<B: Backend>(
    epsilon: f32,
    momentum: f32,
    operands: &mut Operands<B>,
) -> Outcome<Vec<Value<B>>> {
    let (normalised, found) = batch_with_own_statistics(epsilon, operands)?;
    let channels = normalised.shape()[1];
    let mut moved = |index: usize, name: &str, own: FloatTensor<B>| -> Outcome<Value<B>> {
        let before = operands.floats(index)?;
        if before.shape() != [channels] {
            return Err(Fault::new(name, format!("shape [{channels}]"), format!("{:?}", before.shape())));
        }
        let own = B::float_mul_scalar(own, scalar(1.0 - momentum));
        Ok(Value::Floats(before.map(|before| B::float_add(B::float_mul_scalar(before, scalar(momentum)), own))))
    };
    let (mean, variance) = (moved(3, "mean", found.mean)?, moved(4, "variance", found.variance)?);
    Ok(vec![Value::Floats(normalised), mean, variance])
}

pub(super) fn instance<B: RuntimeBackend>(epsilon: f32, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let (channels, rank) = (channels(&x)?, x.rank());
    let shape = x.shape().to_vec();
    if rank < 3 || shape[2..].contains(&0) {
        return Err(Fault::new("input", "3 axes at least, none empty", format!("shape {shape:?}")));
    }
    let scale = per_channel(operands.floats(1)?, "scale", channels, rank)?;
    let bias = per_channel(operands.floats(2)?, "bias", channels, rank)?;
    let rows = [shape[0], channels, shape[2..].iter().product()];
    let normalised = Floats::<B>::new(B::standardised(x.reshaped(&rows).into_tensor(), 2, epsilon));
    Ok(normalised.reshaped(&shape).map(|x| B::float_add(B::float_mul(x, scale), bias)))
}

/// Wu & He 2018: the channels of a group and all positions are normalised together.
pub(super) fn group<B: RuntimeBackend>(
    groups: usize,
    per_group: bool,
    epsilon: f32,
    operands: &mut Operands<B>,
) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let (channels, shape) = (channels(&x)?, x.shape().to_vec());
    let width = shape[1..].iter().product::<usize>().checked_div(groups).unwrap_or(0);
    if groups == 0 || !channels.is_multiple_of(groups) || width == 0 {
        return Err(Fault::new("channels", format!("a positive multiple of {groups}"), channels));
    }
    let rank = shape.len();
    let mut parameter = |index: usize, name: &str| -> Outcome<FloatTensor<B>> {
        let mut parameter = operands.floats(index)?;
        if per_group {
            if parameter.shape() != [groups] {
                return Err(Fault::new(name, format!("shape [{groups}]"), format!("{:?}", parameter.shape())));
            }
            let inner = channels / groups;
            parameter = parameter.reshaped(&[groups, 1]).expanded(&[groups, inner]).reshaped(&[channels]);
        }
        per_channel(parameter, name, channels, rank)
    };
    let (scale, bias) = (parameter(1, "scale")?, parameter(2, "bias")?);
    let rows = [shape[0] * groups, width];
    let normalised = Floats::<B>::new(B::standardised(x.reshaped(&rows).into_tensor(), 1, epsilon));
    Ok(normalised.reshaped(&shape).map(|x| B::float_add(B::float_mul(x, scale), bias)))
}

pub(super) fn layer<B: RuntimeBackend>(axis: i64, epsilon: f32, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let shape = x.shape().to_vec();
    let axis = resolve_axis(axis, shape.len())?;
    let width = shape[axis..].iter().product();
    if width == 0 {
        return Err(Fault::new("input", "no empty axis", format!("shape {shape:?}")));
    }
    let mut parameter = |index: usize, name: &str| -> Outcome<Option<FloatTensor<B>>> {
        let Some(parameter) = operands.optional_floats(index)? else {
            return Ok(None);
        };
        if broadcast(&shape, parameter.shape())? != shape {
            let expected = format!("a shape that broadcasts to {:?}", &shape[axis..]);
            return Err(Fault::new(name, expected, format!("{:?}", parameter.shape())));
        }
        Ok(Some(parameter.aligned(shape.len())))
    };
    let (scale, bias) = (parameter(1, "scale")?, parameter(2, "bias")?);
    let rows = [shape[..axis].iter().product(), width];
    let normalised = Floats::<B>::new(B::standardised(x.reshaped(&rows).into_tensor(), 1, epsilon));
    Ok(normalised.reshaped(&shape).map(|x| {
        let x = if let Some(scale) = scale { B::float_mul(x, scale) } else { x };
        if let Some(bias) = bias { B::float_add(x, bias) } else { x }
    }))
}

/// Krizhevsky et al. 2012, section 3.3: `x / (bias + alpha / size * sum of squares of neighbouring channels)^beta`.
pub(super) fn local_response<B: Backend>(
    alpha: f32,
    beta: f32,
    bias: f32,
    size: usize,
    operands: &mut Operands<B>,
) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let channels = channels(&x)?;
    if size == 0 {
        return Err(Fault::new("size", "a positive number", size));
    }
    // Neighbours beyond the first and the last channel do not exist, so a larger window sees no more.
    let before = ((size - 1) / 2).min(channels);
    let after = (size - 1 - (size - 1) / 2).min(channels);
    let mut pads = (vec![0; x.rank()], vec![0; x.rank()]);
    (pads.0[1], pads.1[1]) = (before, after);
    let squares = x.clone().map(|x| B::float_mul(x.clone(), x));
    let padded = pad_with(squares, &pads.0, &pads.1, 0.0)?;
    let mut sum = padded.clone().range(1, 0, channels).into_tensor();
    for offset in 1..=before + after {
        sum = B::float_add(sum, padded.clone().range(1, offset, channels).into_tensor());
    }
    let scaled = B::float_mul_scalar(sum, scalar(alpha / size as f32));
    let divisor = B::float_powf_scalar(B::float_add_scalar(scaled, scalar(bias)), scalar(beta));
    Ok(x.map(|x| B::float_div(x, divisor)))
}

pub(super) fn softmax<B: RuntimeBackend>(axis: i64, logarithm: bool, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let axis = resolve_axis(axis, x.rank().max(1))?;
    Ok(x.map(|x| if logarithm { B::log_softmax(x, axis) } else { B::shares(x, axis) }))
}
