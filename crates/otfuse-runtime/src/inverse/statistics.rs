//! Batch normalisations that compare what reaches them with their running statistics.

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::TensorData;
use burn_backend::tensor::FloatTensor;
use rayon::prelude::*;

use crate::RuntimeBackend;
use crate::interpreter::{Array, Fault, Floats, Operands, Outcome, Value};

/// Ratios of variances below this one are as bad as it.
const LEAST_RATIO: f64 = 1e-3;
/// Numbers that are added up in one after the other.
const LANES: usize = 16;

/// A normalisation with running statistics, `factor_c x + offset_c`, whose gradient by its input has that of the penalty
/// added: `slope_c x + shift_c`.
#[derive(Clone, Debug)]
struct Channel {
    factor: f32,
    offset: f32,
    slope: f32,
    shift: f32,
}

#[derive(Debug)]
struct Normalised;

/// The input, its channels, and the numbers of a plane.
type State<B> = (FloatTensor<B>, Vec<Channel>, usize);

impl<B: RuntimeBackend> Backward<B, 1> for Normalised {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let ([Some(node)], (x, channels, plane)) = (ops.parents, ops.state) else { return };
        let (x, by_output) = (Floats::<B>::new(x), Floats::<B>::new(gradient));
        let (shape, device) = (x.shape().to_vec(), x.device());
        // A tensor that cannot be read fails where its values are asked for, which is in the end.
        let (Ok(values), Ok(mut by_input)) = (x.into_vec(), by_output.into_vec()) else { return };
        by_input.par_chunks_mut(plane.max(1)).zip(values.par_chunks(plane.max(1))).enumerate().for_each(
            |(at, (gradient, x))| {
                let Channel { factor, slope, shift, .. } = channels[at % channels.len()];
                for (gradient, x) in gradient.iter_mut().zip(x) {
                    *gradient = *gradient * factor + (*x * slope + shift);
                }
            },
        );
        gradients.register::<B>(node.id, B::float_from_data(TensorData::new(by_input, shape), &device));
    }
}

/// What batch normalisations find in a batch, compared with what they know.
pub(super) struct Comparison {
    /// What a normalisation's penalty counts.
    pub(super) weight: f64,
    /// The sum of all penalties so far.
    pub(super) penalty: f64,
}

impl Comparison {
    /// The normalisation with running statistics; adds the mean over the channels of
    /// `|mean - running mean|^2 / variance + log(variance / running variance)^2`, times the weight, to the penalty and its
    /// gradient to that of the input. Linear in the size of the input.
    pub(super) fn normalise<B: RuntimeBackend>(
        &mut self,
        epsilon: f32,
        operands: &mut Operands<Autodiff<B>>,
    ) -> Outcome<Value<Autodiff<B>>> {
        let x = operands.floats(0)?;
        let shape = x.shape().to_vec();
        let &[count, channels, ref places @ ..] = shape.as_slice() else {
            return Err(Fault::new("input", "2 axes at least", format!("shape {shape:?}")));
        };
        let plane: usize = places.iter().product();
        let mut parameter = |index: usize, name: &str| -> Outcome<Vec<f32>> {
            let values = operands.floats(index)?.into_vec()?;
            match values.len() == channels {
                true => Ok(values),
                false => Err(Fault::new(name, format!("{channels} numbers"), values.len())),
            }
        };
        let (scale, bias) = (parameter(1, "scale")?, parameter(2, "bias")?);
        let (mean, variance) = (parameter(3, "mean")?, parameter(4, "variance")?);
        let values = Floats::<B>::new(x.tensor().into_primitive()).into_vec()?;
        let elements = (count * plane) as f64;
        let found: Vec<(Channel, f64)> = (0..channels)
            .into_par_iter()
            .map(|channel| {
                let (running_mean, allowed) =
                    (f64::from(mean[channel]), f64::from(variance[channel]) + f64::from(epsilon));
                let factor = f64::from(scale[channel]) / allowed.sqrt();
                let planes = (0..count).map(|sample| &values[(sample * channels + channel) * plane..][..plane]);
                let (own_mean, own_variance) = moments(planes, mean[channel], elements);
                let weight = self.weight / channels as f64;
                let distance = own_mean - running_mean;
                let ratio = own_variance / allowed;
                let logarithm = ratio.max(LEAST_RATIO).ln();
                let slope =
                    if ratio > LEAST_RATIO { weight * 4.0 * logarithm / (own_variance * elements) } else { 0.0 };
                let shift = weight * 2.0 * distance / (allowed * elements) - slope * own_mean;
                let penalty = weight * (distance * distance / allowed + logarithm * logarithm);
                let offset = f64::from(bias[channel]) - running_mean * factor;
                let channel =
                    Channel { factor: factor as f32, offset: offset as f32, slope: slope as f32, shift: shift as f32 };
                (channel, penalty)
            })
            .collect();
        self.penalty += found.iter().map(|(_, penalty)| penalty).sum::<f64>();
        let channels: Vec<Channel> = found.into_iter().map(|(channel, _)| channel).collect();
        let device = x.device();
        let (inner, node) = x.into_tensor().into_parts();
        let result = {
            let mut values = values;
            values.par_chunks_mut(plane.max(1)).enumerate().for_each(|(at, plane)| {
                let Channel { factor, offset, .. } = channels[at % channels.len()];
                plane.iter_mut().for_each(|x| *x = *x * factor + offset);
            });
            B::float_from_data(TensorData::new(values, shape.clone()), &device)
        };
        let tensor = match Backward::<B, 1>::prepare::<NoCheckpointing>(Normalised, [node]).compute_bound().stateful() {
            OpsKind::Tracked(operation) => operation.finish((inner, channels, plane), result),
            OpsKind::UnTracked(operation) => operation.finish(result),
        };
        Ok(Value::Floats(Floats::new(tensor)))
    }
}

/// The mean and the variance of one channel's numbers, summed in an order of their own: about `near`, in lanes.
fn moments<'a>(planes: impl Iterator<Item = &'a [f32]>, near: f32, elements: f64) -> (f64, f64) {
    let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
    for plane in planes {
        let (mut sums, mut of_squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let chunks = plane.chunks_exact(LANES);
        for (lane, x) in chunks.remainder().iter().enumerate() {
            let distance = x - near;
            sums[lane] += distance;
            of_squares[lane] += distance * distance;
        }
        for chunk in chunks {
            for lane in 0..LANES {
                let distance = chunk[lane] - near;
                sums[lane] += distance;
                of_squares[lane] += distance * distance;
            }
        }
        sum += sums.iter().copied().map(f64::from).sum::<f64>();
        squares += of_squares.iter().copied().map(f64::from).sum::<f64>();
    }
    let distance = sum / elements;
    (f64::from(near) + distance, (squares / elements - distance * distance).max(0.0))
}
