//! Data sets in files.

mod shared;

use std::io::Write;
use std::path::{Path, PathBuf};

use otfuse_formats::StateDict;
use otfuse_formats::safetensors::write_safetensors;
use otfuse_graph::{DataType, Tensor};
use otfuse_runtime::dataset::{DataSpec, Dataset, DatasetError, Normalization, Split, Targets};

/// A folder that disappears with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("otfuse-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(kind: &str, path: &Path, split: Split, limit: Option<usize>) -> Result<Dataset, DatasetError> {
    let spec: DataSpec = format!("{kind}:{}", path.display()).parse()?;
    spec.load(split, limit, Some(Normalization::none()))
}

fn npy(element: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}");
    while !(header.len() + 11).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", length.as_slice(), header.as_bytes(), data].concat()
}

fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
}

#[test]
fn numpy_archives() {
    let folder = Folder::new("npz");
    let file = folder.0.join("data.npz");
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let labels: Vec<u8> = [2i64, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    npz(&file, &[("x", npy("<f4", "(2, 2)", &floats)), ("labels", npy("<i8", "(2,)", &labels))]);
    let dataset = load("npz", &file, Split::Test, None).unwrap();
    assert_eq!((dataset.labels(), dataset.classes()), (&[2, 0][..], 3));
    assert_eq!(dataset.samples([1]), [3.0, 4.0]);

    let bytes = npy("|u1", "(2, 1, 1)", &[0, 255]);
    let label = |value: u8| npy("|u1", "(2,)", &[value, 1]);
    npz(&file, &[("images_train", bytes.clone()), ("images_test", bytes), ("y_train", label(5)), ("y_test", label(6))]);
    assert_eq!(load("npz", &file, Split::Train, None).unwrap().labels(), [5, 1]);
    let test = load("npz", &file, Split::Test, Some(1)).unwrap();
    assert_eq!((test.labels(), test.samples([0])), (&[6][..], vec![0.0]));

    // A header that claims more than there is, counts that differ, names that are missing, other bytes.
    npz(&file, &[("x", npy("<f4", "(99999999999, 2)", &floats)), ("y", npy("<i8", "(2,)", &labels))]);
    assert!(matches!(load("npz", &file, Split::Test, None).unwrap_err(), DatasetError::Format(_)));
    npz(&file, &[("x", npy("<f4", "(4, 1)", &floats)), ("y", npy("<i8", "(2,)", &labels))]);
    assert!(matches!(load("npz", &file, Split::Test, None).unwrap_err(), DatasetError::Content { .. }));
    npz(&file, &[("y", npy("<i8", "(2,)", &labels))]);
    assert!(matches!(load("npz", &file, Split::Test, None).unwrap_err(), DatasetError::Content { .. }));
    std::fs::write(&file, b"not an archive").unwrap();
    assert!(matches!(load("npz", &file, Split::Test, None).unwrap_err(), DatasetError::Format(_)));
}

#[test]
fn arrays_without_labels_and_with_other_targets() {
    let folder = Folder::new("targets");
    let file = folder.0.join("data.npz");
    let floats: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    npz(&file, &[("z", npy("<f4", "(4, 1)", &floats))]);
    let dataset = load("npz", &file, Split::Test, None).unwrap();
    assert_eq!((dataset.len(), dataset.is_labelled(), dataset.samples([3])), (4, false, vec![4.0]));
    assert_eq!(dataset.spread(2).samples([0, 1]), [1.0, 3.0]);

    // Bytes under another name than x are taken as they are; names of samples and scalars are left alone.
    let bytes = npy("|u1", "(2, 2)", &[0, 255, 7, 1]);
    let names = npy("<U1", "(2,)", &[0; 8]);
    npz(
        &file,
        &[("image_train", bytes.clone()), ("image_test", bytes), ("names", names), ("k", npy("<i8", "()", &[0; 8]))],
    );
    let dataset = load("npz", &file, Split::Train, None).unwrap();
    assert_eq!(dataset.arrays().collect::<Vec<_>>(), [("image", &[2][..])]);
    assert_eq!(dataset.samples([0]), [0.0, 255.0]);

    // Two arrays; a mask with a void.
    let x = npy("<f4", "(2, 2)", &floats);
    let mask = npy("|u1", "(2, 1, 2)", &[0, 255, 2, 1]);
    npz(&file, &[("a", x.clone()), ("b", x.clone()), ("y", mask)]);
    let dataset = load("npz", &file, Split::Test, None).unwrap();
    assert_eq!((dataset.arrays().count(), dataset.classes(), dataset.labels_per_sample()), (2, 3, 2));
    assert_eq!(dataset.labels_of(0), [0, Targets::VOID]);
    assert_eq!(dataset.chosen(&[1]).labels(), [2, 1]);

    // Numbers to be met, and a column of labels.
    npz(&file, &[("x", x.clone()), ("y", npy("<f4", "(2, 2)", &floats))]);
    let dataset = load("npz", &file, Split::Test, None).unwrap();
    assert_eq!((dataset.numbers_of(1), dataset.labels(), dataset.classes()), (&[3.0, 4.0][..], &[][..], 0));
    let labels: Vec<u8> = [2i64, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
    npz(&file, &[("x", x.clone()), ("y", npy("<i8", "(2, 1)", &labels))]);
    assert_eq!(load("npz", &file, Split::Test, None).unwrap().labels(), [2, 0]);
    npz(&file, &[("a", x), ("b", npy("<f4", "(4, 1)", &floats))]);
    let error = load("npz", &file, Split::Test, None).unwrap_err().to_string();
    assert!(error.contains("b: expected 2 samples as in a, found shape [4, 1]"), "{error}");
    let path = folder.0.join("alone.npy");
    std::fs::write(&path, npy("<f4", "(4, 1)", &floats)).unwrap();
    assert_eq!(load("npy", &path, Split::Test, None).unwrap().len(), 4);
}

#[test]
fn tokens_are_cut_into_windows() {
    let folder = Folder::new("windows");
    let file = folder.0.join("ids.npz");
    let ids: Vec<u8> = (0..10_i64).flat_map(i64::to_le_bytes).collect();
    npz(&file, &[("input_ids", npy("<i8", "(2, 5)", &ids))]);
    let dataset = load("npz", &file, Split::Test, None).unwrap();
    let windows = dataset.windowed(2).unwrap();
    assert_eq!((windows.len(), windows.samples(0..4)), (4, vec![0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0]));
    assert!(dataset.windowed(5).is_none() && dataset.windowed(0).is_none());
    // A class of the whole is none of a part.
    let classes: Vec<u8> = [0i64, 1].iter().flat_map(|value| value.to_le_bytes()).collect();
    npz(&file, &[("input_ids", npy("<i8", "(2, 5)", &ids)), ("y", npy("<i8", "(2,)", &classes))]);
    assert!(load("npz", &file, Split::Test, None).unwrap().windowed(2).is_none());
}

#[test]
fn cifar_batches() {
    let folder = Folder::new("cifar");
    assert!(matches!(load("cifar10", &folder.0, Split::Train, None).unwrap_err(), DatasetError::Missing { .. }));
    let record = |label: u8, pixel: u8| [vec![label], vec![pixel; 3072]].concat();
    std::fs::write(folder.0.join("data_batch_2.bin"), [record(3, 255), record(9, 0)].concat()).unwrap();
    std::fs::write(folder.0.join("data_batch_5.bin"), record(1, 51)).unwrap();
    let dataset = load("cifar10", &folder.0, Split::Train, None).unwrap();
    assert_eq!(dataset.labels(), [3, 9, 1]);
    assert_eq!((dataset.sample_shape(), dataset.samples([0])[..2].to_vec()), (&[3, 32, 32][..], vec![1.0, 1.0]));
    assert_eq!(load("cifar10", &folder.0, Split::Train, Some(1)).unwrap().len(), 1);

    std::fs::write(folder.0.join("test_batch.bin"), &record(10, 0)[..]).unwrap();
    let error = load("cifar10", &folder.0, Split::Test, None).unwrap_err();
    assert!(matches!(error, DatasetError::Content { subject, .. } if subject == "label"));
    std::fs::write(folder.0.join("test_batch.bin"), &record(1, 0)[..3000]).unwrap();
    let error = load("cifar10", &folder.0, Split::Test, None).unwrap_err();
    assert!(matches!(error, DatasetError::Content { subject, .. } if subject == "size"));

    std::fs::write(folder.0.join("test.bin"), [vec![7], record(42, 0)].concat()).unwrap();
    let dataset = load("cifar100", &folder.0, Split::Test, None).unwrap();
    assert_eq!((dataset.labels(), dataset.classes()), (&[42][..], 100));
}

#[test]
fn mnist_compressed() {
    let Some(folder) = shared::shared("data/mnist") else { return };
    let test = load("mnist", &folder, Split::Test, None).unwrap();
    assert_eq!((test.len(), test.sample_shape()), (10_000, &[1, 28, 28][..]));
    assert_eq!(test.labels()[..4], [7, 2, 1, 0]);
    assert_eq!(load("mnist", &folder, Split::Train, Some(100)).unwrap().len(), 100);
}

#[test]
fn folders_of_numpy_arrays() {
    let folder = Folder::new("npy");
    std::fs::write(folder.0.join("x_train.npy"), npy("|u1", "(2, 2)", &[0, 255, 51, 102])).unwrap();
    std::fs::write(folder.0.join("y_train.npy"), npy("|u1", "(2,)", &[1, 0])).unwrap();
    let dataset = load("npy", &folder.0, Split::Train, None).unwrap();
    assert_eq!((dataset.labels(), dataset.samples([0])), (&[1, 0][..], vec![0.0, 1.0]));
    let error = load("npy", &folder.0, Split::Test, None).unwrap_err().to_string();
    assert!(error.contains("x_test.npy") && error.contains("found x_train.npy, y_train.npy"), "{error}");
}

#[test]
fn safetensors_files() {
    let folder = Folder::new("safetensors");
    let file = folder.0.join("data.safetensors");
    let write = |arrays: &[(&str, Tensor)]| {
        let mut dict = StateDict::new();
        for (name, tensor) in arrays {
            dict.insert(*name, tensor.clone()).unwrap();
        }
        write_safetensors(&file, &dict).unwrap();
    };
    let labels = |values: &[i64]| Tensor::from_i64(&[values.len()], values.to_vec());
    let images = |data_type| Tensor::from_f32_as(data_type, &[2, 1, 2], vec![1.0, 2.0, 3.0, 4.0]);
    for data_type in [DataType::F16, DataType::BF16, DataType::F32, DataType::F64] {
        write(&[("images", images(data_type)), ("labels", labels(&[1, 0]))]);
        let dataset = load("safetensors", &file, Split::Train, None).unwrap();
        assert_eq!((dataset.sample_shape(), dataset.samples([1])), (&[1, 2][..], vec![3.0, 4.0]));
    }
    let bytes = Tensor::new(DataType::U8, vec![1, 2], vec![0, 255].into()).unwrap();
    write(&[("x_test", bytes), ("y_test", labels(&[3]))]);
    let dataset = load("safetensors", &file, Split::Test, None).unwrap();
    assert_eq!((dataset.labels(), dataset.samples([0])), (&[3][..], vec![0.0, 1.0]));
    let error = load("safetensors", &file, Split::Train, None).unwrap_err().to_string();
    assert!(error.contains("x_train or ") && error.contains("found x_test, y_test"), "{error}");
    write(&[("x", images(DataType::F32)), ("y", labels(&[0, 1, 2]))]);
    let error = load("safetensors", &file, Split::Train, None).unwrap_err().to_string();
    assert!(error.contains("expected 2 as there are samples"), "{error}");
    std::fs::write(&file, b"{}").unwrap();
    assert!(matches!(load("safetensors", &file, Split::Test, None).unwrap_err(), DatasetError::Format(_)));
}

#[test]
fn tables() {
    let folder = Folder::new("csv");
    let file = folder.0.join("data.csv");
    for (text, labels, first) in [
        ("1,2.5,0\n-3,4e1,2\n", [0, 2], [1.0, 2.5]),
        ("a,b,c\n1,2.5,0\n\n-3,4,2\n", [0, 2], [1.0, 2.5]),
        ("\u{feff}\"Label\";a;b\r\n3;1;2.5\r\n1;0;0\r\n", [3, 1], [1.0, 2.5]),
        ("1\t2.5\t7.0\n1\t1\t1\n", [7, 1], [1.0, 2.5]),
    ] {
        std::fs::write(&file, text).unwrap();
        let dataset = load("csv", &file, Split::Test, None).unwrap();
        assert_eq!((dataset.labels(), dataset.samples([0])), (&labels[..], first.to_vec()), "{text}");
        assert_eq!(dataset.sample_shape(), [2]);
    }
    for (text, part) in [
        ("", "at least one"),
        ("1,2,0\n1,2\n", "line 2: expected 3 fields"),
        ("1,2,0\n1,x,2\n", "line 2, column 2: expected a number, found 'x'"),
        ("1,2,0\n1,2,0.5\n", "a label"),
        ("1,2,0\n1,nan,1\n", "'nan'"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = load("csv", &file, Split::Test, None).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("data.csv"), "{error}");
    }
    std::fs::write(folder.0.join("train.csv"), "1,0\n2,1\n3,1\n").unwrap();
    assert_eq!(load("csv", &folder.0, Split::Train, Some(2)).unwrap().len(), 2);
    let error = load("csv", &folder.0, Split::Test, None).unwrap_err().to_string();
    assert!(error.contains("test.csv or test.csv.gz"), "{error}");
}

#[test]
fn text_is_cut_into_windows() {
    let folder = Folder::new("text");
    let file = folder.0.join("text.txt");
    std::fs::write(&file, "abcabcabcabcabcabcabcabcabcab\u{e9}").unwrap();
    let load = |split, length: usize| {
        let spec: DataSpec = format!("text@{length}:{}", file.display()).parse().unwrap();
        spec.load(split, None, None)
    };
    let train = load(Split::Train, 4).unwrap();
    // 27 of 30 characters: 6 windows of 4 and the character behind the last one.
    assert_eq!((train.len(), train.classes(), train.sample_shape()), (6, 4, &[4][..]));
    assert!(train.is_language() && train.labels_per_sample() == 4);
    assert_eq!((train.samples([1]), train.labels_of(1)), (vec![2.0, 3.0, 1.0, 2.0], &[3, 1, 2, 3][..]));
    assert_eq!((train.spread(3).len(), train.clone().truncated(2).labels().len()), (3, 8));
    let part = train.part(&"iid:2".parse().unwrap(), 1, 0).unwrap();
    assert_eq!((part.len(), part.labels().len()), (3, 12));
    // A character that the training split lacks.
    let test = load(Split::Test, 2).unwrap();
    assert_eq!((test.samples([0]), test.labels_of(0)), (vec![1.0, 2.0], &[2, 0][..]));
    let error = load(Split::Test, 3).unwrap_err();
    assert!(error.to_string().contains("found 3 in this one"), "{error}");
    std::fs::write(&file, [b'a', 0xff, b'b']).unwrap();
    assert!(load(Split::Train, 2).unwrap_err().to_string().contains("other bytes at 1"));
    for spec in ["text:", "text@1:x", "text@x:y", "cifar10@4:x"] {
        assert!(spec.parse::<DataSpec>().is_err(), "{spec}");
    }
}

#[test]
fn sentences_are_filled_up() {
    let folder = Folder::new("sst2");
    std::fs::write(folder.0.join("train.tsv"), "label\tsentence\n1\tgood good film\n0\tbad film \n").unwrap();
    std::fs::write(folder.0.join("test.tsv"), "index\tsentence\n0\tgood\n").unwrap();
    std::fs::write(folder.0.join("dev.tsv"), "sentence\tlabel\nan awful film\t0\n").unwrap();
    let spec: DataSpec = format!("sst2@4:{}", folder.0.display()).parse().unwrap();
    let train = spec.load(Split::Train, None, None).unwrap();
    assert_eq!(train.vocabulary().unwrap().tokens(), ["[PAD]", "[UNK]", "[CLS]", "film", "good", "bad"]);
    assert_eq!((train.samples([1]), train.labels()), (vec![2.0, 5.0, 3.0, 0.0], &[1, 0][..]));
    let test = spec.load(Split::Test, None, None).unwrap();
    assert_eq!((test.samples([0]), test.labels(), test.classes()), (vec![2.0, 1.0, 1.0, 3.0], &[0][..], 2));
    // A damaged table is no table without labels.
    std::fs::write(folder.0.join("test.tsv"), "").unwrap();
    let error = spec.load(Split::Test, None, None).unwrap_err().to_string();
    assert!(error.contains("test.tsv: header: expected the columns 'label'"), "{error}");
    std::fs::write(folder.0.join("train.tsv"), "label\tsentence\n1\tgood\nx\tbad\n").unwrap();
    let error = spec.load(Split::Train, None, None).unwrap_err().to_string();
    assert!(error.contains("train.tsv: line 3: expected a label from 0"), "{error}");
}

#[test]
#[cfg(unix)]
fn files_that_cannot_be_asked_about_are_not_absent() {
    let folder = Folder::new("circle");
    // A link to itself.
    for name in ["train.csv", "test_batch.bin", "train-labels-idx1-ubyte"] {
        std::os::unix::fs::symlink(name, folder.0.join(name)).unwrap();
    }
    for (kind, split) in [("csv", Split::Train), ("cifar10", Split::Test), ("mnist", Split::Train)] {
        let error = load(kind, &folder.0, split, None).unwrap_err();
        assert!(matches!(error, DatasetError::Read { .. }), "{kind}: {error}");
    }
    // A link to nothing is there and holds nothing.
    std::fs::remove_file(folder.0.join("train.csv")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.0.join("train.csv")).unwrap();
    let error = load("csv", &folder.0, Split::Train, None).unwrap_err();
    assert!(matches!(error, DatasetError::Missing { .. }), "{error}");
}
