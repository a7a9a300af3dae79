//! Tensors that are not those of a network: architectures, external data, weights that are no numbers.

use std::path::Path;

use otfuse::formats::onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use otfuse::formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse::graph::{Graph, Tensor};

use super::networks::{numbers, perceptron};
use super::workshop::Workshop;

fn tensors(graph: &Graph) -> Vec<(String, Tensor)> {
    graph.initializers().map(|(id, tensor)| (graph.value(id).name.clone(), tensor.clone())).collect()
}

#[test]
fn architectures() {
    let mut shop = Workshop::new();
    let network = perceptron(&[4, 6, 3], 1);
    shop.network("a.safetensors", &network);
    shop.network("a.pt", &network);
    shop.network("other.onnx", &perceptron(&[4, 6, 6, 3], 1));
    shop.network("narrow.onnx", &perceptron(&[4, 5, 3], 1));
    shop.network("same.onnx", &network);
    shop.put("broken.onnx", b"nothing of the kind");
    for file in ["a.safetensors", "a.pt"] {
        shop.refuses(&format!("inspect {file}"), &[file, "4 tensors without a graph", "--arch mlp"]);
    }
    shop.refuses("inspect a.pt --arch mpl", &["mpl", "did you mean 'mlp'?"]);
    shop.refuses("inspect a.pt --arch transformer-xl", &["transformer-xl", "vgg", "resnet"]);
    for family in ["vgg", "resnet", "lenet"] {
        shop.refuses(&format!("inspect a.pt --arch {family}"), &["a.pt", "expected", "found"]);
    }
    shop.refuses("inspect a.pt --arch other.onnx", &["a.pt", "other.onnx", "fc3.weight", "missing"]);
    shop.refuses("inspect a.pt --arch narrow.onnx", &["a.pt", "narrow.onnx", "fc1.weight", "[5, 4]", "[6, 4]"]);
    shop.refuses("inspect a.pt --arch absent.onnx", &["absent.onnx", "cannot open"]);
    shop.refuses("inspect a.pt --arch broken.onnx", &["broken.onnx", "expected an ONNX model"]);

    let sound = tensors(&network);
    let without = |name: &str| sound.iter().filter(|(key, _)| key != name).cloned().collect::<Vec<_>>();
    shop.state_dict("missing.pt", without("fc2.weight"));
    shop.refuses("inspect missing.pt --arch same.onnx", &["missing.pt", "'fc2.weight' of shape [3, 6] is missing"]);
    shop.state_dict("missing.safetensors", without("fc2.weight"));
    shop.refuses("inspect missing.safetensors --arch mlp", &["missing.safetensors", "fc2", "expected", "found"]);
    let mut extra = sound.clone();
    extra.push(("stray.weight".into(), numbers(&[7, 2])));
    shop.state_dict("extra.safetensors", extra);
    shop.refuses("inspect extra.safetensors --arch mlp", &["extra.safetensors", "stray.weight"]);
    let mut wrong = without("fc1.bias");
    wrong.push(("fc1.bias".into(), numbers(&[5])));
    shop.state_dict("shape.pt", wrong);
    shop.refuses("inspect shape.pt --arch mlp", &["shape.pt", "fc1.bias", "expected", "[6]", "[5]"]);
    shop.refuses("inspect shape.pt --arch same.onnx", &["shape.pt", "fc1.bias", "[6]", "[5]"]);
    shop.state_dict("nothing.safetensors", []);
    shop.refuses("inspect nothing.safetensors --arch mlp", &["nothing.safetensors", "expected"]);
    shop.finish(16);
}

/// A small ONNX file with one of its tensors changed by `change`.
fn write_changed(path: &Path, change: impl FnOnce(&mut TensorProto)) {
    let mut proto: ModelProto = to_proto(&perceptron(&[4, 6, 3], 1)).expect("sound");
    let graph = proto.graph.as_mut().expect("a graph");
    let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name.as_deref() == Some("fc1.weight"));
    change(tensor.expect("a tensor"));
    write_onnx(path, proto, &WriteOptions::default()).expect("written");
}

fn external(tensor: &mut TensorProto, location: &str) {
    tensor.raw_data = None;
    tensor.float_data.clear();
    tensor.data_location = Some(1);
    for (key, value) in [("location", location), ("offset", "0"), ("length", "96")] {
        let entry = StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
        tensor.external_data.push(entry);
    }
}

#[test]
fn external_data() {
    let mut shop = Workshop::new();
    shop.put("secret.bin", [0; 96]);
    shop.put("models/short.bin", [0; 40]);
    for (name, location, found) in [
        ("models/gone.onnx", "weights.bin", "cannot be read"),
        ("models/short.onnx", "short.bin", "40 bytes"),
        ("models/escape.onnx", "../secret.bin", "folder"),
        ("models/absolute.onnx", "/etc/passwd", "folder"),
        ("models/folder.onnx", ".", "fc1.weight"),
    ] {
        write_changed(&shop.path(name), |tensor| external(tensor, location));
        shop.refuses(&format!("inspect {name}"), &[name, "fc1.weight", location, found]);
        shop.refuses(&format!("convert {name} out/x.onnx"), &[name, "fc1.weight", location]);
    }
    shop.finish(10);
}

#[test]
fn claims_of_onnx_tensors() {
    let mut shop = Workshop::new();
    for (name, shape) in [
        ("huge.onnx", vec![1 << 40, 1 << 40]),
        ("large.onnx", vec![1 << 20, 1 << 14]),
        ("negative.onnx", vec![-6, 4]),
        ("short.onnx", vec![6, 5]),
    ] {
        write_changed(&shop.path(name), |tensor| tensor.dims = shape);
        shop.refuses(&format!("inspect {name}"), &[name, "fc1.weight", "expected", "found"]);
    }
    write_changed(&shop.path("type.onnx"), |tensor| tensor.data_type = Some(99));
    shop.refuses("inspect type.onnx", &["type.onnx", "fc1.weight", "99"]);
    write_changed(&shop.path("name.onnx"), |tensor| tensor.name = Some("other".into()));
    shop.refuses("inspect name.onnx", &["name.onnx", "fc1.weight"]);
    shop.finish(6);
}
