//! The idx files of MNIST and Fashion-MNIST (LeCun's format), plain or compressed with gzip.

use std::io::Read;
use std::path::Path;

use super::read::{files_of, open_first, read_up_to, without};
use super::{DatasetError, Raw, Split, Values};

pub(super) fn load(directory: &Path, split: Split, limit: Option<usize>) -> Result<Raw, DatasetError> {
    let prefix = prefix(split);
    let of_split = |split| [names(split, "labels", 1), names(split, "images", 3)].concat();
    let expected = of_split(split);
    if files_of(directory, &expected)?.is_empty() {
        return Err(without(directory, split, expected, &of_split(split.other())));
    }
    let (labels, _) = read(directory, &names(split, "labels", 1), 1, limit)?;
    let (pixels, shape) = read(directory, &names(split, "images", 3), 3, limit)?;
    if shape[0] != labels.len() {
        return Err(DatasetError::Content {
            path: directory.to_owned(),
            subject: format!("labels of {prefix}"),
            expected: format!("{} as there are images", shape[0]),
            found: labels.len().to_string(),
            hint: Some("images and labels are from different downloads".into()),
        });
    }
    let labels = labels.into_iter().map(u32::from).collect();
    let pixels = Values::Bytes { values: pixels, scale: 1.0 / 255.0 };
    Ok(Raw::classified(vec![1, shape[1], shape[2]], pixels, labels, 10))
}

fn prefix(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "t10k",
    }
}

/// What the file of labels or images, of `rank` axes, may be called.
fn names(split: Split, what: &str, rank: usize) -> Vec<String> {
    let stem = format!("{}-{what}", prefix(split));
    let endings = ["-idx", ".idx"].into_iter().flat_map(|idx| ["", ".gz"].map(|gz| (idx, gz)));
    endings.map(|(idx, gz)| format!("{stem}{idx}{rank}-ubyte{gz}")).collect()
}

/// The bytes of a file with `rank` axes, of `limit` items at most, and its shape.
fn read(
    directory: &Path,
    names: &[String],
    rank: usize,
    limit: Option<usize>,
) -> Result<(Vec<u8>, Vec<usize>), DatasetError> {
    let (path, mut reader) = open_first(directory, names)?;
    let reader: &mut dyn Read = &mut reader;
    let wrong = |subject: &str, expected: String, found: String| DatasetError::Content {
        path: path.clone(),
        subject: subject.into(),
        expected,
        found,
        hint: Some("the file may be truncated or of another kind".into()),
    };
    let header = read_up_to(reader, 4 + 4 * rank, &path)?;
    if header.len() < 4 + 4 * rank {
        return Err(wrong("header", format!("{} bytes", 4 + 4 * rank), format!("{} bytes", header.len())));
    }
    let (magic, lengths) = header.split_at(4);
    if magic != [0, 0, 8, rank as u8] {
        return Err(wrong("magic number", format!("[0, 0, 8, {rank}]"), format!("{magic:?}")));
    }
    let (lengths, _) = lengths.as_chunks::<4>();
    let mut shape: Vec<usize> = lengths.iter().map(|&length| u32::from_be_bytes(length) as usize).collect();
    let whole = limit.is_none_or(|limit| limit >= shape[0]);
    shape[0] = limit.map_or(shape[0], |limit| limit.min(shape[0]));
    let expected = shape.iter().try_fold(1usize, |size, &length| size.checked_mul(length));
    let expected = expected.ok_or_else(|| wrong("shape", "a size that fits memory".into(), format!("{shape:?}")))?;
    let bytes = read_up_to(reader, expected.saturating_add(usize::from(whole)), &path)?;
    if bytes.len() != expected {
        let found = if bytes.len() > expected { "more".into() } else { bytes.len().to_string() };
        return Err(wrong("data", format!("{expected} bytes for shape {shape:?}"), found));
    }
    Ok((bytes, shape))
}
