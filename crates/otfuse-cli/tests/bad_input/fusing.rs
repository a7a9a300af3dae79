//! Networks that cannot be fused.

use std::collections::BTreeMap;

use otfuse::graph::Tensor;

use super::networks::{convolutional, mystery, numbers, perceptron, rewired, sigmoid, with_value};
use super::workshop::Workshop;

#[test]
fn architectures() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    shop.network("wide.onnx", &perceptron(&[4, 8, 3], 2));
    shop.network("deep.onnx", &perceptron(&[4, 6, 6, 3], 2));
    shop.network("classes.onnx", &perceptron(&[4, 6, 5], 2));
    shop.network("inputs.onnx", &perceptron(&[5, 6, 3], 2));
    shop.network("sigmoid.onnx", &sigmoid());
    shop.network("sum.onnx", &rewired(true));
    shop.network("skip.onnx", &rewired(false));
    shop.network("images.onnx", &convolutional(1));
    shop.network("colours.onnx", &convolutional(3));
    for (first, second, expected) in [
        ("sigmoid.onnx", "deep.onnx", "fc3"),
        ("a.onnx", "sigmoid.onnx", "Sigmoid"),
        ("sum.onnx", "skip.onnx", "Add"),
        ("a.onnx", "classes.onnx", "fc2."),
        ("a.onnx", "inputs.onnx", "4"),
        ("a.onnx", "images.onnx", "Conv"),
        ("images.onnx", "colours.onnx", "3"),
    ] {
        let line = format!("fuse {first} {second} -o out/fused.onnx");
        shop.refuses(&line, &[first, second, "model 0", expected]);
        shop.refuses(&line.replace("fuse ", "fuse --method average --no-verify "), &[first, second]);
    }
    let expected = ["a.onnx", "fc1.", "[6", "[8", "equal shapes", "--method ot"];
    shop.refuses("fuse a.onnx wide.onnx -o out/fused.onnx --method average", &expected);
    shop.refuses("fuse a.onnx absent.onnx -o out/fused.onnx", &["absent.onnx", "cannot open"]);
    shop.finish(16);
}

#[test]
fn pairs_of_layers() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    shop.network("b.onnx", &perceptron(&[4, 6, 3], 3));
    shop.network("deep.onnx", &perceptron(&[4, 6, 6, 3], 2));
    for (name, text) in [
        ("empty", ""),
        ("number", "7"),
        ("list", "[]"),
        ("few", r#"{"pairs": [[0, 0]]}"#),
        ("far", r#"{"pairs": [[0, 0], [7, 1]]}"#),
        ("turned", r#"{"pairs": [[2, 0], [0, 1]]}"#),
        ("unlike", r#"{"pairs": [[0, 0], [1, 1]]}"#),
        ("three", r#"{"pairs": [[0, 0, 0], [2, 1]]}"#),
        ("report", r#"{"depth": {"models": []}}"#),
    ] {
        let file = format!("{name}.json");
        shop.put(&file, text);
        let line = format!("fuse a.onnx deep.onnx -o out/fused.onnx --pairs {file}");
        shop.refuses(&line, &[&file, "pairs"]);
    }
    shop.refuses("fuse a.onnx deep.onnx -o out/fused.onnx --pairs absent.json", &["absent.json"]);
    shop.put("good.json", r#"{"pairs": [[0, 0], [2, 1]]}"#);
    shop.refuses("fuse a.onnx b.onnx -o out/fused.onnx --pairs good.json", &["--pairs", "one depth"]);
    shop.refuses("fuse a.onnx deep.onnx -o good.json --pairs good.json", &["good.json"]);
    shop.refuses("fuse a.onnx deep.onnx -o out/fused.onnx --target-width 0.5", &["--target-width", "unequal depth"]);
    shop.refuses("fuse a.onnx deep.onnx -o out/fused.onnx --depth deepest", &["deepest", "--depth"]);
    shop.finish(14);
}

#[test]
fn weights_that_are_no_numbers() {
    let mut shop = Workshop::new();
    let network = perceptron(&[4, 6, 3], 1);
    shop.network("a.onnx", &network);
    for (name, value) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("minus", f32::NEG_INFINITY)] {
        for extension in ["onnx", "safetensors", "pt"] {
            let file = format!("{name}.{extension}");
            shop.network(&file, &with_value(&network, "fc2.weight", value));
            let expected = [&*file, "fc2.weight", "index 1"];
            shop.refuses(&format!("fuse a.onnx {file} -o out/fused.onnx --arch mlp"), &expected);
        }
        shop.refuses(&format!("fuse {name}.onnx a.onnx -o out/fused.onnx --no-verify"), &["fc2.weight"]);
    }
    shop.refuses("verify nan.onnx", &["nan.onnx", "fc2.weight", "NaN"]);
    shop.refuses("eval nan.onnx --data digits", &["nan.onnx", "fc2.weight", "NaN"]);
    shop.refuses("verify inf.onnx", &["inf.onnx", "output"]);
    let digits = perceptron(&[64, 6, 10], 1);
    shop.network("scores.onnx", &with_value(&digits, "fc2.bias", f32::INFINITY));
    shop.refuses("eval scores.onnx --data digits", &["scores.onnx", "finite scores", "inf"]);
    shop.finish(15);
}

#[test]
fn unknown_operators() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    mystery(&shop.path("mystery.onnx"));
    let expected = ["mystery.onnx", "Mystery", "node 'strange'"];
    shop.refuses("verify mystery.onnx", &expected);
    let arrays = BTreeMap::from([("x".into(), numbers(&[2, 4])), ("y".into(), Tensor::from_i64(&[2], vec![0, 1]))]);
    otfuse::formats::npz::write_npz(&shop.path("data.npz"), &arrays).expect("written");
    shop.refuses("eval mystery.onnx --data npz:data.npz", &expected);
    shop.refuses("fuse a.onnx mystery.onnx -o out/fused.onnx", &["mystery.onnx", "Mystery"]);
    shop.finish(3);
}
