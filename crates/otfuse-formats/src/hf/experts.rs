//! Mixtures of experts: perceptrons of which a router chooses some for each token.
//!
//! All experts are computed, and those that are not chosen are multiplied with zero: the function is the same, and no
//! operator asks for the order of the experts. A checkpoint keeps each expert's weights apart; here they are stacked
//! (`Stacks`), so that the experts are one axis, within which each has neurons of its own.

use std::io;
use std::sync::Arc;

use indexmap::IndexMap;
use otfuse_graph::{Binary, Operator, ReduceKind, Tensor, Unary, ValueId};

use super::HfError;
use super::blocks::{Gate, MlpNames, Stack};
use super::sketch::{Linear, Sketch};
use crate::StateDict;
use crate::contents::Contents;

/// The experts of a layer.
#[derive(Clone, Copy)]
pub(super) struct Experts {
    /// The router's name.
    pub router: &'static str,
    /// What stands before the number of an expert, and the names of gate, inner layer and outer layer behind it.
    pub names: (&'static str, [&'static str; 3]),
    pub count: usize,
    /// How many are chosen for a token.
    pub chosen: usize,
    pub inner: usize,
    /// Whether the weights of those that are chosen sum up to 1.
    pub normalised: bool,
    /// An expert for all tokens: its names, its size, and the name of what gates it.
    pub shared: Option<(MlpNames, usize, &'static str)>,
}

impl Sketch<'_> {
    /// What the chosen experts compute, weighted.
    pub fn experts(
        &mut self,
        x: ValueId,
        path: &str,
        stack: &Stack<'_>,
        experts: &Experts,
    ) -> Result<ValueId, HfError> {
        let Experts { count, inner, names: (before, [gate, up, down]), .. } = *experts;
        let logits = self.linear(x, &format!("{path}{}", experts.router), [count, stack.width], Linear::PLAIN)?;
        let weights = self.chosen(logits, experts);
        let weights = self.transpose(weights, &[0, 2, 1]);
        let weights = self.unsqueeze(weights, &[3]);
        let each = self.unsqueeze(x, &[1]);
        let mut product = |x, name: &str, shape: [usize; 2]| {
            let weight = self.weight(&format!("{path}{before}*{name}.weight"), &[count, shape[0], shape[1]])?;
            let weight = self.transpose(weight, &[0, 2, 1]);
            Ok::<_, HfError>(self.b.node(Operator::MatMul, &[x, weight]))
        };
        let gates = product(each, gate, [inner, stack.width])?;
        let other = product(each, up, [inner, stack.width])?;
        let hidden = self.activation(gates, stack.activation, stack.activation_field)?;
        let hidden = self.binary(Binary::Mul, hidden, other);
        let weight = self.weight(&format!("{path}{before}*{down}.weight"), &[count, stack.width, inner])?;
        let weight = self.transpose(weight, &[0, 2, 1]);
        let outputs = self.b.node(Operator::MatMul, &[hidden, weight]);
        let outputs = self.binary(Binary::Mul, outputs, weights);
        let sum = self.reduced(outputs, ReduceKind::Sum, 1);
        let axes = self.b.integers(&[1]);
        let sum = self.b.node(Operator::Squeeze, &[sum, axes]);
        let Some((names, inner, gate)) = experts.shared else { return Ok(sum) };
        let shared = self.perceptron(x, path, stack, names, inner)?;
        let gate = self.linear(x, &format!("{path}{gate}"), [1, stack.width], Linear::PLAIN)?;
        let gate = self.unary(Unary::Sigmoid, gate);
        let shared = self.binary(Binary::Mul, shared, gate);
        Ok(self.b.add(sum, shared))
    }

    /// The probabilities of the most probable experts, and zeros. The largest are found one by one, since sorting would
    /// ask for the order of the experts.
    fn chosen(&mut self, logits: ValueId, experts: &Experts) -> ValueId {
        let probabilities = self.b.node(Operator::Softmax { axis: -1 }, &[logits]);
        let mut kept = probabilities;
        if experts.chosen < experts.count {
            let (none, zero) = (self.scalar(-1.0), self.scalar(0.0));
            let mut rest = probabilities;
            for _ in 1..experts.chosen {
                let largest = self.reduced(rest, ReduceKind::Max, -1);
                let is_taken = self.binary(Binary::GreaterOrEqual, rest, largest);
                rest = self.b.node(Operator::Where, &[is_taken, none, rest]);
            }
            let least = self.reduced(rest, ReduceKind::Max, -1);
            let is_chosen = self.binary(Binary::GreaterOrEqual, probabilities, least);
            kept = self.b.node(Operator::Where, &[is_chosen, probabilities, zero]);
        }
        if experts.normalised {
            let sum = self.reduced(kept, ReduceKind::Sum, -1);
            kept = self.binary(Binary::Div, kept, sum);
        }
        kept
    }
}

