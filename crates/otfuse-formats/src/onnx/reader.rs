//! `ModelProto` to graph.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use otfuse_graph::{
    Declared, FoldError, Graph, GraphEditor, Mismatch, Operator, ValueId, fold_constants, join_stacked, pass_parts,
    separate_states,
};
use prost::Message;

use super::attributes::Attributes;
use super::call::{Binding, Call, Reading};
use super::constants::{self, is_constant, is_onnx_domain};
use super::external::ExternalFiles;
use super::hints::Hints;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, attribute_type, too_large};
use super::sequences::{self, Sequence};
use super::template::Template;
use super::tensor::Constant;
use super::{names, operators, shape, shared, undeclared};
use crate::error::OnnxError;

/// An ONNX model: its network, and the file around it.
#[derive(Clone, Debug)]
pub struct OnnxModel {
    /// The network. Values have the names that they have in the file.
    pub graph: Graph,
    /// Everything else, to write the network back into the form that it came in.
    pub template: Template,
}

/// Reads a model from its bytes; tensors are slices of them or of the external data files in `folder`.
///
/// Operators of opset 1 and later are brought into one form, constants that follow from constants are computed, and
/// what has no counterpart in [`Operator`] becomes [`Operator::Opaque`], also with the values that its bodies read from
/// outside as inputs.
///
/// # Errors
/// [`OnnxError`] naming the node or tensor that breaks the format's rules or cannot be kept aside.
pub fn read_onnx(bytes: Bytes, folder: &Path) -> Result<OnnxModel, OnnxError> {
    let found = bytes.len();
    if let Some((asked, allowed)) = too_large(&bytes) {
        return Err(OnnxError::Messages { asked, allowed });
    }
    let mut model = ModelProto::decode(bytes).map_err(|source| OnnxError::Decode { found, source })?;
    let mut bindings = Vec::new();
    let mut external = ExternalFiles::new(folder);
    let copies = shared::separate(&mut model, &mut external)?;
    let graph = read_model(&mut model, &mut external, &mut bindings)?;
    let template = Template::new(model, graph.clone(), bindings, copies, external.paths());
    Ok(OnnxModel { graph, template })
}

fn read_model(
    model: &mut ModelProto,
    external: &mut ExternalFiles,
    bindings: &mut Vec<Binding>,
) -> Result<Graph, OnnxError> {
    let versions = model.opset_import.iter().filter(|entry| is_onnx_domain(entry.domain.as_deref()));
    let version = versions.filter_map(|entry| entry.version).max().unwrap_or(1);
    let functions: HashSet<(String, String)> = model
        .functions
        .iter()
        .map(|function| (function.domain.clone().unwrap_or_default(), function.name.clone().unwrap_or_default()))
        .collect();
    let proto = model.graph.as_mut().ok_or(OnnxError::Missing { expected: "graph" })?;
    let mut reader = Reader {
        editor: GraphEditor::new(proto.name.clone().unwrap_or_default()),
        declared: declarations(proto),
        version,
        functions: Arc::new(functions),
        depth: 0,
        hints: Hints::default(),
        unsupported: HashMap::new(),
        readers: HashMap::new(),
        picks: HashMap::new(),
        sequences: HashMap::new(),
        bindings,
    };
    reader.constants(proto, external)?;
    reader.ends(proto)?;
    reader.reads(proto);
    for (index, node) in proto.node.iter().enumerate() {
        reader.node(index, node)?;
    }
    reader.check_unsupported()?;
    Ok(separate_states(join_stacked(pass_parts(fold(undeclared::declare(reader.editor.finish()?)?)?)?)?)?)
}

/// Computes what follows from constants. Where the file declares shapes of inner values and outputs that contradict its
/// operators, the operators are right: runtimes do not look at these declarations either.
pub(super) fn fold(graph: Graph) -> Result<Graph, OnnxError> {
    match fold_constants(graph.clone()) {
        Err(FoldError::Inference(error)) if matches!(*error.mismatch, Mismatch::Declared { .. }) => {
            let computed: Vec<ValueId> = graph.nodes().flat_map(|(_, node)| node.outputs.clone()).flatten().collect();
            let mut editor = GraphEditor::edit(graph);
            for value in computed {
                editor.declare(value, None);
            }
            Ok(fold_constants(editor.finish()?)?)
        }
        folded => Ok(folded?),
    }
}

/// What the file says of each value.
pub(super) fn declarations(graph: &GraphProto) -> HashMap<String, Declared> {
    let infos = graph.value_info.iter().chain(&graph.output).chain(&graph.input);
    infos.filter_map(|info| Some((info.name.clone()?, shape::read(info)?))).collect()
}

/// The name of a node, or one made of its operator and place.
pub(super) fn node_name(index: usize, node: &NodeProto) -> String {
    match node.name.as_deref() {
        Some(name) if !name.is_empty() => name.into(),
        _ => format!("{}_{index}", node.op_type.as_deref().unwrap_or_default()),
    }
}

