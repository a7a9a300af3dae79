//! What the messages of a file take in memory, before they are decoded.
//!
//! A message of two bytes is decoded to hundreds. Files that networks were written to hold names, types and numbers in each, so that
//! what they take is bounded by their length; a file that holds millions of empty messages was made to fill the memory.

use std::mem::size_of;

use super::{AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, TypeProto};
use super::{DeviceConfigurationProto, DimensionProto, OperatorSetIdProto, StringStringEntryProto, TrainingInfoProto};
use super::{NodeDeviceConfigurationProto, ShardingSpecProto, TensorAnnotation, ValueInfoProto};

/// Bytes that the messages of any file may take, and for each byte of the file.
const BYTES: (u64, u64) = (64 << 20, 40);

/// Messages within messages that are followed; decoding follows no more.
const MOST_DEPTH: usize = 100;

/// What the bytes of a field are.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Info,
    Type,
    TensorType,
    /// A sequence, a map or an optional value, with a type inside.
    Around,
    Shape,
    Function,
    Training,
    Devices,
    Sharding,
    Annotation,
    /// Text, or a message whose fields are texts and numbers.
    Leaf,
}

impl Kind {
    /// What a field of so many bytes is, and the bytes that it takes in its message.
    fn field(self, field: u64) -> (Self, usize) {
        let entry = (Self::Leaf, size_of::<StringStringEntryProto>());
        let info = (Self::Info, size_of::<ValueInfoProto>());
        let tensor = (Self::Tensor, size_of::<TensorProto>());
        let graph = (Self::Graph, size_of::<GraphProto>());
        let attribute = (Self::Attribute, size_of::<AttributeProto>());
        let node = (Self::Node, size_of::<NodeProto>());
        let of_type = (Self::Type, size_of::<TypeProto>());
        let opset = (Self::Leaf, size_of::<OperatorSetIdProto>());
        match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => graph,
            (Self::Model, 20) => (Self::Training, size_of::<TrainingInfoProto>()),
            (Self::Model, 25) => (Self::Function, size_of::<FunctionProto>()),
            (Self::Model, 26) => (Self::Leaf, size_of::<DeviceConfigurationProto>()),
            (Self::Model, 8) | (Self::Function, 9) => opset,
            (Self::Graph, 1) | (Self::Function, 7) => node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => tensor,
            (Self::Graph, 11..=13) | (Self::Function, 12) => info,
            (Self::Graph, 14) => (Self::Annotation, size_of::<TensorAnnotation>()),
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => (Self::Sparse, size_of::<SparseTensorProto>()),
            (Self::Node, 5) | (Self::Function, 11) => attribute,
            (Self::Node, 10) => (Self::Devices, size_of::<NodeDeviceConfigurationProto>()),
            (Self::Devices, 2) => (Self::Sharding, size_of::<ShardingSpecProto>()),
            (Self::Attribute, 14 | 15) | (Self::Info, 2) | (Self::Around, 1 | 2) => of_type,
            (Self::Type, 1 | 8) => (Self::TensorType, 0),
            (Self::Type, 4 | 5 | 9) => (Self::Around, 0),
            (Self::TensorType, 2) => (Self::Shape, 0),
            (Self::Shape, 1) => (Self::Leaf, size_of::<DimensionProto>()),
            (Self::Tensor, 13 | 16)
            | (Self::Node | Self::Info, 9 | 4)
            | (Self::Model | Self::Function, 14)
            | (Self::Graph, 16)
            | (Self::Annotation, 2)
            | (Self::Training | Self::Sharding, 3 | 4) => entry,
            _ => (Self::Leaf, size_of::<String>()),
        }
    }

    fn has_messages(self) -> bool {
        !matches!(self, Self::Leaf)
    }
}

/// Bytes that the messages of a model take and that they may take, where those are more. What is no message ends the count: decoding
/// says what is wrong with it. Linear in the number of fields.
pub(crate) fn too_large(bytes: &[u8]) -> Option<(u64, u64)> {
    let allowed = (bytes.len() as u64).saturating_mul(BYTES.1).saturating_add(BYTES.0);
    let mut taken = 0_u64;
    let mut around = vec![(Kind::Model, bytes)];
    while let Some((kind, rest)) = around.last_mut() {
        if rest.is_empty() {
            around.pop();
            continue;
        }
        let (field, inner) = next(rest)?;
        let Some(inner) = inner else {
            // A number; of repeated ones each takes as much.
            taken += size_of::<u64>() as u64;
            continue;
        };
        let (kind, size) = kind.field(field);
        taken += size as u64;
        if taken > allowed {
            return Some((taken, allowed));
        }
        if kind.has_messages() && around.len() < MOST_DEPTH {
            around.push((kind, inner));
        }
    }
    None
}

/// The next field: its number, and its bytes where it has a length. `None` for what is no field.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let key = varint(bytes)?;
    let fixed = |bytes: &mut &'a [u8], width| bytes.split_at_checked(width).map(|(_, rest)| *bytes = rest);
    match key & 7 {
        0 => drop(varint(bytes)?),
        1 => fixed(bytes, 8)?,
        5 => fixed(bytes, 4)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (inner, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            return Some((key >> 3, Some(inner)));
        }
        _ => return None,
    }
    Some((key >> 3, None))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::proto::ModelProto;

    #[test]
    fn millions_of_empty_messages_are_refused_and_short_ones_are_not() {
        let count = 1 << 20;
        let of = |graph: GraphProto| ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec();
        for field in [1, 5, 11] {
            let inner: Vec<u8> = [field << 3 | 2, 0].repeat(count);
            let mut file = vec![0x3a];
            prost::encoding::encode_varint(inner.len() as u64, &mut file);
            file.extend(inner);
            assert!(too_large(&file).is_some(), "field {field}");
            assert!(too_large(&file[..file.len() / 2]).is_none());
        }
        let node = NodeProto {
            input: vec!["a1".into()],
            output: vec!["a2".into()],
            op_type: Some("Relu".into()),
            ..NodeProto::default()
        };
        let tensor = TensorProto {
            dims: vec![1],
            data_type: Some(1),
            name: Some("w1".into()),
            raw_data: Some(vec![0; 4].into()),
            ..TensorProto::default()
        };
        let honest = GraphProto { node: vec![node; count], initializer: vec![tensor; count], ..GraphProto::default() };
        assert_eq!(too_large(&of(honest)), None);
    }
}
