//! The constants of a file: initializers and `Constant` nodes.

use otfuse_graph::Tensor;

use super::attributes::Attributes;
use super::external::ExternalFiles;
use super::proto::{GraphProto, NodeProto};
use super::tensor::{self, Constant};
use crate::error::OnnxError;

/// A constant and the value that it defines.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) constant: Constant,
}

/// Reads all initializers. Their elements are brought into one form in `graph` itself, so that the file's tensors and
/// those of the graph share their bytes.
pub(super) fn initializers(graph: &mut GraphProto, external: &mut ExternalFiles) -> Result<Vec<Named>, OnnxError> {
    let mut all = Vec::with_capacity(graph.initializer.len());
    for proto in &mut graph.initializer {
        let constant = tensor::read(proto, external)?;
        if let Constant::Tensor(tensor) = &constant {
            tensor::store(tensor, proto);
        }
        all.push(Named { name: proto.name.clone().unwrap_or_default(), constant });
    }
    for sparse in &graph.sparse_initializer {
        let name = sparse.values.as_ref().and_then(|values| values.name.clone()).unwrap_or_default();
        all.push(Named { name, constant: Constant::Unsupported("a sparse tensor".into()) });
    }
    Ok(all)
}

/// Whether a node is a constant of ONNX's own domain.
pub(super) fn is_constant(node: &NodeProto) -> bool {
    node.op_type.as_deref() == Some("Constant") && is_onnx_domain(node.domain.as_deref())
}

/// Whether that is the name of ONNX's own domain.
pub(super) fn is_onnx_domain(domain: Option<&str>) -> bool {
    matches!(domain, None | Some("" | "ai.onnx"))
}

/// Reads a `Constant` node; `None` if what it holds has no counterpart here.
pub(super) fn node(
    node: &mut NodeProto,
    name: &str,
    external: &mut ExternalFiles,
) -> Result<Option<Tensor>, OnnxError> {
    let read = {
        let attributes = Attributes::new(node, name);
        if let Some(proto) = attributes.tensor("value")? {
            tensor::read(proto, external)?
        } else if let Some(value) = attributes.float("value_float")? {
            Constant::Tensor(Tensor::scalar(value))
        } else if let Some(value) = attributes.int("value_int")? {
            Constant::Tensor(Tensor::from_i64(&[], vec![value]))
        } else if let Some(values) = attributes.floats("value_floats")? {
            Constant::Tensor(Tensor::from_f32(&[values.len()], values.to_vec()))
        } else if let Some(values) = attributes.ints("value_ints")? {
            Constant::Tensor(Tensor::from_i64(&[values.len()], values.to_vec()))
        } else if node.attribute.is_empty() {
            return Err(attributes.error("value", "a constant", "nothing"));
        } else {
            Constant::Unsupported("strings or a sparse tensor".into())
        }
    };
    let Constant::Tensor(value) = read else { return Ok(None) };
    let stored = node.attribute.iter_mut().find(|attribute| attribute.name.as_deref() == Some("value"));
    if let Some(proto) = stored.and_then(|attribute| attribute.t.as_deref_mut()) {
        tensor::store(&value, proto);
    }
    Ok(Some(value))
}
