//! Control flow: the bodies of a node become networks inside its operator.

use std::collections::HashMap;
use std::sync::Arc;

use otfuse_graph::{Body, Direction, GraphEditor, Operator, Scan, ValueId};

use super::attributes::Attributes;
use super::external::ExternalFiles;
use super::hints::Hints;
use super::names;
use super::proto::{GraphProto, NodeProto};
use super::reader::{Reader, declarations, fold};
use crate::error::OnnxError;

/// Integers up to so many elements are known inside of a body as well: axes, shapes, indices. Weights are not copied, as
/// they may change.
const MOST_ELEMENTS: usize = 1024;

impl Reader<'_> {
    /// Reads `If`, `Loop` and `Scan`; what the bodies read from outside is added to the inputs. `None` for other
    /// operators, and for bodies whose inputs are not the operator's.
    pub(super) fn control_flow(
        &mut self,
        node: &NodeProto,
        name: &str,
        inputs: &mut Vec<Option<ValueId>>,
    ) -> Result<Option<Operator>, OnnxError> {
        let attributes = Attributes::new(node, name);
        let given = inputs.len();
        let mut extended = inputs.clone();
        let operator = match node.op_type.as_deref() {
            Some("If") => {
                let then_branch = self.body(attributes.graph("then_branch")?, &mut extended)?;
                let else_branch = self.body(attributes.graph("else_branch")?, &mut extended)?;
                let Some((then_branch, else_branch)) = then_branch.zip(else_branch) else { return Ok(None) };
                let plain = [&then_branch, &else_branch].iter().all(|body| body.own_inputs() == 0);
                plain.then_some(Operator::If { then_branch, else_branch })
            }
            Some("Loop") => {
                let Some(body) = self.body(attributes.graph("body")?, &mut extended)? else { return Ok(None) };
                let states = given.saturating_sub(2);
                let fits = body.own_inputs() == states + 2 && body.graph.outputs().len() > states;
                fits.then_some(Operator::Loop { body, states })
            }
            Some("Scan") => {
                let Some(body) = self.body(attributes.graph("body")?, &mut extended)? else { return Ok(None) };
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

    /// Reads a body; values from outside become inputs behind its own.
    fn body(&mut self, proto: &GraphProto, inputs: &mut Vec<Option<ValueId>>) -> Result<Option<Body>, OnnxError> {
        let mut body = proto.clone();
        let mut bindings = Vec::new();
        let mut reader = Reader {
            editor: GraphEditor::new(proto.name.clone().unwrap_or_default()),
            declared: declarations(&body),
            version: self.version,
            functions: self.functions.clone(),
            hints: Hints::default(),
            unsupported: HashMap::new(),
            readers: HashMap::new(),
            picks: HashMap::new(),
            sequences: HashMap::new(),
            bindings: &mut bindings,
        };
        reader.constants(&mut body, &mut ExternalFiles::default())?;
        reader.ends(&body)?;
        if reader.editor.graph().inputs().len() != body.input.len() {
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
        reader.reads(&body);
        for (index, node) in body.node.iter().enumerate() {
            reader.node(index, node)?;
        }
        reader.check_unsupported()?;
        let graph = Arc::new(fold(reader.editor.finish()?)?);
        Ok((graph.inputs().len() >= captures.len()).then_some(Body { graph, captures }))
    }
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
