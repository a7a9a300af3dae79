//! Fusing a third-party network with a permuted copy of it gives the network back. Skipped where `../shared` is absent.

mod support;

use std::ops::ControlFlow::Continue;

use otfuse::formats::Model;
use otfuse::fusion::{Alignment, Merging, Networks, Rotations, Settings, fuse, rotated};
use otfuse::graph::{Facts, Graph, GraphEditor, NeuronGroups, Tensor, permute};
use otfuse::runtime::{Host, run_graph};
use otfuse::{random_inputs, random_orders};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Networks exported and trained by others.
const FILES: [&str; 26] = [
    "exported/rand_densenet_k8.onnx",
    "exported/rand_gpt_tiny.onnx",
    "exported/rand_mlp_bias.onnx",
    "exported/rand_mnasnet_w025.onnx",
    "exported/rand_mobilenet_v2_w025.onnx",
    "exported/rand_resnet18_w8.onnx",
    "exported/rand_resnet50_w8.onnx",
    "exported/rand_squeezenet1_1.onnx",
    "exported/rand_transformer_encoder_prenorm.onnx",
    "exported/rand_vgg11_w8.onnx",
    "exported/rand_vgg11bn_w8.onnx",
    "exported/rand_vit_tiny.onnx",
    "misc/lenet_dongkyunk.onnx",
    "misc/mnist_cntk.onnx",
    "misc/wonnx_opt-mnist.onnx",
    "vit/ibp_3_3_8.onnx",
    "vnncomp/cGAN_imgSz32_nCh_1.onnx",
    "vnncomp/cifar10_resnet_2b.onnx",
    "vnncomp/cifar10_resnet_4b.onnx",
    "vnncomp/cifar_deep_kw.onnx",
    "vnncomp/marabou_cifar10_medium.onnx",
    "vnncomp/mnist-net_256x6.onnx",
    "vnncomp/mnist_sigmoid_6x200.onnx",
    "vnncomp/mscn_128d.onnx",
    "vnncomp/oval_cifar_base_kw.onnx",
    "vnncomp/pensieve_small_simple.onnx",
];

/// The largest difference of an output, relative to its largest absolute value.
fn error_of_recovery(graph: &Graph) -> f32 {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let groups = NeuronGroups::of(graph).unwrap();
    let orders = random_orders(&groups, &mut random);
    let copy = permute(graph, &groups, &orders).unwrap();
    let networks = Networks::new(&[&copy, graph], 1).unwrap();
    let fused = fuse(&networks, &Settings::default(), &Merging::mean(), None, &|_| Continue(())).unwrap().graph;
    error_between(graph, &fused)
}

fn error_between(graph: &Graph, fused: &Graph) -> f32 {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let inputs = random_inputs(graph, &Facts::of(graph).unwrap(), &mut random).unwrap();
    let outputs = |graph: &Graph| run_graph(graph, inputs.clone(), &Host::default()).unwrap();
    let mut worst = 0.0_f32;
    for ((_, expected), (_, found)) in outputs(graph).iter().zip(&outputs(fused)) {
        let [expected, found] = [expected, found].map(|tensor: &Tensor| tensor.to_f32().unwrap());
        let scale = expected.iter().fold(f32::MIN_POSITIVE, |scale, value| scale.max(value.abs()));
        worst = expected.iter().zip(&found).fold(worst, |worst, (a, b)| worst.max((a - b).abs() / scale));
    }
    worst
}

#[test]
fn a_permuted_copy_of_a_third_party_network_fuses_into_the_network() {
    let Some(folder) = support::shared("onnx") else { return };
    let mut failed = Vec::new();
    for file in FILES {
        let model = Model::open(&folder.join(file), None).unwrap();
        let error = error_of_recovery(&model.graph);
        if error > 1e-3 {
            failed.push(format!("{file}: {error:e}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Transformers whose residual streams may be rotated.
const ROTATED: [&str; 3] =
    ["exported/rand_gpt_tiny.onnx", "exported/rand_transformer_encoder_prenorm.onnx", "exported/rand_vit_tiny.onnx"];

#[test]
fn a_rotated_copy_of_an_exported_transformer_computes_the_same_and_fuses_into_it() {
    let Some(folder) = support::shared("onnx") else { return };
    for file in ROTATED {
        let graph = Model::open(&folder.join(file), None).unwrap().graph;
        let groups = NeuronGroups::of(&graph).unwrap();
        let rotations = Rotations::of(&graph, &groups).unwrap_or_else(|reason| panic!("{file}: {reason}"));
        assert!(rotations.counts().streams == 1 && rotations.counts().heads > 0, "{file}: {:?}", rotations.counts());
        let mut editor = GraphEditor::edit(graph.clone());
        for (id, tensor) in rotations.random_member(&graph, &groups, 5).unwrap() {
            editor.set_tensor(id, tensor);
        }
        let copy = editor.finish().unwrap();
        let error = error_between(&graph, &copy);
        assert!(error < 1e-4, "{file}: {error:e}");
        let turned = rotated(&Networks::new(&[&copy, &graph], 1).unwrap(), &|| Continue(())).unwrap().unwrap();
        let settings = Settings { alignment: Alignment::None, ..Settings::default() };
        let average = fuse(&turned.networks, &settings, &Merging::mean(), None, &|_| Continue(())).unwrap().graph;
        let error = error_between(&graph, &turned.with_averaged_heads(&average, &[0.5, 0.5]).unwrap());
        assert!(error < 1e-4, "{file}: fused {error:e}");
    }
}
