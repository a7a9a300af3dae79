//! Small networks.

use std::path::Path;

use otfuse::formats::onnx::proto::ModelProto;
use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::graph::{Binary, Conv, Graph, GraphBuilder, GraphEditor, Operator, Tensor, Unary, ValueId, Window};
use otfuse::runtime::mlp;

/// A perceptron; sound widths only.
pub fn perceptron(widths: &[usize], seed: u64) -> Graph {
    mlp(widths, seed).expect("sound widths")
}

/// A tensor of small numbers that differ.
pub fn numbers(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_f32(shape, (0..count).map(|at| (at * 7 % 11) as f32 / 11.0 - 0.5).collect())
}

/// The graph with one value of one tensor replaced.
pub fn with_value(graph: &Graph, tensor: &str, value: f32) -> Graph {
    let id = graph.find_value(tensor).expect("a tensor of the graph");
    let old = graph.initializer(id).expect("a constant");
    let mut values = old.to_f32().expect("floats");
    values[1] = value;
    let new = Tensor::from_f32(old.shape(), values);
    let mut editor = GraphEditor::edit(graph.clone());
    editor.set_tensor(id, new);
    editor.finish().expect("sound")
}

/// 4 - 6 - 3 with the activation that `activate` adds between the layers.
pub fn two_layers(activate: impl FnOnce(&mut GraphBuilder, ValueId, ValueId) -> ValueId) -> Graph {
    let mut b = GraphBuilder::new("two_layers");
    let x = b.input("input", &[None, Some(4)]);
    let first = b.initializer("fc1.weight", numbers(&[6, 4]));
    let bias = b.initializer("fc1.bias", numbers(&[6]));
    let hidden = b.linear(x, first, Some(bias));
    let hidden = activate(&mut b, x, hidden);
    let second = b.initializer("fc2.weight", numbers(&[3, 6]));
    let bias = b.initializer("fc2.bias", numbers(&[3]));
    let y = b.linear(hidden, second, Some(bias));
    b.output(y);
    b.finish().expect("sound")
}

/// With another activation.
pub fn sigmoid() -> Graph {
    two_layers(|b, _, hidden| b.node(Operator::Unary(Unary::Sigmoid), &[hidden]))
}

/// With the same nodes behind each other in another way: the activation joins its own input.
pub fn rewired(is_sum: bool) -> Graph {
    two_layers(|b, _, hidden| {
        let active = b.relu(hidden);
        let other = if is_sum { active } else { hidden };
        b.node(Operator::Binary(Binary::Add), &[active, other])
    })
}

/// With an operator that nobody knows between the layers, in a file.
pub fn mystery(path: &Path) {
    let mut proto: ModelProto = to_proto(&sigmoid()).expect("sound");
    let graph = proto.graph.as_mut().expect("a graph");
    let node = graph.node.iter_mut().find(|node| node.op_type.as_deref() == Some("Sigmoid")).expect("an activation");
    node.op_type = Some("Mystery".into());
    node.name = Some("strange".into());
    write_onnx(path, proto, &WriteOptions::default()).expect("written");
}

/// A convolution over images of `channels` x 8 x 8, then 10 classes.
pub fn convolutional(channels: usize) -> Graph {
    let mut b = GraphBuilder::new("convolutional");
    let x = b.input("input", &[None, Some(channels), Some(8), Some(8)]);
    let weight = b.initializer("conv.weight", numbers(&[5, channels, 3, 3]));
    let conv = Conv { window: Window::uniform(2, 1, 1), groups: 1 };
    let x = b.conv(x, weight, None, conv);
    let x = b.relu(x);
    let x = b.global_average_pool(x);
    let x = b.flatten(x);
    let weight = b.initializer("fc.weight", numbers(&[10, 5]));
    let y = b.linear(x, weight, None);
    b.output(y);
    b.finish().expect("sound")
}
