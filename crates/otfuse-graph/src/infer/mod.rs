//! Shape inference: the type, shape and, for small integer tensors, the contents of every value.
//!
//! Nodes are visited once, in topological order; each operator family has its rules in a file of its own. Lengths may
//! be symbolic ([`Dim`]). What no [`Dim`] can express (sums, rounded quotients) becomes a symbol named after its
//! expression, such as `((height+1)/2)`, so that two branches that shrink an axis alike still agree; expressions that
//! grow too long become a symbol named after the value and axis.

mod error;
mod fact;
mod scope;

use crate::graph::Declared;
use crate::{DataType, Dim, Graph, Node, Operator, Shape, ValueId};

pub use error::{InferenceError, Mismatch};
pub(crate) use fact::{MOST_ELEMENTS, fits};
pub use fact::{Element, Fact};
use scope::Scope;

/// More axes than any framework has.
const MOST_AXES: usize = 64;

/// Elements followed in a whole graph, so that memory is bounded by more than the number of nodes.
const MOST_ELEMENTS_OF_GRAPH: usize = 1 << 22;

/// What is known of every value of a graph.
#[derive(Clone, Debug)]
pub struct Facts {
    facts: Vec<Fact>,
}

impl Facts {
    /// Infers what can be known of every value. Where nothing can be inferred, what the file declares is believed; a
    /// declared length also replaces a symbolic one. Linear in the number of nodes.
    ///
    /// # Errors
    /// Inputs that do not fit an operator, or a declaration that contradicts what follows from the operators.
    pub fn of(graph: &Graph) -> Result<Self, InferenceError> {
        let mut facts = vec![Fact::default(); graph.values().len()];
        for (id, value) in graph.values() {
            facts[id.index()] = match (graph.initializer(id), &value.declared) {
                (Some(tensor), _) => Fact::of_tensor(tensor),
                (None, Some(declared)) => Fact::new(Some(declared.data_type), declared.shape.clone()),
                (None, None) => Fact::default(),
            };
        }
        let mut budget = MOST_ELEMENTS_OF_GRAPH;
        for (_, node) in graph.nodes() {
            let scope = Scope::new(graph, node, &facts);
            let inferred = infer(&scope)?;
            let mut agreed = Vec::with_capacity(node.outputs.len());
            for (position, output) in node.outputs.iter().enumerate() {
                let Some(output) = *output else { continue };
                let mut fact = inferred.get(position).cloned().unwrap_or_default();
                fact.elements = fact.elements.filter(|elements| elements.len() <= MOST_ELEMENTS.min(budget));
                budget -= fact.elements.as_ref().map_or(0, Vec::len);
                if let Some(declared) = &graph.value(output).declared {
                    agree(&scope, output, &mut fact, declared)?;
                }
                if let Some(shape) = fact.shape.as_ref().filter(|shape| shape.len() > MOST_AXES) {
                    let what = "the rank";
                    let found = shape.len().to_string();
                    return Err(scope.error_of(Some(output), Mismatch::TooLarge { what, found }));
                }
                agreed.push((output, fact));
            }
            for (output, fact) in agreed {
                facts[output.index()] = fact;
            }
        }
        Ok(Self { facts })
    }

    /// What is known of a value. Panics if the id is of another graph.
    pub fn fact(&self, id: ValueId) -> &Fact {
        &self.facts[id.index()]
    }

    /// The element type, if it is known.
    pub fn data_type(&self, id: ValueId) -> Option<DataType> {
        self.fact(id).data_type
    }

    /// The length of each axis, if the rank is known.
    pub fn shape(&self, id: ValueId) -> Option<&Shape> {
        self.fact(id).shape.as_ref()
    }

    /// The contents of an integer tensor in row-major order, if all are known numbers.
    pub fn integers(&self, id: ValueId) -> Option<Vec<i64>> {
        self.fact(id).integers()
    }
}

/// Completes what was inferred by what the file declares.
fn agree(scope: &Scope<'_>, output: ValueId, fact: &mut Fact, declared: &Declared) -> Result<(), InferenceError> {
    fact.data_type = fact.data_type.or(Some(declared.data_type));
    let Some(declared) = &declared.shape else {
        return Ok(());
    };
    let Some(inferred) = &mut fact.shape else {
        fact.shape = Some(declared.clone());
        return Ok(());
    };
    let contradict = |(inferred, declared): (&Dim, &Dim)| match (inferred.as_known(), declared.as_known()) {
        (Some(inferred), Some(declared)) => inferred != declared,
        _ => false,
    };
    if inferred.len() != declared.len() || inferred.iter().zip(declared).any(contradict) {
        let mismatch = Mismatch::Declared {
            declared: declared.clone(),
            inferred: inferred.clone(),
        };
        return Err(scope.error_of(Some(output), mismatch));
    }
    for (inferred, declared) in inferred.iter_mut().zip(declared) {
        if inferred.as_known().is_none() && declared.as_known().is_some() {
            *inferred = declared.clone();
        }
    }
    Ok(())
}

/// The facts of a node's outputs. Outputs beyond those returned are unknown.
fn infer(scope: &Scope<'_>) -> Result<Vec<Fact>, InferenceError> {
    let Node { operator, .. } = scope.node;
    let fact = match operator {
        Operator::Unary(_) | Operator::Clip | Operator::Identity => scope.input(0).clone(),
        _ => Fact::default(),
    };
    Ok(vec![fact])
}
