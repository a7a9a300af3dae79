//! Data sets that are damaged, absent, or of another network.

use std::collections::BTreeMap;

use otfuse::graph::Tensor;

use super::networks::{convolutional, numbers, perceptron};
use super::workshop::Workshop;

/// An idx file of bytes.
fn idx(shape: &[u32]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    file.extend(shape.iter().flat_map(|length| length.to_be_bytes()));
    file.extend((0..shape.iter().product::<u32>()).map(|at| (at % 10) as u8));
    file
}

const IMAGES: &str = "mnist/t10k-images-idx3-ubyte";
const LABELS: &str = "mnist/t10k-labels-idx1-ubyte";

#[test]
fn mnist_files() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[16, 6, 10], 1));
    let (images, labels) = (idx(&[5, 4, 4]), idx(&[5]));
    let line = "eval a.onnx --data mnist:mnist";
    for (name, sound, other, other_bytes) in [(IMAGES, &images, LABELS, &labels), (LABELS, &labels, IMAGES, &images)] {
        shop.put(other, other_bytes);
        let mut magic = sound.clone();
        magic[2] = 13;
        let mut claim = sound.clone();
        claim[4..8].fill(0xff);
        let mut longer = sound.clone();
        longer.push(0);
        let cuts = [0, 2, 6, sound.len() - 1].map(|length| sound[..length].to_vec());
        for damage in cuts.into_iter().chain([magic, claim, longer]) {
            shop.put(name, damage);
            shop.refuses(line, &[name, "expected", "found"]);
        }
        shop.put(name, sound);
    }
    shop.put(LABELS, idx(&[4]));
    shop.refuses(line, &["mnist", "labels", "expected 5", "found 4"]);
    shop.put(LABELS, b"\0\0\x08\x01\0\0\0\x05\0\x01\x02\x03\x63");
    shop.refuses(line, &["mnist", "label", "below 10", "99"]);
    shop.put(LABELS, idx(&[0]));
    shop.put(IMAGES, idx(&[0, 4, 4]));
    shop.refuses(line, &["mnist", "no samples"]);
    shop.put(&format!("zipped/{}.gz", &IMAGES[6..]), b"\x1f\x8b\x08\0cut");
    shop.put(&format!("zipped/{}", &LABELS[6..]), idx(&[5]));
    shop.refuses("eval a.onnx --data mnist:zipped", &["t10k-images"]);
    shop.finish(18);
}

#[test]
fn cifar_files() {
    let mut shop = Workshop::new();
    shop.network("images.onnx", &convolutional(3));
    for length in [0, 1, 3072, 3073 + 17] {
        shop.put("cifar/test_batch.bin", vec![1; length]);
        shop.refuses("eval images.onnx --data cifar10:cifar", &["test_batch.bin", "3073", "found"]);
    }
    shop.put("cifar/test_batch.bin", vec![200; 3073]);
    shop.refuses("eval images.onnx --data cifar10:cifar", &["cifar", "label", "200"]);
    shop.put("cifar/test.bin", vec![1; 3073]);
    shop.refuses("eval images.onnx --data cifar100:cifar", &["test.bin", "3074", "found"]);
    shop.finish(6);
}

#[test]
fn specifications() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[64, 6, 10], 1));
    shop.put("empty/readme", "nothing here");
    for (data, expected) in [
        ("imagenet:x", ["imagenet:x", "cifar10:PATH"]),
        ("mnist", ["'mnist'", "mnist:PATH"]),
        ("digits:x", ["digits:x", "expected"]),
        ("mnist:absent", ["absent", "check the spelling"]),
        ("mnist:empty", ["empty", "t10k-"]),
        ("fashion-mnist:empty", ["empty", "t10k-"]),
        ("cifar10:empty", ["empty", "test_batch.bin"]),
        ("digits --normalize nonsense", ["nonsense", "mean"]),
        ("digits --normalize 0.5/0", ["0.5/0", "positive"]),
        ("digits --normalize 1,2/3", ["1,2/3", "expected"]),
        ("digits --normalize cifar10", ["normalisation", "3 channels"]),
    ] {
        shop.refuses(&format!("eval a.onnx --data {data}"), &expected);
    }
    shop.refuses("fuse a.onnx a.onnx -o out/x.onnx --mode activations --data mnist:empty", &["empty", "train-"]);
    shop.finish(12);
}

fn archive(shop: &Workshop, name: &str, x: Tensor, y: Tensor) {
    let arrays = BTreeMap::from([("x".to_owned(), x), ("y".to_owned(), y)]);
    otfuse::formats::npz::write_npz(&shop.path(name), &arrays).expect("written");
}

#[test]
fn samples_of_another_network() {
    let mut shop = Workshop::new();
    shop.network("a.onnx", &perceptron(&[16, 6, 10], 1));
    shop.network("b.onnx", &perceptron(&[16, 6, 10], 2));
    shop.network("five.onnx", &perceptron(&[64, 6, 5], 2));
    shop.network("ten.onnx", &perceptron(&[64, 6, 10], 2));
    shop.network("twelve.onnx", &perceptron(&[64, 6, 12], 2));
    shop.network("images.onnx", &convolutional(3));
    shop.refuses("eval a.onnx --data digits", &["a.onnx", "16", "samples of shape"]);
    shop.refuses("eval images.onnx --data digits", &["images.onnx", "samples of shape"]);
    let line = "fuse a.onnx b.onnx -o out/x.onnx --mode activations --data digits";
    shop.refuses(line, &["a.onnx", "16", "samples of shape"]);
    shop.refuses("eval five.onnx --data digits", &["five.onnx", "at least 10 classes", "found 5"]);
    shop.refuses(
        "eval ten.onnx twelve.onnx --ensemble --data digits",
        &["twelve.onnx", "expected 10 classes", "found 12"],
    );

    let labels = |values: &[i64]| Tensor::from_i64(&[values.len()], values.to_vec());
    archive(&shop, "count.npz", numbers(&[3, 16]), labels(&[0, 1]));
    shop.refuses("eval a.onnx --data npz:count.npz", &["count.npz", "labels", "expected 3", "[2]"]);
    archive(&shop, "negative.npz", numbers(&[2, 16]), labels(&[0, -1]));
    shop.refuses("eval a.onnx --data npz:negative.npz", &["negative.npz", "labels"]);
    archive(&shop, "floats.npz", numbers(&[2, 16]), numbers(&[2]));
    shop.refuses("eval a.onnx --data npz:floats.npz", &["a.onnx", "targets", "integers"]);
    archive(&shop, "label.npz", numbers(&[2, 16]), labels(&[0, 10]));
    shop.refuses("eval a.onnx --data npz:label.npz", &["a.onnx", "at least 11 classes", "found 10"]);
    archive(&shop, "none.npz", numbers(&[0, 16]), labels(&[]));
    shop.refuses("eval a.onnx --data npz:none.npz", &["none.npz", "no samples"]);
    let arrays = BTreeMap::from([("pictures".to_owned(), numbers(&[2, 16]))]);
    otfuse::formats::npz::write_npz(&shop.path("names.npz"), &arrays).expect("written");
    shop.refuses("eval a.onnx --data npz:names.npz", &["names.npz", "no labels", "pictures", "y_train"]);
    shop.finish(11);
}
