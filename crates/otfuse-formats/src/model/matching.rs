//! A state dict's tensors, put into the network of an ONNX file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use otfuse_graph::{Gemm, Graph, GraphEditor, Operator, Tensor, ValueId};

use super::error::{ModelError, TensorProblem};
use super::state_dict::{Binding, cast, transpose};
use crate::StateDict;
use crate::catalogue::without_wrappers;

/// So many differences are named.
const MOST_PROBLEMS: usize = 5;

/// A network with the tensors of `dict` instead of its own, and where each went.
///
/// Tensors are matched by name, then by name without wrappers (`module.`), then by the module that the exporter named
/// a node after (`/fc1/MatMul` reads `fc1.weight`), and matrices of a MatMul at last by their sizes, if only one fits.
pub(super) fn fill(
    graph: Graph,
    dict: &StateDict,
    path: &Path,
    architecture: &Path,
) -> Result<(Graph, Vec<Binding>), ModelError> {
    let mut matching = Matching::new(&graph, dict);
    matching.by_name();
    matching.by_module();
    matching.by_size();
    matching.tied();
    let Matching { bindings, mut problems, weights, .. } = matching;
    let bound: HashSet<&str> = bindings.iter().map(|binding| binding.initializer.as_str()).collect();
    let used: HashSet<&str> = bindings.iter().map(|binding| binding.key.as_str()).collect();
    for weight in weights.iter().filter(|weight| !bound.contains(weight.name) && weight.is_parameter()) {
        problems.push(TensorProblem::Missing { tensor: weight.name.into(), expected: weight.tensor.shape().into() });
    }
    let float = |tensor: &Tensor| tensor.data_type().is_float();
    let strangers: Vec<(&str, &Tensor)> =
        dict.iter().filter(|(key, tensor)| float(tensor) && !used.contains(key)).collect();
    let folded = strangers.iter().any(|(key, _)| key.ends_with("running_mean") || key.ends_with("running_var"));
    problems.extend(
        strangers
            .into_iter()
            .map(|(key, tensor)| TensorProblem::Unexpected { tensor: key.into(), found: tensor.shape().into() }),
    );
    let mut tensors = Vec::with_capacity(bindings.len());
    for binding in &bindings {
        let weight = weights.iter().find(|weight| weight.name == binding.initializer);
        let (Some(weight), Some(found)) = (weight, dict.get(&binding.key)) else { continue };
        match converted(found, weight.tensor, binding.transposed) {
            Some(tensor) => tensors.push((weight.id, tensor)),
            None => problems.push(TensorProblem::Mismatch {
                tensor: binding.key.clone(),
                expected: describe(weight.tensor),
                found: describe(found),
            }),
        }
    }
    if !problems.is_empty() {
        let count = problems.len();
        problems.truncate(MOST_PROBLEMS);
        let (path, architecture) = (path.into(), architecture.into());
        return Err(ModelError::OtherNetwork { path, architecture, problems, count, folded });
    }
    drop(weights);
    let mut editor = GraphEditor::edit(graph);
    for (id, tensor) in tensors {
        editor.set_tensor(id, tensor);
    }
    let graph = editor.finish().map_err(|error| {
        let source = Box::new(crate::error::OnnxError::Graph(error));
        crate::FormatError::Onnx { path: architecture.into(), source }
    })?;
    Ok((graph, bindings))
}

fn describe(tensor: &Tensor) -> String {
    format!("{} of shape {:?}", tensor.data_type(), tensor.shape())
}

/// The state dict's tensor in the form of the network's, if that loses nothing.
fn converted(found: &Tensor, wanted: &Tensor, transposed: bool) -> Option<Tensor> {
    let tensor = if transposed { transpose(found)? } else { found.clone() };
    let widens = tensor.data_type().size() <= wanted.data_type().size();
    if tensor.shape() != wanted.shape() || !widens {
        return None;
    }
    cast(tensor, wanted.data_type())
}

/// A floating-point initializer and the operator that reads it first.
struct Weight<'a> {
    id: ValueId,
    name: &'a str,
    tensor: &'a Tensor,
    /// The module that the reading node is named after.
    module: String,
    reader: Option<(&'a Operator, usize)>,
}

impl Weight<'_> {
    /// Whether the weight is the right factor of a product, of shape inputs, outputs.
    fn is_right_factor(&self) -> bool {
        let plain = |operator: &Operator| {
            matches!(operator, Operator::MatMul | Operator::Gemm(Gemm { transpose_b: false, .. }))
        };
        self.tensor.shape().len() == 2 && self.reader.is_some_and(|(operator, input)| input == 1 && plain(operator))
    }

    /// Whether the exporter made up the name.
    fn is_anonymous(&self) -> bool {
        self.name.starts_with("onnx::") || self.name.parse::<u64>().is_ok() || self.is_constant()
    }

    /// Whether the exporter's name is that of a constant in the program's text.
    fn is_constant(&self) -> bool {
        self.name.starts_with('/') || self.name.ends_with("_output_0") || self.name.starts_with("Constant")
    }

    /// Whether a state dict must have the tensor: what is a constant of the program stays as it is in the ONNX file.
    fn is_parameter(&self) -> bool {
        let in_matrix = self.is_right_factor();
        in_matrix || !(self.is_constant() || self.tensor.shape().is_empty())
    }
}

struct Matching<'a> {
    dict: &'a StateDict,
    weights: Vec<Weight<'a>>,
    bindings: Vec<Binding>,
    problems: Vec<TensorProblem>,
}

