//! The parts that all transformers are made of.

use otfuse_graph::{Binary, Operator, Tensor, Unary, ValueId};

use super::HfError;
use super::sketch::{Linear, Sketch};

/// How a stream of vectors is normalised.
#[derive(Clone, Copy)]
pub(super) enum Norm {
    /// Layer normalisation with this epsilon.
    Layer(f64),
    /// By the root mean square, with this epsilon.
    RootMeanSquare(f64),
}

/// The names of an attention's weights behind the layer's path.
#[derive(Clone, Copy)]
pub(super) struct AttentionNames {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    /// One weight for queries, keys and values, instead of the three.
    pub packed: Option<&'static str>,
    /// Normalisations of each head's queries and keys.
    pub norms: Option<[&'static str; 2]>,
}

/// The names of a multi-layer perceptron's weights behind the layer's path.
#[derive(Clone, Copy)]
pub(super) struct MlpNames {
    /// What the activation is applied to, where another layer is multiplied with it.
    pub gate: Option<&'static str>,
    pub up: &'static str,
    pub down: &'static str,
}

/// The names of a layer's weights behind its path.
#[derive(Clone, Copy)]
pub(super) struct LayerNames {
    pub attention: AttentionNames,
    pub attention_norm: &'static str,
    /// Attention to another sequence and its normalisation.
    pub cross: Option<(AttentionNames, &'static str)>,
    pub mlp: MlpNames,
    pub mlp_norm: &'static str,
}

/// What the layers of a stack have in common.
#[derive(Clone, Copy)]
pub(super) struct Stack<'s> {
    pub names: LayerNames,
    pub norm: Norm,
    /// Whether a block normalises its input, rather than the stream behind it.
    pub norm_first: bool,
    pub width: usize,
    pub inner: usize,
    pub heads: usize,
    /// Heads of keys and values, each shared by as many heads of queries.
    pub key_heads: usize,
    pub head_width: usize,
    pub scale: f64,
    pub activation: &'s str,
    /// The setting that names the activation.
    pub activation_field: &'s str,
    pub projections: Linear,
    pub output: Linear,
    pub mlp: Linear,
}

/// What the positions of a sequence have to do with attention.
#[derive(Clone, Copy, Default)]
pub(super) struct Positions {
    /// Added to the scores.
    pub mask: Option<ValueId>,
    /// Added to the scores, one for each head: heads x queries x keys.
    pub bias: Option<ValueId>,
    /// Cosines and sines of the rotation by position: positions x head width.
    pub rotation: Option<[ValueId; 2]>,
}

/// The sequence that is attended to, if it is another one.
pub(super) type Memory = (ValueId, Positions);

impl Sketch<'_> {
    pub fn norm(&mut self, x: ValueId, path: &str, width: usize, norm: Norm) -> Result<ValueId, HfError> {
        match norm {
            Norm::Layer(epsilon) => self.layer_norm(x, path, width, epsilon),
            Norm::RootMeanSquare(epsilon) => self.rms_norm(x, path, width, epsilon),
        }
    }

    /// One layer of a stack; `path` ends with a dot.
    pub fn layer(
        &mut self,
        x: ValueId,
        path: &str,
        stack: &Stack<'_>,
        positions: Positions,
        memory: Option<Memory>,
    ) -> Result<ValueId, HfError> {
        let Stack { names, .. } = *stack;
        let mut x = self.branch(x, &format!("{path}{}", names.attention_norm), stack, |sketch, x| {
            sketch.attention(x, x, path, stack, &names.attention, positions)
        })?;
        if let (Some((cross, norm)), Some((memory, positions))) = (names.cross, memory) {
            x = self.branch(x, &format!("{path}{norm}"), stack, |sketch, x| {
                sketch.attention(x, memory, path, stack, &cross, positions)
            })?;
        }
        self.branch(x, &format!("{path}{}", names.mlp_norm), stack, |sketch, x| sketch.mlp(x, path, stack))
    }

    /// Adds what a block computes to the stream.
    fn branch(
        &mut self,
        x: ValueId,
        norm: &str,
        stack: &Stack<'_>,
        block: impl FnOnce(&mut Self, ValueId) -> Result<ValueId, HfError>,
    ) -> Result<ValueId, HfError> {
        if stack.norm_first {
            let normalised = self.norm(x, norm, stack.width, stack.norm)?;
            let change = block(self, normalised)?;
            return Ok(self.b.add(x, change));
        }
        let change = block(self, x)?;
        let sum = self.b.add(x, change);
        self.norm(sum, norm, stack.width, stack.norm)
    }

    fn mlp(&mut self, x: ValueId, path: &str, stack: &Stack<'_>) -> Result<ValueId, HfError> {
        let names = stack.names.mlp;
        let up = [stack.inner, stack.width];
        let first = names.gate.unwrap_or(names.up);
        let mut hidden = self.linear(x, &format!("{path}{first}"), up, stack.mlp)?;
        hidden = self.activation(hidden, stack.activation, stack.activation_field)?;
        if names.gate.is_some() {
            let other = self.linear(x, &format!("{path}{}", names.up), up, stack.mlp)?;
            hidden = self.binary(Binary::Mul, hidden, other);
        }
        self.linear(hidden, &format!("{path}{}", names.down), [stack.width, stack.inner], stack.mlp)
    }

