//! Training of networks of several families against PyTorch (`golden/gen_training.py`): six steps over all samples.
#![cfg(feature = "training")]

use std::collections::BTreeMap;

use otfuse_graph::{
    Cell, Conv, ConvTranspose, Graph, GraphBuilder, Operator, Recurrent, Tensor, Unary, ValueId, Window,
};
use otfuse_runtime::Host;
use otfuse_runtime::dataset::Dataset;
use otfuse_runtime::train::{Optimizer, TrainSettings, train};
use serde_json::Value;

fn numbers(count: usize, seed: usize, scale: f64, offset: f64) -> Vec<f32> {
    (0..count).map(|k| (offset + scale * (12.9898 * seed as f64 + 0.618 * k as f64).sin()) as f32).collect()
}

/// A network whose parameters are numbered in the order in which they are asked for, which is that of PyTorch's names.
struct Sketch {
    builder: GraphBuilder,
    parameters: usize,
}

impl Sketch {
    fn new(shape: &[usize]) -> (Self, ValueId) {
        let mut builder = GraphBuilder::new("network");
        let shape: Vec<_> = std::iter::once(None).chain(shape.iter().copied().map(Some)).collect();
        let input = builder.input("x", &shape);
        (Self { builder, parameters: 0 }, input)
    }

    fn values(&mut self, shape: &[usize], scale: f64, offset: f64) -> Tensor {
        self.parameters += 1;
        Tensor::from_f32(shape, numbers(shape.iter().product(), self.parameters, scale, offset))
    }

    fn parameter(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let values = self.values(shape, 0.4, 0.0);
        self.builder.initializer(name, values)
    }

    fn linear(&mut self, name: &str, x: ValueId, [outputs, inputs]: [usize; 2]) -> ValueId {
        let weight = self.parameter(&format!("{name}.weight"), &[outputs, inputs]);
        let bias = self.parameter(&format!("{name}.bias"), &[outputs]);
        self.builder.linear(x, weight, Some(bias))
    }

    fn conv(&mut self, name: &str, shape: [usize; 4], stride: usize) -> Layer {
        let weight = self.parameter(&format!("{name}.weight"), &shape);
        Layer { weight, stride, padding: usize::from(shape[2] == 3) }
    }

    fn norm(&mut self, name: &str, channels: usize) -> [ValueId; 4] {
        let scale = self.values(&[channels], 0.3, 1.0);
        let bias = self.values(&[channels], 0.4, 0.0);
        let fixed = |value| Tensor::from_f32(&[channels], vec![value; channels]);
        [("weight", scale), ("bias", bias), ("running_mean", fixed(0.0)), ("running_var", fixed(1.0))]
            .map(|(part, tensor)| self.builder.initializer(&format!("{name}.{part}"), tensor))
    }

    /// Convolution and normalisation.
    fn layer(&mut self, x: ValueId, conv: &Layer, norm: [ValueId; 4]) -> ValueId {
        let window = Window::uniform(2, conv.stride, conv.padding);
        let y = self.builder.conv(x, conv.weight, None, Conv { groups: 1, window });
        self.builder.batch_norm(y, norm, 1e-5)
    }

    /// A layer of one direction with its parameters in PyTorch's shapes; batches first.
    fn recurrent(
        &mut self,
        x: ValueId,
        names: [&str; 4],
        cell: Cell,
        [hidden, inputs]: [usize; 2],
        reverse: bool,
    ) -> Vec<ValueId> {
        let rows = cell.gates() * hidden;
        let [w, r, bw, br] = [vec![rows, inputs], vec![rows, hidden], vec![rows], vec![rows]];
        let [w, r, bw, br] = [(names[0], w), (names[1], r), (names[2], bw), (names[3], br)]
            .map(|(name, shape)| self.parameter(name, &shape));
        let axis = self.builder.integers(&[0]);
        let bias = self.builder.concat(&[bw, br], 0);
        let [w, r, bias] = [w, r, bias].map(|value| self.builder.node(Operator::Unsqueeze, &[value, axis]));
        let activations = cell.activations().to_vec();
        let layer = Recurrent { cell, hidden, reverse, batch_first: true, activations, clip: None };
        let inputs = vec![Some(x), Some(w), Some(r), Some(bias)];
        self.builder.node_with_options(Operator::Recurrent(layer), inputs, 2)
    }

