//! Least squares leaves networks that can be trained on.

use otfuse::graph::{Graph, Operator, Tensor};
use otfuse::runtime::dataset::Dataset;
use otfuse::runtime::run_graph;
use otfuse::{Networks, Repair, Settings, architecture, fuse, repair};

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
    let least_squares = Repair::LeastSquares { ridge: 0.03, importance: 4.0 };
    let graphs = [&a, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), None, &|_| {}).expect("fused");
    let fused = repair(&networks, &fusion, least_squares, Some(&samples), &mut |_, _| {}).expect("repaired");
    for ((name, found), (_, expected)) in norms(&fused).iter().zip(norms(&b)) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3 * expected, "{name}: {found} is not {expected}");
        }
    }

    // A network with itself is fitted to what it computes.
    let graphs = [&b, &b];
    let networks = Networks::new(&graphs, 1).expect("one architecture");
    let fusion = fuse(&networks, &Settings::recommended(), None, &|_| {}).expect("fused");
    let fused = repair(&networks, &fusion, least_squares, Some(&samples), &mut |_, _| {}).expect("repaired");
    let batch = Tensor::from_f32(&[4, 3, 32, 32], noise(4 * size));
    let outputs = |graph: &Graph| -> Vec<f32> {
        let name = graph.value(graph.inputs()[0]).name.clone();
        let found = run_graph(graph, [(name, batch.clone())].into()).expect("runs");
        found[0].1.to_f32().expect("floats")
    };
    let (found, expected) = (outputs(&fused), outputs(&b));
    let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-3 * scale, "{found} is not {expected}");
    }
}
