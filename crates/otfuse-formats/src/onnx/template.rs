//! The file around a network.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use otfuse_graph::{ConvTranspose, Graph, Node, Operator, Tensor};

use super::call::{Binding, Place, Target};
use super::constants::is_constant;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, attribute_type};
use super::readers::Readers;
use super::{names, shape, tensor};
use crate::error::OnnxError;

/// Everything of a file but its tensors: names, versions, metadata, operators without a counterpart in the graph.
///
/// Tensors share their bytes with the graph that was read, so a template costs no more than the file's nodes.
#[derive(Clone, Debug)]
pub struct Template {
    model: ModelProto,
    /// The network as it was read: what [`write`](Self::write) takes must have the same nodes.
    original: Graph,
    bindings: Vec<Binding>,
    copies: Vec<(String, String)>,
    /// The files beside this one that hold its tensors.
    external: Vec<PathBuf>,
}

impl Template {
    pub(super) fn new(
        model: ModelProto,
        original: Graph,
        bindings: Vec<Binding>,
        copies: Vec<(String, String)>,
        external: Vec<PathBuf>,
    ) -> Self {
        Self { model, original, bindings, copies, external }
    }

    /// Tensors that the file holds once, for several readers, and that the network has for each of them: the name of each
    /// copy, and the tensor's in the file. All elements of such a tensor are equal.
    pub fn copies(&self) -> &[(String, String)] {
        &self.copies
    }

