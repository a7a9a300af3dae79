//! A graph under construction whose weights come from a state dict.

use std::collections::HashMap;

use otfuse_graph::{
    Binary, DataType, Dim, Facts, Graph, GraphBuilder, Operator, Reduce, ReduceKind, Tensor, Unary, ValueId,
};

use super::HfError;
use super::config::{Config, unfit};
use super::draft::{Draft, Fill};
use crate::StateDict;

/// The most negative number: added to a score, it takes all weight from it.
const MASKED: f32 = f32::MIN;

/// A graph under construction.
pub(super) struct Sketch<'a> {
    pub b: GraphBuilder,
    pub dict: &'a StateDict,
    /// Each tensor of the dict that is used, and its initializer.
    pub bindings: Vec<(String, String)>,
    weights: HashMap<String, ValueId>,
    /// What makes the weights that the dict lacks, in a network before training.
    pub draft: Option<Draft>,
}

impl<'a> Sketch<'a> {
    pub fn new(name: &str, dict: &'a StateDict) -> Self {
        Self { b: GraphBuilder::new(name), dict, bindings: Vec::new(), weights: HashMap::new(), draft: None }
    }

    /// The graph, its shapes checked.
    pub fn finish(self) -> Result<(Graph, Vec<(String, String)>), HfError> {
        let graph = self.b.finish().map_err(|error| HfError::Graph { found: error.to_string() })?;
        Facts::of(&graph).map_err(|error| HfError::Graph { found: error.to_string() })?;
        Ok((graph, self.bindings))
    }

    /// An input of integers, batch x sequence.
    pub fn tokens(&mut self, name: &str, sequence: &str) -> ValueId {
        self.b.input_of(name, DataType::I64, vec![Dim::symbol("batch"), Dim::symbol(sequence)])
    }

    /// The name under which a tensor is kept; old checkpoints have other words for scale and shift.
    fn key(&self, name: &str) -> String {
        let old = match name.rsplit_once('.') {
            Some((path, "weight")) => format!("{path}.gamma"),
            Some((path, "bias")) => format!("{path}.beta"),
            _ => return name.to_owned(),
        };
        if !self.dict.contains(name) && self.dict.contains(&old) { old } else { name.to_owned() }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.dict.contains(&self.key(name))
    }

