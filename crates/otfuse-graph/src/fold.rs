//! Constant folding: what follows from shapes alone becomes constants.

use std::collections::{HashMap, HashSet};

use crate::infer::scalar;
use crate::tensor::element_count;
use crate::{
    Binary, DataType, Fact, Facts, Graph, GraphEditor, GraphError, InferenceError, Node, NodeId, Operator, Tensor,
    Unary, ValueId,
};

/// Longest tensor that a `ConstantOfShape` is turned into.
const MOST_ELEMENTS: usize = 1_000_000;

/// Bytes that all tensors made out of `ConstantOfShape` may take.
const MOST_BYTES: usize = 1 << 24;

/// A pass may find numbers that let the next one infer more; exporters' chains take two or three.
const MOST_PASSES: usize = 16;

/// Why a graph cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The shapes do not fit.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The folded graph would break an invariant.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Simplifies a graph without changing what it computes or the names of its inputs, outputs and parameters in use:
///
/// - an `Identity` of an initializer becomes an initializer of its own under the output's name: exporters write equal
///   tensors once and share them so, but they are independent parameters;
/// - other `Identity` nodes disappear unless their output is one of the network's;
/// - integer tensors that follow from known shapes become initializers, as do floating-point numbers computed from
///   them (`sqrt(head size)`) and `ConstantOfShape` of at most a million elements;
/// - nodes and initializers that nothing reads disappear.
///
/// Arithmetic on parameters is not folded, whatever their values: the graphs of two networks of one architecture
/// stay equal. Folding twice changes nothing more.
///
/// # Errors
/// Shapes that do not fit.
pub fn fold_constants(mut graph: Graph) -> Result<Graph, FoldError> {
    let mut derived = HashSet::new();
    for _ in 0..MOST_PASSES {
        let mut pass = Pass::new(graph, derived)?;
        pass.run();
        pass.remove_unread();
        derived = pass.derived;
        graph = pass.editor.finish()?;
        if !pass.found_scalars {
            break;
        }
    }
    Ok(graph)
}

struct Pass {
    editor: GraphEditor,
    facts: Facts,
    /// What is read in place of the outputs of removed nodes.
    aliases: HashMap<ValueId, ValueId>,
    /// Names of floating-point initializers that follow from shapes, and so are no parameters.
    derived: HashSet<String>,
    bytes_left: usize,
    found_scalars: bool,
}

impl Pass {
    fn new(graph: Graph, derived: HashSet<String>) -> Result<Self, FoldError> {
        Ok(Self {
            facts: Facts::of(&graph)?,
            editor: GraphEditor::edit(graph),
            aliases: HashMap::new(),
            derived,
            bytes_left: MOST_BYTES,
            found_scalars: false,
        })
    }

    fn run(&mut self) {
        let nodes: Vec<(NodeId, Node)> = self.editor.graph().nodes().map(|(id, node)| (id, node.clone())).collect();
        for (id, mut node) in nodes {
            for (position, input) in node.inputs.iter_mut().enumerate() {
                if let Some(alias) = input.and_then(|input| self.aliases.get(&input)) {
                    *input = Some(*alias);
                    self.editor.set_input(id, position, *input);
                }
            }
            if self.fold(&node) {
                self.editor.remove_node(id);
            }
        }
    }

    /// Gives the node's outputs another source, if there is one.
    fn fold(&mut self, node: &Node) -> bool {
        let constants: Option<Vec<_>> =
            node.outputs.iter().flatten().map(|&output| self.constant(node, output)).collect();
        if let Some(constants) = constants {
            for (output, tensor) in constants {
                self.set_derived(output, tensor);
            }
            return true;
        }
        let (Some(output), 1) = (node.output(0), node.outputs.iter().flatten().count()) else {
            return false;
        };
        match &node.operator {
            Operator::Identity => self.bypass(node, output),
            Operator::ConstantOfShape { value } => self.fill(value, output),
            operator => self.compute(operator, node, output),
        }
    }

    /// The tensor of an output whose contents follow from shapes.
    fn constant(&self, node: &Node, output: ValueId) -> Option<(ValueId, Tensor)> {
        let fact = self.facts.fact(output);
        let of_shapes = |&input: &ValueId| {
            let data_type = self.facts.data_type(input);
            data_type.is_some_and(|data_type| !data_type.is_float()) || self.is_derived(input)
        };
        if fact.data_type?.is_float() && !node.inputs.iter().flatten().all(of_shapes) {
            return None;
        }
        Some((output, tensor_of(fact)?))
    }

    fn bypass(&mut self, node: &Node, output: ValueId) -> bool {
        let Some(input) = node.input(0) else { return false };
        if let Some(tensor) = self.editor.graph().initializer(input).cloned() {
            self.editor.set_tensor(output, tensor);
            if self.is_derived(input) {
                self.derived.insert(self.editor.graph().value(output).name.clone());
            }
            return true;
        }
        if self.editor.graph().outputs().contains(&output) {
            return false;
        }
        self.aliases.insert(output, input);
        true
    }

