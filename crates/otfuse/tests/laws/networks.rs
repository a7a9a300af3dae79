//! Networks at random, of every structure that the analysis has to understand.

use otfuse::graph::{Conv, Graph, GraphBuilder, Operator, PadMode, Tensor, ValueId, Window};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    Perceptron,
    ConvFlatten,
    Residual,
    ResidualProjection,
    ResidualPadded,
    DenseConcat,
    Depthwise,
}

pub const ALL: [Structure; 7] = [
    Structure::Perceptron,
    Structure::ConvFlatten,
    Structure::Residual,
    Structure::ResidualProjection,
    Structure::ResidualPadded,
    Structure::DenseConcat,
    Structure::Depthwise,
];

/// A network of a structure; `widths` are the free sizes, `weights` seeds the values.
pub struct Recipe {
    pub structure: Structure,
    pub widths: [usize; 3],
    pub bias: bool,
    pub norm: bool,
}

struct Layers {
    b: GraphBuilder,
    random: ChaCha8Rng,
    bias: bool,
    norm: bool,
    count: usize,
}

impl Layers {
    fn unit(&mut self) -> f32 {
        (self.random.next_u32() >> 8) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, name: &str, shape: &[usize], scale: f32, centre: f32) -> ValueId {
        let count = shape.iter().product();
        let values = (0..count).map(|_| centre + scale * self.unit()).collect();
        let name = format!("{}.{name}", self.count);
        self.b.initializer(&name, Tensor::from_f32(shape, values))
    }

    fn vector(&mut self, name: &str, size: usize) -> ValueId {
        self.tensor(name, &[size], 0.3, 0.0)
    }

    fn linear(&mut self, x: ValueId, inputs: usize, outputs: usize) -> ValueId {
        self.count += 1;
        let w = self.tensor("weight", &[outputs, inputs], (3.0 / inputs as f32).sqrt(), 0.0);
        let bias = self.bias.then(|| self.vector("bias", outputs));
        self.b.linear(x, w, bias)
    }

    fn conv(&mut self, x: ValueId, inputs: usize, outputs: usize, kernel: usize, groups: usize) -> ValueId {
        self.count += 1;
        let fan_in = inputs / groups * kernel * kernel;
        let shape = [outputs, inputs / groups, kernel, kernel];
        let w = self.tensor("weight", &shape, (3.0 / fan_in as f32).sqrt(), 0.0);
        let bias = self.bias.then(|| self.vector("bias", outputs));
        let y = self.b.conv(x, w, bias, Conv { groups, window: Window::uniform(2, 1, kernel / 2) });
        if !self.norm {
            return y;
        }
        let parameters = [
            self.tensor("scale", &[outputs], 0.5, 1.0),
            self.vector("shift", outputs),
            self.vector("mean", outputs),
            self.tensor("variance", &[outputs], 0.5, 1.0),
        ];
        self.b.batch_norm(y, parameters, 1e-5)
    }

    fn conv_relu(&mut self, x: ValueId, inputs: usize, outputs: usize, kernel: usize) -> ValueId {
        let y = self.conv(x, inputs, outputs, kernel, 1);
        self.b.relu(y)
    }
}

/// The network of a recipe with weights from `seed`.
pub fn build(recipe: &Recipe, seed: u64) -> Graph {
    let random = ChaCha8Rng::seed_from_u64(seed);
    let Recipe { structure, widths: [n1, n2, n3], bias, norm } = *recipe;
    let mut l = Layers { b: GraphBuilder::new("random"), random, bias, norm, count: 0 };
    let image = [None, Some(3), Some(6), Some(6)];
    let y = match structure {
        Structure::Perceptron => {
            let x = l.b.input("x", &[None, Some(5)]);
            let mut y = x;
            for (inputs, outputs) in [(5, n1), (n1, n2), (n2, n3)] {
                y = l.linear(y, inputs, outputs);
                y = l.b.relu(y);
            }
            l.linear(y, n3, 4)
        }
        Structure::ConvFlatten => {
            let x = l.b.input("x", &image);
            let y = l.conv_relu(x, 3, n1, 3);
            let y = l.b.max_pool(y, 2);
            let y = l.conv_relu(y, n1, n2, 3);
            let y = l.b.flatten(y);
            let y = l.linear(y, n2 * 9, n3);
            let y = l.b.relu(y);
            l.linear(y, n3, 4)
        }
        Structure::Residual | Structure::ResidualProjection | Structure::ResidualPadded => {
            let x = l.b.input("x", &image);
            let stem = l.conv_relu(x, 3, n1, 3);
            let inner = l.conv_relu(stem, n1, n2, 3);
            let outer = l.conv(inner, n2, n1, 3, 1);
            let stream = l.b.add(stem, outer);
            let stream = l.b.relu(stream);
            let (stream, width) = match structure {
                Structure::Residual => (stream, n1),
                Structure::ResidualProjection => {
                    let inner = l.conv_relu(stream, n1, n2, 3);
                    let outer = l.conv(inner, n2, n3, 3, 1);
                    let shortcut = l.conv(stream, n1, n3, 1, 1);
                    (l.b.add(shortcut, outer), n3)
                }
                _ => {
                    let outer = l.conv(stream, n1, n1 + 4, 3, 1);
                    let pads = l.b.integers(&[0, 2, 0, 0, 0, 2, 0, 0]);
                    let shortcut = l.b.node(Operator::Pad(PadMode::Constant), &[stream, pads]);
                    (l.b.add(shortcut, outer), n1 + 4)
                }
            };
            let stream = l.b.relu(stream);
            let y = l.b.global_average_pool(stream);
            let y = l.b.flatten(y);
            l.linear(y, width, 4)
        }
        Structure::DenseConcat => {
            let x = l.b.input("x", &image);
            let first = l.conv_relu(x, 3, n1, 3);
            let second = l.conv_relu(first, n1, n2, 3);
            let both = l.b.concat(&[first, second], 1);
            let third = l.conv_relu(both, n1 + n2, n3, 3);
            let all = l.b.concat(&[both, third], 1);
            let y = l.b.flatten(all);
            l.linear(y, (n1 + n2 + n3) * 36, 4)
        }
        Structure::Depthwise => {
            let x = l.b.input("x", &image);
            let narrow = l.conv(x, 3, n1, 1, 1);
            let wide = l.conv_relu(narrow, n1, n2, 1);
            let depthwise = l.conv(wide, n2, n2, 3, n2);
            let depthwise = l.b.relu(depthwise);
            let back = l.conv(depthwise, n2, n1, 1, 1);
            let stream = l.b.add(narrow, back);
            let y = l.conv_relu(stream, n1, n3, 3);
            let y = l.b.mean(y, &[2, 3]);
            l.linear(y, n3, 4)
        }
    };
    l.b.output(y);
    l.b.finish().expect("a valid graph")
}

/// The number of groups that a structure has.
pub fn groups(structure: Structure) -> usize {
    match structure {
        Structure::Residual => 2,
        Structure::ResidualProjection => 4,
        Structure::ResidualPadded => 4,
        _ => 3,
    }
}
