//! Networks in files: which architecture they take, and what does not fit together.

use std::path::{Path, PathBuf};

use otfuse_formats::pytorch::write_pytorch;
use otfuse_formats::{Architecture, Family, Format, FormatError, Model, ModelError, StateDict, read_state_dict};
use otfuse_graph::{DataType, Graph, GraphBuilder, GraphEditor, Operator, Tensor};

fn ramp(shape: &[usize], start: f32) -> Tensor {
    Tensor::from_f32(shape, (0..shape.iter().product::<usize>()).map(|i| start + i as f32 / 8.0).collect())
}

fn dict(tensors: &[(&str, Tensor)]) -> StateDict {
    let mut dict = StateDict::new();
    for (name, tensor) in tensors {
        dict.insert(*name, tensor.clone()).expect("a new name");
    }
    dict
}

fn saved(folder: &Path, tensors: &[(&str, Tensor)]) -> PathBuf {
    let path = folder.join("weights.pt");
    write_pytorch(&path, &dict(tensors)).expect("written");
    path
}

/// An ONNX file of a network, written through a state dict's model.
fn onnx(folder: &Path, graph: &Graph) -> Architecture {
    let path = folder.join("network.onnx");
    let any = dict(&[("w.weight", ramp(&[2, 3], 0.0))]);
    let mlp = Architecture::Catalogue(Family::Mlp);
    let model = Model::of_state_dict(Path::new("w.pt"), any, Format::PyTorch, &mlp).expect("a perceptron");
    model.save(graph, &path).expect("written");
    Architecture::File(path)
}

/// `relu(x A) B` with the factors as MatMul takes them.
fn product(a: [usize; 2], b: [usize; 2]) -> Graph {
    let mut builder = GraphBuilder::new("product");
    let x = builder.input("x", &[None, Some(a[0])]);
    let a = builder.initializer("fc1.weight", ramp(&a, 0.0));
    let b = builder.initializer("fc2.weight", ramp(&b, 0.0));
    let hidden = builder.node(Operator::MatMul, &[x, a]);
    let hidden = builder.relu(hidden);
    let y = builder.node(Operator::MatMul, &[hidden, b]);
    builder.output(y);
    builder.finish().expect("a network")
}

fn values(graph: &Graph, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = graph.find_value(name).and_then(|id| graph.initializer(id)).expect("an initializer");
    (tensor.shape().to_vec(), tensor.to_f32().expect("floats"))
}

#[test]
fn architectures_by_name() {
    for (text, family) in [("mlp", Family::Mlp), ("ResNet20", Family::ResNet), ("vgg11_bn", Family::Vgg)] {
        assert_eq!(Architecture::parse(text).expect("a family"), Architecture::Catalogue(family));
    }
    let file = Architecture::parse("some/x.ONNX").expect("a file");
    assert_eq!(file, Architecture::File("some/x.ONNX".into()));
    let error = Architecture::parse("renset").expect_err("misspelt");
    assert!(error.hint().contains("did you mean 'resnet'"), "{}", error.hint());
    let error = Architecture::parse("transformer").expect_err("unknown");
    assert!(matches!(error, ModelError::UnknownArchitecture { suggestion: None, .. }), "{error}");
    assert!(error.hint().contains("sequential"), "{}", error.hint());
}

#[test]
fn matrices_are_transposed_as_the_exporter_did() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = onnx(folder.path(), &product([2, 3], [3, 3]));
    let weights = [("module.fc1.weight", ramp(&[3, 2], 1.0)), ("module.fc2.weight", ramp(&[3, 3], 2.0))];
    let path = saved(folder.path(), &weights);
    let model = Model::open(&path, Some(&file)).expect("the same network");
    let (shape, first) = values(&model.graph, "fc1.weight");
    assert_eq!((shape, &first[..3]), (vec![2, 3], &[1.0, 1.25, 1.5][..]));
    // The square one is transposed because the oblong one had to be.
    assert_eq!(&values(&model.graph, "fc2.weight").1[..3], &[2.0, 2.375, 2.75]);
    let written = folder.path().join("again.pth");
    model.save(&model.graph, &written).expect("written");
    let again = read_state_dict(&written, None).expect("readable");
    for (name, tensor) in &weights {
        assert!(again.get(name) == Some(tensor), "{name}");
    }
    let written = folder.path().join("again.onnx");
    model.save(&model.graph, &written).expect("written");
    assert_eq!(values(&Model::open(&written, None).expect("readable").graph, "fc1.weight").1, first);
}

