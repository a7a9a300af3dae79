//! A data set that lacks a split is told apart from one that cannot be read; which files a data set is made of.
#![cfg(feature = "images")]

use std::fs;
use std::path::{Path, PathBuf};

use otfuse_formats::StateDict;
use otfuse_formats::safetensors::write_safetensors;
use otfuse_graph::Tensor;
use otfuse_runtime::dataset::{DataSpec, Dataset, DatasetError, Split};

fn load(kind: &str, path: &Path, split: Split) -> Result<Dataset, DatasetError> {
    format!("{kind}:{}", path.display()).parse::<DataSpec>()?.load(split, None, None)
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn npy(shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), header.as_bytes(), data].concat()
}

fn npz(folder: &Path, names: &[(&str, Vec<u8>)]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(fs::File::create(folder.join("data.npz")).unwrap());
    for (name, bytes) in names {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// An idx file of one label, or of one image of 1 x 1.
fn idx(rank: u8) -> Vec<u8> {
    let lengths = (0..rank).flat_map(|_| [0, 0, 0, 1]);
    [0, 0, 8, rank].into_iter().chain(lengths).chain([1]).collect()
}

const PNG: &[u8] = include_bytes!("files/pixel.png");

/// What makes a data set without the split, the kind and what is named behind it, the split, and parts of the message.
type Case = (fn(&Path), &'static str, &'static str, Split, [&'static str; 2]);

const ABSENT: [Case; 11] = [
    (
        |folder| npz(folder, &[("x_train", npy("(1, 1)", &[1])), ("y_train", npy("(1,)", &[1]))]),
        "npz",
        "data.npz",
        Split::Test,
        ["no test split: expected x_test.npy or", "found x_train.npy, y_train.npy"],
    ),
    (
        |folder| {
            write(folder, "images_test.npy", npy("(1, 1)", &[1]));
            write(folder, "labels_test.npy", npy("(1,)", &[1]));
        },
        "npy",
        "",
        Split::Train,
        ["no train split: expected x_train.npy", "found images_test.npy"],
    ),
    (
        |folder| {
            let mut dict = StateDict::new();
            dict.insert("x_train", Tensor::from_f32(&[1, 1], vec![1.0])).unwrap();
            dict.insert("y_train", Tensor::from_i64(&[1], vec![1])).unwrap();
            write_safetensors(&folder.join("data.safetensors"), &dict).unwrap();
        },
        "safetensors",
        "data.safetensors",
        Split::Test,
        ["expected x_test or", "found x_train, y_train"],
    ),
    (
        |folder| {
            write(folder, "train-labels-idx1-ubyte", idx(1));
            write(folder, "train-images-idx3-ubyte", idx(3));
        },
        "mnist",
        "",
        Split::Test,
        ["t10k-labels-idx1-ubyte or", "found train-labels"],
    ),
    (
        |folder| write(folder, "t10k-labels.idx1-ubyte", idx(1)),
        "fashion-mnist",
        "",
        Split::Train,
        ["train-labels-idx1-ubyte or", "found t10k-labels"],
    ),
    (
        |folder| write(folder, "data_batch_3.bin", [0; 3073]),
        "cifar10",
        "",
        Split::Test,
        ["expected test_batch.bin", "found data_batch_3.bin"],
    ),
    (
        |folder| write(folder, "test.bin", [0; 3074]),
        "cifar100",
        "",
        Split::Train,
        ["expected train.bin", "found test.bin"],
    ),
    (
        |folder| write(folder, "train.csv", "1,0\n"),
        "csv",
        "",
        Split::Test,
        ["expected test.csv or test.csv.gz", "found train.csv"],
    ),
    (
        |folder| write(folder, "train/a/0.png", PNG),
        "images",
        "",
        Split::Test,
        ["expected a folder test or", "found train"],
    ),
    (|folder| write(folder, "val/a/0.png", PNG), "images", "", Split::Train, ["expected a folder train", "found val"]),
    (
        |folder| write(folder, "train.tsv", "label\tsentence\n1\tgood\n"),
        "sst2",
        "",
        Split::Test,
        ["expected test.tsv or", "found train.tsv"],
    ),
];

/// The split that is there loads all the same (but where its own files are not whole).
#[test]
fn absent_splits() {
    for (make, kind, name, split, parts) in ABSENT {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let path = folder.path().join(name);
        let error = load(kind, &path, split).unwrap_err();
        assert!(error.is_absent_split() && !error.hint().is_empty(), "{kind}: {error}");
        for part in parts {
            assert!(error.to_string().contains(part), "{kind}: {error}");
        }
        let other = if split == Split::Train { Split::Test } else { Split::Train };
        match load(kind, &path, other) {
            Ok(dataset) => assert_eq!(dataset.len(), 1, "{kind}"),
            Err(error) => assert!(kind == "fashion-mnist" && !error.is_absent_split(), "{kind}: {error}"),
        }
    }
}

#[test]
fn splits_that_are_always_there() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "data.csv", "1,0\n");
    write(folder.path(), "text", "some characters to be continued ".repeat(40));
    for split in [Split::Train, Split::Test] {
        assert!(!load("csv", &folder.path().join("data.csv"), split).unwrap().is_empty());
        assert!(!load("text", &folder.path().join("text"), split).unwrap().is_empty());
        assert!(!"digits".parse::<DataSpec>().unwrap().load(split, Some(5), None).unwrap().is_empty());
    }
}

/// A kind of data set, where it is in a folder, and what is done to the folder.
type Damage = (&'static str, &'static str, fn(&Path));

/// What is missing as a whole, in half, damaged, or in the way is an error of another kind.
#[test]
fn other_errors_are_no_absent_splits() {
    let cases: [Damage; 21] = [
        ("npz", "data.npz", |_| {}),
        ("npz", "data.npz", |folder| write(folder, "data.npz", "no archive")),
        ("npz", "data.npz", |folder| npz(folder, &[("y", npy("(1,)", &[1]))])),
        ("npz", "data.npz", |folder| {
            npz(folder, &[("x_train", npy("(1, 1)", &[1])), ("y_test", npy("(1,)", &[1]))]);
        }),
        ("npz", "data.npz", |folder| npz(folder, &[("x_test", b"no array".to_vec()), ("y_test", npy("(1,)", &[1]))])),
        ("npy", "", |_| {}),
        ("safetensors", "data", |folder| write(folder, "data", "{}")),
        ("mnist", "", |_| {}),
        ("mnist", "absent", |_| {}),
        ("mnist", "", |folder| {
            write(folder, "train-labels-idx1-ubyte", idx(1));
            write(folder, "t10k-labels-idx1-ubyte", idx(1));
        }),
        ("mnist", "", |folder| {
            write(folder, "train-labels-idx1-ubyte", idx(1));
            write(folder, "t10k-images-idx3-ubyte", [0; 3]);
            write(folder, "t10k-labels-idx1-ubyte", [0; 3]);
        }),
        ("cifar10", "", |_| {}),
        ("cifar10", "", |folder| {
            write(folder, "data_batch_1.bin", [0; 3073]);
            fs::create_dir(folder.join("test_batch.bin")).unwrap();
        }),
        ("cifar100", "", |folder| write(folder, "test.bin", [0; 9])),
        ("csv", "", |_| {}),
        ("csv", "data.csv", |folder| write(folder, "train.csv", "1,0\n")),
        ("csv", "", |folder| write(folder, "test.csv", "")),
        ("images", "", |_| {}),
        ("images", "", |folder| {
            write(folder, "train/a/0.png", PNG);
            write(folder, "test", "no folder");
        }),
        ("sst2", "", |_| {}),
        ("sst2", "", |folder| {
            write(folder, "train.tsv", "label\tsentence\n1\tgood\n");
            write(folder, "test.tsv", "index\tsentence\n1\tgood\n");
        }),
    ];
    for (index, (kind, name, make)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let error = load(kind, &folder.path().join(name), Split::Test).unwrap_err();
        assert!(!error.is_absent_split(), "{index}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn broken_links_are_no_absent_splits() {
    for (kind, there, link) in [
        ("csv", "train.csv", "test.csv"),
        ("cifar100", "train.bin", "test.bin"),
        ("images", "train/a/0.png", "val"),
        ("mnist", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), there, PNG);
        std::os::unix::fs::symlink("nowhere", folder.path().join(link)).unwrap();
        let error = load(kind, folder.path(), Split::Test).unwrap_err();
        assert!(!error.is_absent_split(), "{kind}: {error}");
    }
}

#[test]
fn files_of_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["b/2/x.png", "b/1.png", "a.png", ".hidden"] {
        write(folder, name, "anything");
    }
    let files = |spec: String| spec.parse::<DataSpec>().unwrap().files();
    let below = |path: PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
    let found: Vec<String> = files(format!("images:{}", folder.display())).unwrap().into_iter().map(below).collect();
    assert_eq!(found, ["a.png", "b/1.png", "b/2/x.png"]);
    write(folder, "train.csv.gz", "anything");
    assert_eq!(files(format!("csv:{}", folder.display())).unwrap(), [folder.join("train.csv.gz")]);
    let file = folder.join("a.png");
    assert_eq!(files(format!("npz:{}", file.display())).unwrap(), [file]);
    assert!(files("digits".into()).unwrap().is_empty());
    assert!(matches!(files("npz:absent/file".into()), Err(DatasetError::Read { .. })));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder, folder.join("b/loop")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join("b/broken")).unwrap();
        assert_eq!(files(format!("images:{}", folder.display())).unwrap().len(), 3);
    }
}
