//! NumPy files against what NumPy wrote, and round trips.

mod support;

use std::collections::BTreeMap;

use otfuse_formats::FormatError;
use otfuse_formats::npz::{read_npy, read_npz, write_npy, write_npz};
use otfuse_graph::{DataType, Tensor};
use support::{entry, golden, golden_path, written_folder};

#[test]
fn reads_what_numpy_writes() {
    for name in ["arrays.npz", "arrays_compressed.npz"] {
        let arrays = read_npz(&golden_path(name)).expect(name);
        let found: Vec<_> = arrays.iter().map(|(name, array)| entry(name, array)).collect();
        assert_eq!(found, golden().arrays, "{name}");
    }
}

#[test]
fn writes_what_it_reads_and_the_same_bytes_every_time() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let arrays = read_npz(&golden_path("arrays.npz")).expect("arrays");
    let (first, second) = (written_folder(folder.path()).join("arrays.npz"), folder.path().join("again.npz"));
    write_npz(&first, &arrays).expect("written");
    write_npz(&second, &arrays).expect("written");
    assert_eq!(std::fs::read(&first).expect("first"), std::fs::read(&second).expect("second"));
    assert_eq!(read_npz(&first).expect("read"), arrays);
    let path = folder.path().join("a.npy");
    for array in arrays.values() {
        write_npy(&path, array).expect("written");
        assert_eq!(&read_npy(&path).expect("read"), array);
    }
    write_npz(&second, &BTreeMap::new()).expect("written");
    assert_eq!(read_npz(&second).expect("read"), BTreeMap::new());
}

#[test]
fn what_numpy_cannot_express_is_an_error() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let brain = Tensor::from_f32_as(DataType::BF16, &[1], vec![1.0]);
    let path = folder.path().join("a.npz");
    let error = write_npz(&path, &BTreeMap::from([("a".to_owned(), brain)])).expect_err("bfloat16");
    assert!(matches!(error, FormatError::Unsupported { .. }), "{error}");
    assert!(!path.exists());
    let error = read_npz(&golden_path("text.npz")).expect_err("text");
    assert!(error.to_string().contains("<U1"), "{error}");
    assert!(matches!(read_npz(&golden_path("golden.json")), Err(FormatError::UnknownFormat { .. })));
    assert!(matches!(read_npy(&golden_path("golden.json")), Err(FormatError::UnknownFormat { .. })));
}
