//! A model as bytes, with large tensors in a file beside it if need be.

use std::io::{self, Write};

use bytes::Bytes;
use prost::Message;

use super::error::OnnxError;
use super::proto::{ModelProto, StringStringEntryProto, TensorProto};

/// No message of the format may be larger: lengths in it are 32-bit integers.
const MOST_BYTES: usize = i32::MAX as usize;

/// Tensors of this size and more leave a model that is too large for one file.
const AUTOMATIC_THRESHOLD: usize = 1024;

/// How a model is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Tensors of at least so many bytes go into a file beside the model. `None`: only if the model would exceed the
    /// format's limit of 2 GiB, then those of 1 KiB and more.
    pub external_data: Option<usize>,
}

/// A model as it goes to the disk.
#[derive(Clone, Debug)]
pub struct EncodedModel {
    /// The model file.
    pub model: Vec<u8>,
    /// The file beside it, if there has to be one.
    pub external: Option<ExternalData>,
}

/// The tensors in the file beside a model.
#[derive(Clone, Debug, Default)]
pub struct ExternalData {
    /// Each tensor's bytes, and where they begin.
    parts: Vec<(usize, Bytes)>,
    length: usize,
}

impl ExternalData {
    /// Writes the file.
    pub fn write_to(&self, writer: &mut dyn Write) -> io::Result<()> {
        let mut position = 0;
        for (offset, bytes) in &self.parts {
            io::copy(&mut io::Read::take(io::repeat(0), (offset - position) as u64), writer)?;
            writer.write_all(bytes)?;
            position = offset + bytes.len();
        }
        Ok(())
    }

    fn add(&mut self, bytes: Bytes) -> usize {
        // Runtimes map large tensors from the disk, which takes whole pages.
        let alignment = if bytes.len() >= 1 << 20 { 4096 } else { 64 };
        let offset = self.length.next_multiple_of(alignment);
        self.length = offset + bytes.len();
        self.parts.push((offset, bytes));
        offset
    }
}

/// The bytes of a model. Tensors that go into a file beside it refer to `data_name`, that file's name in the same
/// folder. The same model gives the same bytes.
///
/// # Errors
/// [`OnnxError::TooLarge`] if the model exceeds 2 GiB even so.
pub fn encode_onnx(mut model: ModelProto, data_name: &str, options: &WriteOptions) -> Result<EncodedModel, OnnxError> {
    let automatic = || (model.encoded_len() > MOST_BYTES).then_some(AUTOMATIC_THRESHOLD);
    let mut external = None;
    if let Some(threshold) = options.external_data.or_else(automatic) {
        let mut data = ExternalData::default();
        for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            move_out(tensor, threshold, data_name, &mut data);
        }
        external = (!data.parts.is_empty()).then_some(data);
    }
    let found = model.encoded_len();
    if found > MOST_BYTES {
        return Err(OnnxError::TooLarge { expected: MOST_BYTES, found });
    }
    Ok(EncodedModel { model: model.encode_to_vec(), external })
}

fn move_out(tensor: &mut TensorProto, threshold: usize, data_name: &str, data: &mut ExternalData) {
    let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= threshold.max(1)) else { return };
    let length = raw.len();
    let offset = data.add(raw);
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
    tensor.external_data = vec![
        entry("location", data_name.into()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
    tensor.data_location = Some(1);
}
