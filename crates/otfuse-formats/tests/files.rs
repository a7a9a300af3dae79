//! The files that a network is made of, and those that it is written to.

use std::fs;
use std::path::{Path, PathBuf};

use otfuse_formats::file::Outputs;
use otfuse_formats::onnx::{WriteOptions, to_proto, write_onnx};
use otfuse_formats::{Architecture, Family, Format, FormatError, Model, ModelError, StateDict};
use otfuse_graph::Tensor;

fn perceptron() -> StateDict {
    let mut dict = StateDict::new();
    dict.insert("fc.weight", Tensor::from_f32(&[2, 3], vec![0.5; 6])).expect("a new name");
    dict
}

fn model() -> Model {
    let mlp = Architecture::Catalogue(Family::Mlp);
    Model::of_state_dict(Path::new("nowhere.pt"), perceptron(), Format::PyTorch, &mlp).expect("a perceptron")
}

#[test]
fn a_network_names_the_files_that_it_was_read_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let [weights, onnx, data] = ["w.safetensors", "n.onnx", "n.onnx.data"].map(|name| folder.path().join(name));
    let made = model();
    assert_eq!(made.files().expect("none"), Vec::<PathBuf>::new());
    made.save(&made.graph, &weights).expect("written");
    let options = WriteOptions { external_data: Some(0) };
    write_onnx(&onnx, to_proto(&made.graph).expect("a model"), &options).expect("written");
    assert_eq!(Model::open(&onnx, None).expect("read").files().expect("there"), [onnx.clone(), data.clone()]);
    let file = Architecture::File(onnx.clone());
    assert_eq!(Model::open(&weights, Some(&file)).expect("read").files().expect("there"), [onnx, data, weights]);
}

#[test]
fn shards_are_files_of_the_network() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/model.safetensors.index.json");
    let dict = otfuse_formats::read_state_dict(&golden, None).expect("read");
    let names = dict.provenance().files.iter().map(|path| path.file_name().unwrap_or_default().to_owned());
    assert_eq!(names.collect::<Vec<_>>(), ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]);
}

#[test]
fn what_is_written_is_among_the_outputs_told_beforehand() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = model();
    for name in ["a.onnx", "a.safetensors", "a.pt", "a"] {
        let path = folder.path().join(name);
        let outputs = Outputs::new();
        model.save_to(&outputs, &model.graph, &path).expect("staged");
        let told = model.outputs_at(&path);
        assert!(outputs.paths().iter().all(|path| told.contains(path)), "{told:?}");
        let error = model.save_to(&outputs, &model.graph, &path).expect_err("staged already");
        assert!(matches!(error, ModelError::Format(FormatError::OutputTwice { .. })), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "staged only");
    }
}