impl<'a> Matching<'a> {
    fn new(graph: &'a Graph, dict: &'a StateDict) -> Self {
        let mut readers = HashMap::new();
        for (_, node) in graph.nodes() {
            for (position, input) in node.inputs.iter().enumerate() {
                if let Some(input) = input {
                    readers.entry(*input).or_insert((node, position));
                }
            }
        }
        let floats = graph.initializers().filter(|(_, tensor)| tensor.data_type().is_float());
        let weights = floats.map(|(id, tensor)| {
            let reader = readers.get(&id).copied();
            let module = reader.and_then(|(node, _)| node.name.trim_start_matches('/').rsplit_once('/'));
            Weight {
                id,
                name: &graph.value(id).name,
                tensor,
                module: module.map_or_else(String::new, |(module, _)| module.replace('/', ".")),
                reader: reader.map(|(node, position)| (&node.operator, position)),
            }
        });
        Self { dict, weights: weights.collect(), bindings: Vec::new(), problems: Vec::new() }
    }

    fn is_bound(&self, initializer: &str) -> bool {
        self.bindings.iter().any(|binding| binding.initializer == initializer)
    }

    fn is_used(&self, key: &str) -> bool {
        self.bindings.iter().any(|binding| binding.key == key)
    }

    fn by_name(&mut self) {
        let names: HashMap<String, &str> =
            without_wrappers(self.dict).into_iter().map(|(bare, named)| (bare, named.name)).collect();
        let mut found = Vec::new();
        for weight in &self.weights {
            let bare = || names.get(crate::catalogue::without_wrapper(weight.name)).copied();
            let key = if self.dict.contains(weight.name) { Some(weight.name) } else { bare() };
            if let Some(key) = key {
                found.push((key, weight));
            }
        }
        let reversed = |key: &str, weight: &Weight<'_>| -> bool {
            let shape = self.dict.get(key).map_or(&[][..], Tensor::shape);
            matches!((shape, weight.tensor.shape()), (&[a, b], &[c, d]) if a == d && b == c)
        };
        // Square matrices are as the others are: an exporter transposes all or none.
        let oblong = |(key, weight): &&(&str, &Weight<'_>)| {
            weight.is_right_factor() && reversed(key, weight) && !is_square(weight.tensor)
        };
        let transposing = found.iter().any(|pair| oblong(&pair));
        let bindings: Vec<Binding> = found
            .iter()
            .map(|&(key, weight)| {
                let transposed =
                    weight.is_right_factor() && reversed(key, weight) && (transposing || !is_square(weight.tensor));
                Binding { key: key.into(), initializer: weight.name.into(), transposed }
            })
            .collect();
        self.bindings.extend(bindings);
    }

    /// PyTorch's exporter transposes the weight of a linear layer for MatMul and names the node after the module.
    fn by_module(&mut self) {
        let names: HashMap<String, &str> =
            without_wrappers(self.dict).into_iter().map(|(bare, named)| (bare, named.name)).collect();
        let mut found = Vec::new();
        for weight in self.weights.iter().filter(|weight| weight.is_right_factor() && weight.is_anonymous()) {
            let wanted = format!("{}.weight", weight.module);
            let key = names.get(crate::catalogue::without_wrapper(&wanted)).filter(|key| !self.is_used(key));
            if let Some(key) = key.filter(|_| !self.is_bound(weight.name)) {
                found.push(Binding { key: (*key).into(), initializer: weight.name.into(), transposed: true });
            }
        }
        self.bindings.extend(found);
    }

    fn by_size(&mut self) {
        let free: Vec<(&str, &[usize])> = self
            .dict
            .iter()
            .filter(|(key, tensor)| tensor.shape().len() == 2 && !self.is_used(key))
            .map(|(key, tensor)| (key, tensor.shape()))
            .collect();
        let open: Vec<&Weight<'_>> = self
            .weights
            .iter()
            .filter(|weight| weight.is_right_factor() && weight.is_anonymous() && !self.is_bound(weight.name))
            .collect();
        let mut found = Vec::new();
        for weight in &open {
            let &[inputs, outputs] = weight.tensor.shape() else { continue };
            let fitting: Vec<_> =
                free.iter().filter(|(_, shape)| *shape == [outputs, inputs] || *shape == [inputs, outputs]).collect();
            let rivals = open.iter().filter(|other| {
                let shape = other.tensor.shape();
                shape == [inputs, outputs] || shape == [outputs, inputs]
            });
            if let ([(key, shape)], 1) = (fitting.as_slice(), rivals.count())
                && *shape == [outputs, inputs]
                && inputs != outputs
            {
                found.push(Binding { key: (*key).into(), initializer: weight.name.into(), transposed: true });
            }
        }
        self.bindings.extend(found);
    }

    /// Of tied weights, which are equal, the exporter keeps one.
    fn tied(&mut self) {
        let strangers = self.dict.iter().filter(|(key, tensor)| tensor.shape().len() > 1 && !self.is_used(key));
        let twins: Vec<Binding> = strangers
            .filter_map(|(key, tensor)| {
                let twin = self.bindings.iter().find(|binding| self.dict.get(&binding.key) == Some(tensor))?;
                Some(Binding { key: key.into(), ..twin.clone() })
            })
            .collect();
        self.bindings.extend(twins);
    }
}

fn is_square(tensor: &Tensor) -> bool {
    matches!(tensor.shape(), [rows, columns] if rows == columns)
}
