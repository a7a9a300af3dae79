//! The rows of inputs and outputs that a layer's weights connect.

use otfuse_graph::{Conv, ConvTranspose, Operator, Padding, Tensor};
use rayon::prelude::*;

/// Rows that one task gathers.
const PIECE: usize = 256;

/// A layer as a set of independent matrix products: one for most layers, one per group of a convolution.
pub(super) enum Product<'a> {
    /// The last axis against a matrix.
    Matrix,
    /// Windows of an image.
    Convolution(&'a Conv),
    /// The places of an image that a transposed convolution of one group spreads over each of its outputs.
    Transposed(&'a ConvTranspose),
}

impl<'a> Product<'a> {
    pub fn of(operator: &'a Operator) -> Self {
        match operator {
            Operator::Conv(conv) => Self::Convolution(conv),
            Operator::ConvTranspose(conv) => Self::Transposed(conv),
            _ => Self::Matrix,
        }
    }

    /// The number of independent parts.
    pub fn groups(&self) -> usize {
        match self {
            Self::Matrix | Self::Transposed(_) => 1,
            Self::Convolution(conv) => conv.groups.max(1),
        }
    }

    /// What each chosen output of one batch sees: row-major `rows x inputs`. `output` is the shape of the outputs, `weight`
    /// that of the weight; of all positions about `wanted` are chosen, spread over samples and positions.
    pub fn inputs(
        &self,
        input: &Tensor,
        output: &[usize],
        weight: &[usize],
        group: usize,
        wanted: usize,
    ) -> Option<Vec<f32>> {
        let x = input.as_f32()?;
        match self {
            Self::Matrix => Some(rows_of(&x, *input.shape().last()?, wanted)),
            Self::Convolution(conv) => {
                let group = (group * weight[1], weight[1]);
                let geometry = Geometry::new(Steps::Windows(conv), input.shape(), output, weight, group);
                Some(geometry.rows(&x, wanted))
            }
            Self::Transposed(conv) => {
                let group = (0, weight[0]);
                let geometry = Geometry::new(Steps::Spread(conv), input.shape(), output, weight, group);
                Some(geometry.rows(&x, wanted))
            }
        }
    }

    /// The chosen outputs themselves, row-major `rows x outputs`, as [`inputs`](Self::inputs) chooses them.
    pub fn outputs(&self, output: &Tensor, weight: &[usize], group: usize, wanted: usize) -> Option<Vec<f32>> {
        let y = output.as_f32()?;
        match self {
            Self::Matrix => Some(rows_of(&y, *output.shape().last()?, wanted)),
            Self::Convolution(conv) => {
                let outputs = weight[0] / conv.groups.max(1);
                Some(channels_of(&y, output.shape(), (group * outputs, outputs), wanted))
            }
            Self::Transposed(_) => Some(channels_of(&y, output.shape(), (0, weight[1]), wanted)),
        }
    }
}

/// Of an array of channels and positions the chosen positions, each with the channels from `first` on.
fn channels_of(values: &[f32], shape: &[usize], (first, count): (usize, usize), wanted: usize) -> Vec<f32> {
    let positions = shape[2..].iter().product::<usize>().max(1);
    let rows = choose(shape[0] * positions, wanted);
    let mut chosen = vec![0.0; rows.len() * count];
    chosen.par_chunks_mut((PIECE * count).max(1)).zip(rows.par_chunks(PIECE)).for_each(|(chosen, rows)| {
        for (chosen, &row) in chosen.chunks_exact_mut(count.max(1)).zip(rows) {
            let start = (row / positions * shape[1] + first) * positions + row % positions;
            chosen.iter_mut().enumerate().for_each(|(channel, value)| *value = values[start + channel * positions]);
        }
    });
    chosen
}

/// Of an array whose last axis is `width` long the chosen rows.
fn rows_of(values: &[f32], width: usize, wanted: usize) -> Vec<f32> {
    let rows = choose(values.len() / width.max(1), wanted);
    rows.iter().flat_map(|&row| &values[row * width..(row + 1) * width]).copied().collect()
}

/// A place in a channel of the input; none beyond its edges.
type Tap = Option<usize>;

/// Which places of the input an output is made of.
enum Steps<'a> {
    /// Those of a window.
    Windows(&'a Conv),
    /// Those that spread over it.
    Spread(&'a ConvTranspose),
}

/// The inputs of a convolution's outputs over any number of spatial axes.
struct Geometry<'a> {
    steps: Steps<'a>,
    samples: usize,
    channels: usize,
    /// The first channel of the group, and how many it has.
    group: (usize, usize),
    input: &'a [usize],
    output: &'a [usize],
    kernel: &'a [usize],
    before: Vec<usize>,
    positions: usize,
}

impl<'a> Geometry<'a> {
    fn new(
        steps: Steps<'a>,
        input: &'a [usize],
        output: &'a [usize],
        weight: &'a [usize],
        group: (usize, usize),
    ) -> Self {
        let (spatial, kernel, out) = (&input[2..], &weight[2..], &output[2..]);
        let before = (0..spatial.len()).map(|axis| steps.before(axis, spatial, kernel[axis], out[axis])).collect();
        Self {
            steps,
            samples: input[0],
            channels: input[1],
            group,
            input: spatial,
            output: out,
            kernel,
            before,
            positions: out.iter().product::<usize>().max(1),
        }
    }

    /// The number of inputs of one output.
    fn depth(&self) -> usize {
        self.group.1 * self.kernel.iter().product::<usize>()
    }

    /// What the chosen outputs see.
    fn rows(&self, x: &[f32], wanted: usize) -> Vec<f32> {
        let (rows, depth) = (choose(self.samples * self.positions, wanted), self.depth());
        let mut found = vec![0.0; rows.len() * depth];
        // Of all samples alike.
        let all: Vec<Tap> = match rows.len() > self.positions {
            true => (0..self.positions).flat_map(|position| self.taps(position)).collect(),
            false => Vec::new(),
        };
        let count = self.kernel.iter().product::<usize>();
        let pieces = found.par_chunks_mut((PIECE * depth).max(1)).zip(rows.par_chunks(PIECE));
        pieces.for_each(|(piece, rows)| {
            let mut own: Vec<Tap> = Vec::new();
            for (window, row) in piece.chunks_exact_mut(depth.max(1)).zip(rows) {
                let position = row % self.positions;
                let taps = match all.get(position * count..(position + 1) * count) {
                    Some(taps) => taps,
                    None => {
                        own.clear();
                        own.extend(self.taps(position));
                        &own
                    }
                };
                self.window(x, row / self.positions, taps, window);
            }
        });
        found
    }

    /// Where in a channel the elements of the kernel lie that an output sees; none beyond its edges.
    fn taps(&self, position: usize) -> impl Iterator<Item = Tap> {
        let rank = self.input.len();
        let mut place = vec![0_usize; rank];
        let mut rest = position;
        for axis in (0..rank).rev() {
            place[axis] = rest % self.output[axis];
            rest /= self.output[axis];
        }
        (0..self.kernel.iter().product::<usize>()).map(move |tap| {
            let (mut rest, mut offset, mut stride) = (tap, 0, 1);
            for axis in (0..rank).rev() {
                let at = self.steps.at(axis, place[axis], rest % self.kernel[axis], self.before[axis])?;
                if at >= self.input[axis] {
                    return None;
                }
                offset += at * stride;
                stride *= self.input[axis];
                rest /= self.kernel[axis];
            }
            Some(offset)
        })
    }

    /// The inputs of one output in the order of the weight: channel, then kernel.
    fn window(&self, x: &[f32], sample: usize, taps: &[Tap], into: &mut [f32]) {
        let size: usize = self.input.iter().product();
        for (channel, into) in into.chunks_exact_mut(taps.len().max(1)).enumerate() {
            let plane = &x[(sample * self.channels + self.group.0 + channel) * size..][..size];
            into.iter_mut().zip(taps).for_each(|(into, tap)| *into = tap.map_or(0.0, |at| plane[at]));
        }
    }
}

impl Steps<'_> {
    /// What is added in front of an axis of the input, or cut off in front of one of the output.
    fn before(&self, axis: usize, input: &[usize], kernel: usize, output: usize) -> usize {
        match self {
            Self::Windows(conv) => conv.window.pads(axis, input.len(), input[axis], kernel).0,
            Self::Spread(conv) => {
                let is_given = conv.output_shape.is_some() || !matches!(conv.window.padding, Padding::Explicit(_));
                if !is_given {
                    return conv.window.pads(axis, input.len(), input[axis], kernel).0;
                }
                let extra = conv.output_padding.get(axis).copied().unwrap_or(0);
                let full =
                    (input[axis].max(1) - 1) * conv.window.stride(axis) + conv.window.extent(axis, kernel) + extra;
                let total = full.saturating_sub(output);
                if conv.window.padding == Padding::SameUpper { total / 2 } else { total - total / 2 }
            }
        }
    }

    /// The place of the input that an element of the kernel brings to a place of the output; none in front of the input or
    /// between its places.
    fn at(&self, axis: usize, place: usize, tap: usize, before: usize) -> Option<usize> {
        match self {
            Self::Windows(conv) => {
                (place * conv.window.stride(axis) + tap * conv.window.dilation(axis)).checked_sub(before)
            }
            Self::Spread(conv) => {
                let steps = (place + before).checked_sub(tap * conv.window.dilation(axis))?;
                let stride = conv.window.stride(axis).max(1);
                steps.is_multiple_of(stride).then(|| steps / stride)
            }
        }
    }
}

