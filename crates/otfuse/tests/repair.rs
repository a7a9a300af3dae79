//! Repaired networks can be trained on.

use std::ops::ControlFlow::Continue;

use otfuse::fusion::{Answer, Apart, Merging, Networks, Repair, Settings, balance, fuse, fuse_partially, repair};
use otfuse::graph::{Graph, GraphEditor, Operator, Tensor, Unary, ValueId};
use otfuse::runtime::dataset::Dataset;
use otfuse::runtime::{Executable, Host, run_graph};
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
    let least_squares = Repair::LeastSquares { ridge: 0.03, importance: 4.0, answer: Answer::Ensemble, rounds: 5 };
    let graphs = [&a, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused");
    let fused = repair(&networks, &fusion, least_squares, Some(&runner), &mut |_, _| Continue(())).expect("repaired");
    for ((name, found), (_, expected)) in norms(&fused).iter().zip(norms(&b)) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3 * expected, "{name}: {found} is not {expected}");
        }
    }

    // A network with itself is fitted to what it computes.
    let graphs = [&b, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused");
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
        let fused =
            fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused").graph;
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
    let fused =
        fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused").graph;
    assert_eq!(weights(&balance(&networks, fused.clone()).expect("balanced")), weights(&fused));
}

/// The mean squared difference to the mean of the parents' outputs.
fn distance(graph: &Graph, parents: &[Graph], batch: &Tensor) -> f32 {
    let parents: Vec<Vec<f32>> = parents.iter().map(|parent| outputs(parent, batch)).collect();
    let found = outputs(graph, batch);
    let mean = |at: usize| parents.iter().map(|parent| parent[at]).sum::<f32>() / parents.len() as f32;
    found.iter().enumerate().map(|(at, value)| (value - mean(at)).powi(2)).sum::<f32>() / found.len() as f32
}

#[test]
fn networks_of_another_width_are_repaired() {
    // A perceptron, and a residual network with batch normalisation.
    let shapes = [("mlp:24-16", vec![20], 300), ("resnet20:0.25", SHAPE.to_vec(), 40)];
    for (name, shape, count) in shapes {
        let parents = [1, 2, 3].map(|seed| architecture(name, &shape, 10, seed).expect("an architecture").graph);
        let size: usize = shape.iter().product();
        let samples = Dataset::from_floats("noise", shape.clone(), noise(count * size), vec![0; count], 7);
        let (samples, host) = (samples.expect("samples"), Host::default());
        let runner = SampleRunner::new(&samples, &host);
        let networks = Networks::new(&parents.iter().collect::<Vec<_>>(), 2).expect("one architecture");
        let fusion =
            fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused");
        let batch_shape: Vec<usize> = [&[8], &shape[..]].concat();
        let batch = Tensor::from_f32(&batch_shape, noise(batch_shape.iter().product()));
        for (apart, budget) in [(Apart::WorstMatched, 1.5), (Apart::WorstMatched, 3.0), (Apart::Strongest, 1.5)] {
            let found = fuse_partially(&networks, &fusion, budget, apart).expect("made wider");
            let (networks, fusion) = found.parts.expect("the groups of the networks");
            let kind = Repair::LeastSquares { ridge: 1e-4, importance: 0.0, answer: Answer::Ensemble, rounds: 0 };
            let repaired = repair(&networks, &fusion, kind, Some(&runner), &mut |_, _| Continue(())).expect("repaired");
            let (before, after) = (distance(&found.graph, &parents, &batch), distance(&repaired, &parents, &batch));
            if apart == Apart::WorstMatched && budget == 3.0 {
                // All apart: the mean of the outputs, which a repair must not spoil.
                assert!(before < 1e-9 && after < 1e-4, "{name}: {before}, repaired {after}");
            } else {
                assert!(after < before, "{name} {apart:?} {budget}: {before}, repaired {after}");
            }
        }
    }
}

