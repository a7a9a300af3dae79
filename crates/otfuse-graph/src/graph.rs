//! The network as a value. Operators are part of it: those of control flow hold networks themselves.

pub(crate) mod operator;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;

use crate::error::GraphError;
use crate::{DataType, NodeId, Shape, Tensor, ValueId};

use self::operator::Operator;

/// A tensor that flows through the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Unique in the graph; the name in the file or state dict that it came from.
    pub name: String,
    /// What the file says of its type and shape; shape inference finds the rest.
    pub declared: Option<Declared>,
}

/// A declared type and shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Element type.
    pub data_type: DataType,
    /// Length of each axis; `None` if not even the rank is given.
    pub shape: Option<Shape>,
}

/// One application of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The name in the file, or one made up; need not be unique.
    pub name: String,
    /// What is computed.
    pub operator: Operator,
    /// Inputs in the operator's order; `None` for an optional input left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs in the operator's order; `None` for an output not asked for.
    pub outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// The input at `index`, if it is given.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The output at `index`, if it is asked for.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }
}

/// A network: nodes in topological order, constant tensors (initializers), inputs and outputs.
///
/// It is changed through a [`GraphEditor`](crate::GraphEditor) only, which checks [`verify`](Self::verify) at the end.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Graph {
    pub(crate) name: String,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) initializers: BTreeMap<ValueId, Tensor>,
    pub(crate) fixed: BTreeSet<ValueId>,
    pub(crate) names: Names,
}

/// The values of a graph in the order of their names, made when one is looked for; no part of what the graph is.
#[derive(Debug, Default)]
pub(crate) struct Names(OnceLock<Vec<ValueId>>);

impl Clone for Names {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Names {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Graph {
    /// The network's name; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What flows in, without the initializers.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// What flows out.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// All nodes in topological order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId::new(index), node))
    }

    /// All values.
    pub fn values(&self) -> impl ExactSizeIterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(index, value)| (ValueId::new(index), value))
    }

    /// All constant tensors, in the order of their ids.
    pub fn initializers(&self) -> impl ExactSizeIterator<Item = (ValueId, &Tensor)> {
        self.initializers.iter().map(|(&id, tensor)| (id, tensor))
    }

    /// Whether a constant tensor may be learned: a floating-point one that was not added as a
    /// [constant](crate::GraphEditor::add_constant). Only weights are aligned and averaged.
    pub fn is_weight(&self, id: ValueId) -> bool {
        let is_float = |tensor: &Tensor| tensor.data_type().is_float();
        !self.fixed.contains(&id) && self.initializers.get(&id).is_some_and(is_float)
    }

    /// A node. Panics if the id is of another graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// A value. Panics if the id is of another graph.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The constant tensor behind a value, if it is one.
    pub fn initializer(&self, id: ValueId) -> Option<&Tensor> {
        self.initializers.get(&id)
    }

    /// The value of that name. The values are sorted by their names the first time.
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        let of = |id: &ValueId| self.values[id.index()].name.as_str();
        let sorted = self.names.0.get_or_init(|| {
            let mut ids: Vec<ValueId> = (0..self.values.len()).map(ValueId::new).collect();
            ids.sort_by_key(of);
            ids
        });
        let first = sorted.partition_point(|id| of(id) < name);
        sorted.get(first).copied().filter(|id| of(id) == name)
    }

    /// The node that computes each value that is computed.
    pub fn producers(&self) -> HashMap<ValueId, NodeId> {
        let outputs = |(id, node): (NodeId, &Node)| node.outputs.iter().flatten().map(move |&out| (out, id)).collect();
        self.nodes().flat_map(|item| -> Vec<_> { outputs(item) }).collect()
    }

    /// The nodes that read each value, with the input's position.
    pub fn consumers(&self) -> HashMap<ValueId, Vec<(NodeId, usize)>> {
        let mut consumers: HashMap<ValueId, Vec<(NodeId, usize)>> = HashMap::new();
        for (id, node) in self.nodes() {
            for (position, input) in node.inputs.iter().enumerate() {
                if let Some(input) = input {
                    consumers.entry(*input).or_default().push((id, position));
                }
            }
        }
        consumers
    }

    /// The number of parameters: elements of all floating-point initializers, but for scalars and the running
    /// statistics of batch normalisations; also of those inside of control flow.
    pub fn parameter_count(&self) -> usize {
        let statistics: HashSet<ValueId> = self
            .nodes
            .iter()
            .filter(|node| {
                use Operator::{BatchNormalization, BatchNormalizationInTraining};
                matches!(node.operator, BatchNormalization { .. } | BatchNormalizationInTraining { .. })
            })
            .flat_map(|node| [node.input(3), node.input(4)])
            .flatten()
            .collect();
        let is_parameter = |id: &ValueId, tensor: &Tensor| {
            self.is_weight(*id) && !tensor.shape().is_empty() && !statistics.contains(id)
        };
        let own = self.initializers.iter().filter(|(id, tensor)| is_parameter(id, tensor));
        let own: usize = own.map(|(_, tensor)| tensor.len()).sum();
        let bodies = self.nodes.iter().flat_map(|node| node.operator.bodies());
        own + bodies.map(|body| body.graph.parameter_count()).sum::<usize>()
    }

    /// Checks every invariant: ids in range, names unique, each value with exactly one source (input, initializer or
    /// node), nodes in topological order, arities as the operator asks, outputs computed. `O(values + edges)`.
    pub fn verify(&self) -> Result<(), GraphError> {
        let mut names = HashSet::new();
        if let Some(value) = self.values.iter().find(|value| !names.insert(value.name.as_str())) {
            return Err(GraphError::DuplicateName { name: value.name.clone() });
        }
        let name = |id: ValueId| self.values.get(id.index()).map(|value| value.name.clone());
        let unknown = |id: ValueId| GraphError::UnknownValue { id };
        let mut available = HashSet::new();
        for &id in self.inputs.iter().chain(self.initializers.keys()) {
            let value = name(id).ok_or_else(|| unknown(id))?;
            if !available.insert(id) {
                return Err(GraphError::SeveralSources { value });
            }
        }
        for node in &self.nodes {
            let (least, most) = node.operator.input_arity();
            let given = node.inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            if given < least || given > most || node.inputs.iter().take(least).any(Option::is_none) {
                let operator = node.operator.name().to_owned();
                return Err(GraphError::Arity { node: node.name.clone(), operator, least, most, found: given });
            }
            for &input in node.inputs.iter().flatten() {
                let value = name(input).ok_or_else(|| unknown(input))?;
                if !available.contains(&input) {
                    return Err(GraphError::NotComputed { value, reader: format!("node '{}'", node.name) });
                }
            }
            for &output in node.outputs.iter().flatten() {
                let value = name(output).ok_or_else(|| unknown(output))?;
                if !available.insert(output) {
                    return Err(GraphError::SeveralSources { value });
                }
            }
        }
        for &output in &self.outputs {
            let value = name(output).ok_or_else(|| unknown(output))?;
            if !available.contains(&output) {
                return Err(GraphError::NotComputed { value, reader: "the network's outputs".into() });
            }
        }
        Ok(())
    }
}
