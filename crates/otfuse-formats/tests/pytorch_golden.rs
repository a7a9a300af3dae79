//! PyTorch files against what PyTorch itself loads (`golden/make_golden.py`).

mod support;

use std::path::Path;

use otfuse_formats::pytorch::{read_pytorch, read_pytorch_under};
use otfuse_formats::{FormatError, StateDict, read_state_dict};
use support::{Loaded, entries, golden, golden_path, shared};

fn read(name: &str) -> StateDict {
    let path = golden_path(name);
    read_pytorch(&path).unwrap_or_else(|error| panic!("{error}; hint: {}", error.hint()))
}

/// Compares every state dict in a file, and the choice where there is only one.
fn check(path: &Path, loaded: &Loaded) {
    for (key, expected) in &loaded.state_dicts {
        let dict = read_pytorch_under(path, key).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&entries(&dict), expected, "{} under {key:?}", path.display());
        assert_eq!(dict.provenance().found_under.join("."), *key);
    }
    if let ([(key, expected)], None) = (&loaded.state_dicts.iter().collect::<Vec<_>>()[..], &loaded.error) {
        let dict = read_state_dict(path, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&&entries(&dict), expected, "{}", path.display());
        assert_eq!(dict.provenance().found_under.join("."), **key);
    }
}

#[test]
fn own_files_load_as_in_pytorch() {
    for (name, loaded) in &golden().own {
        check(&golden_path(name), loaded);
    }
}

#[test]
fn third_party_files_load_as_in_pytorch() {
    let golden = golden();
    assert!(golden.shared.len() > 80, "the golden data was made without the third-party files");
    for (name, loaded) in &golden.shared {
        if let Some(path) = shared(&format!("models/{name}")) {
            check(&path, loaded);
        }
    }
}

/// Tar files of another program, which PyTorch does not load for want of a member; the values are its author's.
#[test]
fn tar_files_load() {
    let files = ["multi_dtype", "2d_tensor", "weight_bias", "float32", "float64", "int64"];
    let found = files.map(|name| (name, shared(&format!("models/torch-pickle/reader__test_data__tar_{name}.tar"))));
    if found.iter().any(|(_, path)| path.is_none()) {
        return;
    }
    let read = |wanted: &str| {
        let path = found.iter().find(|(name, _)| *name == wanted).and_then(|(_, path)| path.as_ref());
        read_state_dict(path.expect("one of the files"), None).unwrap_or_else(|error| panic!("{error}"))
    };
    let several = read("multi_dtype");
    assert_eq!(several.names().collect::<Vec<_>>(), ["float_tensor", "double_tensor", "int_tensor"]);
    let floats = |dict: &StateDict, name: &str| dict.get(name).and_then(|tensor| tensor.to_f32()).expect("floats");
    assert_eq!(floats(&several, "float_tensor"), [1.5, 2.5, 3.5]);
    assert_eq!(floats(&several, "double_tensor"), [1.111, 2.222]);
    assert_eq!(several.get("int_tensor").and_then(|tensor| tensor.to_i64()).expect("integers"), [10, 20, 30, 40]);
    assert_eq!(read("2d_tensor").iter().next().expect("a tensor").1.shape().len(), 2);
    assert_eq!(read("weight_bias").names().collect::<Vec<_>>(), ["weight", "bias"]);
    for name in ["float32", "float64", "int64"] {
        assert_eq!(read(name).len(), 1, "{name}");
    }
}

#[test]
fn a_nested_checkpoint_gives_its_network() {
    let dict = read("checkpoint.pt");
    let provenance = dict.provenance();
    assert_eq!(provenance.found_under, ["net"]);
    assert_eq!(dict.names().collect::<Vec<_>>(), ["weight", "bias"]);
    let found = |path: &str| {
        let ignored = provenance.ignored.iter().find(|ignored| ignored.path == path);
        ignored.unwrap_or_else(|| panic!("{path} in {:?}", provenance.ignored)).found.clone()
    };
    assert_eq!(found("optimizer"), "state of the training");
    assert_eq!(found("other"), "another state dict");
    assert_eq!(found("epoch"), "the integer 3");
    assert_eq!(found("extra"), "None");
}

#[test]
fn whole_modules_give_their_state_dict() {
    for name in ["module.pt", "module_legacy.pt"] {
        let dict = read(name);
        assert_eq!(dict.provenance().module_class.as_deref(), Some("example_network.Network"), "{name}");
        assert!(!dict.contains("blocks.a.cache"), "non-persistent buffers are left out");
        assert_eq!(dict.get("again.linear.weight"), dict.get("blocks.b.linear.weight"));
    }
}

#[test]
fn several_state_dicts_are_an_error_that_lists_them() {
    let error = read_pytorch(&golden_path("two_models.pt")).expect_err("two state dicts");
    let FormatError::AmbiguousStateDict { candidates, .. } = &error else { panic!("{error}") };
    assert_eq!(candidates, &["generator", "critic"]);
    assert!(error.hint().contains("generator"));
    let error = read_pytorch_under(&golden_path("two_models.pt"), "model").expect_err("no such key");
    assert!(error.to_string().contains("critic"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named() {
    for (name, part) in [
        ("tensor.pt", "a single tensor"),
        ("complex.pt", "ComplexFloatStorage"),
        ("sparse.pt", "_rebuild_sparse_tensor"),
        ("golden.json", "weight_map"),
        ("make_golden.py", "begins with"),
    ] {
        let error = read_state_dict(&golden_path(name), None).expect_err(name);
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.to_string().contains(name) && !error.hint().is_empty(), "{error}");
    }
}

/// Contiguous tensors are slices of the file: reading a state dict copies nothing.
#[test]
fn tensors_share_the_memory_map() {
    let path = golden_path("views.pt");
    let bytes = otfuse_formats::file::open_mapped(&path).expect("mapped");
    let dict = otfuse_formats::pytorch::read_pytorch_bytes(&path, &bytes, None).expect("state dict");
    let range = bytes.as_ptr_range();
    for (name, is_slice) in [("tied", true), ("row", true), ("element", true), ("transposed", false)] {
        let start = dict.get(name).expect(name).bytes().as_ptr();
        assert_eq!(range.contains(&start), is_slice, "{name}");
    }
}
