//! The rows of inputs and outputs that a layer's weights connect.

use otfuse_graph::{Conv, Operator, Tensor};

/// A layer as a set of independent matrix products: one for most layers, one per group of a convolution.
pub(crate) enum Product<'a> {
    /// The last axis against a matrix.
    Matrix,
    /// Windows of an image.
    Convolution(&'a Conv),
}

/// Rows of one group of a layer: row-major `rows x inputs` and `rows x outputs`.
pub(crate) struct Rows {
    pub inputs: Vec<f32>,
    pub outputs: Vec<f32>,
}

impl<'a> Product<'a> {
    pub fn of(operator: &'a Operator) -> Self {
        match operator {
            Operator::Conv(conv) => Self::Convolution(conv),
            _ => Self::Matrix,
        }
    }

    /// The number of independent parts.
    pub fn groups(&self) -> usize {
        match self {
            Self::Matrix => 1,
            Self::Convolution(conv) => conv.groups.max(1),
        }
    }

    /// Rows of one batch: the inputs that each chosen output sees, and the targets at that output. `weight` is the shape
    /// of the weight; of all positions about `wanted` are chosen, spread over samples and positions.
    pub fn rows(&self, input: &Tensor, target: &Tensor, weight: &[usize], group: usize, wanted: usize) -> Option<Rows> {
        let (x, y) = (input.to_f32()?, target.to_f32()?);
        match self {
            Self::Matrix => {
                let (d, m) = (*input.shape().last()?, *target.shape().last()?);
                let rows = choose(x.len() / d.max(1), wanted);
                let take = |values: &[f32], width: usize| {
                    rows.iter().flat_map(|&row| &values[row * width..(row + 1) * width]).copied().collect()
                };
                Some(Rows { inputs: take(&x, d), outputs: take(&y, m) })
            }
            Self::Convolution(conv) => {
                let geometry = Geometry::new(conv, input.shape(), target.shape(), weight, group);
                let outputs = weight[0] / conv.groups.max(1);
                let rows = choose(geometry.samples * geometry.positions, wanted);
                let mut found = Rows { inputs: Vec::new(), outputs: Vec::with_capacity(rows.len() * outputs) };
                found.inputs.reserve(rows.len() * geometry.depth());
                for row in rows {
                    let (sample, position) = (row / geometry.positions, row % geometry.positions);
                    geometry.window(&x, sample, position, &mut found.inputs);
                    let first = sample * weight[0] + group * outputs;
                    found.outputs.extend((first..first + outputs).map(|c| y[c * geometry.positions + position]));
                }
                Some(found)
            }
        }
    }
}

/// The windows of a convolution over any number of spatial axes.
struct Geometry<'a> {
    conv: &'a Conv,
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
    fn new(conv: &'a Conv, input: &'a [usize], output: &'a [usize], weight: &'a [usize], group: usize) -> Self {
        let rank = input.len() - 2;
        let (spatial, kernel) = (&input[2..], &weight[2..]);
        let before = (0..rank).map(|axis| conv.window.pads(axis, rank, spatial[axis], kernel[axis]).0).collect();
        Self {
            conv,
            samples: input[0],
            channels: input[1],
            group: (group * weight[1], weight[1]),
            input: spatial,
            output: &output[2..],
            kernel,
            before,
            positions: output[2..].iter().product::<usize>().max(1),
        }
    }

    /// The number of inputs of one output.
    fn depth(&self) -> usize {
        self.group.1 * self.kernel.iter().product::<usize>()
    }

    /// Appends the inputs of one output in the order of the weight: channel, then kernel.
    fn window(&self, x: &[f32], sample: usize, position: usize, into: &mut Vec<f32>) {
        let rank = self.input.len();
        let size: usize = self.input.iter().product();
        let mut corner = vec![0_isize; rank];
        let mut rest = position;
        for axis in (0..rank).rev() {
            let step = (rest % self.output[axis]) * self.conv.window.stride(axis);
            corner[axis] = step as isize - self.before[axis] as isize;
            rest /= self.output[axis];
        }
        let taps: Vec<Option<usize>> = (0..self.kernel.iter().product::<usize>())
            .map(|tap| {
                let (mut rest, mut offset, mut stride) = (tap, 0, 1);
                for axis in (0..rank).rev() {
                    let along = (rest % self.kernel[axis]) * self.conv.window.dilation(axis);
                    let at = usize::try_from(corner[axis] + along as isize).ok()?;
                    if at >= self.input[axis] {
                        return None;
                    }
                    offset += at * stride;
                    stride *= self.input[axis];
                    rest /= self.kernel[axis];
                }
                Some(offset)
            })
            .collect();
        for channel in self.group.0..self.group.0 + self.group.1 {
            let plane = &x[(sample * self.channels + channel) * size..][..size];
            into.extend(taps.iter().map(|tap| tap.map_or(0.0, |at| plane[at])));
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
                let rows = product.rows(&input, &output, &shape, group, usize::MAX).unwrap();
                let (m, d) = (outputs / groups, shape[1] * 9);
                for (x, y) in rows.inputs.chunks_exact(d).zip(rows.outputs.chunks_exact(m)) {
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
    fn chosen_indices_are_in_range_and_distinct() {
        let chosen = choose(1000, 37);
        assert_eq!(chosen.len(), 37);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen[36] < 1000);
    }
}
