//! Networks as tests make, move and run them.

use otfuse::Model;
use otfuse::graph::{Graph, GraphEditor, Operator, Tensor};
use otfuse::runtime::{Host, run_graph};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A number from -1 to 1.
pub fn uniform(random: &mut ChaCha8Rng) -> f32 {
    random.next_u32() as f32 / 2_147_483_648.0 - 1.0
}

/// A network with other weights; variances stay positive.
pub fn changed(graph: &Graph, amount: f32, seed: u64) -> Graph {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let nodes = graph.nodes().filter(|(_, node)| matches!(node.operator, Operator::BatchNormalization { .. }));
    let variances: Vec<_> = nodes.filter_map(|(_, node)| node.input(4)).collect();
    let mut editor = GraphEditor::edit(graph.clone());
    for (id, tensor) in graph.initializers().filter(|(id, _)| graph.is_weight(*id)) {
        let values = tensor.to_f32().expect("floats");
        let size = (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt().max(0.1);
        let mut next = || amount * size * uniform(&mut random);
        let positive = variances.contains(&id);
        let made = values.iter().map(|value| if positive { value * next().exp() } else { value + next() });
        editor.set_tensor(id, Tensor::from_f32(tensor.shape(), made.collect()));
    }
    editor.finish().expect("a network")
}

/// A network as a file of it would be opened.
pub fn model(name: &str, graph: &Graph) -> Model {
    let proto = otfuse::formats::onnx::to_proto(graph).expect("sound");
    let bytes = otfuse::formats::onnx::encode_onnx(proto, "", &Default::default()).expect("encoded");
    Model::of_onnx(name, bytes.to_vec()).expect("a network")
}

/// What a network says of a batch of six.
pub fn outputs_on(graph: &Graph, shape: &[usize], values: Vec<f32>) -> Vec<f32> {
    let batch = Tensor::from_f32(&[&[6], shape].concat(), values);
    let name = graph.value(graph.inputs()[0]).name.clone();
    run_graph(graph, [(name, batch)].into(), &Host::default()).expect("runs")[0].1.to_f32().expect("floats")
}

/// # Panics
/// If two outputs differ by more than a share of the largest expected one.
pub fn assert_close(found: &[f32], expected: &[f32], share: f32) {
    let scale = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= share * scale, "{found} is not {expected}");
    }
}
