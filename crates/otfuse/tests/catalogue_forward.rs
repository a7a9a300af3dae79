//! State dicts in the networks of the catalogue compute what PyTorch computed.

use std::path::Path;

use otfuse::formats::npz::read_npz;
use otfuse::formats::{Architecture, Model};
use otfuse::runtime::{Host, run_graph};

/// Network, architecture.
const NETWORKS: [(&str, &str); 16] = [
    ("mlp", "mlp"),
    ("mlp_bias", "mlp"),
    ("mlp_norm", "mlp"),
    ("vgg", "vgg"),
    ("vgg_bn", "vgg"),
    ("vgg_imagenet", "vgg"),
    ("resnet_a", "resnet"),
    ("resnet_b", "resnet"),
    ("resnet_plain", "resnet"),
    ("resnet_bottleneck", "resnet"),
    ("lenet", "lenet"),
    ("lenet_mnist", "lenet"),
    ("sequential", "sequential"),
    ("sequential_norm", "sequential"),
    ("sequential_late", "sequential"),
    ("batched", "batched.onnx"),
];

#[test]
fn logits_are_those_of_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../otfuse-formats/tests/golden/catalogue");
    for (name, architecture) in NETWORKS {
        let architecture = if architecture.ends_with(".onnx") {
            Architecture::File(folder.join(architecture))
        } else {
            Architecture::parse(architecture).expect("a family")
        };
        let model = Model::open(&folder.join(format!("{name}.pt")), Some(&architecture)).expect("a network");
        let arrays = read_npz(&folder.join(format!("{name}.npz"))).expect("golden arrays");
        let inputs = [("input".to_owned(), arrays.get("input").expect("inputs").clone())].into();
        let found = run_graph(&model.graph, inputs, &Host::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [(output, found)] = found.as_slice() else { panic!("{name}: {} outputs", found.len()) };
        let expected = arrays.get("logits").expect("logits");
        assert_eq!((output.as_str(), found.shape()), ("logits", expected.shape()), "{name}");
        let (found, expected) = (found.to_f32().expect("floats"), expected.to_f32().expect("floats"));
        let scale = expected.iter().fold(0.0_f32, |scale, value| scale.max(value.abs()));
        let spread = expected.iter().fold(0.0_f32, |spread, value| spread.max((value - expected[0]).abs()));
        assert!(spread > 0.0, "{name}: all logits are {scale}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-4 * scale, "{name}: expected {expected}, found {found}");
        }
    }
}