    /// The nodes of the file.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeProto> {
        self.model.graph.iter().flat_map(|graph| &graph.node)
    }

    /// The files beside the model that tensors were read from, by name.
    pub fn external_files(&self) -> &[PathBuf] {
        &self.external
    }

    /// The file with the tensors of `graph` instead of those that were read; values are matched by their names.
    ///
    /// Nodes whose results are constants of the graph by now give way to these, and tensors and nodes that nothing
    /// reads any more because of it are left out. Constants may have other shapes than before; the declared shapes of
    /// inner values are then left out, and convolutions may have other groups. All else stays as it was.
    ///
    /// # Errors
    /// [`OnnxError::Template`] if `graph` has other nodes, inputs or outputs than the network that was read, or a
    /// changed tensor that has no place in the file.
    pub fn write(&self, graph: &Graph) -> Result<ModelProto, OnnxError> {
        self.check_structure(graph)?;
        let mut tensors: BTreeMap<String, Tensor> =
            graph.initializers().map(|(id, tensor)| (graph.value(id).name.clone(), tensor.clone())).collect();
        let originals: HashMap<&str, &Tensor> =
            self.original.initializers().map(|(id, tensor)| (self.original.value(id).name.as_str(), tensor)).collect();
        let changed: HashSet<String> = tensors
            .iter()
            .filter(|(name, tensor)| originals.get(name.as_str()).is_some_and(|old| !tensor::same(old, tensor)))
            .map(|(name, _)| name.clone())
            .collect();
        let reshaped = changed.iter().any(|name| tensors[name].shape() != originals[name.as_str()].shape());

        let mut model = self.model.clone();
        let Some(mut file) = model.graph.take() else { return Err(OnnxError::Missing { expected: "graph" }) };
        write_groups(&mut file, &self.original, graph);
        let mut placed = self.write_bindings(&mut file, &mut tensors)?;
        // A tensor that was cut in halves has changed where a half has.
        let halves = self.bindings.iter().filter_map(|binding| match &binding.target {
            Target::Half { tensor, .. } if changed.contains(&binding.value) => Some(tensor.clone()),
            _ => None,
        });
        let replaced = changed.iter().cloned().chain(halves).collect();
        placed.extend(write_constants(&mut file, &tensors, &replaced));
        let added = write_folded(&model, &mut file, &tensors)?;
        placed.extend(added.iter().cloned());
        for proto in &mut file.initializer {
            if let Some((name, tensor)) = proto.name.as_ref().and_then(|name| tensors.get_key_value(name)) {
                tensor::store(tensor, proto);
                placed.insert(name.clone());
            }
        }
        if let Some(name) = changed.iter().filter(|name| !placed.contains(*name)).min() {
            return Err(OnnxError::Template {
                place: format!("tensor '{name}'"),
                expected: "a tensor of the file, or one that is unchanged".into(),
                found: "a changed one without a place in the file".into(),
            });
        }
        let legacy = model.ir_version.is_none_or(|version| version < 4);
        for name in added {
            let tensor = &tensors[&name];
            file.initializer.push(tensor::write(&name, tensor));
            if legacy {
                file.input.push(declaration(&name, tensor));
            }
        }
        refresh_declarations(&mut file, &tensors, reshaped);
        model.graph = Some(file);
        Ok(model)
    }

    /// Every node, input and output of `graph` must be one that was read.
    fn check_structure(&self, graph: &Graph) -> Result<(), OnnxError> {
        let ends = |graph: &Graph| {
            let name = |&id| graph.value(id).name.clone();
            let inputs: Vec<String> = graph.inputs().iter().map(name).collect();
            let outputs: Vec<String> = graph.outputs().iter().map(name).collect();
            (inputs, outputs)
        };
        let (expected, found) = (ends(&self.original), ends(graph));
        if expected != found {
            return Err(OnnxError::Template {
                place: "inputs and outputs".into(),
                expected: format!("{expected:?}"),
                found: format!("{found:?}"),
            });
        }
        let known: HashMap<Vec<Option<&str>>, &Node> =
            self.original.nodes().map(|(_, node)| (value_names(&self.original, &node.outputs), node)).collect();
        for (_, node) in graph.nodes() {
            let inputs = value_names(graph, &node.inputs);
            let error = |expected: String| OnnxError::Template {
                place: format!("node '{}'", node.name),
                expected,
                found: format!("{} of {inputs:?}", node.operator.name()),
            };
            let Some(original) = known.get(&value_names(graph, &node.outputs)) else {
                return Err(error("a node of the file".into()));
            };
            let expected = value_names(&self.original, &original.inputs);
            if !same_but_groups(&original.operator, &node.operator) || expected != inputs {
                return Err(error(format!("{} of {expected:?}, as in the file", original.operator.name())));
            }
        }
        Ok(())
    }

    /// Brings constants that stand for attributes or for tensors of another shape back into that form.
    fn write_bindings(
        &self,
        file: &mut GraphProto,
        tensors: &mut BTreeMap<String, Tensor>,
    ) -> Result<HashSet<String>, OnnxError> {
        let mut placed = HashSet::new();
        for binding in &self.bindings {
            let Some(tensor) = tensors.get(&binding.value).cloned() else { continue };
            placed.insert(binding.value.clone());
            match &binding.target {
                Target::Attribute { node, attribute } => {
                    let attributes = file.node.get_mut(*node).map(|node| &mut node.attribute);
                    let place =
                        attributes.and_then(|all| all.iter_mut().find(|a| a.name.as_deref() == Some(attribute)));
                    if let Some(place) = place.filter(|_| !tensor::same(&tensor, &binding.tensor)) {
                        set_attribute(place, &tensor).ok_or_else(|| OnnxError::Template {
                            place: format!("tensor '{}'", binding.value),
                            expected: format!("numbers for the attribute '{attribute}'"),
                            found: format!("{tensor:?}"),
                        })?;
                    }
                }
                Target::TrailingAxes { count } => {
                    let kept = tensor.shape().len().saturating_sub(*count);
                    let back = tensor.reshaped(&tensor.shape()[..kept]).map_err(|error| OnnxError::Template {
                        place: format!("tensor '{}'", binding.value),
                        expected: format!("{count} axes of length 1 at the end"),
                        found: format!("{:?} ({error})", tensor.shape()),
                    })?;
                    tensors.insert(binding.value.clone(), back);
                }
                Target::Body { path, tensor: name } => {
                    if !tensor::same(&tensor, &binding.tensor) {
                        write_inside(file, path, name, &tensor).ok_or_else(|| OnnxError::Template {
                            place: format!("tensor '{}'", binding.value),
                            expected: format!("a tensor '{name}' inside of a body"),
                            found: "none".into(),
                        })?;
                    }
                }
                Target::Half { tensor: whole, second } => {
                    // The first half is bound before the second.
                    let joined = match tensors.remove(whole).filter(|_| *second) {
                        Some(first) => join(&first, &tensor).ok_or_else(|| OnnxError::Template {
                            place: format!("tensor '{}'", binding.value),
                            expected: format!("half of '{whole}', of the shape and type of the other"),
                            found: format!("{tensor:?}"),
                        })?,
                        None => tensor,
                    };
                    tensors.insert(whole.clone(), joined);
                    placed.insert(whole.clone());
                }
            }
        }
        Ok(placed)
    }
}

