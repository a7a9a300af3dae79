//! Arrays that are not a network's inputs.

use std::collections::BTreeMap;

use otfuse::graph::{Conv, Graph, GraphBuilder, Operator, Tensor, ValueId, Window};

use super::networks::{convolutional, mystery, numbers, perceptron};
use super::workshop::Workshop;

#[test]
fn inputs() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[4, 6, 3], 1));
    shop.network("images.onnx", &convolutional(3));
    mystery(&shop.path("mystery.onnx"));
    let write = |shop: &Workshop, name: &str, arrays: Vec<(&str, Tensor)>| {
        let arrays: BTreeMap<_, _> = arrays.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
        otfuse::formats::npz::write_npz(&shop.path(name), &arrays).expect("written");
    };
    write(&shop, "nothing.npz", vec![]);
    write(&shop, "name.npz", vec![("image", numbers(&[2, 4]))]);
    write(&shop, "both.npz", vec![("input", numbers(&[2, 4])), ("stray", numbers(&[1]))]);
    write(&shop, "shape.npz", vec![("input", numbers(&[2, 5]))]);
    write(&shop, "rank.npz", vec![("input", numbers(&[4]))]);
    write(&shop, "type.npz", vec![("input", Tensor::from_i64(&[2, 4], vec![1; 8]))]);
    write(&shop, "sound.npz", vec![("input", numbers(&[2, 4]))]);
    for (model, inputs, expected) in [
        ("a.onnx", "nothing.npz", ["'input'", "missing"]),
        ("a.onnx", "name.npz", ["'image'", "input"]),
        ("a.onnx", "both.npz", ["'stray'", "input"]),
        ("a.onnx", "shape.npz", ["'input'", "[2, 5]"]),
        ("a.onnx", "rank.npz", ["'input'", "[4]"]),
        ("a.onnx", "type.npz", ["'input'", "int64"]),
        ("images.onnx", "sound.npz", ["'input'", "[2, 4]"]),
        ("mystery.onnx", "sound.npz", ["Mystery", "node 'strange'"]),
    ] {
        let [first, second] = expected;
        shop.refuses(&format!("run {model} --inputs {inputs} -o out/y.npz"), &[model, first, second]);
    }
    shop.finish(8);
}

/// A network of one node behind an input of `shape`.
fn single(shape: &[Option<usize>], add: impl FnOnce(&mut GraphBuilder, ValueId) -> ValueId) -> Graph {
    let mut b = GraphBuilder::new("single");
    let x = b.input("input", shape);
    let y = add(&mut b, x);
    b.output(y);
    b.finish().expect("sound")
}

/// Shapes that are left open in the file, and contradict each other once the inputs are there.
#[test]
fn shapes_that_do_not_fit_the_network() {
    let mut shop = Workshop::new();
    let image = [None, Some(3), None, None];
    let networks = [
        (
            "kernel",
            single(&image, |b, x| {
                let weight = b.initializer("weight", numbers(&[5, 3, 30, 30]));
                b.conv(x, weight, None, Conv { window: Window::uniform(2, 1, 0), groups: 1 })
            }),
        ),
        ("pool", single(&image, |b, x| b.max_pool(x, 9))),
        (
            "reshape",
            single(&image, |b, x| {
                let shape = b.integers(&[2, 7, 5]);
                b.node(Operator::Reshape { allow_zero: false }, &[x, shape])
            }),
        ),
        (
            "linear",
            single(&image, |b, x| {
                let x = b.flatten(x);
                let weight = b.initializer("weight", numbers(&[5, 7]));
                b.linear(x, weight, None)
            }),
        ),
        (
            "sum",
            single(&image, |b, x| {
                let other = b.initializer("other", numbers(&[3, 5, 5]));
                b.add(x, other)
            }),
        ),
    ];
    let arrays = BTreeMap::from([("input".to_owned(), numbers(&[2, 3, 8, 8]))]);
    otfuse::formats::npz::write_npz(&shop.path("x.npz"), &arrays).expect("written");
    for (name, network) in networks {
        let file = format!("{name}.onnx");
        shop.network(&file, &network);
        shop.refuses(&format!("run {file} --inputs x.npz -o out/y.npz"), &[&file, "node '", "expected", "found"]);
    }
    shop.finish(5);
}
