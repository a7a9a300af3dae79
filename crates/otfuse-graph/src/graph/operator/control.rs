//! Control flow: operators that run other networks.

use std::sync::Arc;

use super::Operator;
use crate::Graph;

/// A network inside an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Body {
    /// The network. Its first inputs are those that the operator gives it, the others what it reads from outside.
    pub graph: Arc<Graph>,
    /// For each input that comes from outside, which of the node's inputs it is.
    pub captures: Vec<usize>,
}

impl Body {
    /// How many inputs the operator gives.
    pub fn own_inputs(&self) -> usize {
        self.graph.inputs().len() - self.captures.len().min(self.graph.inputs().len())
    }
}

/// See [`Operator::Scan`](super::Operator::Scan).
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// States and an element of each sequence in, states and an element of each result out.
    pub body: Body,
    /// How many of the node's inputs are states; the others, up to those that the body reads from outside, are sequences.
    pub states: usize,
    /// How the elements of each sequence lie.
    pub inputs: Vec<Direction>,
    /// How the elements of each result lie.
    pub outputs: Vec<Direction>,
}

/// How a [`Scan`] goes along a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The axis; may be negative.
    pub axis: i64,
    /// From the end.
    pub reverse: bool,
}

impl Operator {
    /// The networks inside of the operator.
    pub fn bodies(&self) -> Vec<&Body> {
        match self {
            Self::If { then_branch, else_branch } => vec![then_branch, else_branch],
            Self::Loop { body, .. } => vec![body],
            Self::Scan(scan) => vec![&scan.body],
            _ => Vec::new(),
        }
    }
}