/// A whole number or a text among the attributes of a node, as `name=value`.
fn setting(attribute: &AttributeProto) -> Option<String> {
    let value = match attribute.r#type? {
        attribute_type::INT => attribute.i.unwrap_or(0).to_string(),
        attribute_type::STRING => String::from_utf8_lossy(attribute.s.as_deref()?).into_owned(),
        _ => return None,
    };
    Some(format!("{}={value}", attribute.name.as_deref()?))
}

pub(super) struct Reader<'a> {
    pub(super) editor: GraphEditor,
    pub(super) declared: HashMap<String, Declared>,
    pub(super) version: i64,
    /// Operators that the file defines itself.
    pub(super) functions: Arc<HashSet<(String, String)>>,
    /// How many bodies lie around.
    pub(super) depth: usize,
    pub(super) hints: Hints,
    /// Constants without a counterpart here, described.
    pub(super) unsupported: HashMap<ValueId, String>,
    /// How many places read each value that is read.
    pub(super) readers: HashMap<ValueId, usize>,
    /// The indices that sequences are read with.
    pub(super) picks: HashMap<String, Option<Vec<String>>>,
    /// Sequences that are parts of a tensor, by name.
    pub(super) sequences: HashMap<String, Sequence>,
    pub(super) bindings: &'a mut Vec<Binding>,
}

