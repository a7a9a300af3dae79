//! A model as bytes, with large tensors in a file beside it if need be.

use std::io::{self, Write};

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use crate::error::OnnxError;

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
    /// The model file in pieces; tensors share their bytes with the network.
    parts: Vec<Bytes>,
    /// The file beside it, if there has to be one.
    pub external: Option<ExternalData>,
}

impl EncodedModel {
    /// Writes the model file.
    pub fn write_to(&self, writer: &mut dyn Write) -> io::Result<()> {
        self.parts.iter().try_for_each(|part| writer.write_all(part))
    }

    /// The bytes of the model file.
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts.concat()
    }
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
    Ok(EncodedModel { parts: pieces(model), external })
}

/// What [`Message::encode`] gives, without a copy of the tensors: each message is cut where a large field stands.
fn pieces(mut model: ModelProto) -> Vec<Bytes> {
    let Some(graph) = model.graph.take() else { return vec![model.encode_to_vec().into()] };
    let (ir_version, producer_name, producer_version) =
        (model.ir_version.take(), model.producer_name.take(), model.producer_version.take());
    let (domain, model_version, doc_string) =
        (model.domain.take(), model.model_version.take(), model.doc_string.take());
    let before = ModelProto {
        ir_version,
        producer_name,
        producer_version,
        domain,
        model_version,
        doc_string,
        ..ModelProto::default()
    };
    let mut head = before.encode_to_vec();
    encode_key(7, WireType::LengthDelimited, &mut head);
    encode_varint(graph.encoded_len() as u64, &mut head);
    let GraphProto { node, name, initializer, .. } = graph;
    append(&GraphProto { node, name, ..GraphProto::default() }, &mut head);
    let mut parts = Vec::with_capacity(2 * initializer.len() + 1);
    for mut tensor in initializer {
        encode_key(5, WireType::LengthDelimited, &mut head);
        encode_varint(tensor.encoded_len() as u64, &mut head);
        let Some(raw) = tensor.raw_data.take() else {
            append(&tensor, &mut head);
            continue;
        };
        let behind = TensorProto {
            double_data: std::mem::take(&mut tensor.double_data),
            uint64_data: std::mem::take(&mut tensor.uint64_data),
            doc_string: tensor.doc_string.take(),
            external_data: std::mem::take(&mut tensor.external_data),
            data_location: tensor.data_location.take(),
            metadata_props: std::mem::take(&mut tensor.metadata_props),
            ..TensorProto::default()
        };
        append(&tensor, &mut head);
        encode_key(9, WireType::LengthDelimited, &mut head);
        encode_varint(raw.len() as u64, &mut head);
        parts.extend([std::mem::take(&mut head).into(), raw]);
        append(&behind, &mut head);
    }
    append(&GraphProto { node: Vec::new(), name: None, initializer: Vec::new(), ..graph }, &mut head);
    append(&model, &mut head);
    parts.push(head.into());
    parts
}

fn append(message: &impl Message, bytes: &mut Vec<u8>) {
    bytes.extend(message.encode_to_vec());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::OperatorSetIdProto;

    #[test]
    fn pieces_are_what_the_library_writes() {
        let tensor = |raw: Option<&'static [u8]>| TensorProto {
            dims: vec![2, 3],
            data_type: Some(1),
            name: Some("w".into()),
            raw_data: raw.map(Bytes::from_static),
            double_data: vec![1.0],
            doc_string: Some("about it".into()),
            ..TensorProto::default()
        };
        let graph = GraphProto {
            name: Some("network".into()),
            initializer: vec![tensor(Some(b"123456")), tensor(None), tensor(Some(b""))],
            doc_string: Some("of the graph".into()),
            ..GraphProto::default()
        };
        let opset = OperatorSetIdProto { domain: None, version: Some(18) };
        let model = ModelProto {
            ir_version: Some(8),
            doc_string: Some("of the model".into()),
            graph: Some(graph),
            opset_import: vec![opset],
            ..ModelProto::default()
        };
        assert_eq!(pieces(model.clone()).concat(), model.encode_to_vec());
    }
}
