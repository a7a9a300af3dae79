//! The families on state dicts of zeros, made from names and shapes, and on third-party files.

mod support;

use otfuse_formats::{Family, Model, ModelError, StateDict, read_state_dict};
use otfuse_graph::{DataType, Dim, Facts, Graph, NeuronGroups, Tensor};
use support::shared;

#[derive(Default)]
struct Names {
    dict: StateDict,
    prefix: String,
}

impl Names {
    fn add(&mut self, name: &str, shape: &[usize]) {
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        let tensor = Tensor::new(DataType::F32, shape.to_vec(), bytes.into()).expect("as long as its shape");
        self.dict.insert(format!("{}{name}", self.prefix), tensor).expect("a new name");
    }

    fn layer(&mut self, path: &str, shape: &[usize], bias: bool) {
        self.add(&format!("{path}.weight"), shape);
        if bias {
            self.add(&format!("{path}.bias"), &shape[..1]);
        }
    }

    fn norm(&mut self, path: &str, channels: usize) {
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            self.add(&format!("{path}.{leaf}"), &[channels]);
        }
        let count = Tensor::from_i64(&[], vec![7]);
        self.dict.insert(format!("{}{path}.num_batches_tracked", self.prefix), count).expect("a new name");
    }
}

/// Widths and blocks of the layers; `downsample`, `shortcut` or nothing.
fn resnet(stem: usize, widths: &[usize], blocks: &[usize], expansion: usize, shortcut: &str, norm: bool) -> Names {
    let mut names = Names::default();
    let conv = |names: &mut Names, path: String, norm_path: String, shape: &[usize]| {
        names.layer(&path, shape, false);
        if norm {
            names.norm(&norm_path, shape[0]);
        }
    };
    conv(&mut names, "conv1".into(), "bn1".into(), &[widths[0], 3, stem, stem]);
    let mut channels = widths[0];
    for (depth, (&width, &count)) in widths.iter().zip(blocks).enumerate() {
        for block in 0..count {
            let path = format!("layer{}.{block}", depth + 1);
            let outputs = width * expansion;
            let kernels: &[(usize, usize, usize)] = if expansion > 1 {
                &[(width, channels, 1), (width, width, 3), (outputs, width, 1)]
            } else {
                &[(width, channels, 3), (width, width, 3)]
            };
            for (index, &(outs, ins, kernel)) in kernels.iter().enumerate() {
                let number = index + 1;
                let (name, norm_name) = (format!("{path}.conv{number}"), format!("{path}.bn{number}"));
                conv(&mut names, name, norm_name, &[outs, ins, kernel, kernel]);
            }
            if !shortcut.is_empty() && block == 0 && (depth > 0 || channels != outputs) {
                let (name, norm_name) = (format!("{path}.{shortcut}.0"), format!("{path}.{shortcut}.1"));
                conv(&mut names, name, norm_name, &[outputs, channels, 1, 1]);
            }
            channels = outputs;
        }
    }
    names.layer("fc", &[10, channels], true);
    names
}

fn vgg(configuration: &str, norm: bool, bias: bool) -> Names {
    let (mut names, mut index, mut channels) = (Names::default(), 0, 3);
    for entry in configuration.split(' ') {
        if entry == "M" {
            index += 1;
            continue;
        }
        let width: usize = entry.parse().expect("a width");
        names.layer(&format!("features.{index}"), &[width, channels, 3, 3], bias);
        if norm {
            names.norm(&format!("features.{}", index + 1), width);
        }
        index += if norm { 3 } else { 2 };
        channels = width;
    }
    names
}

/// The input's shape behind the batch axis and the number of free groups; shapes must end in batch, classes.
fn checked(family: Family, dict: &StateDict, classes: usize) -> (Vec<usize>, usize) {
    let graph = family.build(dict).unwrap_or_else(|error| panic!("{error}\n{}", error.hint()));
    let facts = Facts::of(&graph).expect("shapes that agree");
    let output = facts.shape(graph.outputs()[0]).expect("a shape");
    assert_eq!(output, &[Dim::symbol("batch"), Dim::known(classes)]);
    let input = facts.shape(graph.inputs()[0]).expect("a shape");
    (input.iter().filter_map(Dim::as_known).collect(), NeuronGroups::of(&graph).expect("groups").len())
}

fn nodes(graph: &Graph) -> Vec<String> {
    graph.nodes().map(|(_, node)| node.operator.name().to_owned()).collect()
}

