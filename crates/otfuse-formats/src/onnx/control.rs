//! Control flow: the bodies of a node become networks inside its operator.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use otfuse_graph::{Body, Declared, Dim, Direction, GraphEditor, Operator, Scan, Tensor, ValueId};

use super::attributes::Attributes;
use super::call::{Binding, Place, Target};
use super::constants::is_constant;
use super::external::ExternalFiles;
use super::hints::Hints;
use super::names;
use super::proto::{GraphProto, NodeProto};
use super::reader::{Reader, declarations, fold};
use crate::error::OnnxError;

/// Integers up to so many elements are known inside of a body as well: axes, shapes, indices. Weights are not copied, as
/// they may change.
const MOST_ELEMENTS: usize = 1024;

/// Operators whose constants say how, not what: they stay inside of bodies, where shapes follow from them.
const SETTINGS: [&str; 6] = ["Resize", "Upsample", "Pad", "Clip", "Range", "OneHot"];

/// How deep bodies may lie in bodies. Each is looked through once for each of those around it.
const MOST_DEPTH: usize = 16;

/// The constants of a body, which are taken out of what is decoded; its other nodes stand empty in their places, since they hold
/// bodies themselves.
fn constants_only(proto: &GraphProto) -> GraphProto {
    let node = |node: &NodeProto| if is_constant(node) { node.clone() } else { NodeProto::default() };
    GraphProto {
        node: proto.node.iter().map(node).collect(),
        initializer: proto.initializer.clone(),
        sparse_initializer: proto.sparse_initializer.clone(),
        ..GraphProto::default()
    }
}

impl Reader<'_> {
    /// Reads `If`, `Loop` and `Scan`; what the bodies read from outside is added to the inputs. `None` for other
    /// operators, and for bodies whose inputs are not the operator's.
    pub(super) fn control_flow(
        &mut self,
        index: usize,
        node: &NodeProto,
        name: &str,
        inputs: &mut Vec<Option<ValueId>>,
    ) -> Result<Option<Operator>, OnnxError> {
        let attributes = Attributes::new(node, name);
        let given = inputs.len();
        let mut extended = inputs.clone();
        let node_of = (name, node.op_type.as_deref().unwrap_or_default());
        let operator = match node.op_type.as_deref() {
            Some("If") => {
                let then_branch =
                    self.body(node_of, (index, "then_branch"), attributes.graph("then_branch")?, &mut extended)?;
                let else_branch =
                    self.body(node_of, (index, "else_branch"), attributes.graph("else_branch")?, &mut extended)?;
                let Some((then_branch, else_branch)) = then_branch.zip(else_branch) else { return Ok(None) };
                let plain = [&then_branch, &else_branch].iter().all(|body| body.own_inputs() == 0);
                plain.then_some(Operator::If { then_branch, else_branch })
            }
            Some("Loop") => {
                let Some(body) = self.body(node_of, (index, "body"), attributes.graph("body")?, &mut extended)? else {
                    return Ok(None);
                };
                let states = given.saturating_sub(2);
                let fits = body.own_inputs() == states + 2 && body.graph.outputs().len() > states;
                fits.then_some(Operator::Loop { body, states })
            }
            Some("Scan") => {
                let Some(body) = self.body(node_of, (index, "body"), attributes.graph("body")?, &mut extended)? else {
                    return Ok(None);
                };
                scan(&attributes, body, given)?.map(Operator::Scan)
            }
            _ => None,
        };
        if operator.is_none() || attributes.any_left() {
            return Ok(None);
        }
        *inputs = extended;
        Ok(operator)
    }

    /// Reads the body at a place; values from outside become inputs behind its own, and so do its weights, which are
    /// constants of the graph around it like all others.
    fn body(
        &mut self,
        (name, operator): (&str, &str),
        place: Place,
        proto: &GraphProto,
        inputs: &mut Vec<Option<ValueId>>,
    ) -> Result<Option<Body>, OnnxError> {
        if self.depth >= MOST_DEPTH {
            let construct = format!("a body within {MOST_DEPTH} others");
            return Err(OnnxError::UnsupportedNode { node: name.into(), operator: operator.into(), construct });
        }
        let mut constants_of = constants_only(proto);
        let mut bindings = Vec::new();
        let mut reader = Reader {
            editor: GraphEditor::new(proto.name.clone().unwrap_or_default()),
            declared: declarations(proto),
            version: self.version,
            functions: Arc::clone(&self.functions),
            depth: self.depth + 1,
            hints: Hints::default(),
            unsupported: HashMap::new(),
            readers: HashMap::new(),
            picks: HashMap::new(),
            sequences: HashMap::new(),
            bindings: &mut bindings,
        };
        reader.constants(&mut constants_of, &mut ExternalFiles::default())?;
        let constants: Vec<(ValueId, Tensor)> =
            reader.editor.graph().initializers().map(|(id, tensor)| (id, tensor.clone())).collect();
        reader.ends(proto)?;
        if reader.editor.graph().inputs().len() != proto.input.len() {
            return Ok(None);
        }
        let mut captures = Vec::new();
        for name in names::captured_by(proto) {
            let (Some(outer), Some(inner)) = (self.value(name), reader.value(name)) else { continue };
            let constant = self.editor.graph().initializer(outer);
            if let Some(constant) =
                constant.filter(|tensor| tensor.len() <= MOST_ELEMENTS && !tensor.data_type().is_float())
            {
                reader.editor.set_tensor(inner, constant.clone());
                continue;
            }
            reader.editor.declare(inner, self.editor.graph().value(outer).declared.clone());
            reader.editor.add_input(inner);
            let known = inputs.iter().position(|&input| input == Some(outer));
            captures.push(known.unwrap_or_else(|| {
                inputs.push(Some(outer));
                inputs.len() - 1
            }));
        }
        reader.reads(proto);
        for (index, node) in proto.node.iter().enumerate() {
            reader.node(index, node)?;
        }
        reader.check_unsupported()?;
        for weight in weights(&mut reader, place, proto, constants) {
            let outer = self.editor.add_initializer(weight.value.clone(), weight.tensor.clone());
            let value = self.editor.graph().value(outer).name.clone();
            self.bindings.push(Binding { value, ..weight });
            inputs.push(Some(outer));
            captures.push(inputs.len() - 1);
        }
        let graph = Arc::new(fold(reader.editor.finish()?)?);
        Ok((graph.inputs().len() >= captures.len()).then_some(Body { graph, captures }))
    }
}