/// The names in a gated perceptron of this kind.
pub(super) const SHARED_EXPERT: MlpNames = MlpNames {
    gate: Gate::Layer("mlp.shared_expert.gate_proj"),
    up: "mlp.shared_expert.up_proj",
    down: "mlp.shared_expert.down_proj",
};

/// Which tensors of a checkpoint are kept as one: for each stacked tensor its parts, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stacks(Arc<IndexMap<String, Vec<String>>>);

impl Stacks {
    /// The tensors with those of experts stacked: `a.experts.0.b`, `a.experts.1.b`, .. as `a.experts.*.b`. Experts that
    /// are not numbered from 0 on, or are of unequal types or shapes, stay as they are.
    pub fn of(dict: StateDict) -> Result<(StateDict, Self), HfError> {
        let mut found: IndexMap<String, Vec<(usize, String)>> = IndexMap::new();
        for (name, _) in dict.iter() {
            if let Some((stacked, index)) = stacked_name(name) {
                found.entry(stacked).or_default().push((index, name.to_owned()));
            }
        }
        let mut stacks = IndexMap::new();
        for (stacked, mut parts) in found {
            parts.sort();
            let tensors: Vec<&Tensor> = parts.iter().filter_map(|(_, name)| dict.get(name)).collect();
            let kind = |tensor: &Tensor| (tensor.data_type(), tensor.shape().to_vec());
            let is_whole = parts.iter().enumerate().all(|(at, (index, _))| at == *index)
                && tensors.iter().all(|tensor| kind(tensor) == kind(tensors[0]));
            if is_whole {
                stacks.insert(stacked, parts.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
            }
        }
        if stacks.is_empty() {
            return Ok((dict, Self::default()));
        }
        let mut stacked = StateDict::new();
        *stacked.provenance_mut() = dict.provenance().clone();
        let mut insert = |name: &str, tensor: Tensor| {
            stacked
                .insert(name, tensor)
                .map_err(|error| HfError::Graph { found: format!("two tensors '{}'", error.name) })
        };
        for (name, tensor) in dict.iter() {
            let whole = stacked_name(name).and_then(|(name, index)| Some((stacks.get_key_value(&name)?, index)));
            match whole {
                None => insert(name, tensor.clone())?,
                Some(((name, parts), 0)) => insert(name, joined(&dict, parts)?)?,
                Some(_) => {}
            }
        }
        Ok((stacked, Self(Arc::new(stacks))))
    }

    /// The parts of tensors that are stacked by their names.
    pub fn of_stacked(dict: &StateDict) -> Self {
        let parts = |name: &str, tensor: &Tensor| {
            let (before, behind) = name.split_once(".experts.*.")?;
            let count = *tensor.shape().first()?;
            let parts = (0..count).map(|index| format!("{before}.experts.{index}.{behind}")).collect();
            Some((name.to_owned(), parts))
        };
        Self(Arc::new(dict.iter().filter_map(|(name, tensor)| parts(name, tensor)).collect()))
    }

    pub fn is_stacked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The stacked tensor that a part is in, and the part's place.
    fn place(&self, name: &str) -> Option<(&str, usize)> {
        let (stacked, index) = stacked_name(name)?;
        self.0.get_key_value(&stacked).map(|(name, _)| (name.as_str(), index))
    }
}

/// `a.experts.*.b` and 3 for `a.experts.3.b`.
fn stacked_name(name: &str) -> Option<(String, usize)> {
    let (before, behind) = name.split_once(".experts.")?;
    let (index, behind) = behind.split_once('.')?;
    Some((format!("{before}.experts.*.{behind}"), index.parse().ok()?))
}

fn joined(dict: &StateDict, parts: &[String]) -> Result<Tensor, HfError> {
    let tensors: Vec<&Tensor> = parts.iter().filter_map(|name| dict.get(name)).collect();
    let mut shape = vec![tensors.len()];
    shape.extend(tensors[0].shape());
    let mut bytes = Vec::with_capacity(tensors.iter().map(|tensor| tensor.bytes().len()).sum());
    for tensor in &tensors {
        bytes.extend_from_slice(tensor.bytes());
        tensor.release();
    }
    Tensor::new(tensors[0].data_type(), shape, bytes.into())
        .map_err(|error| HfError::Graph { found: error.to_string() })
}

/// Contents whose stacked tensors are written part by part.
pub(crate) struct Unstacked<'a> {
    names: StateDict,
    stacks: &'a Stacks,
    of: &'a dyn Contents,
}