#[test]
fn every_difference_from_the_onnx_file_is_named() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = onnx(folder.path(), &product([2, 3], [3, 4]));
    let weights = [("fc1.weight", ramp(&[5, 2], 0.0)), ("fc3.weight", ramp(&[4, 7], 0.0))];
    let path = saved(folder.path(), &weights);
    let error = Model::open(&path, Some(&file)).expect_err("another network");
    let text = error.to_string();
    for part in ["weights.pt", "network.onnx", "found 3 that differ", "'fc2.weight'", "'fc3.weight'", "[5, 2]"] {
        assert!(text.contains(part), "{text}: {part}");
    }
    let norm = ["fc1.weight", "fc2.weight", "bn.running_mean", "bn.running_var"];
    let shapes = [&[3, 2][..], &[4, 3], &[3], &[3]];
    let weights: Vec<_> = norm.into_iter().zip(shapes.map(|shape| ramp(shape, 0.0))).collect();
    let error = Model::open(&saved(folder.path(), &weights), Some(&file)).expect_err("folded");
    assert!(error.to_string().contains("'bn.running_mean'"), "{error}");
    assert!(error.hint().contains("optimize=False"), "{}", error.hint());
}

#[test]
fn types_and_unused_tensors_survive() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let half = |shape: &[usize]| Tensor::from_f32_as(DataType::F16, shape, vec![0.5; shape.iter().product()]);
    let weights =
        [("steps", Tensor::from_i64(&[2], vec![3, 4])), ("b.weight", half(&[4, 2])), ("a.weight", half(&[3, 4]))];
    // Integers at the root belong to no layer; the families leave them alone.
    let path = saved(folder.path(), &weights);
    let model = Model::open(&path, Some(&Architecture::Catalogue(Family::Mlp))).expect("a perceptron");
    let mut editor = GraphEditor::edit(model.graph.clone());
    let id = model.graph.find_value("a.weight").expect("a weight");
    editor.set_tensor(id, Tensor::from_f32(&[3, 4], vec![0.25; 12]));
    let written = folder.path().join("out.safetensors");
    model.save(&editor.finish().expect("a network"), &written).expect("written");
    let again = read_state_dict(&written, None).expect("readable");
    assert_eq!(again.names().collect::<Vec<_>>(), ["steps", "b.weight", "a.weight"]);
    assert_eq!(again.get("steps"), Some(&weights[0].1));
    assert_eq!(again.get("a.weight"), Some(&Tensor::from_f32_as(DataType::F16, &[3, 4], vec![0.25; 12])));
}

#[test]
fn onnx_as_tensors_and_foreign_files() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let Architecture::File(path) = onnx(folder.path(), &product([2, 3], [3, 4])) else { panic!("expected a file") };
    let model = Model::open(&path, None).expect("readable");
    assert_eq!(model.format(), Format::Onnx);
    let written = folder.path().join("out.bin");
    model.save(&model.graph, &written).expect("written");
    let names = read_state_dict(&written, None).expect("readable");
    assert_eq!(names.names().collect::<Vec<_>>(), ["fc1.weight", "fc2.weight"]);
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no network at all").expect("written");
    let error = Model::open(&text, None).expect_err("a text");
    assert!(matches!(error, ModelError::Format(FormatError::UnknownFormat { .. })), "{error}");
}