    fn finish(mut self, output: ValueId) -> Graph {
        self.builder.output(output);
        self.builder.finish().unwrap()
    }
}

struct Layer {
    weight: ValueId,
    stride: usize,
    padding: usize,
}

fn residual() -> Graph {
    let (mut sketch, x) = Sketch::new(&[2, 4, 4]);
    let (stem, norm) = (sketch.conv("stem", [4, 2, 3, 3], 1), sketch.norm("bn", 4));
    let (a1, an1) = (sketch.conv("a1", [4, 4, 3, 3], 1), sketch.norm("an1", 4));
    let (a2, an2) = (sketch.conv("a2", [4, 4, 3, 3], 1), sketch.norm("an2", 4));
    let (b1, bn1) = (sketch.conv("b1", [6, 4, 3, 3], 2), sketch.norm("bn1", 6));
    let (b2, bn2) = (sketch.conv("b2", [6, 6, 3, 3], 1), sketch.norm("bn2", 6));
    let (short, sn) = (sketch.conv("short", [6, 4, 1, 1], 2), sketch.norm("sn", 6));
    let x = sketch.layer(x, &stem, norm);
    let x = sketch.builder.relu(x);
    let y = sketch.layer(x, &a1, an1);
    let y = sketch.builder.relu(y);
    let y = sketch.layer(y, &a2, an2);
    let x = sketch.builder.add(x, y);
    let x = sketch.builder.relu(x);
    let y = sketch.layer(x, &b1, bn1);
    let y = sketch.builder.relu(y);
    let y = sketch.layer(y, &b2, bn2);
    let x = sketch.layer(x, &short, sn);
    let x = sketch.builder.add(y, x);
    let x = sketch.builder.relu(x);
    let x = sketch.builder.global_average_pool(x);
    let x = sketch.builder.flatten(x);
    let x = sketch.linear("fc", x, [3, 6]);
    sketch.finish(x)
}

fn transposed() -> Graph {
    let (mut sketch, x) = Sketch::new(&[2, 4, 4]);
    let [down, down_bias] =
        [("down.weight", vec![4, 2, 2, 2]), ("down.bias", vec![4])].map(|(name, shape)| sketch.parameter(name, &shape));
    let [up, up_bias] =
        [("up.weight", vec![4, 3, 3, 3]), ("up.bias", vec![3])].map(|(name, shape)| sketch.parameter(name, &shape));
    let grouped = sketch.parameter("grouped.weight", &[3, 1, 2, 2]);
    let tanh = |sketch: &mut Sketch, x| sketch.builder.node(Operator::Unary(Unary::Tanh), &[x]);
    let x = sketch.builder.conv(x, down, Some(down_bias), Conv { groups: 1, window: Window::uniform(2, 2, 0) });
    let x = tanh(&mut sketch, x);
    let transposed = |groups, window, output_padding: &[usize]| {
        let output_padding = output_padding.to_vec();
        Operator::ConvTranspose(ConvTranspose { groups, window, output_padding, output_shape: None })
    };
    let x = sketch.builder.node(transposed(1, Window::uniform(2, 2, 1), &[1, 1]), &[x, up, up_bias]);
    let x = tanh(&mut sketch, x);
    let x = sketch.builder.node(transposed(3, Window::uniform(2, 1, 0), &[]), &[x, grouped]);
    let x = tanh(&mut sketch, x);
    let x = sketch.builder.flatten(x);
    let x = sketch.linear("fc", x, [3, 75]);
    sketch.finish(x)
}

