//! Repaired networks can be trained on.

use std::ops::ControlFlow::Continue;

use otfuse::fusion::{Answer, Mean, Networks, Repair, Settings, balance, fuse, repair};
use otfuse::graph::{Graph, GraphEditor, Operator, Tensor};
use otfuse::runtime::dataset::Dataset;
use otfuse::runtime::{Host, run_graph};
use otfuse::{SampleRunner, architecture};

const SHAPE: [usize; 3] = [3, 32, 32];

fn network(seed: u64) -> Graph {
    architecture("resnet20:0.25", &SHAPE, 10, seed).expect("an architecture").graph
}

fn noise(count: usize) -> Vec<f32> {
    (0..count).map(|index| (0.37 * index as f32 + 3.0 * (0.011 * index as f32).sin()).sin()).collect()
}

/// The norms of the filters of all convolutions.
fn norms(graph: &Graph) -> Vec<(String, Vec<f32>)> {
    let weights = graph.nodes().filter(|(_, node)| matches!(node.operator, Operator::Conv(_))).map(|(_, node)| {
        let id = node.inputs[1].expect("a weight");
        let tensor = graph.initializer(id).expect("a weight");
        let values = tensor.to_f32().expect("floats");
        let filters = values.chunks(values.len() / tensor.shape()[0]);
        (graph.value(id).name.clone(), filters.map(|filter| filter.iter().map(|x| x * x).sum::<f32>().sqrt()).collect())
    });
    weights.collect()
}

#[test]
fn weights_before_a_normalisation_keep_their_norms() {
    let (a, b) = (network(1), network(2));
    let size: usize = SHAPE.iter().product();
    let samples = Dataset::from_floats("noise", SHAPE.to_vec(), noise(40 * size), vec![0; 40], 10).expect("samples");
    let host = Host::default();
    let runner = SampleRunner::new(&samples, &host);
    let least_squares = Repair::LeastSquares { ridge: 0.03, importance: 4.0, answer: Answer::Ensemble };
    let graphs = [&a, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), &Mean, None, &|_| Continue(())).expect("fused");
    let fused = repair(&networks, &fusion, least_squares, Some(&runner), &mut |_, _| Continue(())).expect("repaired");
    for ((name, found), (_, expected)) in norms(&fused).iter().zip(norms(&b)) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3 * expected, "{name}: {found} is not {expected}");
        }
    }

    // A network with itself is fitted to what it computes.
    let graphs = [&b, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), &Mean, None, &|_| Continue(())).expect("fused");
    let fused = repair(&networks, &fusion, least_squares, Some(&runner), &mut |_, _| Continue(())).expect("repaired");
    let batch = Tensor::from_f32(&[4, 3, 32, 32], noise(4 * size));
    assert_close(&outputs(&fused, &batch), &outputs(&b, &batch), 1e-3);
}

fn outputs(graph: &Graph, batch: &Tensor) -> Vec<f32> {
    let name = graph.value(graph.inputs()[0]).name.clone();
    let found = run_graph(graph, [(name, batch.clone())].into(), &Host::default()).expect("runs");
    found[0].1.to_f32().expect("floats")
}

/// Equal up to a share of the largest.
fn assert_close(found: &[f32], expected: &[f32], share: f32) {
    let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert!(scale > 0.0 && found.len() == expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= share * scale, "{found} is not {expected}");
    }
}

fn weights(graph: &Graph) -> Vec<(String, Tensor)> {
    graph.initializers().map(|(id, tensor)| (graph.value(id).name.clone(), tensor.clone())).collect()
}

/// Multiplies what makes each neuron with a factor of its own and divides what takes it in by it: weights in turn from the
/// inputs to the outputs, `per_neuron` columns of the next weight for each neuron.
fn unbalanced(graph: &Graph) -> Graph {
    let factor = |neuron: usize| [0.2, 1.0, 7.0, 0.6, 2.0][neuron % 5];
    let mut editor = GraphEditor::edit(graph.clone());
    let mut before = 0;
    let matrices = graph.initializers().filter(|(_, tensor)| tensor.shape().len() > 1).count();
    let mut matrix = 0;
    for (id, tensor) in graph.initializers() {
        let shape = tensor.shape();
        let mut values = tensor.to_f32().expect("floats");
        let row = values.len() / shape[0];
        matrix += usize::from(shape.len() > 1);
        for (index, value) in values.iter_mut().enumerate() {
            let (output, input) = (index / row, index % row);
            if matrix < matrices {
                *value *= factor(output);
            }
            if shape.len() > 1 && before > 0 {
                *value /= factor(input / (row / before));
            }
        }
        before = shape[0];
        editor.set_tensor(id, Tensor::from_f32(shape, values));
    }
    editor.finish().expect("a network")
}

#[test]
fn neurons_get_the_scale_that_the_anchor_gives_them() {
    for (name, shape) in [("mlp:24-16", vec![20]), ("vgg11-nobias:0.125", SHAPE.to_vec()), ("lenet", SHAPE.to_vec())] {
        let [a, b] = [1, 2].map(|seed| architecture(name, &shape, 10, seed).expect("an architecture").graph);
        let batch_shape: Vec<usize> = [&[4], &shape[..]].concat();
        let batch = Tensor::from_f32(&batch_shape, noise(batch_shape.iter().product()));
        let graphs = [&a, &b];
        let networks = Networks::new(&graphs, 1).expect("one architecture");

        let other = unbalanced(&b);
        assert_close(&outputs(&other, &batch), &outputs(&b, &batch), 1e-4);
        assert_ne!(weights(&other), weights(&b));
        let balanced = balance(&networks, other).expect("balanced");
        for ((name, found), (_, expected)) in weights(&balanced).iter().zip(weights(&b)) {
            let [found, expected] = [found, &expected].map(|tensor| tensor.to_f32().expect("floats"));
            let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 0.02 * scale, "{name}: {found} is not {expected}");
            }
        }

        // The anchor is as it should be; a fused network computes what it did before.
        assert_eq!(weights(&balance(&networks, b.clone()).expect("balanced")), weights(&b));
        let fused = fuse(&networks, &Settings::recommended(), &Mean, None, &|_| Continue(())).expect("fused").graph;
        let balanced = balance(&networks, fused.clone()).expect("balanced");
        assert_ne!(weights(&balanced), weights(&fused));
        assert_close(&outputs(&balanced, &batch), &outputs(&fused, &batch), 1e-4);
    }
}

#[test]
fn neurons_that_cannot_be_scaled_stay_as_they_are() {
    let [a, b] = [1, 2].map(network);
    let graphs = [&a, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fused = fuse(&networks, &Settings::recommended(), &Mean, None, &|_| Continue(())).expect("fused").graph;
    assert_eq!(weights(&balance(&networks, fused.clone()).expect("balanced")), weights(&fused));
}