/// About `wanted` of `count` indices, one at a scattered place in each of as many equal pieces, so that no stride of the
/// image is met again and again.
fn choose(count: usize, wanted: usize) -> Vec<usize> {
    if wanted >= count {
        return (0..count).collect();
    }
    let piece = |index: usize| {
        let (start, end) = (index * count / wanted, (index + 1) * count / wanted);
        let scattered = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        start + scattered as usize % (end - start).max(1)
    };
    (0..wanted).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use otfuse_graph::Window;

    fn value(index: usize) -> f32 {
        ((index * 37 % 101) as f32 - 50.0) / 50.0
    }

    /// A convolution of 3 x 3 windows by its definition; `shape` is that of the weight.
    fn convolved(
        input: &Tensor,
        weight: &[f32],
        shape: [usize; 4],
        (stride, pad, groups): (usize, usize, usize),
    ) -> Tensor {
        let &[samples, channels, height, width] = input.shape() else { panic!("images") };
        let x = input.to_f32().unwrap();
        let [rows, columns] = [height, width].map(|length| (length + 2 * pad - 3) / stride + 1);
        let mut result = Vec::new();
        for (sample, output) in (0..samples).flat_map(|sample| (0..shape[0]).map(move |output| (sample, output))) {
            let first = output / (shape[0] / groups) * shape[1];
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let mut sum = 0.0;
                for tap in 0..shape[1] * 9 {
                    let (channel, down, along) =
                        (first + tap / 9, row * stride + tap % 9 / 3, column * stride + tap % 3);
                    if (pad..height + pad).contains(&down) && (pad..width + pad).contains(&along) {
                        let at = ((sample * channels + channel) * height + down - pad) * width + along - pad;
                        sum += weight[output * shape[1] * 9 + tap] * x[at];
                    }
                }
                result.push(sum);
            }
        }
        Tensor::from_f32(&[samples, shape[0], rows, columns], result)
    }

    #[test]
    fn windows_times_weights_are_the_convolution() {
        for (stride, pad, groups, inputs) in [(1, 1, 1, 4), (2, 0, 2, 4), (2, 1, 4, 4)] {
            let outputs = 6 * groups / groups.min(2) / groups * groups;
            let shape = [outputs, inputs / groups, 3, 3];
            let weight: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            let conv = Conv { groups, window: Window::uniform(2, stride, pad) };
            let input = Tensor::from_f32(&[2, inputs, 7, 5], (0..2 * inputs * 35).map(|i| value(i * 3)).collect());
            let output = convolved(&input, &weight, shape, (stride, pad, groups));
            let operator = Operator::Conv(conv);
            let product = Product::of(&operator);
            for group in 0..product.groups() {
                let rows = product.inputs(&input, output.shape(), &shape, group, usize::MAX).unwrap();
                let wanted = product.outputs(&output, &shape, group, usize::MAX).unwrap();
                let (m, d) = (outputs / groups, shape[1] * 9);
                for (x, y) in rows.chunks_exact(d).zip(wanted.chunks_exact(m)) {
                    for (j, &expected) in y.iter().enumerate() {
                        let row = &weight[(group * m + j) * d..][..d];
                        let found: f32 = row.iter().zip(x).map(|(a, b)| a * b).sum();
                        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn places_times_weights_are_the_transposed_convolution() {
        for (stride, pad, kernel, extra) in [(1, 0, 3, 0), (2, 1, 4, 0), (3, 1, 2, 1), (2, 0, 3, 1)] {
            let (samples, inputs, outputs, side) = (2, 3, 2, 4);
            let shape = [inputs, outputs, kernel, kernel];
            let weight: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            let x: Vec<f32> = (0..samples * inputs * side * side).map(|at| value(at * 3)).collect();
            let out = (side - 1) * stride + kernel + extra - 2 * pad;
            // By its definition: every place of the input is spread over the output.
            let mut y = vec![0.0; samples * outputs * out * out];
            for (at, &from) in x.iter().enumerate() {
                let (sample, input) = (at / (inputs * side * side), at / (side * side) % inputs);
                for tap in 0..outputs * kernel * kernel {
                    let output = tap / (kernel * kernel);
                    let row = (at / side % side * stride + tap / kernel % kernel).wrapping_sub(pad);
                    let column = (at % side * stride + tap % kernel).wrapping_sub(pad);
                    if row < out && column < out {
                        y[((sample * outputs + output) * out + row) * out + column] +=
                            from * weight[input * outputs * kernel * kernel + tap];
                    }
                }
            }
            let window = Window::uniform(2, stride, pad);
            let conv = ConvTranspose { groups: 1, window, output_padding: vec![extra; 2], output_shape: None };
            let operator = Operator::ConvTranspose(conv);
            let product = Product::of(&operator);
            let (input, output) = (
                Tensor::from_f32(&[samples, inputs, side, side], x),
                Tensor::from_f32(&[samples, outputs, out, out], y),
            );
            let rows = product.inputs(&input, output.shape(), &shape, 0, usize::MAX).unwrap();
            let wanted = product.outputs(&output, &shape, 0, usize::MAX).unwrap();
            let (depth, area) = (inputs * kernel * kernel, kernel * kernel);
            for (x, y) in rows.chunks_exact(depth).zip(wanted.chunks_exact(outputs)) {
                for (output, expected) in y.iter().enumerate() {
                    let term = |(at, x): (usize, &f32)| weight[(at / area * outputs + output) * area + at % area] * x;
                    let found: f32 = x.iter().enumerate().map(term).sum();
                    assert!((found - expected).abs() < 1e-4, "{found} {expected} {stride} {pad} {kernel}");
                }
            }
        }
    }

    #[test]
    fn chosen_indices_are_in_range_and_distinct() {
        let chosen = choose(1000, 37);
        assert_eq!(chosen.len(), 37);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen[36] < 1000);
    }
}