    /// Attention from `x` to `memory` in heads of queries (g, i), where head g of keys and values serves all i.
    fn attention(
        &mut self,
        x: ValueId,
        memory: ValueId,
        path: &str,
        stack: &Stack<'_>,
        names: &AttentionNames,
        positions: Positions,
    ) -> Result<ValueId, HfError> {
        let [query, key, value] = self.projections(x, memory, path, stack, names)?;
        let shared = stack.heads / stack.key_heads;
        let heads = |shared: usize| match shared {
            1 => vec![stack.key_heads],
            shared => vec![stack.key_heads, shared],
        };
        let mut query = self.heads(query, &heads(shared), stack.head_width);
        let mut key = self.heads(key, &heads(1), stack.head_width);
        let mut value = self.heads(value, &heads(1), stack.head_width);
        if let Some([query_norm, key_norm]) = names.norms {
            query = self.norm(query, &format!("{path}{query_norm}"), stack.head_width, stack.norm)?;
            key = self.norm(key, &format!("{path}{key_norm}"), stack.head_width, stack.norm)?;
        }
        if let Some(rotation) = positions.rotation {
            query = self.rotated(query, rotation, stack.head_width);
            key = self.rotated(key, rotation, stack.head_width);
        }
        key = self.transpose(key, &[0, 1, 3, 2]);
        if shared > 1 {
            key = self.unsqueeze(key, &[2]);
            value = self.unsqueeze(value, &[2]);
        }
        let mut scores = self.b.node(Operator::MatMul, &[query, key]);
        if stack.scale != 1.0 {
            let scale = self.scalar(stack.scale);
            scores = self.binary(Binary::Mul, scores, scale);
        }
        for added in [positions.bias, positions.mask].into_iter().flatten() {
            let added = if shared > 1 { self.unsqueeze(added, &[2]) } else { added };
            scores = self.b.add(scores, added);
        }
        let weights = self.b.node(Operator::Softmax { axis: -1 }, &[scores]);
        let mixed = self.b.node(Operator::MatMul, &[weights, value]);
        let mixed = match shared {
            1 => self.transpose(mixed, &[0, 2, 1, 3]),
            _ => self.transpose(mixed, &[0, 3, 1, 2, 4]),
        };
        let inner = stack.heads * stack.head_width;
        let joined = self.reshape(mixed, &[0, 0, inner as i64]);
        self.linear(joined, &format!("{path}{}", names.output), [stack.width, inner], stack.output)
    }

    fn projections(
        &mut self,
        x: ValueId,
        memory: ValueId,
        path: &str,
        stack: &Stack<'_>,
        names: &AttentionNames,
    ) -> Result<[ValueId; 3], HfError> {
        let (queries, keys) = (stack.heads * stack.head_width, stack.key_heads * stack.head_width);
        if let Some(packed) = names.packed {
            let shape = [3 * queries, stack.width];
            let packed = self.linear(x, &format!("{path}{packed}"), shape, stack.projections)?;
            let parts = self.parts(packed, queries, 3);
            return Ok([parts[0], parts[1], parts[2]]);
        }
        let mut project = |x, name: &str, outputs| {
            self.linear(x, &format!("{path}{name}"), [outputs, stack.width], stack.projections)
        };
        Ok([project(x, names.query, queries)?, project(memory, names.key, keys)?, project(memory, names.value, keys)?])
    }

    /// Batch x sequence x (heads, width) as batch x heads x sequence x width.
    fn heads(&mut self, x: ValueId, heads: &[usize], width: usize) -> ValueId {
        let mut shape = vec![0, 0];
        shape.extend(heads.iter().chain([&width]).map(|&length| length as i64));
        let split = self.reshape(x, &shape);
        match heads {
            [_] => self.transpose(split, &[0, 2, 1, 3]),
            _ => self.transpose(split, &[0, 2, 3, 1, 4]),
        }
    }

    /// Pairs (i, i + width / 2) turned by the angles of their positions.
    fn rotated(&mut self, x: ValueId, [cosine, sine]: [ValueId; 2], width: usize) -> ValueId {
        let halves = self.parts(x, width / 2, 2);
        let negative = self.unary(Unary::Neg, halves[1]);
        let turned = self.b.concat(&[negative, halves[0]], -1);
        let along = self.binary(Binary::Mul, x, cosine);
        let across = self.binary(Binary::Mul, turned, sine);
        self.b.add(along, across)
    }

    /// Cosines and sines of positions times frequencies, for both halves of a head.
    pub fn rotation(&mut self, positions: ValueId, frequencies: Vec<f32>) -> [ValueId; 2] {
        let positions = self.cast(positions, otfuse_graph::DataType::F32);
        let positions = self.unsqueeze(positions, &[1]);
        let frequencies = self.b.constant(Tensor::from_f32(&[frequencies.len()], frequencies));
        let angles = self.binary(Binary::Mul, positions, frequencies);
        let angles = self.b.concat(&[angles, angles], -1);
        [Unary::Cos, Unary::Sin].map(|function| self.unary(function, angles))
    }
}
