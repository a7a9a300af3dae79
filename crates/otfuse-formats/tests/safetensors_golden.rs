//! Safetensors files against what the Python package wrote, and round trips.

mod support;

use otfuse_formats::safetensors::{read_safetensors, read_sharded_safetensors, write_safetensors};
use otfuse_formats::{FormatError, StateDict, read_state_dict};
use otfuse_graph::Tensor;
use support::{entries, golden, golden_path, shared, written_folder};

#[test]
fn reads_every_type_and_the_metadata() {
    let dict = read_safetensors(&golden_path("dtypes.safetensors")).expect("state dict");
    let mut found = entries(&dict);
    found.sort();
    assert_eq!(found, golden().safetensors);
    let metadata = &dict.provenance().metadata;
    assert_eq!(metadata.get("note").map(String::as_str), Some("kept"));
}

#[test]
fn reads_shards_in_the_order_of_the_index() {
    let path = golden_path("model.safetensors.index.json");
    let dict = read_sharded_safetensors(&path).expect("state dict");
    assert_eq!(dict.names().collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(dict.get("c").and_then(Tensor::to_f32), Some(vec![2.0, 2.0]));
    assert_eq!(read_state_dict(&path, None).expect("by content"), dict);
}

#[test]
fn shards_stay_inside_the_folder() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("model.safetensors.index.json");
    for file in ["../a.safetensors", "/a.safetensors", "b/../../a"] {
        std::fs::write(&path, format!(r#"{{"weight_map": {{"a": "{file}"}}}}"#)).expect("written");
        let error = read_sharded_safetensors(&path).expect_err(file);
        assert!(matches!(error, FormatError::Malformed { .. }), "{error}");
    }
}

#[test]
fn writes_what_it_reads_and_the_same_bytes_every_time() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut dict = StateDict::new();
    for (index, name) in ["z", "a", "é \"quoted\"", ""].into_iter().enumerate() {
        dict.insert(name, Tensor::from_f32(&[index, 2], vec![index as f32; index * 2])).expect("a new name");
    }
    dict.insert("count", Tensor::from_i64(&[], vec![7])).expect("a new name");
    for key in ["format", "b", "c", "d", "e"] {
        dict.provenance_mut().metadata.insert(key.into(), "value".into());
    }
    let (first, second) = (folder.path().join("1.safetensors"), folder.path().join("2.safetensors"));
    write_safetensors(&first, &dict).expect("written");
    write_safetensors(&second, &dict).expect("written");
    assert_eq!(std::fs::read(&first).expect("first"), std::fs::read(&second).expect("second"));
    let read = read_safetensors(&first).expect("read");
    assert_eq!(read, dict);
    let mut reserved = StateDict::new();
    reserved.insert("__metadata__", Tensor::scalar(1.0)).expect("a new name");
    assert!(matches!(write_safetensors(&first, &reserved), Err(FormatError::Unsupported { .. })));
}

#[test]
fn writes_every_type() {
    let temporary = tempfile::tempdir().expect("temporary folder");
    let path = written_folder(temporary.path()).join("dtypes.safetensors");
    let dict = read_safetensors(&golden_path("dtypes.safetensors")).expect("state dict");
    write_safetensors(&path, &dict).expect("written");
    assert_eq!(read_safetensors(&path).expect("read"), dict);
}

#[test]
fn a_name_given_twice_is_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("twice.safetensors");
    let entry = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    let header = format!("{{{entry},{entry}}}");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.push(1);
    std::fs::write(&path, bytes).expect("written");
    assert!(matches!(read_safetensors(&path), Err(FormatError::DuplicateName { name, .. }) if name == "a"));
}

#[test]
fn third_party_files_load_as_in_python() {
    let golden = golden();
    assert!(golden.shared_safetensors.len() > 1, "the golden data was made without the third-party files");
    for (name, expected) in &golden.shared_safetensors {
        let Some(path) = shared(&format!("models/{name}")) else { continue };
        let dict = read_state_dict(&path, None).unwrap_or_else(|error| panic!("{error}"));
        let mut found = entries(&dict);
        found.sort();
        assert_eq!(&found, expected, "{name}");
    }
}
