//! Damaged files give errors, never panics.

use std::path::Path;

use bytes::Bytes;
use otfuse_formats::onnx::{OnnxError, proto, read_onnx};
use prost::Message;

use crate::support::{body, int, ints, model, node, weight};

fn sample() -> Vec<u8> {
    let inner = proto::GraphProto { node: vec![node("Relu", &["p"], &["q"], vec![])], ..Default::default() };
    let nodes = vec![
        node("Conv", &["x", "w"], &["c"], vec![ints("pads", &[1, 1, 1, 1]), ints("kernel_shape", &[3, 3])]),
        node("MaxPool", &["c"], &["p"], vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("Softmax", &["p"], &["s"], vec![int("axis", 1)]),
        node("If", &["s"], &["i"], vec![body("then_branch", inner)]),
        node("Slice", &["i"], &["f"], vec![ints("starts", &[0]), ints("ends", &[1]), ints("axes", &[1])]),
        node("Flatten", &["f"], &["y"], vec![]),
    ];
    model(9, &[1, 1, 6, 6], nodes, vec![weight("w", &[2, 1, 3, 3])]).encode_to_vec()
}

/// Reads and, if there is something to write, writes.
fn exercise(bytes: Vec<u8>) {
    if let Ok(model) = read_onnx(Bytes::from(bytes), Path::new("/nonexistent")) {
        model.graph.verify().expect("what is read is sound");
        model.template.write(&model.graph).expect("what is read can be written");
    }
}

#[test]
fn every_truncation_is_survived() {
    let bytes = sample();
    for length in 0..bytes.len() {
        exercise(bytes[..length].to_vec());
    }
    assert!(matches!(read_onnx(Bytes::new(), Path::new(".")), Err(OnnxError::Missing { expected: "graph" })));
    assert!(matches!(
        read_onnx(Bytes::from_static(b"\x89PNG\r\n\x1a\n"), Path::new(".")),
        Err(OnnxError::Decode { .. })
    ));
}

#[test]
fn every_flipped_bit_is_survived() {
    let bytes = sample();
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            exercise(damaged);
        }
    }
}

#[test]
fn random_bytes_are_survived() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let bytes = sample();
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        for _ in 0..1 + next() % 8 {
            let position = next() % damaged.len();
            damaged[position] = next() as u8;
        }
        exercise(damaged);
    }
}

#[test]
fn bodies_within_bodies_end_somewhere() {
    let mut graph = proto::GraphProto::default();
    for _ in 0..200 {
        let mut outer = node("If", &["c"], &["o"], vec![body("then_branch", graph)]);
        outer.name = Some("deep".into());
        graph = proto::GraphProto { node: vec![outer], ..Default::default() };
    }
    let deep = proto::ModelProto { graph: Some(graph), ..Default::default() };
    assert!(matches!(read_onnx(deep.encode_to_vec().into(), Path::new(".")), Err(OnnxError::Decode { .. })));
}
