//! Names of values, also of those that the bodies of control-flow nodes read from outside.

use std::collections::HashSet;

use super::proto::{GraphProto, NodeProto};

/// The values that the bodies of a node read from the graph around it, in the order of reading, each once.
pub(super) fn captured(node: &NodeProto) -> Vec<&str> {
    let mut captured = Captured::default();
    captured.bodies(node);
    captured.names
}

/// The values that one body reads from the graph around it.
pub(super) fn captured_by(body: &GraphProto) -> Vec<&str> {
    let mut captured = Captured::default();
    captured.body(body);
    captured.names
}

/// The bodies of a node.
fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs))
}

/// Visits all bodies of a node, also those within them.
pub(super) fn for_each_body(node: &mut NodeProto, visit: &mut dyn FnMut(&mut GraphProto)) {
    for attribute in &mut node.attribute {
        for body in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            visit(body);
            for inner in &mut body.node {
                for_each_body(inner, visit);
            }
        }
    }
}

#[derive(Default)]
struct Captured<'a> {
    names: Vec<&'a str>,
    seen: HashSet<&'a str>,
    /// What the bodies around the place compute themselves.
    scopes: Vec<HashSet<&'a str>>,
}

impl<'a> Captured<'a> {
    fn bodies(&mut self, node: &'a NodeProto) {
        for body in bodies(node) {
            self.body(body);
        }
    }

    fn body(&mut self, body: &'a GraphProto) {
        let mut own: HashSet<&str> = body.input.iter().filter_map(|input| input.name.as_deref()).collect();
        own.extend(body.initializer.iter().filter_map(|tensor| tensor.name.as_deref()));
        let sparse = body.sparse_initializer.iter().filter_map(|tensor| tensor.values.as_ref());
        own.extend(sparse.filter_map(|tensor| tensor.name.as_deref()));
        own.extend(body.node.iter().flat_map(|node| &node.output).map(String::as_str));
        self.scopes.push(own);
        for node in &body.node {
            for name in &node.input {
                self.read(name);
            }
            self.bodies(node);
        }
        for output in &body.output {
            self.read(output.name.as_deref().unwrap_or_default());
        }
        self.scopes.pop();
    }

    fn read(&mut self, name: &'a str) {
        let outside = !self.scopes.iter().any(|scope| scope.contains(name));
        if !name.is_empty() && outside && self.seen.insert(name) {
            self.names.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::AttributeProto;

    fn node(inputs: &[&str], output: &str, body: Option<GraphProto>) -> NodeProto {
        let attribute = body.map(|body| AttributeProto { g: Some(Box::new(body)), ..AttributeProto::default() });
        NodeProto {
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            attribute: attribute.into_iter().collect(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn nested_bodies_see_every_scope_around_them() {
        let inner =
            GraphProto { node: vec![node(&["a", "inner", "outer_weight"], "z", None)], ..GraphProto::default() };
        let outer =
            GraphProto { node: vec![node(&["x"], "a", None), node(&["a"], "y", Some(inner))], ..GraphProto::default() };
        let found = node(&["condition"], "out", Some(outer));
        assert_eq!(captured(&found), ["x", "inner", "outer_weight"]);
    }
}
