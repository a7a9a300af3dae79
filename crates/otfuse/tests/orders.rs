//! Orders of neurons in places of their own: within each of several groups of channels, and along the positions of convolutions
//! that see one position at a time. Copies with other orders are recovered.

#[path = "support/networks.rs"]
#[allow(dead_code)]
mod networks;

use networks::{assert_close, model, uniform};
use otfuse::graph::{
    Attention, Binary, Conv, ConvTranspose, Einsum, Facts, Graph, GraphBuilder, NeuronGroups, Operator, Tensor, Unary,
    ValueId, Window, permute,
};
use otfuse::runtime::{Host, run_graph};
use otfuse::{Context, Fuse, random_inputs, random_orders};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

struct Net {
    b: GraphBuilder,
    random: ChaCha8Rng,
    weights: usize,
}

impl Net {
    fn new(name: &str) -> Self {
        Self { b: GraphBuilder::new(name), random: ChaCha8Rng::seed_from_u64(11), weights: 0 }
    }

    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let count = shape.iter().product();
        let values = (0..count).map(|_| uniform(&mut self.random) - 0.5).collect();
        self.weights += 1;
        self.b.initializer(&format!("w{}", self.weights), Tensor::from_f32(shape, values))
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.b.node(Operator::Unary(Unary::Relu), &[x])
    }

    fn conv(&mut self, x: ValueId, shape: &[usize; 4], groups: usize) -> ValueId {
        let (weight, bias) = (self.weight(shape), self.weight(&shape[..1]));
        self.b.conv(x, weight, Some(bias), Conv { groups, window: Window::default() })
    }

    /// Images with 8 channels that have no order yet.
    fn image(&mut self) -> ValueId {
        let x = self.b.input("x", &[Some(4), Some(3), Some(5), Some(5)]);
        let x = self.conv(x, &[8, 3, 1, 1], 1);
        self.relu(x)
    }

    fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.b.integers(shape);
        self.b.node(Operator::Reshape { allow_zero: false }, &[x, shape])
    }

    fn pooled(mut self, x: ValueId, channels: usize) -> Graph {
        let x = self.b.global_average_pool(x);
        let x = self.b.flatten(x);
        let head = self.weight(&[channels, 3]);
        let y = self.b.node(Operator::MatMul, &[x, head]);
        self.finish(y)
    }

    fn finish(mut self, y: ValueId) -> Graph {
        self.b.output(y);
        self.b.finish().unwrap()
    }
}

fn grouped_convolutions() -> Graph {
    let mut net = Net::new("grouped convolutions");
    let x = net.image();
    let x = net.conv(x, &[12, 4, 3, 3], 2);
    let x = net.relu(x);
    let x = net.conv(x, &[8, 12, 1, 1], 1);
    let x = net.relu(x);
    let x = net.conv(x, &[8, 2, 3, 3], 4);
    let x = net.relu(x);
    net.pooled(x, 8)
}

fn group_normalisation() -> Graph {
    let mut net = Net::new("group normalisation");
    let x = net.image();
    let (scale, bias) = (net.weight(&[8]), net.weight(&[8]));
    let x = net.b.node(Operator::GroupNormalization { groups: 2, epsilon: 1e-5, per_group: false }, &[x, scale, bias]);
    let x = net.relu(x);
    net.pooled(x, 8)
}

fn instance_normalised_groups() -> Graph {
    // As exported before the operator existed: groups are instances.
    let mut net = Net::new("instances");
    let x = net.image();
    let split = net.reshape(x, &[0, 2, -1]);
    let [ones, zeros] = [("ones", 1.0), ("zeros", 0.0)]
        .map(|(name, value)| net.b.initializer(name, Tensor::from_f32(&[2], vec![value; 2])));
    let x = net.b.node(Operator::InstanceNormalization { epsilon: 1e-5 }, &[split, ones, zeros]);
    let x = net.reshape(x, &[4, 8, 5, 5]);
    let (scale, bias) = (net.weight(&[8, 1, 1]), net.weight(&[8, 1, 1]));
    let x = net.b.node(Operator::Binary(Binary::Mul), &[x, scale]);
    let x = net.b.add(x, bias);
    let x = net.relu(x);
    net.pooled(x, 8)
}

fn grouped_transposed_convolution() -> Graph {
    let mut net = Net::new("transposed");
    let x = net.image();
    let (weight, bias) = (net.weight(&[8, 3, 2, 2]), net.weight(&[6]));
    let conv = ConvTranspose { groups: 2, window: Window::default(), output_padding: Vec::new(), output_shape: None };
    let x = net.b.node(Operator::ConvTranspose(conv), &[x, weight, bias]);
    let x = net.relu(x);
    net.pooled(x, 6)
}

fn stacked_experts() -> Graph {
    let mut net = Net::new("experts");
    let x = net.b.input("x", &[Some(4), Some(5)]);
    let stem = net.weight(&[5, 6]);
    let x = net.b.node(Operator::MatMul, &[x, stem]);
    let x = net.relu(x);
    let gate = net.weight(&[6, 3]);
    let gates = net.b.node(Operator::MatMul, &[x, gate]);
    let gates = net.b.node(Operator::Softmax { axis: -1 }, &[gates]);
    let einsum = |text| Operator::Einsum(Einsum::parse(text).unwrap());
    let (up, down) = (net.weight(&[3, 6, 7]), net.weight(&[3, 7, 6]));
    let hidden = net.b.node(einsum("bd,edh->beh"), &[x, up]);
    let hidden = net.relu(hidden);
    let each = net.b.node(einsum("beh,ehd->bed"), &[hidden, down]);
    let x = net.b.node(einsum("bed,be->bd"), &[each, gates]);
    let head = net.weight(&[6, 3]);
    let y = net.b.node(Operator::MatMul, &[x, head]);
    net.finish(y)
}

