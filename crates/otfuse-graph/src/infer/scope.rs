//! A node together with what is known of its inputs: all that a rule sees.

use super::error::{InferenceError, Mismatch};
use super::fact::{Element, Fact};
use crate::{DataType, Dim, Graph, Node, Shape, Tensor, ValueId};

/// Names of expressions longer than this become a name of the value instead.
const LONGEST_EXPRESSION: usize = 96;

static UNKNOWN: Fact = Fact { data_type: None, shape: None, elements: None };

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
        self.node.input(index).and_then(|id| self.facts.get(id.index())).unwrap_or(&UNKNOWN)
    }

    /// The same with another node in this one's place.
    pub(super) fn of<'b>(&self, node: &'b Node) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { graph: self.graph, node, facts: self.facts }
    }

    /// The constant tensor that an input is, if it is one.
    pub(super) fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.graph.initializer(self.node.input(index)?)
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
            mismatch: Box::new(mismatch),
        }
    }

    /// An error about the node's attributes.
    pub(super) fn argument(
        &self,
        argument: &'static str,
        expected: impl Into<String>,
        found: impl std::fmt::Debug,
    ) -> InferenceError {
        let (expected, found) = (expected.into(), format!("{found:?}"));
        self.error_of(None, Mismatch::Argument { argument, expected, found })
    }

    /// An axis of a tensor of `rank` axes, counted from the end if negative.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Result<usize, InferenceError> {
        resolve(axis, rank).ok_or_else(|| self.error_of(None, Mismatch::Axis { axis, rank }))
    }

    /// Distinct axes of a tensor of `rank` axes, in the order given.
    pub(super) fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>, InferenceError> {
        let mut seen = vec![false; rank];
        let mut resolved = Vec::with_capacity(axes.len());
        for &axis in axes {
            let axis = self.axis(axis, rank)?;
            if std::mem::replace(&mut seen[axis], true) {
                let found = axes.to_vec();
                return Err(self.error_of(None, Mismatch::Axes { rank, found }));
            }
            resolved.push(axis);
        }
        Ok(resolved)
    }

    /// The length of an axis of an input must be `expected`, where both are known.
    pub(super) fn expect_length(
        &self,
        input: usize,
        axis: usize,
        expected: &Dim,
        found: &Dim,
    ) -> Result<(), InferenceError> {
        match (expected.as_known(), found.as_known()) {
            (Some(known), Some(length)) if known != length => {
                let (expected, found) = (expected.clone(), found.clone());
                Err(self.error(input, Mismatch::Length { axis, expected, found }))
            }
            _ => Ok(()),
        }
    }

    /// An input, if its shape is known, must have one axis of length `expected`.
    pub(super) fn expect_vector(&self, input: usize, expected: &Dim) -> Result<(), InferenceError> {
        match self.shape(input).map(Vec::as_slice) {
            None => Ok(()),
            Some([length]) => self.expect_length(input, 0, expected, length),
            Some(_) => Err(self.rank_error(input, "1")),
        }
    }

    /// An error about the rank of an input.
    pub(super) fn rank_error(&self, input: usize, expected: impl Into<String>) -> InferenceError {
        let found = self.shape(input).cloned().unwrap_or_default();
        let expected = expected.into();
        self.error(input, Mismatch::Rank { expected, found })
    }

    /// The numbers in an input of rank 0 or 1, if all are known.
    pub(super) fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.input(index).integers()
    }

    /// A length of which nothing is known, named after the first output that there is.
    pub(super) fn fresh(&self, axis: usize) -> Dim {
        let output = self.node.outputs.iter().flatten().next();
        let name = output.map_or(self.node.name.as_str(), |&id| &self.graph.value(id).name);
        Dim::symbol(format!("{name}.{axis}"))
    }

    /// The length that an expression stands for; equal expressions are equal lengths.
    pub(super) fn expression(&self, axis: usize, expression: String) -> Dim {
        if expression.len() > LONGEST_EXPRESSION { self.fresh(axis) } else { Dim::symbol(expression) }
    }
}

fn resolve(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let resolved = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&resolved).then_some(resolved as usize)
}
