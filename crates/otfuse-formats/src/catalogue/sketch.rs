//! The graph, layer by layer.

use std::collections::HashSet;

use otfuse_graph::{
    Binary, Conv, DataType, Declared, Dim, Facts, Gemm, Graph, GraphEditor, NodeId, Operator, PadMode, Pool, PoolKind,
    Tensor, Unary, ValueId, Window,
};

use super::error::Misfit;
use super::layers::{Layer, Layers, Named};
use super::{INPUT, OUTPUT};

/// PyTorch's default of every batch normalisation.
const EPSILON: f32 = 1e-5;

/// A network under construction: a current value, to which layers are applied.
pub(super) struct Sketch<'a> {
    editor: GraphEditor,
    layers: &'a Layers<'a>,
    /// Paths of the layers that are part of the network by now.
    drawn: HashSet<String>,
    data_type: DataType,
    last: Option<NodeId>,
    count: usize,
}

impl<'a> Sketch<'a> {
    /// Starts a network with an input of shape batch, `shape`..
    pub(super) fn new(name: &str, layers: &'a Layers<'a>, shape: &[usize]) -> (Self, ValueId) {
        let mut editor = GraphEditor::new(name);
        // Values get names in the order in which they ask: the state dict's come first, as they must stay.
        for name in layers.names() {
            editor.add_value(*name, None);
        }
        let data_type = layers.iter().next().map_or(DataType::F32, |layer| layer.weight.tensor.data_type());
        let batch = Dim::symbol("batch");
        let shape = std::iter::once(batch).chain(shape.iter().copied().map(Dim::known)).collect();
        let input = editor.add_value(INPUT, Some(Declared { data_type, shape: Some(shape) }));
        editor.add_input(input);
        (Self { editor, layers, drawn: HashSet::new(), data_type, last: None, count: 0 }, input)
    }

    fn weight(&mut self, named: &Named<'_>) -> ValueId {
        let value = self.editor.find(named.name).unwrap_or_else(|| self.editor.add_value(named.name, None));
        self.editor.set_tensor(value, named.tensor.clone());
        value
    }

    fn node(&mut self, name: &str, operator: Operator, inputs: Vec<Option<ValueId>>) -> ValueId {
        let output = self.editor.add_value(format!("{name}.output"), None);
        self.last = Some(self.editor.add_node(name, operator, inputs, vec![Some(output)]));
        output
    }

    /// A node without weights, numbered.
    fn step(&mut self, operator: Operator, inputs: &[ValueId]) -> ValueId {
        self.count += 1;
        let name = format!("{}_{}", operator.name().to_ascii_lowercase(), self.count);
        self.node(&name, operator, inputs.iter().copied().map(Some).collect())
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> ValueId {
        self.editor.add_initializer(name, Tensor::from_i64(&[values.len()], values.to_vec()))
    }

    /// A layer with weights: `x W^t + b`, a convolution of one stride and padding, or a batch normalisation.
    fn layer(&mut self, x: ValueId, layer: &Layer<'_>, operator: Operator) -> ValueId {
        self.drawn.insert(layer.path.clone());
        let mut inputs = vec![Some(x), Some(self.weight(&layer.weight))];
        inputs.extend(layer.bias.map(|bias| Some(self.weight(&bias))));
        for statistic in layer.statistics.iter().flatten() {
            inputs.push(Some(self.weight(statistic)));
        }
        let name = if layer.path.is_empty() { "layer" } else { &layer.path };
        self.node(name, operator, inputs)
    }

    pub(super) fn linear(&mut self, x: ValueId, layer: &Layer<'_>) -> ValueId {
        self.layer(x, layer, Operator::Gemm(Gemm { transpose_b: true, ..Gemm::default() }))
    }

    pub(super) fn conv(&mut self, x: ValueId, layer: &Layer<'_>, groups: usize, stride: usize, pad: usize) -> ValueId {
        self.layer(x, layer, Operator::Conv(Conv { groups, window: Window::uniform(2, stride, pad) }))
    }

    pub(super) fn norm(&mut self, x: ValueId, layer: &Layer<'_>) -> ValueId {
        self.layer(x, layer, Operator::BatchNormalization { epsilon: EPSILON })
    }

    pub(super) fn relu(&mut self, x: ValueId) -> ValueId {
        self.step(Operator::Unary(Unary::Relu), &[x])
    }

    pub(super) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.step(Operator::Binary(Binary::Add), &[a, b])
    }

    pub(super) fn max_pool(&mut self, x: ValueId, size: usize, stride: usize, pad: usize) -> ValueId {
        let window = Window::uniform(2, stride, pad);
        let pool = Pool { kind: PoolKind::Max, kernel: vec![size; 2], window, ceil: false, count_include_pad: false };
        self.step(Operator::Pool(pool), &[x])
    }

    pub(super) fn global_average_pool(&mut self, x: ValueId) -> ValueId {
        self.step(Operator::GlobalPool(PoolKind::Average), &[x])
    }

    pub(super) fn flatten(&mut self, x: ValueId) -> ValueId {
        self.step(Operator::Flatten { axis: 1 }, &[x])
    }

    /// Every `stride`-th position, and `pad` channels of zeros on both sides: He et al.'s shortcut A.
    pub(super) fn zero_padded(&mut self, x: ValueId, stride: usize, pad: usize) -> ValueId {
        let mut x = x;
        self.count += 1;
        let name = format!("shortcut_{}", self.count);
        if stride > 1 {
            let end = i64::from(i32::MAX);
            let bounds = [("starts", [0; 2]), ("ends", [end; 2]), ("axes", [2, 3]), ("steps", [stride as i64; 2])];
            let bounds = bounds.map(|(kind, values)| Some(self.integers(&format!("{name}.{kind}"), &values)));
            let inputs = std::iter::once(Some(x)).chain(bounds).collect();
            x = self.node(&format!("{name}.slice"), Operator::Slice, inputs);
        }
        if pad > 0 {
            let pad = pad as i64;
            let pads = self.integers(&format!("{name}.pads"), &[0, pad, 0, 0, 0, pad, 0, 0]);
            let zero = Tensor::from_f32_as(self.data_type, &[], vec![0.0]);
            let zero = self.editor.add_initializer(format!("{name}.zero"), zero);
            x = self.node(
                &format!("{name}.pad"),
                Operator::Pad(PadMode::Constant),
                vec![Some(x), Some(pads), Some(zero)],
            );
        }
        x
    }

    /// The graph. All layers must be part of it, and its shapes must agree.
    pub(super) fn finish(mut self, output: ValueId) -> Result<Graph, Misfit> {
        if let Some(layer) = self.layers.iter().find(|layer| !self.drawn.contains(&layer.path)) {
            return Err(layer.weight.misfit("no tensor of this name in the network that the others make"));
        }
        // The last node is written again, so that its result has the name of the network's output.
        let node = self.last.map(|id| (id, self.editor.graph().node(id).clone()));
        let named = self.editor.add_value(OUTPUT, None);
        if let Some((id, node)) = node.filter(|(_, node)| node.output(0) == Some(output)) {
            self.editor.remove_node(id);
            self.editor.add_node(node.name, node.operator, node.inputs, vec![Some(named)]);
        } else {
            self.editor.add_node(OUTPUT, Operator::Identity, vec![Some(output)], vec![Some(named)]);
        }
        self.editor.add_output(named);
        let graph = self.editor.finish().map_err(|error| Misfit::Graph { found: error.to_string() })?;
        Facts::of(&graph).map_err(|error| Misfit::Graph { found: error.to_string() })?;
        Ok(graph)
    }
}
