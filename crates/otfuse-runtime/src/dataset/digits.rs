//! The handwritten digits that come with scikit-learn, embedded: 1,797 images of 8 x 8 pixels from 0 to 16.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{DatasetError, Raw, Split, Values};

const FILE: &[u8] = include_bytes!("../../assets/digits.csv.gz");
const PIXELS: usize = 64;

/// Every fifth row (4, 9, 14, .. counted from 0) is a test sample, all others are training samples.
pub(super) fn load(split: Split) -> Result<Raw, DatasetError> {
    let wrong = |expected: &str, found: String| DatasetError::Content {
        path: "digits".into(),
        subject: "embedded file".into(),
        expected: expected.into(),
        found,
        hint: None,
    };
    let mut text = String::new();
    GzDecoder::new(FILE)
        .read_to_string(&mut text)
        .map_err(|source| DatasetError::Read { path: "digits".into(), source })?;
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for (row, line) in text.lines().enumerate() {
        if (row % 5 == 4) != (split == Split::Test) {
            continue;
        }
        let numbers: Option<Vec<u8>> = line.split(',').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([pixels @ .., label]) if pixels.len() == PIXELS => {
                values.extend_from_slice(pixels);
                labels.push(u32::from(*label));
            }
            _ => return Err(wrong("64 pixels and a label", format!("row {row}: {line}"))),
        }
    }
    Ok(Raw::classified(vec![PIXELS], Values::Bytes { values, scale: 1.0 / 16.0 }, labels, 10))
}