fn attention_operator() -> Graph {
    let mut net = Net::new("attention");
    let x = net.b.input("x", &[Some(2), Some(4), Some(5)]);
    let parts = [0; 3].map(|_| {
        let weight = net.weight(&[5, 6]);
        net.b.node(Operator::MatMul, &[x, weight])
    });
    let attention = Attention { heads: Some((2, 2)), ..Attention::default() };
    let y = net.b.node(Operator::Attention(attention), &parts);
    let head = net.weight(&[6, 3]);
    let y = net.b.node(Operator::MatMul, &[y, head]);
    net.finish(y)
}

/// The sizes of the groups whose order depends on another's.
fn inner(graph: &Graph) -> Vec<usize> {
    let groups = NeuronGroups::of(graph).unwrap();
    groups.iter().filter(|(_, group)| group.within.is_some()).map(|(_, group)| group.size).collect()
}

fn outputs(graph: &Graph) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let inputs = random_inputs(graph, &Facts::of(graph).unwrap(), &mut random).unwrap();
    let results = run_graph(graph, inputs, &Host::default()).unwrap();
    results.iter().flat_map(|(_, tensor)| tensor.to_f32().unwrap()).collect()
}

/// # Panics
/// If a copy with its neurons in other orders is another network, or fuses with the network into another one.
fn recovered(graph: &Graph) {
    let groups = NeuronGroups::of(graph).unwrap();
    for seed in 0..3 {
        let orders = random_orders(&groups, &mut ChaCha8Rng::seed_from_u64(seed));
        let copy = permute(graph, &groups, &orders).unwrap();
        assert_close(&outputs(&copy), &outputs(graph), 1e-4);
        let models = [model("copy", &copy), model("network", graph)];
        let fused = Fuse::new(&models).run(&Context::new()).unwrap().graph().unwrap();
        assert_close(&outputs(&fused), &outputs(graph), 1e-4);
    }
}

/// A mixer, as many are written: tokens are the channels of convolutions, so that the channels of the stream are positions.
fn tokens_mixed_by_convolutions(stride: usize) -> Graph {
    let mut net = Net::new("mixer");
    let x = net.b.input("x", &[Some(2), Some(3), Some(5)]);
    let stem = net.weight(&[5, 6]);
    let x = net.b.node(Operator::MatMul, &[x, stem]);
    let window = Window::uniform(1, stride, 0);
    let mix = |net: &mut Net, x: ValueId, shape: &[usize; 3]| {
        let (weight, bias) = (net.weight(shape), net.weight(&shape[..1]));
        net.b.conv(x, weight, Some(bias), Conv { groups: 1, window: window.clone() })
    };
    let mixed = mix(&mut net, x, &[7, 3, 1]);
    let mixed = net.relu(mixed);
    let x = mix(&mut net, mixed, &[3, 7, 1]);
    let head = net.weight(&[if stride == 1 { 6 } else { 2 }, 3]);
    let y = net.b.node(Operator::MatMul, &[x, head]);
    net.finish(y)
}

fn sizes(graph: &Graph) -> Vec<usize> {
    NeuronGroups::of(graph).unwrap().iter().map(|(_, group)| group.size).collect()
}

#[test]
fn positions_that_no_window_joins_are_neurons() {
    assert_eq!(sizes(&tokens_mixed_by_convolutions(1)), [6, 7]);
    assert_eq!(sizes(&tokens_mixed_by_convolutions(2)), [7]);
    recovered(&tokens_mixed_by_convolutions(1));
}

#[test]
fn each_group_has_an_order_of_its_own_which_is_found() {
    let cases: [(Graph, &[usize]); 6] = [
        (grouped_convolutions(), &[4, 6, 2, 2]),
        (group_normalisation(), &[4]),
        (instance_normalised_groups(), &[4]),
        (grouped_transposed_convolution(), &[4, 3]),
        (stacked_experts(), &[7]),
        (attention_operator(), &[3, 3]),
    ];
    for (graph, expected) in cases {
        let name = graph.name().to_owned();
        assert_eq!(inner(&graph), expected, "{name}");
        recovered(&graph);
    }
}

#[test]
fn groups_that_meet_share_an_order() {
    // The groups of one convolution are summed behind it, and so are channels at the same place in each.
    let mut net = Net::new("summed");
    let x = net.image();
    let x = net.conv(x, &[8, 4, 1, 1], 2);
    let x = net.relu(x);
    let x = net.reshape(x, &[0, 2, 4, 25]);
    let x = net.b.mean(x, &[1]);
    let head = net.weight(&[25, 3]);
    let y = net.b.node(Operator::MatMul, &[x, head]);
    let graph = net.finish(y);
    // Only those in front of the convolution are free in each group.
    assert_eq!(inner(&graph), [4]);
}
