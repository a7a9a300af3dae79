//! Models as files.

use std::path::{Path, PathBuf};

use super::encode::{WriteOptions, encode_onnx};
use super::proto::ModelProto;
use super::reader::{OnnxModel, read_onnx};
use crate::FormatError;
use crate::file::{Outputs, open_mapped};

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
/// [`FormatError::Onnx`] if the model does not fit into one file; the errors of [`Outputs::write`] and
/// [`Outputs::commit`].
pub fn write_onnx(path: &Path, model: ModelProto, options: &WriteOptions) -> Result<(), FormatError> {
    Outputs::at_once(|outputs| write_onnx_to(outputs, path, model, options))
}

/// [`write_onnx`] as one of several outputs.
///
/// # Errors
/// [`FormatError::Onnx`] if the model does not fit into one file; the errors of [`Outputs::write`].
pub fn write_onnx_to(
    outputs: &Outputs,
    path: &Path,
    model: ModelProto,
    options: &WriteOptions,
) -> Result<(), FormatError> {
    let data = data_path(path);
    let data_name = data.file_name().unwrap_or_default().to_string_lossy();
    let encoded = encode_onnx(model, &data_name, options)
        .map_err(|source| FormatError::Onnx { path: path.into(), source: Box::new(source) })?;
    // The model comes last: whoever sees it finds its data.
    if let Some(external) = &encoded.external {
        outputs.write(&data, |writer| external.write_to(writer))?;
    }
    outputs.write(path, |writer| encoded.write_to(writer))
}

/// Where large tensors of the model at `path` are written.
pub(crate) fn data_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.push_str(".data");
    path.with_file_name(name)
}