#[test]
fn perceptrons() {
    let mut plain = Names { prefix: "module.".into(), ..Names::default() };
    // Sorted as safetensors files are: 10 before 2.
    for number in [1, 10, 2, 3, 4, 5, 6, 7, 8, 9] {
        plain.layer(&format!("layers.{number}"), &[if number == 10 { 3 } else { 6 }, 6], true);
    }
    assert_eq!(checked(Family::Mlp, &plain.dict, 3), (vec![6], 9));
    let mut shuffled = Names::default();
    shuffled.layer("head", &[3, 5], true);
    shuffled.layer("body", &[5, 8], true);
    assert_eq!(checked(Family::Mlp, &shuffled.dict, 3), (vec![8], 1));
    let mut normed = Names::default();
    normed.layer("net.0", &[6, 8], true);
    normed.norm("net.1", 6);
    normed.layer("net.3", &[6, 6], true);
    normed.norm("net.5", 6);
    normed.layer("net.6", &[3, 6], true);
    assert_eq!(checked(Family::Mlp, &normed.dict, 3), (vec![8], 2));
    let graph = Family::Mlp.build(&normed.dict).expect("a network");
    let expected = ["Gemm", "BatchNormalization", "Relu", "Gemm", "Relu", "BatchNormalization", "Gemm"];
    assert_eq!(nodes(&graph), expected);
}

#[test]
fn residual_networks() {
    let cifar = resnet(3, &[16, 32, 64], &[3, 3, 3], 1, "", true);
    assert_eq!(checked(Family::ResNet, &cifar.dict, 10), (vec![3, 32, 32], 14), "ResNet20, option A");
    let projected = resnet(3, &[16, 32, 64], &[3, 3, 3], 1, "shortcut", true);
    assert_eq!(checked(Family::ResNet, &projected.dict, 10), (vec![3, 32, 32], 12), "ResNet20, option B");
    let resnet18 = resnet(3, &[8, 16, 32, 64], &[2; 4], 1, "shortcut", true);
    assert_eq!(checked(Family::ResNet, &resnet18.dict, 10), (vec![3, 32, 32], 12));
    let imagenet = resnet(7, &[8, 16, 32, 64], &[2; 4], 1, "downsample", true);
    assert_eq!(checked(Family::ResNet, &imagenet.dict, 10), (vec![3, 224, 224], 12));
    let resnet34 = resnet(7, &[8, 16, 32, 64], &[3, 4, 6, 3], 1, "downsample", true);
    assert_eq!(checked(Family::ResNet, &resnet34.dict, 10), (vec![3, 224, 224], 20));
    let resnet50 = resnet(7, &[8, 16, 32, 64], &[3, 4, 6, 3], 4, "downsample", true);
    assert_eq!(checked(Family::ResNet, &resnet50.dict, 10), (vec![3, 224, 224], 1 + 32 + 4));
    let plain = resnet(3, &[4, 8], &[1, 1], 1, "", false);
    assert_eq!(checked(Family::ResNet, &plain.dict, 10), (vec![3, 32, 32], 5));
}

#[test]
fn vgg_networks() {
    let eleven = "64 M 128 M 256 256 M 512 512 M 512 512 M";
    for (norm, bias) in [(false, false), (false, true), (true, true), (true, false)] {
        let mut names = vgg(eleven, norm, bias);
        names.layer("classifier", &[10, 512], bias);
        assert_eq!(checked(Family::Vgg, &names.dict, 10), (vec![3, 32, 32], 8));
    }
    let mut torchvision = vgg("4 4 M 5 5 M 6 6 6 M 7 7 7 M 8 8 8 M", true, true);
    torchvision.layer("classifier.0", &[9, 8 * 49], true);
    torchvision.layer("classifier.3", &[9, 9], true);
    torchvision.layer("classifier.6", &[10, 9], true);
    assert_eq!(checked(Family::Vgg, &torchvision.dict, 10), (vec![3, 224, 224], 15));
    let mut custom = vgg("4 M 5 M", false, true);
    custom.layer("classifier.1", &[10, 5 * 64], true);
    assert_eq!(checked(Family::Vgg, &custom.dict, 10), (vec![3, 32, 32], 2));
}

#[test]
fn lenets_and_plain_networks() {
    for (channels, inputs, side) in [(3, 400, 32), (1, 400, 28), (1, 256, 28)] {
        let mut names = Names::default();
        names.layer("conv1", &[6, channels, 5, 5], true);
        names.layer("conv2", &[16, 6, 5, 5], true);
        names.layer("fc1", &[120, inputs], true);
        names.layer("fc2", &[84, 120], true);
        names.layer("fc3", &[10, 84], true);
        assert_eq!(checked(Family::LeNet, &names.dict, 10), (vec![channels, side, side], 4));
    }
    let mut names = Names::default();
    names.layer("0", &[32, 1, 3, 3], true);
    names.layer("3", &[64, 32, 3, 3], true);
    names.layer("7", &[10, 1600], true);
    assert_eq!(checked(Family::Sequential, &names.dict, 10), (vec![1, 28, 28], 2));
    let graph = Family::Sequential.build(&names.dict).expect("a network");
    assert_eq!(nodes(&graph), ["Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Flatten", "Gemm"]);
    let mut one = Names::default();
    one.layer("a", &[4, 3, 3, 3], true);
    one.layer("b", &[10, 4 * 15 * 15], true);
    assert_eq!(checked(Family::Sequential, &one.dict, 10), (vec![3, 32, 32], 1));
}

