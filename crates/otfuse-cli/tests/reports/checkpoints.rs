//! Checkpoints find their tensors in what PyTorch's exporters make of their networks, and get all of them back.

use std::path::Path;

use otfuse::formats::npz::read_npz;
use otfuse::formats::read_state_dict;
use otfuse::graph::Tensor;

use crate::desk::Desk;

/// The networks, and how many neuron groups each has.
const NETWORKS: [(&str, usize); 11] = [
    ("folded", 2),
    ("linear", 2),
    ("reused", 1),
    ("lstm", 4),
    ("gru", 4),
    ("norms", 4),
    ("weightnorm", 3),
    ("spectralnorm", 3),
    ("encoder", 8),
    ("extra", 1),
    ("prefixed", 2),
];

fn forms(name: &str) -> &'static [&'static str] {
    match name {
        "spectralnorm" => &["default", "plain"],
        "folded" => &["default", "plain", "own"],
        _ => &["default", "plain", "old"],
    }
}

fn outputs(path: &str) -> Vec<f32> {
    let arrays = read_npz(Path::new(path)).expect("arrays");
    arrays["y"].to_f32().expect("floats")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The outputs of a checkpoint in this export.
fn run(desk: &Desk, checkpoint: &str, onnx: &str, inputs: &str) -> Vec<f32> {
    let out = desk.out("outputs.npz");
    desk.ends(0, &["run", checkpoint, "--arch", onnx, "--inputs", inputs, "-o", &out]);
    outputs(&out)
}

#[test]
fn every_export_serves_every_checkpoint() {
    let desk = Desk::of("checkpoints");
    for (name, groups) in NETWORKS {
        let [first, second] = [1, 2].map(|seed| desk.file(&format!("{name}.{seed}.pt")));
        let samples = desk.file(&format!("{name}.x.npz"));
        let expected = outputs(&desk.file(&format!("{name}.y.npz")));
        for form in forms(name) {
            let onnx = desk.file(&format!("{name}.{form}.onnx"));
            let context = format!("{name}.{form}");
            // It is the network that PyTorch runs.
            let difference = largest_difference(&run(&desk, &first, &onnx, &samples), &expected);
            assert!(difference < 1e-5, "{context}: {difference}");
            // Its neurons can be moved, and are found again.
            let [moved, fused] = ["moved.pt", "fused.pt"].map(|file| desk.out(file));
            desk.ends(0, &["align", &first, &second, "--arch", &onnx, "-o", &moved]);
            let ran = desk.ends(0, &["fuse", &moved, &first, "--arch", &onnx, "-o", &fused, "--json"]);
            let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
            assert_eq!(report["groups"].as_array().map(Vec::len), Some(groups), "{context}");
            // In the export that has all names: the others may not say which epsilon a normalisation has.
            let named = desk.file(&format!("{name}.plain.onnx"));
            for result in [&moved, &fused] {
                let difference = largest_difference(&run(&desk, result, &named, &samples), &expected);
                assert!(difference < 1e-4, "{context}: {difference}");
            }
            has_the_tensors_of(&first, &fused, &context);
        }
    }
}

/// Names, order, types and shapes: what a strict load asks for.
fn has_the_tensors_of(first: &str, fused: &str, context: &str) {
    let [first, fused] = [first, fused].map(|path| read_state_dict(Path::new(path), None).expect("a state dict"));
    let kind = |(name, tensor): (&str, &Tensor)| (name.to_owned(), tensor.data_type(), tensor.shape().to_vec());
    let [first, fused] = [&first, &fused].map(|dict| dict.iter().map(kind).collect::<Vec<_>>());
    assert_eq!(first, fused, "{context}");
}

#[test]
fn what_only_one_side_has_is_said() {
    let desk = Desk::of("checkpoints");
    let fuse = |name: &str| {
        let [first, second] = [1, 2].map(|seed| desk.file(&format!("{name}.{seed}.pt")));
        let onnx = desk.file(&format!("{name}.default.onnx"));
        desk.ends(0, &["fuse", &first, &second, "--arch", &onnx, "-o", &desk.out(&format!("{name}.pt"))]).stderr
    };
    let extra = fuse("extra");
    assert!(extra.contains("no part of the network") && extra.contains("'auxiliary.weight'"), "{extra}");
    let encoder = fuse("encoder");
    assert!(encoder.contains("kept as they are in the ONNX file: 'table' of shape [6, 8]"), "{encoder}");
}

#[test]
fn an_epsilon_that_nothing_tells_is_said() {
    let desk = Desk::of("checkpoints");
    let [first, second] = [1, 2].map(|seed| desk.file(&format!("folded.{seed}.pt")));
    let fused = desk.out("fused.pt");
    let fuse = |form: &str| {
        let onnx = desk.file(&format!("folded.{form}.onnx"));
        desk.ends(0, &["fuse", &first, &second, "--arch", &onnx, "-o", &fused]).stderr
    };
    // Of the first model's own export its values tell, for the second model as well.
    assert!(!fuse("own").contains("does not say what its batch normalisations add"));
    assert!(fuse("old").contains("does not say what its batch normalisations add"));
}

#[test]
fn another_network_is_refused_with_a_way_out() {
    let desk = Desk::of("checkpoints");
    let arguments =
        ["fuse", &desk.file("linear.1.pt"), &desk.file("linear.2.pt"), "--arch", &desk.file("lstm.plain.onnx")];
    let out = desk.out("f.pt");
    let arguments: Vec<&str> = arguments.into_iter().chain(["-o", &out]).collect();
    desk.refuses(&arguments, &["is missing", "optimize=False"]);
}