/// Makes the weights of a body inputs of it, in this order; each with its place in the file.
fn weights(
    reader: &mut Reader<'_>,
    place: Place,
    proto: &GraphProto,
    constants: Vec<(ValueId, Tensor)>,
) -> Vec<Binding> {
    let settings: HashSet<&str> = proto
        .node
        .iter()
        .filter(|node| SETTINGS.contains(&node.op_type.as_deref().unwrap_or_default()))
        .flat_map(|node| node.input.iter().map(String::as_str))
        .collect();
    let mut found = Vec::new();
    for (id, tensor) in constants {
        let name = reader.editor.graph().value(id).name.clone();
        let is_weight = tensor.data_type().is_float() && tensor.len() > 1 && !settings.contains(name.as_str());
        // What has another form by now stays inside.
        if is_weight && reader.editor.graph().initializer(id) == Some(&tensor) {
            found.push((
                id,
                Binding { value: name.clone(), tensor, target: Target::Body { path: vec![place], tensor: name } },
            ));
        }
    }
    for binding in std::mem::take(reader.bindings) {
        if let (Target::Body { path, tensor }, Some(id)) = (&binding.target, reader.editor.find(&binding.value)) {
            let path = std::iter::once(place).chain(path.iter().copied()).collect();
            found.push((id, Binding { target: Target::Body { path, tensor: tensor.clone() }, ..binding }));
        }
    }
    for (id, Binding { tensor, .. }) in &found {
        let shape = tensor.shape().iter().copied().map(Dim::known).collect();
        reader.editor.remove_tensor(*id);
        reader.editor.declare(*id, Some(Declared { data_type: tensor.data_type(), shape: Some(shape) }));
        reader.editor.add_input(*id);
    }
    found.into_iter().map(|(_, binding)| binding).collect()
}

fn scan(attributes: &Attributes<'_>, body: Body, given: usize) -> Result<Option<Scan>, OnnxError> {
    let count = attributes.int("num_scan_inputs")?.unwrap_or(0);
    let sequences = usize::try_from(count).ok().filter(|&count| count > 0 && count <= given);
    let sequences = sequences.ok_or_else(|| attributes.error("num_scan_inputs", format!("1 to {given}"), count))?;
    let states = given - sequences;
    let results = body.graph.outputs().len().checked_sub(states);
    let Some(results) = results.filter(|_| body.own_inputs() == given) else { return Ok(None) };
    let directions =
        |axes: &'static str, directions: &'static str, count: usize| -> Result<Vec<Direction>, OnnxError> {
            let listed = |name: &'static str| -> Result<Vec<i64>, OnnxError> {
                let found = attributes.ints(name)?.unwrap_or_default();
                match found.len() {
                    0 => Ok(vec![0; count]),
                    length if length == count => Ok(found.to_vec()),
                    length => Err(attributes.error(name, format!("{count} numbers"), length)),
                }
            };
            let both = listed(axes)?.into_iter().zip(listed(directions)?);
            Ok(both.map(|(axis, direction)| Direction { axis, reverse: direction != 0 }).collect())
        };
    Ok(Some(Scan {
        states,
        inputs: directions("scan_input_axes", "scan_input_directions", sequences)?,
        outputs: directions("scan_output_axes", "scan_output_directions", results)?,
        body,
    }))
}