#[test]
fn what_does_not_fit_is_named() {
    let mut names = Names::default();
    names.layer("conv1", &[6, 3, 5, 5], true);
    names.layer("conv2", &[16, 6, 5, 5], true);
    names.layer("fc1", &[120, 400], true);
    let error = Family::Mlp.build(&names.dict).expect_err("a convolution");
    assert!(error.to_string().contains("conv1.weight"), "{error}");
    assert_eq!(error.others, [Family::LeNet, Family::Sequential]);
    assert!(error.hint().contains("--arch lenet"), "{}", error.hint());
    let mut odd = Names::default();
    odd.layer("conv1", &[6, 3, 5, 5], true);
    odd.layer("fc1", &[10, 6 * 17 * 17], true);
    let error = Family::Sequential.build(&odd.dict).expect_err("no such image");
    assert!(error.to_string().contains("fc1.weight") && error.hint().contains("FILE.onnx"), "{error}");
    let mut extra = resnet(3, &[4, 8], &[1, 1], 1, "", true);
    extra.layer("auxiliary", &[10, 8], true);
    let error = Family::ResNet.build(&extra.dict).expect_err("one too many");
    assert!(error.to_string().contains("auxiliary.weight"), "{error}");
    for (name, shape) in [("x.weight", &[0, 4][..]), ("x.weight", &[]), ("x.weight", &[3, 4, 5]), ("scale", &[4, 4])] {
        let mut strange = Names::default();
        strange.add(name, shape);
        for family in Family::ALL {
            family.build(&strange.dict).expect_err("no network");
        }
    }
    for family in Family::ALL {
        family.build(&StateDict::new()).expect_err("no network");
    }
}

#[test]
fn third_party_networks() {
    let files = [
        ("mnist-mlp-otfusion/mnist_models/model_0/final.checkpoint", Family::Mlp, vec![784], 3),
        ("mnist-mlp-noniid/split-by-2/model_0.pt", Family::Mlp, vec![784], 1),
        ("mnist-mlp-noniid/split-by-8/model_7.pt", Family::Mlp, vec![784], 1),
        ("cifar10-vgg11/vgg11_seed0.pt", Family::Vgg, vec![3, 32, 32], 8),
        ("cifar10-resnet/bognev/resnet20.th", Family::ResNet, vec![3, 32, 32], 14),
        ("cifar10-resnet/Zheng-Jiakun/resnet20.th", Family::ResNet, vec![3, 32, 32], 14),
        ("cifar10-resnet/Zheng-Jiakun/resnet56.th", Family::ResNet, vec![3, 32, 32], 32),
        ("cifar10-lenet5/0xlally.pth", Family::LeNet, vec![3, 32, 32], 4),
        ("cifar10-lenet5/BangYou01.pth", Family::LeNet, vec![3, 32, 32], 4),
        ("cifar10-lenet5/HanazawaKanana.pth", Family::LeNet, vec![3, 32, 32], 4),
        ("cifar10-lenet5/JesusSantosCapote.pth", Family::LeNet, vec![3, 32, 32], 4),
        ("mnist-cnn/edpt1-200.pt", Family::Sequential, vec![1, 28, 28], 2),
        ("mnist-burn/mnist.pt", Family::Sequential, vec![1, 28, 28], 4),
        ("mnist-burn/mnist.safetensors", Family::Sequential, vec![1, 28, 28], 4),
    ];
    for (name, family, input, groups) in files {
        let Some(path) = shared(&format!("models/{name}")) else { continue };
        let dict = read_state_dict(&path, None).expect("readable");
        assert_eq!(checked(family, &dict, 10), (input, groups), "{name}");
        let error = Model::open(&path, None).expect_err("no architecture");
        let ModelError::NoArchitecture { fitting, .. } = &error else { panic!("{name}: {error}") };
        assert!(fitting.contains(&family), "{name}: {fitting:?}");
        assert!(error.hint().contains(&format!("--arch {family}")), "{}", error.hint());
    }
}

#[test]
fn the_order_of_a_third_party_network_is_that_of_its_onnx_file() {
    let Some(onnx) = shared("models/mnist-burn/mnist.onnx") else { return };
    let original = Model::open(&onnx, None).expect("readable").graph;
    let mut expected = nodes(&original);
    assert_eq!(expected.pop().as_deref(), Some("LogSoftmax"));
    for name in ["mnist-burn/mnist.pt", "mnist-burn/mnist.safetensors"] {
        let Some(path) = shared(&format!("models/{name}")) else { continue };
        let dict = read_state_dict(&path, None).expect("readable");
        assert_eq!(nodes(&Family::Sequential.build(&dict).expect("a network")), expected, "{name}");
        let file = otfuse_formats::Architecture::File(onnx.clone());
        let filled = Model::open(&path, Some(&file)).expect("the same network").graph;
        assert_eq!(nodes(&filled), nodes(&original), "{name}");
        for (id, tensor) in filled.initializers() {
            let key = &filled.value(id).name;
            assert!(dict.get(key) == Some(tensor), "{name}: {key}");
        }
    }
}
