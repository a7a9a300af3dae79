//! Every model of the collection of test files is read, or refused with an error that says why.

#![allow(clippy::print_stderr)]

mod support;

use std::path::{Path, PathBuf};

use otfuse_formats::onnx::{open_onnx, proto::ModelProto};
use otfuse_graph::Operator;
use prost::Message;
use support::shared;

fn models(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(models(&path));
        } else if path.extension().is_some_and(|extension| extension == "onnx") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_model_is_read_or_refused_with_a_reason() {
    let Some(folder) = shared("onnx") else { return };
    let (mut read, mut opaque, mut refused) = (0, 0, Vec::new());
    for path in models(&folder) {
        match open_onnx(&path) {
            Ok(model) => {
                read += 1;
                opaque +=
                    usize::from(model.graph.nodes().any(|(_, node)| matches!(node.operator, Operator::Opaque { .. })));
                let written = model.template.write(&model.graph);
                assert!(written.is_ok(), "{}: {written:?}", path.display());
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    eprintln!("{read} read, {opaque} of them with opaque parts; {} refused", refused.len());
    for error in &refused {
        eprintln!("  {error}");
    }
    assert!(refused.len() * 50 < read, "{} of {} refused", refused.len(), read + refused.len());
}

#[test]
fn the_messages_lose_no_field() {
    let Some(folder) = shared("onnx") else { return };
    for path in models(&folder) {
        let bytes = std::fs::read(&path).expect("a readable file");
        let model = ModelProto::decode(bytes.as_slice()).expect("a model");
        // Writers order fields as they like and some write defaults; the length is that of all fields together.
        let again = model.encode_to_vec();
        assert_eq!(ModelProto::decode(again.as_slice()).expect("a model"), model, "{}", path.display());
        assert!(again.len() <= bytes.len(), "{}: {} became {}", path.display(), bytes.len(), again.len());
        if again.len() < bytes.len() {
            eprintln!("{}: {} bytes became {}", path.display(), bytes.len(), again.len());
        }
    }
}