impl Reader<'_> {
    /// The value of that name; `None` stands for the empty name of an optional value left out.
    pub(super) fn value(&mut self, name: &str) -> Option<ValueId> {
        if name.is_empty() {
            return None;
        }
        let found = self.editor.find(name);
        Some(found.unwrap_or_else(|| self.editor.add_value(name, self.declared.remove(name))))
    }

    fn named(&mut self, kind: &'static str, name: &str) -> Result<ValueId, OnnxError> {
        self.value(name).ok_or_else(|| OnnxError::Name { kind, name: name.into(), found: 0 })
    }

    pub(super) fn constants(&mut self, graph: &mut GraphProto, external: &mut ExternalFiles) -> Result<(), OnnxError> {
        for constants::Named { name, constant } in constants::initializers(graph, external)? {
            let value = self.named("initializer", &name)?;
            self.define(value, name, constant)?;
        }
        for (index, node) in graph.node.iter_mut().enumerate() {
            if !is_constant(node) {
                continue;
            }
            let name = node_name(index, node);
            if let (Some(tensor), [output]) = (constants::node(node, &name, external)?, node.output.as_slice()) {
                let value = self.named("output of a constant", output)?;
                self.define(value, output.clone(), Constant::Tensor(tensor))?;
            }
        }
        Ok(())
    }

    fn define(&mut self, value: ValueId, name: String, constant: Constant) -> Result<(), OnnxError> {
        let known = self.editor.graph().initializer(value).is_some() || self.unsupported.contains_key(&value);
        if known {
            return Err(OnnxError::Name { kind: "constant", name, found: 2 });
        }
        match constant {
            Constant::Tensor(tensor) => self.editor.set_tensor(value, tensor),
            Constant::Unsupported(what) => {
                self.unsupported.insert(value, what);
            }
        }
        Ok(())
    }

    /// Inputs and outputs. Up to IR version 3 initializers are inputs as well, later they may be: as default values.
    pub(super) fn ends(&mut self, graph: &GraphProto) -> Result<(), OnnxError> {
        for info in &graph.input {
            let value = self.named("input", info.name.as_deref().unwrap_or_default())?;
            if self.editor.graph().initializer(value).is_none() && !self.unsupported.contains_key(&value) {
                self.editor.add_input(value);
            }
        }
        for info in &graph.output {
            let value = self.named("output", info.name.as_deref().unwrap_or_default())?;
            self.editor.add_output(value);
        }
        Ok(())
    }

    /// Gives every value of the file its id, so that no made-up name takes that of a later one.
    pub(super) fn reads(&mut self, graph: &GraphProto) {
        self.picks = sequences::readers(graph);
        for &output in self.editor.graph().outputs() {
            *self.readers.entry(output).or_default() += 1;
        }
        for node in &graph.node {
            for name in node.input.iter().map(String::as_str).chain(names::captured(node)) {
                if let Some(value) = self.value(name) {
                    *self.readers.entry(value).or_default() += 1;
                }
            }
            for name in &node.output {
                self.value(name);
            }
        }
        let constants = self.unsupported.keys().copied().filter(|value| self.readers.contains_key(value));
        let mut constants: Vec<(String, ValueId)> =
            constants.map(|value| (self.editor.graph().value(value).name.clone(), value)).collect();
        constants.sort();
        for (name, value) in constants {
            let reason = format!("it holds {}", self.unsupported[&value]);
            let constant = Operator::Opaque { domain: String::new(), name: "Constant".into(), reason };
            self.editor.add_node(name, constant, Vec::new(), vec![Some(value)]);
        }
    }

    pub(super) fn node(&mut self, index: usize, node: &NodeProto) -> Result<(), OnnxError> {
        let name = node_name(index, node);
        let operator = node.op_type.as_deref().unwrap_or_default();
        let domain = node.domain.as_deref().unwrap_or_default();
        let mut inputs: Vec<Option<ValueId>> = node.input.iter().map(|name| self.value(name)).collect();
        let outputs: Vec<Option<ValueId>> = node.output.iter().map(|name| self.value(name)).collect();
        if operator.is_empty() {
            return Err(OnnxError::UnsupportedNode {
                node: name,
                operator: String::new(),
                construct: "no operator".into(),
            });
        }
        if is_constant(node) && outputs.iter().flatten().any(|&out| self.editor.graph().initializer(out).is_some()) {
            return Ok(());
        }
        let own = self.functions.contains(&(domain.to_owned(), operator.to_owned()));
        let standard = is_onnx_domain(Some(domain)) && !own;
        let known = operators::first_version(operator).is_some_and(|first| self.version >= first);
        if standard
            && known
            && let Some(found) = self.control_flow(index, node, &name, &mut inputs)?
        {
            self.editor.add_node(name, found, inputs, outputs);
            return Ok(());
        }
        if standard && self.sequence(node, &name)? {
            return Ok(());
        }
        let mut call = Call {
            name: &name,
            operator,
            version: self.version,
            index,
            attributes: Attributes::new(node, &name),
            inputs: inputs.clone(),
            outputs: outputs.clone(),
            editor: &mut self.editor,
            hints: &mut self.hints,
            bindings: self.bindings,
            readers: &self.readers,
        };
        let mut reading = match domain {
            _ if standard => operators::read(&mut call)?,
            operators::ml::DOMAIN if !own => operators::ml::read(&mut call)?,
            _ => Reading::Opaque,
        };
        if let Reading::Operator(found) = &reading
            && found.most_outputs() == 1
            && !call.keep_first_output()
        {
            reading = Reading::Opaque;
        }
        let added = match reading {
            Reading::Expanded => return Ok(()),
            Reading::Operator(operator) => {
                let Call { inputs, outputs, .. } = call;
                if outputs.iter().all(Option::is_none) {
                    return Ok(());
                }
                self.editor.add_node(name, operator, inputs, outputs)
            }
            Reading::Opaque | Reading::Other => {
                self.add_captured(node, &mut inputs);
                let reason = if own {
                    "the file defines it itself, as a function".into()
                } else {
                    self.reason(node, domain, operator)
                };
                let domain = if is_onnx_domain(Some(domain)) { "" } else { domain };
                let opaque = Operator::Opaque { domain: domain.into(), name: operator.into(), reason };
                self.editor.add_node(name, opaque, inputs, outputs)
            }
        };
        self.hints.observe(self.editor.graph(), added);
        Ok(())
    }

    /// What the bodies of a node read from outside is an input like any other: nothing goes unseen.
    fn add_captured(&mut self, node: &NodeProto, inputs: &mut Vec<Option<ValueId>>) {
        let mut known: HashSet<Option<ValueId>> = inputs.iter().copied().collect();
        for captured in names::captured(node) {
            let value = self.value(captured);
            if known.insert(value) {
                inputs.push(value);
            }
        }
    }

    /// Why a node is kept aside; empty if nothing is known of its operator.
    fn reason(&self, node: &NodeProto, domain: &str, operator: &str) -> String {
        if !is_onnx_domain(Some(domain)) {
            return format!("this operator of the domain '{domain}' has no counterpart here");
        }
        match operators::first_version(operator) {
            None => String::new(),
            Some(first) if self.version < first => {
                format!("it is read from opset {first} on, and the file is written in opset {}", self.version)
            }
            Some(_) => {
                let settings: Vec<String> = node.attribute.iter().filter_map(setting).collect();
                match settings.is_empty() {
                    true => "this form of it is not executed".into(),
                    false => format!("this form of it ({}) is not executed", settings.join(", ")),
                }
            }
        }
    }

    /// Constants that were kept aside may be read by operators that were kept aside as well, but by no others.
    pub(super) fn check_unsupported(&self) -> Result<(), OnnxError> {
        for (_, node) in self.editor.graph().nodes() {
            if matches!(node.operator, Operator::Opaque { .. }) {
                continue;
            }
            for input in node.inputs.iter().flatten() {
                if let Some(found) = self.unsupported.get(input) {
                    return Err(OnnxError::UnsupportedTensor {
                        tensor: self.editor.graph().value(*input).name.clone(),
                        found: found.clone(),
                        node: node.name.clone(),
                        operator: node.operator.name().into(),
                    });
                }
            }
        }
        Ok(())
    }
}
