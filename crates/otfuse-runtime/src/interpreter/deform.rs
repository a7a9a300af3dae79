//! Deformable convolutions (Dai et al. 2017, Zhu et al. 2019).

use burn_backend::Backend;
use otfuse_graph::DeformConv;

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};
use super::floats::Floats;
use super::sampling::{check_sampled, unravel};
use super::value::Operands;
use super::window::{Sliding, slide};

/// Everything about the shapes.
struct Geometry {
    axes: Vec<Sliding>,
    /// Spatial lengths of the input, the kernel and the output.
    input: Vec<usize>,
    kernel: Vec<usize>,
    output: Vec<usize>,
    channels: usize,
    offset_groups: usize,
}

pub(super) fn convolution<B: Backend>(deform: &DeformConv, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let (x, weight, offsets) = (operands.floats(0)?, operands.floats(1)?, operands.floats(2)?);
    let (bias, mask) = (operands.optional_floats(3)?, operands.optional_floats(4)?);
    let (shape, kernel) = (x.shape().to_vec(), weight.shape().to_vec());
    let (groups, parts) = (deform.groups, deform.offset_groups);
    let fits = shape.len() >= 3
        && kernel.len() == shape.len()
        && groups > 0
        && parts > 0
        && shape[1] == kernel[1].saturating_mul(groups)
        && kernel[0].is_multiple_of(groups)
        && shape[1].is_multiple_of(parts);
    if !fits {
        return Err(Fault::new("X and W", "shapes that agree", format!("{shape:?} and {kernel:?}")));
    }
    check_sampled(shape.len() - 2)?;
    let axes = slide(&deform.window, &shape[2..], &kernel[2..], false)?;
    let geometry = Geometry {
        output: axes.iter().map(|axis| axis.output).collect(),
        axes,
        input: shape[2..].to_vec(),
        kernel: kernel[2..].to_vec(),
        channels: shape[1],
        offset_groups: parts,
    };
    let elements: usize = geometry.kernel.iter().product();
    let spatial = geometry.input.len();
    let expect = |name: &str, found: &[usize], rows: usize| {
        let expected = [&[shape[0], rows], geometry.output.as_slice()].concat();
        if expected == found { Ok(()) } else { Err(Fault::new(name, format!("{expected:?}"), format!("{found:?}"))) }
    };
    expect("offset", offsets.shape(), parts * elements * spatial)?;
    if let Some(mask) = &mask {
        expect("mask", mask.shape(), parts * elements)?;
    }
    let places: usize = geometry.output.iter().product();
    element_count(&[shape[0], shape[1], elements, places])?;
    let columns = geometry.columns(&x.into_vec()?, &offsets.into_vec()?, mask.map(Floats::into_vec).transpose()?);
    // One product of matrices for each sample and group.
    let inputs = kernel[1] * elements;
    let columns = Floats::<B>::from_vec(columns, &[shape[0], groups, inputs, places], &operands.device);
    let weight = weight.reshaped(&[1, groups, kernel[0] / groups, inputs]);
    let weight = weight.expanded(&[shape[0], groups, kernel[0] / groups, inputs]);
    let product = Floats::<B>::new(B::float_matmul(weight.into_tensor(), columns.into_tensor()));
    let product = product.reshaped(&[&[shape[0], kernel[0]], geometry.output.as_slice()].concat());
    let Some(bias) = bias else { return Ok(product) };
    if bias.shape() != [kernel[0]] {
        return Err(Fault::new("bias", format!("shape [{}]", kernel[0]), format!("{:?}", bias.shape())));
    }
    let mut per_channel = vec![1; shape.len()];
    per_channel[1] = kernel[0];
    Ok(product.map(|product| B::float_add(product, bias.reshaped(&per_channel).into_tensor())))
}

impl Geometry {
    /// The elements under the window at each position: samples x channels x kernel x positions.
    fn columns(&self, x: &[f32], offsets: &[f32], mask: Option<Vec<f32>>) -> Vec<f32> {
        let (elements, places) = (self.kernel.iter().product::<usize>(), self.output.iter().product::<usize>());
        let (spatial, pixels) = (self.input.len(), self.input.iter().product::<usize>());
        let rows = x.len() / pixels.max(1);
        let mut columns = Vec::with_capacity(rows * elements * places);
        let mut taps = vec![[(None, 0.0); 2]; spatial];
        for row in 0..rows {
            let (sample, channel) = (row / self.channels, row % self.channels);
            let part = sample * self.offset_groups + channel / (self.channels / self.offset_groups);
            let source = &x[row * pixels..][..pixels];
            for element in 0..elements {
                let within = unravel(element, &self.kernel);
                let mut window = vec![0; spatial];
                for place in 0..places {
                    for at in 0..spatial {
                        let axis = &self.axes[at];
                        let moved = offsets[((part * elements + element) * spatial + at) * places + place];
                        let start = (window[at] * axis.stride + within[at] * axis.dilation) as f32;
                        taps[at] = linear(start - axis.before as f32 + moved, self.input[at]);
                    }
                    let weight = mask.as_ref().map_or(1.0, |mask| mask[(part * elements + element) * places + place]);
                    columns.push(self.sampled(source, &taps) * weight);
                    advance(&mut window, &self.output);
                }
            }
        }
        columns
    }

    /// The sum over all combinations of the neighbours along each axis.
    fn sampled(&self, source: &[f32], taps: &[[(Option<usize>, f32); 2]]) -> f32 {
        let last = taps.len() - 1;
        let element = |choice: usize| {
            let axes = taps.iter().zip(&self.input).enumerate();
            axes.map(|(axis, (taps, &length))| (taps[choice >> (last - axis) & 1], length))
                .try_fold((0, 1.0), |(at, factor), ((index, weight), length)| {
                    Some((at * length + index?, factor * weight))
                })
                .map(|(at, factor)| source[at] * factor)
        };
        (0..1_usize << taps.len()).filter_map(element).sum()
    }
}

/// The next place in row-major order.
fn advance(place: &mut [usize], shape: &[usize]) {
    for (own, &length) in place.iter_mut().zip(shape).rev() {
        *own += 1;
        if *own < length {
            return;
        }
        *own = 0;
    }
}

/// The two neighbours of a place, zeros beyond the edge.
fn linear(x: f32, length: usize) -> [(Option<usize>, f32); 2] {
    let floor = x.floor();
    let inside = |index: f32| (index >= 0.0 && index < length as f32).then_some(index as usize);
    [(inside(floor), 1.0 - (x - floor)), (inside(floor + 1.0), x - floor)]
}
