//! What the networks are made of.

use otfuse::graph::{Binary, Conv, DataType, Graph, GraphBuilder, Operator, Tensor, Unary, ValueId, Window};

/// A graph under construction, with weights that are random but always the same.
pub struct Workshop {
    pub builder: GraphBuilder,
    state: u64,
    count: usize,
}

impl Workshop {
    pub fn new() -> Self {
        Self { builder: GraphBuilder::new("probe"), state: 7, count: 0 }
    }

    fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}{}", self.count)
    }

    /// A float32 input.
    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        let name = self.name("x");
        let shape: Vec<Option<usize>> = shape.iter().copied().map(Some).collect();
        self.builder.input(&name, &shape)
    }

    /// Numbers evenly spread over (low, high).
    pub fn between(&mut self, shape: &[usize], low: f32, high: f32) -> ValueId {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|_| {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            low + (high - low) * ((self.state >> 40) as f32 / 16_777_216.0)
        });
        let values = values.collect();
        let name = self.name("w");
        self.builder.initializer(&name, Tensor::from_f32(shape, values))
    }

    pub fn weight(&mut self, shape: &[usize]) -> ValueId {
        self.between(shape, -1.0, 1.0)
    }

    pub fn scalar(&mut self, value: f32) -> ValueId {
        let name = self.name("c");
        self.builder.initializer(&name, Tensor::scalar(value))
    }

    /// Constant integers of a type of one byte, or of 64 bits.
    pub fn integers(&mut self, data_type: DataType, shape: &[usize], values: &[i64]) -> ValueId {
        let size = data_type.size();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(size)).collect();
        let name = self.name("i");
        self.builder.initializer(&name, Tensor::new(data_type, shape.to_vec(), bytes.into()).expect("a tensor"))
    }

    pub fn node(&mut self, operator: &Operator, inputs: &[ValueId]) -> ValueId {
        self.builder.node(operator.clone(), inputs)
    }

    pub fn unary(&mut self, unary: Unary, x: ValueId) -> ValueId {
        self.builder.node(Operator::Unary(unary), &[x])
    }

    pub fn cast(&mut self, x: ValueId, to: DataType) -> ValueId {
        self.builder.node(Operator::Cast { to }, &[x])
    }

    /// Six neurons for each of `rows` samples.
    pub fn hidden_of(&mut self, rows: usize) -> ValueId {
        let (x, w) = (self.input(&[rows, 5]), self.weight(&[5, 6]));
        self.builder.node(Operator::MatMul, &[x, w])
    }

    pub fn hidden(&mut self) -> ValueId {
        self.hidden_of(2)
    }

    /// Truth values of six neurons.
    pub fn truths(&mut self) -> ValueId {
        let (x, zero) = (self.hidden(), self.scalar(0.0));
        self.builder.node(Operator::Binary(Binary::Greater), &[x, zero])
    }

    /// Whole numbers of six neurons.
    pub fn numbers(&mut self, to: DataType) -> ValueId {
        let (x, ten) = (self.hidden(), self.scalar(10.0));
        let x = self.builder.node(Operator::Binary(Binary::Mul), &[x, ten]);
        self.cast(x, to)
    }

    /// Channels of 4 x 4 positions.
    pub fn image(&mut self, channels: usize) -> ValueId {
        let (x, w) = (self.input(&[2, 3, 4, 4]), self.weight(&[channels, 3, 1, 1]));
        self.builder.conv(x, w, None, Conv { groups: 1, window: Window::default() })
    }

    /// Three outputs for each row of `width` neurons.
    pub fn dense(mut self, x: ValueId, width: usize) -> Graph {
        let w = self.weight(&[width, 3]);
        let y = self.builder.node(Operator::MatMul, &[x, w]);
        self.finish(y)
    }

    /// As [`dense`](Self::dense) for integers and truth values.
    pub fn dense_cast(mut self, x: ValueId, width: usize) -> Graph {
        let x = self.cast(x, DataType::F32);
        self.dense(x, width)
    }

    /// Three outputs for each position of `channels` channels.
    pub fn pointwise(mut self, x: ValueId, channels: usize) -> Graph {
        let w = self.weight(&[3, channels, 1, 1]);
        let y = self.builder.conv(x, w, None, Conv { groups: 1, window: Window::default() });
        self.finish(y)
    }

    pub fn finish(mut self, y: ValueId) -> Graph {
        self.builder.output(y);
        self.builder.finish().expect("a sound graph")
    }
}