#[test]
fn a_parent_decides_on_the_classes_that_it_answers_with() {
    // Each of two classifiers never answers with one class, by a bias that the other has not.
    let parent = |seed: u64, class: usize| {
        let graph = architecture("mlp:24-16", &[20], 3, seed).expect("an architecture").graph;
        let mut editor = GraphEditor::edit(graph.clone());
        let bias = graph.initializers().filter(|(_, tensor)| tensor.shape() == [3]).map(|(id, _)| id).last();
        let mut values = [0.0; 3];
        values[class] = -20.0;
        editor.set_tensor(bias.expect("a bias"), Tensor::from_f32(&[3], values.to_vec()));
        editor.finish().expect("a network")
    };
    let parents = [parent(1, 0), parent(2, 1)];
    let samples = Dataset::from_floats("noise", vec![20], noise(300 * 20), vec![0; 300], 3).expect("samples");
    let host = Host::default();
    let runner = SampleRunner::new(&samples, &host);
    let networks = Networks::new(&parents.iter().collect::<Vec<_>>(), 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused");
    let kind = Repair::LeastSquares { ridge: 1e-4, importance: 0.0, answer: Answer::ClassShares, rounds: 0 };
    let fused = repair(&networks, &fusion, kind, Some(&runner), &mut |_, _| Continue(())).expect("repaired");
    let batch = Tensor::from_f32(&[50, 20], noise(50 * 20));
    let [a, b, found] = [&parents[0], &parents[1], &fused].map(|graph| outputs(graph, &batch));
    let error = |class: usize, of: &[f32]| -> f32 {
        (0..50).map(|row| (found[3 * row + class] - of[3 * row + class]).abs()).sum::<f32>() / 50.0
    };
    assert!(error(0, &b) < 0.5 && error(0, &a) > 15.0, "class 0: {} {}", error(0, &a), error(0, &b));
    assert!(error(1, &a) < 0.5 && error(1, &b) > 15.0, "class 1: {} {}", error(1, &a), error(1, &b));
}

/// What comes out of the first rectifier, on whose inputs all networks agree.
fn rectified(graph: &Graph, inputs: &Tensor) -> (ValueId, Tensor) {
    let mut nodes = graph.nodes().map(|(_, node)| node);
    let first = nodes.find(|node| node.operator == Operator::Unary(Unary::Relu)).expect("a rectifier");
    let value = first.output(0).expect("an output");
    let executable = Executable::new(graph, &Host::default()).expect("a program");
    let found = executable.run_for(&[(graph.inputs()[0], inputs.clone())], &[value]).expect("runs");
    (value, found[&value].clone())
}

#[test]
fn rounds_bring_what_comes_out_behind_rectifiers_nearer_to_the_parents() {
    for (name, shape, count) in [("mlp:48-24", vec![20], 600), ("resnet20:0.25", SHAPE.to_vec(), 40)] {
        let values = noise(count * shape.iter().product::<usize>());
        let [a, b] = [1, 2].map(|seed| architecture(name, &shape, 10, seed).expect("an architecture").graph);
        let inputs = Tensor::from_f32(&[&[count], shape.as_slice()].concat(), values.clone());
        let samples = Dataset::from_floats("noise", shape, values, vec![0; count], 10).expect("samples");
        let host = Host::default();
        let runner = SampleRunner::new(&samples, &host);
        let networks = Networks::new(&[&a, &b], 1).expect("one architecture");
        let fusion =
            fuse(&networks, &Settings::recommended(), &Merging::mean(), None, &|_| Continue(())).expect("fused");
        let (value, of_b) = rectified(&b, &inputs);
        let of_a = fusion.aligned(&networks, 0, value, &rectified(&a, &inputs).1);
        let [of_a, of_b] = [of_a, of_b].map(|tensor| tensor.to_f32().expect("floats"));
        let [before, after] = [0, 5].map(|rounds| {
            let kind = Repair::LeastSquares { ridge: 1e-3, importance: 0.0, answer: Answer::Ensemble, rounds };
            let fused = repair(&networks, &fusion, kind, Some(&runner), &mut |_, _| Continue(())).expect("repaired");
            let found = rectified(&fused, &inputs).1.to_f32().expect("floats");
            // Neurons of the result may be scaled, and what reads them the other way round.
            let neurons = rectified(&b, &inputs).1.shape()[1];
            let inner = found.len() / neurons / count;
            let error = |neuron: usize| {
                let mut sums = [0.0_f64; 3];
                for at in (0..found.len()).filter(|at| at / inner % neurons == neuron) {
                    let (wanted, found) = (0.5 * f64::from(of_a[at] + of_b[at]), f64::from(found[at]));
                    sums.iter_mut()
                        .zip([wanted * wanted, wanted * found, found * found])
                        .for_each(|(sum, x)| *sum += x);
                }
                if sums[2] > 0.0 { sums[0] - sums[1] * sums[1] / sums[2] } else { sums[0] }
            };
            (0..neurons).map(error).sum::<f64>()
        });
        assert!(after < 0.97 * before, "{name}: {after} after {before}");
    }
}
