//! Tensors in a file beside the model.

use std::fs;

use otfuse_formats::FormatError;
use otfuse_formats::onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use otfuse_formats::onnx::{OnnxError, WriteOptions, open_onnx, write_onnx};

use crate::support::{model, node, read, weight};

fn pointing_to(location: &str, offset: usize, length: usize) -> ModelProto {
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    let tensor = TensorProto {
        float_data: vec![],
        data_location: Some(1),
        external_data: vec![
            entry("location", location.into()),
            entry("offset", offset.to_string()),
            entry("length", length.to_string()),
        ],
        ..weight("w", &[2])
    };
    model(18, &[1, 2], vec![node("Mul", &["x", "w"], &["y"], vec![])], vec![tensor])
}

fn open(model: &ModelProto) -> Result<Vec<f32>, OnnxError> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("data.bin"), [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64]).expect("written");
    let path = folder.path().join("model.onnx");
    fs::write(&path, prost::Message::encode_to_vec(model)).expect("written");
    match open_onnx(&path) {
        Ok(model) => {
            let (_, tensor) = model.graph.initializers().next().expect("a tensor");
            Ok(tensor.to_f32().expect("floats"))
        }
        Err(FormatError::Onnx { path: named, source }) => {
            assert_eq!(named, path);
            Err(*source)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn data_beside_the_model_are_read() {
    assert_eq!(open(&pointing_to("data.bin", 4, 8)).expect("read"), [1.0, 2.0]);
}

#[test]
fn missing_short_and_foreign_files_are_errors() {
    assert!(matches!(
        open(&pointing_to("data.bin", 8, 8)),
        Err(OnnxError::ExternalTruncated { expected: 16, found: 12, tensor, .. }) if tensor == "w"
    ));
    assert!(matches!(open(&pointing_to("data.bin", usize::MAX, 8)), Err(OnnxError::ExternalTruncated { .. })));
    assert!(matches!(open(&pointing_to("data.bin", 0, 12)), Err(OnnxError::Tensor { .. })));
    assert!(matches!(open(&pointing_to("other.bin", 0, 8)), Err(OnnxError::ExternalFile { .. })));
    for location in ["/etc/hostname", "../data.bin", "a/../../data.bin", "", "..\\data.bin"] {
        let found = open(&pointing_to(location, 0, 8));
        assert!(matches!(&found, Err(OnnxError::ExternalLocation { .. })), "{location}: {found:?}");
    }
}

#[test]
fn large_tensors_go_into_a_file_of_their_own() {
    let nodes = vec![node("Mul", &["x", "w"], &["a"], vec![]), node("Add", &["a", "b"], &["y"], vec![])];
    let original = read(&model(18, &[1, 64], nodes, vec![weight("w", &[64]), weight("b", &[1])]));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.onnx");
    let written = original.template.write(&original.graph).expect("written");
    write_onnx(&path, written, &WriteOptions { external_data: Some(100) }).expect("on the disk");
    assert_eq!(fs::metadata(folder.path().join("model.onnx.data")).expect("a data file").len(), 256);
    assert_eq!(open_onnx(&path).expect("read").graph, original.graph);
}
