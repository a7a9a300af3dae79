//! Models as files.

use std::path::Path;

use super::encode::{WriteOptions, encode_onnx};
use super::proto::ModelProto;
use super::reader::{OnnxModel, read_onnx};
use crate::FormatError;
use crate::file::{atomic_write, open_mapped};

/// Reads the model in a file, which is mapped into memory, and its external data from the same folder.
///
/// # Errors
/// [`FormatError::Onnx`] naming the file and what [`read_onnx`] found wrong; the errors of [`open_mapped`].
pub fn open_onnx(path: &Path) -> Result<OnnxModel, FormatError> {
    let bytes = open_mapped(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    read_onnx(bytes, folder).map_err(|source| FormatError::Onnx { path: path.into(), source: Box::new(source) })
}

/// Writes a model whole or not at all, with large tensors in `NAME.onnx.data` beside `NAME.onnx` as `options` say.
///
/// # Errors
/// [`FormatError::Onnx`] if the model does not fit into one file; the errors of [`atomic_write`].
pub fn write_onnx(path: &Path, model: ModelProto, options: &WriteOptions) -> Result<(), FormatError> {
    let mut data_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    data_name.push_str(".data");
    let encoded = encode_onnx(model, &data_name, options)
        .map_err(|source| FormatError::Onnx { path: path.into(), source: Box::new(source) })?;
    // The model comes last: whoever sees it finds its data.
    if let Some(external) = &encoded.external {
        atomic_write(&path.with_file_name(&data_name), |writer| external.write_to(writer))?;
    }
    atomic_write(path, |writer| encoded.write_to(writer))
}