/// Replaces a tensor inside of a body.
fn write_inside(file: &mut GraphProto, path: &[Place], name: &str, tensor: &Tensor) -> Option<()> {
    if let Some(((node, attribute), rest)) = path.split_first() {
        let mut attributes = file.node.get_mut(*node)?.attribute.iter_mut();
        let body = attributes.find(|found| found.name.as_deref() == Some(attribute))?.g.as_deref_mut()?;
        return write_inside(body, rest, name, tensor);
    }
    if let Some(proto) = file.initializer.iter_mut().find(|proto| proto.name.as_deref() == Some(name)) {
        tensor::store(tensor, proto);
        return Some(());
    }
    let node =
        file.node.iter_mut().find(|node| is_constant(node) && node.output.iter().any(|output| output == name))?;
    node.attribute = vec![value_attribute(name, tensor)];
    Some(())
}

/// What a `Constant` node holds.
fn value_attribute(name: &str, tensor: &Tensor) -> AttributeProto {
    AttributeProto {
        name: Some("value".into()),
        r#type: Some(attribute_type::TENSOR),
        t: Some(Box::new(tensor::write(name, tensor))),
        ..AttributeProto::default()
    }
}

/// Two tensors behind one another along their first axis.
fn join(first: &Tensor, second: &Tensor) -> Option<Tensor> {
    if first.shape() != second.shape() || first.data_type() != second.data_type() {
        return None;
    }
    let (&length, rest) = first.shape().split_first()?;
    let shape = [&[2 * length], rest].concat();
    Tensor::new(first.data_type(), shape, [&first.bytes()[..], second.bytes()].concat().into()).ok()
}

/// Whether operators differ at most in the groups of a convolution, which follow from the number of channels.
fn same_but_groups(original: &Operator, operator: &Operator) -> bool {
    match (original, operator) {
        (Operator::Conv(a), Operator::Conv(b)) => a.window == b.window,
        (Operator::ConvTranspose(a), Operator::ConvTranspose(b)) => {
            *a == ConvTranspose { groups: a.groups, ..b.clone() }
        }
        (a, b) => a == b,
    }
}

/// Writes the groups of convolutions that have others than the file says.
fn write_groups(file: &mut GraphProto, original: &Graph, graph: &Graph) {
    let groups = |graph: &Graph| -> BTreeMap<String, usize> {
        let of = |(_, node): (_, &Node)| {
            let groups = match &node.operator {
                Operator::Conv(conv) => conv.groups,
                Operator::ConvTranspose(conv) => conv.groups,
                _ => return None,
            };
            Some((graph.value(node.output(0)?).name.clone(), groups))
        };
        graph.nodes().filter_map(of).collect()
    };
    let (before, mut changed) = (groups(original), groups(graph));
    changed.retain(|name, groups| before.get(name).is_some_and(|before| before != groups));
    for node in &mut file.node {
        let Some(groups) = node.output.first().and_then(|name| changed.get(name)) else { continue };
        let attribute = node.attribute.iter_mut().find(|attribute| attribute.name.as_deref() == Some("group"));
        if let Some(attribute) = attribute {
            attribute.i = i64::try_from(*groups).ok();
        }
    }
}

fn value_names<'a>(graph: &'a Graph, ids: &[Option<otfuse_graph::ValueId>]) -> Vec<Option<&'a str>> {
    let mut names: Vec<_> = ids.iter().map(|id| id.map(|id| graph.value(id).name.as_str())).collect();
    while names.last() == Some(&None) {
        names.pop();
    }
    names
}

