//! Networks from scratch: names and shapes of PyTorch's modules, read back from files, the same bytes for the same seed.

mod support;

use std::path::PathBuf;

use otfuse::architecture;
use otfuse::formats::catalogue::NetworkSpec;
use otfuse::formats::{Architecture, Model, StateDict, read_state_dict};
use otfuse::graph::Facts;

fn shapes(dict: &StateDict) -> Vec<(String, Vec<usize>)> {
    dict.iter().map(|(name, tensor)| (name.trim_start_matches("module.").to_owned(), tensor.shape().to_vec())).collect()
}

/// Name, shape of samples, and parameters (without running statistics) where torchvision or a paper states them.
const NETWORKS: [(&str, &[usize], usize); 17] = [
    ("mlp:400-200-100", &[1, 28, 28], 784 * 400 + 400 + 400 * 200 + 200 + 200 * 100 + 100 + 100 * 10 + 10),
    ("mlp-nobias:400-200-100", &[784], 784 * 400 + 400 * 200 + 200 * 100 + 100 * 10),
    ("mlp:32-16-bn", &[64], 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10 + 2 * 48),
    ("vgg11", &[3, 32, 32], 9_225_610),
    ("vgg11-nobias", &[3, 32, 32], 9_222_848),
    ("vgg11_bn:0.5", &[3, 32, 32], 0),
    ("vgg16", &[3, 64, 64], 14_714_688 + 10 * 2048 + 10),
    ("vgg11:0.125", &[3, 224, 224], 0),
    ("resnet18", &[3, 224, 224], 11_181_642),
    ("resnet20", &[3, 32, 32], 269_722),
    ("resnet20:0.5", &[1, 28, 28], 0),
    ("resnet18", &[3, 32, 32], 11_173_962),
    ("resnet18-nobn:0.25", &[3, 32, 32], 0),
    ("resnet50:0.125", &[3, 224, 224], 0),
    ("lenet", &[3, 32, 32], 62_006),
    ("lenet", &[1, 28, 28], 44_426),
    ("cnn-bn:0.5", &[1, 28, 28], 0),
];

#[test]
fn networks_are_built_and_read_back() {
    let temporary = tempfile::tempdir().expect("temporary folder");
    // A folder to keep the files in, for a check with PyTorch.
    let folder = std::env::var_os("OTFUSE_WRITTEN").map_or_else(|| temporary.path().into(), PathBuf::from);
    for (spec, shape, parameters) in NETWORKS {
        let model = architecture(spec, shape, 10, 1).unwrap_or_else(|error| panic!("{spec}: {error}"));
        Facts::of(&model.graph).unwrap_or_else(|error| panic!("{spec}: {error}"));
        let found = model.graph.parameter_count();
        assert!(parameters == 0 || found == parameters, "{spec}: {found}");
        let family = spec.parse::<NetworkSpec>().expect("a known name").family();
        for extension in ["pt", "safetensors"] {
            let path = folder.join(format!("{}.{extension}", spec.replace(':', "_")));
            model.save(&model.graph, &path).expect("written");
            for name in [family.name(), spec] {
                let read = Model::open(&path, Some(&Architecture::parse(name).expect("a known name")));
                let read = read.unwrap_or_else(|error| panic!("{spec}: {error}"));
                assert_eq!(read.graph.parameter_count(), found, "{spec}");
            }
        }
    }
}

#[test]
fn names_and_shapes_are_those_of_published_checkpoints() {
    let Some(folder) = support::shared("models") else { return };
    let files = [
        ("vgg11-nobias", "cifar10-vgg11/vgg11_seed0.pt", vec![3, 32, 32]),
        ("resnet20", "cifar10-resnet/bognev/resnet20.th", vec![3, 32, 32]),
        ("resnet56", "cifar10-resnet/Zheng-Jiakun/resnet56.th", vec![3, 32, 32]),
        ("lenet", "cifar10-lenet5/BangYou01.pth", vec![3, 32, 32]),
        ("mlp-nobias:400-200-100", "mnist-mlp-otfusion/mnist_models/model_0/final.checkpoint", vec![1, 28, 28]),
    ];
    for (spec, file, shape) in files {
        let expected = read_state_dict(&folder.join(file), None).expect("read");
        let spec: NetworkSpec = spec.parse().expect("a known name");
        assert_eq!(shapes(&spec.state_dict(&shape, 10).expect("such samples")), shapes(&expected), "{spec}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let written = |seed| {
        let model = architecture("resnet20:0.5", &[3, 32, 32], 10, seed).expect("a known name");
        let path = folder.path().join("x.pt");
        model.save(&model.graph, &path).expect("written");
        std::fs::read(path).expect("read")
    };
    assert_eq!(written(3), written(3));
    assert_ne!(written(3), written(4));
}

#[test]
fn what_is_not_understood_is_refused() {
    for (spec, shape, part) in [
        ("vgg12", vec![3, 32, 32], "expected mlp:"),
        ("mlp", vec![64], "widths of the hidden layers"),
        ("mlp:0", vec![64], "positive widths"),
        ("vgg11:0.5-2", vec![3, 32, 32], "one number"),
        ("vgg11:0", vec![3, 32, 32], "a number to multiply"),
        ("vgg11-big", vec![3, 32, 32], "in place of 'big'"),
        ("lenet-bn", vec![3, 32, 32], "without bn"),
        ("vgg11", vec![64], "images of shape"),
        ("vgg11", vec![1, 28, 28], "larger images"),
        ("resnet20", vec![3, 48, 48], "samples of shape [3, 32, 32]"),
        ("resnet20", vec![3, 32, 40], "square images"),
    ] {
        let error = architecture(spec, &shape, 10, 0).expect_err(spec);
        assert!(error.to_string().contains(part), "{spec}: {error}");
        assert!(!error.hint().is_empty());
    }
}