    fn fill(&mut self, value: &Tensor, output: ValueId) -> bool {
        let Some(shape) = self.facts.fact(output).known_shape() else {
            return false;
        };
        let count = shape.iter().try_fold(1usize, |count, &length| count.checked_mul(length));
        let Some(count) = count.filter(|&count| count <= MOST_ELEMENTS) else {
            return false;
        };
        let Some(left) = self.bytes_left.checked_sub(count * value.data_type().size()) else {
            return false;
        };
        let Ok(tensor) = Tensor::new(value.data_type(), shape, value.bytes().repeat(count).into()) else {
            return false;
        };
        self.bytes_left = left;
        self.set_derived(output, tensor);
        true
    }

    /// Arithmetic on single floating-point numbers, at least one of which follows from shapes.
    fn compute(&mut self, operator: &Operator, node: &Node, output: ValueId) -> bool {
        let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        if !inputs.iter().any(|&input| self.is_derived(input)) {
            return false;
        }
        let tensors = inputs.iter().map(|&input| self.editor.graph().initializer(input));
        let Some(tensor) = tensors.collect::<Option<Vec<_>>>().and_then(|tensors| computed(operator, &tensors)) else {
            return false;
        };
        self.set_derived(output, tensor);
        true
    }

    fn is_derived(&self, value: ValueId) -> bool {
        self.derived.contains(&self.editor.graph().value(value).name)
    }

    fn set_derived(&mut self, output: ValueId, tensor: Tensor) {
        if tensor.data_type().is_float() {
            self.derived.insert(self.editor.graph().value(output).name.clone());
            self.found_scalars |= tensor.len() == 1;
        }
        self.editor.set_tensor(output, tensor);
    }

    /// Removes nodes and initializers that no output of the network depends on.
    fn remove_unread(&mut self) {
        let graph = self.editor.graph();
        let mut live: HashSet<ValueId> = graph.outputs().iter().copied().collect();
        let mut dead = Vec::new();
        let nodes: Vec<(NodeId, &Node)> = graph.nodes().collect();
        for (id, node) in nodes.into_iter().rev() {
            let computed = |output: &&ValueId| graph.initializer(**output).is_none();
            if node.outputs.iter().flatten().filter(computed).any(|output| live.contains(output)) {
                live.extend(node.inputs.iter().flatten());
            } else {
                dead.push(id);
            }
        }
        let unread = graph.initializers().map(|(id, _)| id).filter(|id| !live.contains(id));
        let unread: Vec<ValueId> = unread.collect();
        for node in dead {
            self.editor.remove_node(node);
        }
        for value in unread {
            self.editor.remove_tensor(value);
        }
    }
}

/// A tensor of the fact's contents, if type, shape and contents are known.
fn tensor_of(fact: &Fact) -> Option<Tensor> {
    let (data_type, shape, values) = (fact.data_type?, fact.known_shape()?, fact.integers()?);
    let bytes: Vec<u8> = match data_type {
        DataType::F64 => values.iter().flat_map(|&value| (value as f64).to_le_bytes()).collect(),
        DataType::F16 | DataType::BF16 | DataType::F32 => {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            return (element_count(&shape) == Some(values.len()))
                .then(|| Tensor::from_f32_as(data_type, &shape, values));
        }
        // Two's complement: the first bytes of a number that fits are the number in the narrower type.
        _ => values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(data_type.size())).collect(),
    };
    Tensor::new(data_type, shape, bytes.into()).ok()
}

/// The result of an operator on tensors of one element and one floating-point type.
fn computed(operator: &Operator, inputs: &[&Tensor]) -> Option<Tensor> {
    let first = inputs.first()?;
    let data_type = first.data_type();
    if inputs.iter().any(|tensor| tensor.data_type() != data_type) {
        return None;
    }
    let numbers: Vec<f64> = inputs.iter().map(|tensor| scalar(tensor)).collect::<Option<_>>()?;
    let (data_type, result) = match (operator, numbers.as_slice()) {
        (Operator::Cast { to }, &[x]) if to.is_float() => (*to, x),
        (Operator::Unary(unary), &[x]) => (data_type, unary_of(*unary, x)?),
        (Operator::Binary(binary), &[x, y]) => (data_type, binary_of(*binary, x, y)?),
        _ => return None,
    };
    let rank = inputs.iter().map(|tensor| tensor.shape().len()).max()?;
    let shape = vec![1; rank];
    match data_type {
        DataType::F64 => Tensor::new(data_type, shape, result.to_le_bytes().to_vec().into()).ok(),
        // From float64, one rounding: sums, products, quotients and roots of the narrower types are exact enough.
        _ => Some(Tensor::from_f32_as(data_type, &shape, vec![result as f32])),
    }
}

fn unary_of(unary: Unary, x: f64) -> Option<f64> {
    Some(match unary {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => x.recip(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        _ => return None,
    })
}

fn binary_of(binary: Binary, x: f64, y: f64) -> Option<f64> {
    Some(match binary {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Pow => x.powf(y),
        _ => return None,
    })
}