/// `None` if the tensor does not hold numbers of the attribute's type.
fn set_attribute(attribute: &mut AttributeProto, tensor: &Tensor) -> Option<()> {
    match attribute.r#type {
        Some(attribute_type::FLOAT) => attribute.f = Some(*tensor.to_f32()?.first()?),
        Some(attribute_type::FLOATS) => attribute.floats = tensor.to_f32()?,
        _ => attribute.ints = tensor.to_i64()?,
    }
    Some(())
}

/// Writes changed tensors into the `Constant` nodes that hold them, and names those nodes' values.
fn write_constants(
    file: &mut GraphProto,
    tensors: &BTreeMap<String, Tensor>,
    changed: &HashSet<String>,
) -> HashSet<String> {
    let mut placed = HashSet::new();
    for node in file.node.iter_mut().filter(|node| is_constant(node)) {
        let [output] = node.output.as_slice() else { continue };
        let Some(tensor) = tensors.get(output) else { continue };
        placed.insert(output.clone());
        if changed.contains(output) {
            node.attribute = vec![value_attribute(output, tensor)];
        }
    }
    placed
}

/// Removes nodes whose results are constants by now, with all that served only them. Returns the names of the results
/// that something reads.
fn write_folded(
    model: &ModelProto,
    file: &mut GraphProto,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<String>, OnnxError> {
    let mut readers = Readers::of(model, file);
    let unread: HashSet<String> =
        file.initializer.iter().filter_map(|proto| proto.name.clone()).filter(|name| !readers.any(name)).collect();
    let mut dropped = vec![false; file.node.len()];
    for (node, dropped) in file.node.iter().zip(&mut dropped) {
        let constant = node.output.iter().any(|name| tensors.contains_key(name));
        if !constant || is_constant(node) {
            continue;
        }
        let computed = node.output.iter().find(|name| readers.any(name) && !tensors.contains_key(*name));
        if let Some(name) = computed {
            return Err(OnnxError::Template {
                place: format!("value '{name}'"),
                expected: "a constant, as the other results of its node are".into(),
                found: "a computed value".into(),
            });
        }
        *dropped = true;
    }
    let candidates: Vec<String> = file
        .node
        .iter()
        .zip(&dropped)
        .filter(|(_, dropped)| **dropped)
        .flat_map(|(node, _)| node.output.iter().filter(|name| !name.is_empty()).cloned())
        .collect();
    readers.remove(file, &mut dropped);
    let mut kept = dropped.iter().map(|dropped| !dropped);
    file.node.retain(|_| kept.next().unwrap_or(true));
    let superfluous = |name: Option<&String>| name.is_some_and(|name| !readers.any(name) && !unread.contains(name));
    let gone: HashSet<String> =
        file.initializer.iter().filter_map(|proto| proto.name.clone()).filter(|name| superfluous(Some(name))).collect();
    file.initializer.retain(|proto| !superfluous(proto.name.as_ref()));
    file.input.retain(|info| !info.name.as_ref().is_some_and(|name| gone.contains(name)));
    Ok(candidates.into_iter().filter(|name| readers.any(name)).collect())
}

fn declaration(name: &str, tensor: &Tensor) -> super::proto::ValueInfoProto {
    let dims: Vec<_> = tensor.shape().iter().map(|&length| otfuse_graph::Dim::known(length)).collect();
    shape::write(name, tensor.data_type(), Some(&dims))
}

/// Keeps the declarations of values that are still there and, if shapes have changed, still right.
fn refresh_declarations(file: &mut GraphProto, tensors: &BTreeMap<String, Tensor>, reshaped: bool) {
    let computed: HashSet<&str> = file.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    let constants: HashSet<&str> = file.initializer.iter().filter_map(|proto| proto.name.as_deref()).collect();
    file.value_info.retain(|info| {
        let name = info.name.as_deref().unwrap_or_default();
        constants.contains(name) || (computed.contains(name) && !reshaped)
    });
    for info in file.input.iter_mut().chain(&mut file.value_info) {
        let known = info.name.as_ref().filter(|name| constants.contains(name.as_str()));
        if let Some((name, tensor)) = known.and_then(|name| tensors.get_key_value(name)) {
            info.r#type = declaration(name, tensor).r#type;
        }
    }
    if reshaped {
        for node in &mut file.node {
            names::for_each_body(node, &mut |body| body.value_info.clear());
        }
    }
}
