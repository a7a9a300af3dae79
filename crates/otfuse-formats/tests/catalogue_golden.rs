//! Networks whose outputs PyTorch gave (`golden/catalogue.py`): read, checked, written in every format and read again.
//!
//! With `OTFUSE_WRITTEN=FOLDER` the written files stay, and `catalogue.py check FOLDER` runs them.

mod support;

use std::path::Path;

use otfuse_formats::npz::read_npz;
use otfuse_formats::{Architecture, Format, Model, Source, read_state_dict};
use otfuse_graph::{Facts, NeuronGroups, permute};
use support::golden_path;

/// Network, architecture, free neuron groups.
const NETWORKS: [(&str, &str, usize); 16] = [
    ("mlp", "mlp", 3),
    ("mlp_bias", "mlp", 3),
    ("mlp_norm", "mlp", 2),
    ("vgg", "vgg", 8),
    ("vgg_bn", "vgg", 8),
    ("vgg_imagenet", "vgg", 10),
    // One inside each of four blocks, the stem's, and the two that either padding adds.
    ("resnet_a", "resnet", 9),
    ("resnet_b", "resnet", 7),
    ("resnet_plain", "resnet", 4),
    ("resnet_bottleneck", "resnet", 9),
    ("lenet", "lenet", 4),
    ("lenet_mnist", "lenet", 4),
    ("sequential", "sequential", 3),
    ("sequential_norm", "sequential", 4),
    ("sequential_late", "sequential", 3),
    ("batched", "batched.onnx", 1),
];

fn open(name: &str, architecture: &str) -> Model {
    let architecture = if architecture.ends_with(".onnx") {
        Architecture::File(golden_path("catalogue").join(architecture))
    } else {
        Architecture::parse(architecture).expect("a family")
    };
    let path = golden_path("catalogue").join(format!("{name}.pt"));
    Model::open(&path, Some(&architecture)).unwrap_or_else(|error| panic!("{error}\n{}", error.hint()))
}

#[test]
fn shapes_and_groups() {
    for (name, architecture, groups) in NETWORKS {
        let model = open(name, architecture);
        let facts = Facts::of(&model.graph).expect("shapes that agree");
        let arrays = read_npz(&golden_path("catalogue").join(format!("{name}.npz"))).expect("golden arrays");
        let ends = [("input", model.graph.inputs()), ("logits", model.graph.outputs())];
        for (end, values) in ends {
            let &[value] = values else { panic!("{name}: {values:?}") };
            assert_eq!(model.graph.value(value).name, end, "{name}");
            let golden = arrays.get(end).expect("golden array").shape();
            let shape = facts.shape(value).expect("a shape");
            for (axis, (dim, &length)) in shape.iter().zip(golden).enumerate() {
                assert!(dim.as_known().map_or(axis == 0, |known| known == length), "{name}: {shape:?}");
            }
            assert_eq!(shape.len(), golden.len(), "{name}");
        }
        let found = NeuronGroups::of(&model.graph).expect("groups");
        assert_eq!(found.len(), groups, "{name}: {:?}", found.pinned());
    }
}

#[test]
fn written_files_are_what_was_read() {
    let temporary = tempfile::tempdir().expect("temporary folder");
    let kept = std::env::var_os("OTFUSE_WRITTEN");
    let folder = kept.as_deref().map_or(temporary.path(), Path::new);
    for (name, architecture, _) in NETWORKS {
        let model = open(name, architecture);
        assert_eq!(model.format(), Format::PyTorch);
        let Source::StateDict(source) = &model.source else { panic!("{name}: expected a state dict") };
        for extension in [".pt", ".safetensors", ".npz", ""] {
            let path = folder.join(format!("{name}{extension}"));
            model.save(&model.graph, &path).expect("written");
            let written = read_state_dict(&path, None).expect("read back");
            assert_eq!(written.names().collect::<Vec<_>>(), source.dict.names().collect::<Vec<_>>());
            for (key, tensor) in source.dict.iter() {
                assert!(written.get(key) == Some(tensor), "{name}: {key}");
            }
        }
        let path = folder.join(format!("{name}.onnx"));
        model.save(&model.graph, &path).expect("written");
        let again = Model::open(&path, None).expect("read back");
        assert_eq!(again.format(), Format::Onnx);
        for (id, tensor) in model.graph.initializers() {
            let name = &model.graph.value(id).name;
            let found = again.graph.find_value(name).and_then(|id| again.graph.initializer(id));
            assert!(found == Some(tensor), "{name}");
        }
    }
}

#[test]
fn a_permuted_network_goes_into_the_state_dict() {
    let model = open("resnet_a", "resnet");
    let groups = NeuronGroups::of(&model.graph).expect("groups");
    let orders: Vec<Vec<usize>> = groups.iter().map(|(_, group)| (0..group.size).rev().collect()).collect();
    let permuted = permute(&model.graph, &groups, &orders).expect("a network");
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("permuted.safetensors");
    model.save(&permuted, &path).expect("written");
    let again = Model::open(&path, Some(&Architecture::parse("resnet20").expect("a family"))).expect("read back");
    for (id, tensor) in permuted.initializers() {
        let name = &permuted.value(id).name;
        let found = again.graph.find_value(name).and_then(|id| again.graph.initializer(id));
        assert!(found == Some(tensor), "{name}");
    }
    let written = read_state_dict(&path, None).expect("read back");
    assert!(written.contains("module.bn1.num_batches_tracked"));
}
