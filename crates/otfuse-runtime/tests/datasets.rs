//! Data sets in files.

use std::io::Write;
use std::path::{Path, PathBuf};

use otfuse_formats::StateDict;
use otfuse_formats::safetensors::write_safetensors;
use otfuse_graph::{DataType, Tensor};
use otfuse_runtime::dataset::{DataSpec, Dataset, DatasetError, Normalization, Split};

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
    npz(&file, &[("z", npy("<f4", "(4, 1)", &floats))]);
    assert!(matches!(load("npz", &file, Split::Test, None).unwrap_err(), DatasetError::Content { .. }));
    std::fs::write(&file, b"not an archive").unwrap();
    assert!(matches!(load("npz", &file, Split::Test, None).unwrap_err(), DatasetError::Format(_)));
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
#[allow(clippy::print_stderr)]
fn mnist_compressed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/mnist");
    if !folder.is_dir() {
        eprintln!("skipped: ../shared is absent");
        return;
    }
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
    assert!(error.contains("x_train, ") && error.contains("found x_test, y_test"), "{error}");
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