    /// A weight in float32, of the given shape.
    pub fn weight(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, HfError> {
        let fill = match name.ends_with(".bias") {
            true => Fill::Constant(0.0),
            false => Fill::Normal { deviation: 0.0, zero_row: None },
        };
        self.weight_filled(name, shape, fill)
    }

    /// A weight as [`weight`](Self::weight); in a network before training filled like this.
    fn weight_filled(&mut self, name: &str, shape: &[usize], fill: Fill) -> Result<ValueId, HfError> {
        let key = self.key(name);
        let missing = || HfError::MissingTensor { tensor: name.into(), role: format!("a weight of shape {shape:?}") };
        let tensor = match (&mut self.draft, self.dict.get(&key)) {
            (_, Some(tensor)) => tensor.clone(),
            (None, None) => return Err(missing()),
            (Some(draft), None) => draft.make(&key, shape, fill).ok_or_else(|| HfError::Graph {
                found: format!("'{name}' of shape {shape:?} makes the network larger than is trained here"),
            })?,
        };
        if tensor.shape() != shape || !tensor.data_type().is_float() {
            return Err(HfError::Tensor {
                tensor: key,
                expected: format!("floating-point numbers of shape {shape:?}"),
                found: format!("{} of shape {:?}", tensor.data_type(), tensor.shape()),
            });
        }
        if let Some(&weight) = self.weights.get(&key) {
            return Ok(weight);
        }
        let mut weight = self.b.initializer(&key, tensor.clone());
        if tensor.data_type() != DataType::F32 {
            weight = self.b.node(Operator::Cast { to: DataType::F32 }, &[weight]);
        }
        self.bindings.push((key.clone(), key.clone()));
        self.weights.insert(key, weight);
        Ok(weight)
    }

    /// What stands before the names of the weights: `prefix` behind a head, nothing in a network without one.
    pub fn prefix<'p>(&self, prefix: &'p str, probe: &str) -> &'p str {
        if !self.contains(&format!("{prefix}{probe}")) && self.contains(probe) { "" } else { prefix }
    }

    /// The length of an axis of a weight that the settings leave open.
    pub fn length(&self, name: &str, axis: usize) -> Result<usize, HfError> {
        if let Some(draft) = &self.draft {
            return Ok(draft.classes);
        }
        let tensor = self.dict.get(&self.key(name));
        let length = tensor.and_then(|tensor| tensor.shape().get(axis)).copied();
        length.ok_or_else(|| HfError::MissingTensor {
            tensor: name.into(),
            role: format!("a weight of {axis} axes or more"),
        })
    }

    /// States that a second name means the same weight.
    pub fn tie(&mut self, name: &str, to: &str) {
        if self.dict.contains(name) {
            self.bindings.push((name.into(), self.key(to)));
        }
    }

    /// `x W^t + b` over the last axis, W of shape outputs x inputs (or, as `Conv1D` keeps it, its transpose).
    pub fn linear(&mut self, x: ValueId, path: &str, shape: [usize; 2], form: Linear) -> Result<ValueId, HfError> {
        let [outputs, inputs] = shape;
        let name = format!("{path}.weight");
        let weight = if form.transposed {
            self.weight(&name, &[inputs, outputs])?
        } else {
            let weight = self.weight(&name, &[outputs, inputs])?;
            self.transpose(weight, &[1, 0])
        };
        let product = self.b.node(Operator::MatMul, &[x, weight]);
        let bias = format!("{path}.bias");
        let has_bias = match form.bias {
            Bias::Yes => true,
            Bias::No => false,
            Bias::IfThere => self.contains(&bias),
        };
        if !has_bias {
            return Ok(product);
        }
        let bias = self.weight(&bias, &[outputs])?;
        Ok(self.b.add(product, bias))
    }

    /// Scores over the vocabulary by the embeddings themselves.
    pub fn unembed(&mut self, x: ValueId, embeddings: &str, shape: [usize; 2]) -> Result<ValueId, HfError> {
        let weight = self.weight(embeddings, &shape)?;
        let weight = self.transpose(weight, &[1, 0]);
        Ok(self.b.node(Operator::MatMul, &[x, weight]))
    }

    /// The rows of a table.
    pub fn embed(&mut self, table: &str, shape: [usize; 2], indices: ValueId) -> Result<ValueId, HfError> {
        let table = self.weight(table, &shape)?;
        Ok(self.b.node(Operator::Gather { axis: 0 }, &[table, indices]))
    }

    pub fn layer_norm(&mut self, x: ValueId, path: &str, width: usize, epsilon: f64) -> Result<ValueId, HfError> {
        let scale = self.weight_filled(&format!("{path}.weight"), &[width], Fill::Constant(1.0))?;
        let shift = self.weight(&format!("{path}.bias"), &[width])?;
        let norm = Operator::LayerNormalization { axis: -1, epsilon: epsilon as f32 };
        Ok(self.b.node(norm, &[x, scale, shift]))
    }

    /// Layer normalisation that is scaled, but not shifted.
    pub fn layer_norm_scaled(
        &mut self,
        x: ValueId,
        path: &str,
        width: usize,
        epsilon: f64,
    ) -> Result<ValueId, HfError> {
        let scale = self.weight_filled(&format!("{path}.weight"), &[width], Fill::Constant(1.0))?;
        let norm = Operator::LayerNormalization { axis: -1, epsilon: epsilon as f32 };
        Ok(self.b.node(norm, &[x, scale]))
    }

    /// Layer normalisation without weights.
    pub fn layer_norm_plain(&mut self, x: ValueId, width: usize, epsilon: f64) -> ValueId {
        // As many copies of one number have any order, a constant would have its own.
        let (one, shape) = (self.scalar(1.0), self.b.integers(&[width as i64]));
        let scale = self.b.node(Operator::Expand, &[one, shape]);
        let norm = Operator::LayerNormalization { axis: -1, epsilon: epsilon as f32 };
        self.b.node(norm, &[x, scale])
    }

    /// `w x / sqrt(mean(x^2) + epsilon)` over the last axis; `from_one` stands for 1 + w.
    pub fn rms_norm(
        &mut self,
        x: ValueId,
        path: &str,
        width: usize,
        epsilon: f64,
        from_one: bool,
    ) -> Result<ValueId, HfError> {
        let fill = Fill::Constant(if from_one { 0.0 } else { 1.0 });
        let mut scale = self.weight_filled(&format!("{path}.weight"), &[width], fill)?;
        if from_one {
            let one = self.scalar(1.0);
            scale = self.b.add(scale, one);
        }
        let square = self.binary(Binary::Mul, x, x);
        let axes = self.b.integers(&[-1]);
        let mean = Reduce { kind: ReduceKind::Mean, keep_dims: true, noop_with_empty_axes: false };
        let mean = self.b.node(Operator::Reduce(mean), &[square, axes]);
        let epsilon = self.scalar(epsilon);
        let shifted = self.b.add(mean, epsilon);
        let root = self.unary(Unary::Sqrt, shifted);
        let normalised = self.binary(Binary::Div, x, root);
        Ok(self.binary(Binary::Mul, normalised, scale))
    }

    pub fn activation(&mut self, x: ValueId, name: &str, field: &str) -> Result<ValueId, HfError> {
        let unary = match name {
            "gelu" | "gelu_python" => Unary::Gelu { tanh: false },
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate" => {
                Unary::Gelu { tanh: true }
            }
            "relu" => Unary::Relu,
            "tanh" => Unary::Tanh,
            "sigmoid" => Unary::Sigmoid,
            "mish" => Unary::Mish,
            "linear" => return Ok(x),
            "silu" | "swish" => {
                let gate = self.unary(Unary::Sigmoid, x);
                return Ok(self.binary(Binary::Mul, x, gate));
            }
            "quick_gelu" => {
                let factor = self.scalar(1.702);
                let scaled = self.binary(Binary::Mul, x, factor);
                let gate = self.unary(Unary::Sigmoid, scaled);
                return Ok(self.binary(Binary::Mul, x, gate));
            }
            "relu2" => {
                let positive = self.unary(Unary::Relu, x);
                return Ok(self.binary(Binary::Mul, positive, positive));
            }
            other => {
                let expected = "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu, relu, relu2, silu, swish, \
                                mish, sigmoid, tanh or linear";
                return Err(unfit(field, expected, &other.into()));
            }
        };
        Ok(self.unary(unary, x))
    }

    pub fn unary(&mut self, unary: Unary, x: ValueId) -> ValueId {
        self.b.node(Operator::Unary(unary), &[x])
    }

    pub fn binary(&mut self, binary: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.b.node(Operator::Binary(binary), &[a, b])
    }

    pub fn scalar(&mut self, value: f64) -> ValueId {
        self.b.constant(Tensor::scalar(value as f32))
    }

    pub fn integer(&mut self, value: i64) -> ValueId {
        self.b.constant(Tensor::from_i64(&[], vec![value]))
    }

    pub fn transpose(&mut self, x: ValueId, permutation: &[usize]) -> ValueId {
        self.b.node(Operator::Transpose { permutation: Some(permutation.to_vec()) }, &[x])
    }

    /// A 0 in the shape keeps the axis.
    pub fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.b.integers(shape);
        self.b.node(Operator::Reshape { allow_zero: false }, &[x, shape])
    }

    pub fn unsqueeze(&mut self, x: ValueId, axes: &[i64]) -> ValueId {
        let axes = self.b.integers(axes);
        self.b.node(Operator::Unsqueeze, &[x, axes])
    }

    pub fn cast(&mut self, x: ValueId, to: DataType) -> ValueId {
        self.b.node(Operator::Cast { to }, &[x])
    }

    /// Element `index` of an axis, which disappears.
    pub fn take(&mut self, x: ValueId, index: i64, axis: i64) -> ValueId {
        let index = self.integer(index);
        self.b.node(Operator::Gather { axis }, &[x, index])
    }

    /// Equal parts of the last axis.
    pub fn parts(&mut self, x: ValueId, length: usize, count: usize) -> Vec<ValueId> {
        self.unequal_parts(x, &vec![length; count])
    }

    /// Parts of the last axis of these lengths.
    pub fn unequal_parts(&mut self, x: ValueId, lengths: &[usize]) -> Vec<ValueId> {
        let list: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
        let list = self.b.integers(&list);
        self.b.node_with_options(Operator::Split { axis: -1 }, vec![Some(x), Some(list)], lengths.len())
    }

    /// `cap tanh(x / cap)`.
    pub fn capped(&mut self, x: ValueId, cap: f64) -> ValueId {
        let cap = self.scalar(cap);
        let small = self.binary(Binary::Div, x, cap);
        let small = self.unary(Unary::Tanh, small);
        self.binary(Binary::Mul, small, cap)
    }

    /// The sum, mean or largest element along an axis, which stays with length 1.
    pub fn reduced(&mut self, x: ValueId, kind: ReduceKind, axis: i64) -> ValueId {
        let axes = self.b.integers(&[axis]);
        let reduce = Reduce { kind, keep_dims: true, noop_with_empty_axes: false };
        self.b.node(Operator::Reduce(reduce), &[x, axes])
    }

    /// The product with a number, unless it is 1.
    pub fn times(&mut self, x: ValueId, factor: f64) -> ValueId {
        if factor == 1.0 {
            return x;
        }
        let factor = self.scalar(factor);
        self.binary(Binary::Mul, x, factor)
    }

    /// 0, 1, .. along the sequence of a value of batch x sequence.
    pub fn positions(&mut self, tokens: ValueId) -> ValueId {
        let length = self.b.node(Operator::Shape { start: 1, end: Some(2) }, &[tokens]);
        let axes = self.b.integers(&[0]);
        let length = self.b.node(Operator::Squeeze, &[length, axes]);
        let (start, step) = (self.integer(0), self.integer(1));
        self.b.node(Operator::Range, &[start, length, step])
    }

    /// The token type 0 for every token.
    pub fn zeros_like(&mut self, tokens: ValueId) -> ValueId {
        let zero = self.integer(0);
        self.binary(Binary::Mul, tokens, zero)
    }

    /// What is added to scores: nothing where `allowed`.
    pub fn mask(&mut self, allowed: ValueId) -> ValueId {
        let (open, closed) = (self.scalar(0.0), self.scalar(f64::from(MASKED)));
        self.b.node(Operator::Where, &[allowed, open, closed])
    }

    /// Which tokens may be attended to at all: batch x 1 x 1 x sequence.
    pub fn attended(&mut self, attention_mask: ValueId) -> ValueId {
        let attended = self.cast(attention_mask, DataType::Bool);
        self.unsqueeze(attended, &[1, 2])
    }

    /// Which position may attend to which, sequence x sequence: none to later ones, and only to the last `window`.
    pub fn causal(&mut self, positions: ValueId, window: Option<usize>) -> ValueId {
        let (queries, keys) = (self.unsqueeze(positions, &[1]), self.unsqueeze(positions, &[0]));
        let causal = self.binary(Binary::LessOrEqual, keys, queries);
        let Some(window) = window else { return causal };
        let distance = self.binary(Binary::Sub, queries, keys);
        let window = self.integer(i64::try_from(window).unwrap_or(i64::MAX));
        let near = self.binary(Binary::Less, distance, window);
        self.binary(Binary::And, causal, near)
    }

    /// Makes a value an output of that name.
    pub fn output(&mut self, value: ValueId, name: &str) {
        let value = self.b.named(value, name);
        self.b.output(value);
    }
}

/// How a linear layer is kept.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    pub bias: Bias,
    /// Inputs x outputs.
    pub transposed: bool,
}

/// Whether a layer has a bias.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    Yes,
    No,
    /// Where older versions of the settings do not say.
    IfThere,
}

impl Linear {
    pub const BIASED: Self = Self { bias: Bias::Yes, transposed: false };
    pub const PLAIN: Self = Self { bias: Bias::No, transposed: false };
    pub const OPEN: Self = Self { bias: Bias::IfThere, transposed: false };
    /// `Conv1D`.
    pub const TRANSPOSED: Self = Self { bias: Bias::Yes, transposed: true };

    pub fn biased_if(bias: bool) -> Self {
        if bias { Self::BIASED } else { Self::PLAIN }
    }
}

/// The name of the activation in a setting.
pub(super) fn activation_name<'c>(config: &'c Config, field: &str, default: &'c str) -> Result<&'c str, HfError> {
    Ok(config.text(field)?.unwrap_or(default))
}
