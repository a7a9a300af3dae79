//! Graphs written as expressions, for catalogues and tests.

use crate::error::GraphError;
use crate::graph::{Declared, Graph};
use crate::{
    Binary, Conv, DataType, Dim, Gemm, GraphEditor, Operator, Pool, PoolKind, Reduce, ReduceKind, Shape, Tensor, Unary,
    ValueId, Window,
};

/// Builds a graph node by node; every method returns the value that it computes.
///
/// ```
/// use otfuse_graph::{GraphBuilder, Tensor};
///
/// let mut b = GraphBuilder::new("perceptron");
/// let x = b.input("x", &[None, Some(4)]);
/// let w = b.initializer("fc.weight", Tensor::from_f32(&[3, 4], vec![0.0; 12]));
/// let hidden = b.linear(x, w, None);
/// let y = b.relu(hidden);
/// b.output(y);
/// let graph = b.finish().unwrap();
/// assert_eq!(graph.nodes().len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    editor: GraphEditor,
    count: usize,
}

impl GraphBuilder {
    /// Starts an empty graph.
    pub fn new(name: &str) -> Self {
        Self { editor: GraphEditor::new(name), count: 0 }
    }

    /// A float32 input; `None` stands for the batch axis.
    pub fn input(&mut self, name: &str, shape: &[Option<usize>]) -> ValueId {
        let shape = shape.iter().map(|dim| dim.map_or_else(|| Dim::symbol("batch"), Dim::known)).collect();
        self.input_of(name, DataType::F32, shape)
    }

    /// An input of any type and shape.
    pub fn input_of(&mut self, name: &str, data_type: DataType, shape: Shape) -> ValueId {
        let declared = Declared { data_type, shape: Some(shape) };
        let value = self.editor.add_value(name, Some(declared));
        self.editor.add_input(value);
        value
    }

    /// A constant tensor.
    pub fn initializer(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.editor.add_initializer(name, tensor)
    }

    /// A tensor that is part of the architecture, not learned: see [`GraphEditor::add_constant`].
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.count += 1;
        let name = format!("constant_{}", self.count);
        self.editor.add_constant(name, tensor)
    }

    /// Gives a computed value the name under which it is an output.
    pub fn named(&mut self, value: ValueId, name: &str) -> ValueId {
        let named = self.editor.add_value(name, None);
        self.editor.add_node(name, Operator::Identity, vec![Some(value)], vec![Some(named)]);
        named
    }

    /// A constant list of integers, as axes and shapes are given.
    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        self.count += 1;
        let name = format!("integers_{}", self.count);
        self.initializer(&name, Tensor::from_i64(&[values.len()], values.to_vec()))
    }

    /// Any operator with one output.
    pub fn node(&mut self, operator: Operator, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.node_with_options(operator, inputs, 1)[0]
    }

    /// Any operator, with optional inputs and several outputs.
    pub fn node_with_options(
        &mut self,
        operator: Operator,
        inputs: Vec<Option<ValueId>>,
        outputs: usize,
    ) -> Vec<ValueId> {
        self.count += 1;
        let name = format!("{}_{}", operator.name(), self.count);
        let outputs: Vec<_> = (0..outputs)
            .map(|i| {
                let name = if outputs == 1 { format!("{name}_output") } else { format!("{name}_output_{i}") };
                self.editor.add_value(name, None)
            })
            .collect();
        self.editor.add_node(name, operator, inputs, outputs.iter().copied().map(Some).collect());
        outputs
    }

    /// `x W^t + b` with W of shape outputs x inputs, as PyTorch's `Linear` keeps it.
    pub fn linear(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>) -> ValueId {
        let gemm = Operator::Gemm(Gemm { transpose_b: true, ..Gemm::default() });
        self.node_with_options(gemm, vec![Some(x), Some(weight), bias], 1)[0]
    }

    /// A convolution.
    pub fn conv(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>, conv: Conv) -> ValueId {
        self.node_with_options(Operator::Conv(conv), vec![Some(x), Some(weight), bias], 1)[0]
    }

    /// Batch normalisation; `parameters` are scale, bias, running mean and running variance.
    pub fn batch_norm(&mut self, x: ValueId, parameters: [ValueId; 4], epsilon: f32) -> ValueId {
        let [scale, bias, mean, variance] = parameters;
        self.node(Operator::BatchNormalization { epsilon }, &[x, scale, bias, mean, variance])
    }

    /// The rectifier.
    pub fn relu(&mut self, x: ValueId) -> ValueId {
        self.node(Operator::Unary(Unary::Relu), &[x])
    }

    /// The sum of two values.
    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.node(Operator::Binary(Binary::Add), &[a, b])
    }

    /// Several values side by side.
    pub fn concat(&mut self, values: &[ValueId], axis: i64) -> ValueId {
        self.node(Operator::Concat { axis }, values)
    }

    /// A max pool with square windows, no padding and stride = size.
    pub fn max_pool(&mut self, x: ValueId, size: usize) -> ValueId {
        self.pool(x, PoolKind::Max, size, Window::uniform(2, size, 0))
    }

    /// A pool over square windows.
    pub fn pool(&mut self, x: ValueId, kind: PoolKind, size: usize, window: Window) -> ValueId {
        let pool = Pool { kind, kernel: vec![size; 2], window, ceil: false, count_include_pad: false };
        self.node(Operator::Pool(pool), &[x])
    }

    /// The mean over all positions; spatial axes become 1.
    pub fn global_average_pool(&mut self, x: ValueId) -> ValueId {
        self.node(Operator::GlobalPool(PoolKind::Average), &[x])
    }

    /// All axes behind the batch axis as one.
    pub fn flatten(&mut self, x: ValueId) -> ValueId {
        self.node(Operator::Flatten { axis: 1 }, &[x])
    }

    /// The mean over some axes, which disappear.
    pub fn mean(&mut self, x: ValueId, axes: &[i64]) -> ValueId {
        let axes = self.integers(axes);
        let reduce = Reduce { kind: ReduceKind::Mean, keep_dims: false, noop_with_empty_axes: false };
        self.node(Operator::Reduce(reduce), &[x, axes])
    }

    /// Makes a value an output of the network.
    pub fn output(&mut self, value: ValueId) {
        self.editor.add_output(value);
    }

    /// The graph, its invariants checked.
    pub fn finish(self) -> Result<Graph, GraphError> {
        self.editor.finish()
    }
}
