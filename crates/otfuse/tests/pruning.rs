//! Pruned networks compute what the networks compute without the neurons.

use std::collections::BTreeMap;

use otfuse::architecture;
use otfuse::fusion::{PruneSettings, prune};
use otfuse::graph::{Conv, Graph, GraphBuilder, GraphEditor, NeuronGroups, Operator, Role, Tensor, Window, select};
use otfuse::runtime::{Host, initialised, run_graph};

/// The network with the neurons' outgoing weights zero where `chosen` does not keep them.
fn silenced(graph: &Graph, groups: &NeuronGroups, chosen: &[Vec<usize>]) -> Graph {
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, group) in groups.iter() {
        for member in group.members_as(Role::Consumer) {
            let tensor = editor.graph().initializer(member.initializer).expect("a weight").clone();
            let layout = &groups.layouts(member.initializer).expect("layouts")[member.axis];
            let neurons = layout.neurons(id, &|id| groups.group(id).size);
            let inner: usize = tensor.shape()[member.axis + 1..].iter().product();
            let mut values = tensor.to_f32().expect("floats");
            for (index, value) in values.iter_mut().enumerate() {
                let neuron = neurons[index / inner % neurons.len()];
                if neuron.is_some_and(|neuron| !chosen[id.index()].contains(&neuron)) {
                    *value = 0.0;
                }
            }
            editor.set_tensor(member.initializer, Tensor::from_f32(tensor.shape(), values));
        }
    }
    editor.finish().expect("the same graph")
}

fn outputs(graph: &Graph, shape: &[usize]) -> Vec<f32> {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|index| ((index * 37 % 101) as f32 - 50.0) / 40.0).collect();
    let name = graph.value(graph.inputs()[0]).name.clone();
    let found =
        run_graph(graph, BTreeMap::from([(name, Tensor::from_f32(shape, values))]), &Host::default()).expect("it runs");
    found.into_iter().flat_map(|(_, tensor)| tensor.to_f32().expect("floats")).collect()
}

/// Every third neuron goes.
fn two_thirds(groups: &NeuronGroups) -> Vec<Vec<usize>> {
    groups
        .iter()
        .map(|(_, group)| (0..group.size).filter(|neuron| group.size < 3 || neuron % 3 != 1).collect())
        .collect()
}

fn check(graph: &Graph, shape: &[usize]) {
    let groups = NeuronGroups::of(graph).expect("a sound graph");
    assert!(!groups.is_empty());
    let chosen = two_thirds(&groups);
    let smaller = select(graph, &groups, &chosen).expect("neurons can be taken out");
    let after = NeuronGroups::of(&smaller).expect("a sound graph");
    for ((_, group), (kept, (_, found))) in groups.iter().zip(chosen.iter().zip(after.iter())) {
        assert_eq!((kept.len(), group.members.len()), (found.size, found.members.len()));
    }
    let (expected, found) = (outputs(&silenced(graph, &groups, &chosen), shape), outputs(&smaller, shape));
    let scale = expected.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert!((expected - found).abs() < 1e-4 * scale, "{expected} {found}");
    }
    assert!(smaller.parameter_count() < graph.parameter_count());
}

#[test]
fn neurons_without_outgoing_weights_are_not_missed() {
    for (spec, shape) in [
        ("mlp:24-18-12-bn", vec![2, 64]),
        ("lenet", vec![2, 3, 32, 32]),
        ("vgg11-bn:0.125", vec![2, 3, 32, 32]),
        ("vgg11-nobias:0.125", vec![2, 3, 32, 32]),
        ("resnet20:0.75", vec![2, 3, 32, 32]),
        ("resnet18-nobn:0.125", vec![2, 3, 32, 32]),
    ] {
        let model = architecture(spec, &shape[1..], 10, 5).expect(spec);
        check(&model.graph, &shape);
    }
}

/// A depthwise convolution, a split, a reshape to attention-like parts, and a slice, all with lengths of their own.
#[test]
fn lengths_that_follow_from_the_neurons_are_adapted() {
    let mut builder = GraphBuilder::new("lengths");
    let x = builder.input("x", &[None, Some(3), Some(6), Some(6)]);
    let zeros = |shape: &[usize]| Tensor::from_f32(shape, vec![0.0; shape.iter().product()]);
    let wide = builder.initializer("wide", zeros(&[12, 3, 1, 1]));
    let y = builder.conv(x, wide, None, Conv::default());
    let deep = builder.initializer("deep", zeros(&[12, 1, 3, 3]));
    let y = builder.conv(y, deep, None, Conv { groups: 12, window: Window::uniform(2, 1, 1) });
    let y = builder.relu(y);
    let shape = builder.integers(&[0, 12, 36]);
    let y = builder.node(Operator::Reshape { allow_zero: false }, &[y, shape]);
    let (starts, ends, axes) = (builder.integers(&[6]), builder.integers(&[12]), builder.integers(&[1]));
    let second = builder.node(Operator::Slice, &[y, starts, ends, axes]);
    let (starts, ends) = (builder.integers(&[0]), builder.integers(&[6]));
    let first = builder.node(Operator::Slice, &[y, starts, ends, axes]);
    let y = builder.add(first, second);
    let y = builder.flatten(y);
    let head = builder.initializer("head", zeros(&[5, 6 * 36]));
    let y = builder.linear(y, head, None);
    builder.output(y);
    let graph = initialised(&builder.finish().expect("a sound graph"), 1).expect("a sound graph");
    check(&graph, &[2, 3, 6, 6]);
}

#[test]
fn the_least_important_neurons_go() {
    let model = architecture("mlp:6", &[4], 3, 1).expect("a known name");
    let mut editor = GraphEditor::edit(model.graph.clone());
    let weight = editor.find("fc1.weight").expect("a weight");
    let rows = (0..6).flat_map(|row| [[1.0, -5.0, 3.0, 0.5, 4.0, -2.0][row]; 4]).collect();
    editor.set_tensor(weight, Tensor::from_f32(&[6, 4], rows));
    let graph = editor.finish().expect("the same graph");
    let pruning = prune(&graph, &PruneSettings::default()).expect("it can be pruned");
    assert_eq!(pruning.groups.len(), 1);
    assert_eq!((pruning.groups[0].name.as_str(), &pruning.groups[0].kept[..]), ("fc1.weight", &[1, 2, 4][..]));
    let folder = tempfile::tempdir().expect("temporary folder");
    for name in ["x.onnx", "x.pt", "x.safetensors"] {
        model.save(&pruning.graph, &folder.path().join(name)).expect("written");
    }
}