fn lstm() -> Graph {
    let (mut sketch, x) = Sketch::new(&[5, 3]);
    let cell = Cell::Lstm { input_forget: false };
    let forward = ["layer.weight_ih_l0", "layer.weight_hh_l0", "layer.bias_ih_l0", "layer.bias_hh_l0"];
    let backward = forward.map(|name| format!("{name}_reverse"));
    let forward = sketch.recurrent(x, forward, cell, [4, 3], false)[1];
    let backward = sketch.recurrent(x, backward.each_ref().map(String::as_str), cell, [4, 3], true)[1];
    let states = sketch.builder.concat(&[forward, backward], 2);
    let states = sketch.builder.flatten(states);
    let x = sketch.linear("fc", states, [3, 8]);
    sketch.finish(x)
}

fn gru() -> Graph {
    let (mut sketch, mut x) = Sketch::new(&[5, 3]);
    let cell = Cell::Gru { linear_before_reset: true };
    for (layer, inputs) in [(0, 3), (1, 5)] {
        let names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| format!("layer.{name}_l{layer}"));
        let steps = sketch.recurrent(x, names.each_ref().map(String::as_str), cell, [5, inputs], false)[0];
        let axis = sketch.builder.integers(&[2]);
        x = sketch.builder.node(Operator::Squeeze, &[steps, axis]);
    }
    let mean = sketch.builder.mean(x, &[1]);
    let mean = sketch.builder.flatten(mean);
    let x = sketch.linear("fc", mean, [3, 5]);
    sketch.finish(x)
}

#[test]
fn families_agree_with_pytorch() {
    let golden: BTreeMap<String, Value> = serde_json::from_str(include_str!("golden/training.json")).unwrap();
    let momentum = Optimizer::Sgd { momentum: 0.9, nesterov: false };
    let sgd = TrainSettings {
        epochs: 6,
        batch_size: 9,
        learning_rate: 0.1,
        optimizer: momentum,
        validation: 0.0,
        ..TrainSettings::default()
    };
    let adam = Optimizer::Adam { betas: (0.9, 0.999), epsilon: 1e-8 };
    for (name, graph, settings) in [
        ("residual", residual(), TrainSettings { weight_decay: 0.01, ..sgd.clone() }),
        ("transposed", transposed(), sgd.clone()),
        ("lstm", lstm(), sgd.clone()),
        ("gru", gru(), TrainSettings { optimizer: adam, learning_rate: 0.01, ..sgd.clone() }),
    ] {
        let input = graph.value(graph.inputs()[0]).declared.as_ref().unwrap().shape.as_ref().unwrap();
        let shape: Vec<usize> = input.iter().skip(1).map(|dim| dim.as_known().unwrap()).collect();
        let values = numbers(9 * shape.iter().product::<usize>(), 50, 1.0, 0.0);
        let samples = Dataset::from_floats("samples", shape, values, (0..9).map(|k| k % 3).collect(), 3).unwrap();
        let trained = train(&graph, &samples, &settings, &Host::default(), &mut |_| {}).unwrap();
        let loss = golden[name]["loss"].as_f64().unwrap();
        assert!((trained.history[5].loss - loss).abs() < 1e-4, "{name}: {loss}, {}", trained.history[5].loss);
        let weights = golden[name]["weights"].as_object().unwrap();
        let mut compared = 0;
        for (id, tensor) in trained.graph.initializers() {
            let Some(expected) = weights.get(&trained.graph.value(id).name) else { continue };
            compared += 1;
            for (found, expected) in tensor.to_f32().unwrap().iter().zip(expected.as_array().unwrap()) {
                let (expected, weight) = (expected.as_f64().unwrap() as f32, &trained.graph.value(id).name);
                assert!((found - expected).abs() < 2e-4, "{name}, {weight}: expected {expected}, found {found}");
            }
        }
        assert_eq!(compared, weights.len(), "{name}");
    }
}
