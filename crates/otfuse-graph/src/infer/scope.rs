//! A node together with what is known of its inputs: all that a rule sees.

use super::error::{InferenceError, Mismatch};
use super::fact::{Element, Fact};
use crate::{DataType, Dim, Graph, Node, Shape, ValueId};

/// Names of expressions longer than this become a name of the value instead.
const LONGEST_EXPRESSION: usize = 96;

static UNKNOWN: Fact = Fact {
    data_type: None,
    shape: None,
    elements: None,
};

pub(super) struct Scope<'a> {
    graph: &'a Graph,
    pub(super) node: &'a Node,
    facts: &'a [Fact],
}

impl<'a> Scope<'a> {
    pub(super) fn new(graph: &'a Graph, node: &'a Node, facts: &'a [Fact]) -> Self {
        Self { graph, node, facts }
    }

    /// What is known of an input; nothing if it is left out.
    pub(super) fn input(&self, index: usize) -> &'a Fact {
        self.node
            .input(index)
            .and_then(|id| self.facts.get(id.index()))
            .unwrap_or(&UNKNOWN)
    }

    pub(super) fn is_given(&self, index: usize) -> bool {
        self.node.input(index).is_some()
    }

    pub(super) fn data_type(&self, index: usize) -> Option<DataType> {
        self.input(index).data_type
    }

    pub(super) fn shape(&self, index: usize) -> Option<&'a Shape> {
        self.input(index).shape.as_ref()
    }

    pub(super) fn elements(&self, index: usize) -> Option<&'a [Element]> {
        self.input(index).elements.as_deref()
    }

    /// An error about an input.
    pub(super) fn error(&self, input: usize, mismatch: Mismatch) -> InferenceError {
        self.error_of(self.node.input(input), mismatch)
    }

    /// An error about a value, or about the node itself.
    pub(super) fn error_of(&self, value: Option<ValueId>, mismatch: Mismatch) -> InferenceError {
        InferenceError {
            node: self.node.name.clone(),
            operator: self.node.operator.name().to_owned(),
            value: value.map(|id| self.graph.value(id).name.clone()),
            mismatch,
        }
    }

    /// A length of which nothing is known, named after the first output that there is.
    pub(super) fn fresh(&self, axis: usize) -> Dim {
        let output = self.node.outputs.iter().flatten().next();
        let name = output.map_or(self.node.name.as_str(), |&id| &self.graph.value(id).name);
        Dim::symbol(format!("{name}.{axis}"))
    }

    /// The length that an expression stands for; equal expressions are equal lengths.
    pub(super) fn expression(&self, axis: usize, expression: String) -> Dim {
        if expression.len() > LONGEST_EXPRESSION {
            self.fresh(axis)
        } else {
            Dim::symbol(expression)
        }
    }
}