impl<'a> Unstacked<'a> {
    pub fn new(stacks: &'a Stacks, of: &'a dyn Contents) -> io::Result<Self> {
        let mut names = StateDict::new();
        *names.provenance_mut() = of.dict().provenance().clone();
        for (name, tensor) in of.dict().iter() {
            match stacks.0.get(name) {
                None => insert(&mut names, name, tensor.clone())?,
                Some(parts) => {
                    for (index, part) in parts.iter().enumerate() {
                        insert(&mut names, part, slice(tensor, index)?)?;
                    }
                }
            }
        }
        Ok(Self { names, stacks, of })
    }
}

fn insert(dict: &mut StateDict, name: &str, tensor: Tensor) -> io::Result<()> {
    dict.insert(name, tensor).map_err(|error| io::Error::other(format!("two tensors {:?}", error.name)))
}

/// One element of the first axis.
fn slice(tensor: &Tensor, index: usize) -> io::Result<Tensor> {
    let length = tensor.bytes().len() / tensor.shape()[0].max(1);
    let bytes = tensor.bytes().slice(index * length..(index + 1) * length);
    Tensor::new(tensor.data_type(), tensor.shape()[1..].to_vec(), bytes).map_err(io::Error::other)
}

impl Contents for Unstacked<'_> {
    fn admits_nonfinite(&self) -> bool {
        self.of.admits_nonfinite()
    }

    fn dict(&self) -> &StateDict {
        &self.names
    }

    fn tensors(&self, names: &[&str]) -> io::Result<Vec<Tensor>> {
        let mut last: Option<(String, Tensor)> = None;
        let mut tensors = Vec::with_capacity(names.len());
        for &name in names {
            let Some((stacked, index)) = self.stacks.place(name) else {
                tensors.extend(self.of.tensors(&[name])?);
                continue;
            };
            if last.as_ref().is_none_or(|(known, _)| known != stacked) {
                let tensor = self.of.tensors(&[stacked])?.pop().ok_or_else(|| io::Error::other("no tensor"))?;
                last = Some((stacked.to_owned(), tensor));
            }
            if let Some((_, tensor)) = &last {
                tensors.push(slice(tensor, index)?);
            }
        }
        Ok(tensors)
    }

    fn identity(&self, name: &str) -> (usize, usize) {
        match self.stacks.place(name) {
            Some((stacked, index)) => {
                let (start, length) = self.of.identity(stacked);
                (start + index, length)
            }
            None => self.of.identity(name),
        }
    }
}
