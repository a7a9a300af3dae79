//! Written checkpoints. That `torch.load(path, weights_only=True)` reads them, `golden/check_written.py` checks.

mod support;

use otfuse_formats::StateDict;
use otfuse_formats::pytorch::{read_pytorch, write_pytorch};
use otfuse_graph::Tensor;
use support::{entries, golden_path, written_folder};

/// Every element type, scalars, empty tensors, views and tied weights.
fn samples() -> Vec<(&'static str, StateDict)> {
    let names = ["dtypes.pt", "views.pt", "module.pt", "checkpoint.pt"];
    names.map(|name| (name, read_pytorch(&golden_path(name)).expect(name))).into()
}

#[test]
fn writes_what_it_reads_and_the_same_bytes_every_time() {
    let temporary = tempfile::tempdir().expect("temporary folder");
    let folder = written_folder(temporary.path());
    for (name, dict) in samples() {
        let (first, second) = (folder.join(name), temporary.path().join("again.pt"));
        write_pytorch(&first, &dict).expect("written");
        write_pytorch(&second, &dict).expect("written");
        let bytes = std::fs::read(&first).expect("first");
        assert_eq!(bytes, std::fs::read(&second).expect("second"), "{name}");
        let read = read_pytorch(&first).expect("read");
        assert_eq!(entries(&read), entries(&dict), "{name}");
        // A second generation, read from our own file, is the same file.
        write_pytorch(&second, &read).expect("written");
        assert_eq!(bytes, std::fs::read(&second).expect("second"), "{name}");
    }
}

#[test]
fn storages_are_aligned_and_tied_weights_stored_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("tied.pt");
    let tied = Tensor::from_f32(&[100, 10], vec![0.5; 1000]);
    let mut dict = StateDict::new();
    for name in ["a", "b", "c"] {
        dict.insert(name, tied.clone()).expect("a new name");
    }
    dict.insert("count", Tensor::from_i64(&[], vec![3])).expect("a new name");
    write_pytorch(&path, &dict).expect("written");
    assert!(std::fs::metadata(&path).expect("file").len() < 6000, "4000 bytes are stored once");
    let bytes = otfuse_formats::file::open_mapped(&path).expect("mapped");
    let read = otfuse_formats::pytorch::read_pytorch_bytes(&path, &bytes, None).expect("read");
    assert_eq!(entries(&read), entries(&dict));
    for (name, tensor) in read.iter() {
        let offset = tensor.bytes().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(offset % 64, 0, "{name}");
    }
}
