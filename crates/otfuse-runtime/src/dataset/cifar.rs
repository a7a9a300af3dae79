//! The binary batches of CIFAR-10 and CIFAR-100: records of one or two labels and 3 x 32 x 32 pixels.

use std::path::Path;

use super::read::{files_of, open_first, read_up_to, without};
use super::{DatasetError, Raw, Split, Values};

const PIXELS: usize = 3 * 32 * 32;

/// Which of the two data sets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cifar {
    Ten,
    Hundred,
}

fn batches(cifar: Cifar, split: Split) -> Vec<String> {
    match (cifar, split) {
        (Cifar::Ten, Split::Train) => (1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect(),
        (Cifar::Ten, Split::Test) => vec!["test_batch.bin".into()],
        (Cifar::Hundred, Split::Train) => vec!["train.bin".into()],
        (Cifar::Hundred, Split::Test) => vec!["test.bin".into()],
    }
}

/// All batches of the split that exist; CIFAR-100's fine labels.
pub(super) fn load(directory: &Path, cifar: Cifar, split: Split, limit: Option<usize>) -> Result<Raw, DatasetError> {
    let names = batches(cifar, split);
    let label_bytes = if cifar == Cifar::Ten { 1 } else { 2 };
    let record = label_bytes + PIXELS;
    let existing = files_of(directory, &names)?;
    if existing.is_empty() {
        return Err(without(directory, split, names, &batches(cifar, split.other())));
    }
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for name in existing {
        let left = limit.map_or(usize::MAX, |limit| limit.saturating_sub(labels.len()));
        if left == 0 {
            break;
        }
        let (path, mut reader) = open_first(directory, &[name])?;
        let bytes = read_up_to(&mut reader, left.saturating_mul(record), &path)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            return Err(DatasetError::Content {
                path,
                subject: "size".into(),
                expected: format!("records of {record} bytes"),
                found: format!("{} bytes", bytes.len()),
                hint: Some("the file may be truncated, or of the other CIFAR, or not the binary version".into()),
            });
        }
        for record in bytes.chunks_exact(record) {
            labels.push(u32::from(record[label_bytes - 1]));
            values.extend_from_slice(&record[label_bytes..]);
        }
    }
    let classes = if cifar == Cifar::Ten { 10 } else { 100 };
    Ok(Raw::classified(vec![3, 32, 32], Values::Bytes { values, scale: 1.0 / 255.0 }, labels, classes))
}
