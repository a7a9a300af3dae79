//! Recurrent layers of both directions are two layers here, and one again in the file.

use std::path::Path;

use otfuse::formats::onnx::{WriteOptions, encode_onnx, open_onnx, read_onnx, to_proto};
use otfuse::graph::{Facts, Graph, NeuronGroups, permute};
use otfuse::random_inputs;
use otfuse::runtime::{Host, run_graph};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::collection::collection;

fn outputs(graph: &Graph) -> Vec<f32> {
    let facts = Facts::of(graph).expect("shapes that agree");
    let inputs = random_inputs(graph, &facts, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
    let found = run_graph(graph, inputs, &Host::default()).expect("outputs");
    found[0].1.to_f32().expect("floats")
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn changed_halves_are_written_into_one_tensor() {
    let Some(folder) = collection() else { return };
    let model = open_onnx(&folder.join("exported/rand_lstm_bidi.onnx")).expect("a model");
    let groups = NeuronGroups::of(&model.graph).expect("shapes that agree");
    let orders: Vec<Vec<usize>> = groups.iter().map(|(_, group)| (0..group.size).rev().collect()).collect();
    let permuted = permute(&model.graph, &groups, &orders).expect("a permuted network");
    let expected = outputs(&model.graph);

    let file = model.template.write(&permuted).expect("the file with other tensors");
    let layers: Vec<_> =
        file.graph.iter().flat_map(|graph| &graph.node).filter(|node| node.op_type() == "LSTM").collect();
    assert_eq!(layers.len(), 2, "two layers of both directions");
    for proto in [file, to_proto(&permuted).expect("a file of its own")] {
        let bytes = encode_onnx(proto, "data", &WriteOptions::default()).expect("bytes").to_vec();
        let back = read_onnx(bytes.into(), Path::new(".")).expect("the model again");
        let changed = |name: &str| {
            let tensor = |graph: &Graph| graph.find_value(name).and_then(|id| graph.initializer(id).cloned());
            tensor(&back.graph).is_some_and(|tensor_back| Some(tensor_back) == tensor(&permuted))
        };
        let weights =
            permuted.initializers().filter(|(id, tensor)| tensor.data_type().is_float() && permuted.is_weight(*id));
        let names = weights.map(|(id, _)| permuted.value(id).name.as_str());
        let lost: Vec<&str> = names.filter(|name| !changed(name)).collect();
        assert!(lost.is_empty(), "{lost:?}");
        assert!(close(&outputs(&back.graph), &expected));
    }
}
