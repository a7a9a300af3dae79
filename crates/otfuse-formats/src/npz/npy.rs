//! One array: magic, version, header, elements.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use otfuse_graph::Tensor;

use super::header::{Header, type_code};
use crate::FormatError;
use crate::error::Blame;
use crate::file::{atomic_write, describe_start, open_mapped};

const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy pads the header so that the elements start at a multiple of this.
const ALIGNMENT: usize = 64;

/// Reads an `.npy` file; a slice of the memory-mapped file if it is little-endian in C order.
///
/// # Errors
/// As [`super::read_npz`].
pub fn read_npy(path: &Path) -> Result<Tensor, FormatError> {
    let bytes = open_mapped(path)?;
    if !bytes.starts_with(MAGIC) {
        let (expected, found) = ("an npy file".into(), describe_start(&bytes));
        return Err(FormatError::UnknownFormat { path: path.into(), expected, found });
    }
    parse(Blame(path), "array", &bytes)
}

/// Writes an `.npy` file, whole or not at all.
///
/// # Errors
/// As [`super::write_npz`].
pub fn write_npy(path: &Path, array: &Tensor) -> Result<(), FormatError> {
    let header = header_of(Blame(path), "array", array)?;
    atomic_write(path, |file| {
        file.write_all(&header)?;
        file.write_all(array.bytes())
    })
}

/// An array from the bytes of an `.npy` file.
pub(super) fn parse(blame: Blame<'_>, entry: &str, bytes: &Bytes) -> Result<Tensor, FormatError> {
    let found = bytes.len() as u64;
    if !bytes.starts_with(MAGIC) {
        return Err(blame.malformed(entry, "an array of NumPy", describe_start(bytes)));
    }
    let (start, length) = match bytes[MAGIC.len()..] {
        [1, _, low, high, ..] => (10, usize::from(u16::from_le_bytes([low, high]))),
        [2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        [version, ..] if version > 3 => {
            return Err(blame.unsupported(entry, "version 1 to 3 of the format", format_args!("version {version}")));
        }
        _ => return Err(blame.truncated(entry, 12, found)),
    };
    let data_start = start + length;
    if data_start > bytes.len() {
        return Err(blame.truncated(entry, data_start as u64, found));
    }
    let text = std::str::from_utf8(&bytes[start..data_start]);
    let text = text.map_err(|error| blame.malformed(entry, "a header in UTF-8", error))?;
    let header = Header::parse(text).map_err(|expected| {
        let shown: String = text.trim_end().chars().take(120).collect();
        blame.malformed(entry, expected, format_args!("{shown:?}"))
    })?;
    let (data_type, big_endian) = header.data_type().ok_or_else(|| {
        let shown: String = header.type_code.chars().take(40).collect();
        blame.unsupported(entry, "a real element type", format_args!("type {shown:?}"))
    })?;
    let size = data_type.size();
    let expected = header.shape.iter().try_fold(size, |bytes, &dim| bytes.checked_mul(dim));
    let data = bytes.slice(data_start..);
    let expected = match expected {
        Some(expected) if expected <= data.len() => expected,
        other => return Err(blame.truncated(entry, other.map_or(u64::MAX, |n| n as u64), data.len() as u64)),
    };
    let mut data = data.slice(..expected);
    if header.fortran_order && header.shape.len() > 1 {
        data = to_row_major(&data, &header.shape, size);
    }
    if big_endian && size > 1 {
        let mut swapped = data.to_vec();
        swapped.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        data = swapped.into();
    }
    Tensor::new(data_type, header.shape, data)
        .map_err(|error| blame.malformed(entry, format_args!("{} bytes", error.expected), error.found))
}

/// Reorders elements whose first axis varies fastest.
fn to_row_major(data: &[u8], shape: &[usize], size: usize) -> Bytes {
    let mut strides = vec![size; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1].saturating_mul(shape[axis - 1]);
    }
    let mut target = Vec::with_capacity(data.len());
    let mut index = vec![0; shape.len()];
    let mut position = 0;
    while target.len() < data.len() {
        target.extend_from_slice(&data[position..position + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            position += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    target.into()
}

/// Magic, version and header of an array.
pub(super) fn header_of(blame: Blame<'_>, name: &str, array: &Tensor) -> Result<Vec<u8>, FormatError> {
    let type_code = type_code(array.data_type()).ok_or_else(|| {
        blame.unsupported(format_args!("array {name:?}"), "an element type of NumPy", array.data_type())
    })?;
    let shape = match array.shape() {
        [only] => format!("({only},)"),
        shape => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let literal = format!("{{'descr': '{type_code}', 'fortran_order': False, 'shape': {shape}, }}");
    // Up to 64 axes of 20 digits fit the 16-bit length of version 1.
    let start = MAGIC.len() + 4;
    let end = (start + literal.len() + 1).next_multiple_of(ALIGNMENT);
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend(((end - start) as u16).to_le_bytes());
    out.extend(literal.as_bytes());
    out.resize(end - 1, b' ');
    out.push(b'\n');
    Ok(out)
}
