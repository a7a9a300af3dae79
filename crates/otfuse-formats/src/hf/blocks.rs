//! The parts that all transformers are made of.

use otfuse_graph::{Binary, Operator, Tensor, Unary, ValueId};

use super::HfError;
use super::encoder::Distances;
use super::experts::Experts;
use super::sketch::{Linear, Sketch};

/// How a stream of vectors is normalised.
#[derive(Clone, Copy)]
pub(super) enum Norm {
    /// Layer normalisation with this epsilon.
    Layer(f64),
    /// Layer normalisation that is scaled, but not shifted.
    LayerScaled(f64),
    /// Layer normalisation without weights.
    LayerPlain(f64),
    /// By the root mean square, with this epsilon.
    RootMeanSquare(f64),
    /// By the root mean square, scaled by one more than the weight.
    RootMeanSquareFromOne(f64),
}

/// One weight for queries, keys and values.
#[derive(Clone, Copy)]
pub(super) enum Packed {
    /// Those of all heads behind one another: queries, keys, values.
    InTurn(&'static str),
    /// For each head of keys: its queries, its keys, its values.
    ByHead(&'static str),
}

/// The names of an attention's weights behind the layer's path.
#[derive(Clone, Copy)]
pub(super) struct AttentionNames {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    /// One weight for queries, keys and values, instead of the three.
    pub packed: Option<Packed>,
    /// Normalisations of queries and keys.
    pub norms: Option<[&'static str; 2]>,
}

impl AttentionNames {
    /// Queries, keys, values and outputs by layers of these names.
    pub const fn separate([query, key, value, output]: [&'static str; 4]) -> Self {
        Self { query, key, value, output, packed: None, norms: None }
    }

    /// One layer for queries, keys and values, and one for outputs.
    pub const fn packed(packed: Packed, output: &'static str) -> Self {
        Self { query: "", key: "", value: "", output, packed: Some(packed), norms: None }
    }
}

/// What is multiplied with the inner layer of a multi-layer perceptron.
#[derive(Clone, Copy)]
pub(super) enum Gate {
    No,
    /// A layer of its own, which the activation is applied to.
    Layer(&'static str),
    /// The first half of the inner layer's outputs, which the activation is applied to.
    Half,
}

/// The names of a multi-layer perceptron's weights behind the layer's path.
#[derive(Clone, Copy)]
pub(super) struct MlpNames {
    pub gate: Gate,
    pub up: &'static str,
    pub down: &'static str,
}

/// The names of a layer's weights behind its path. An empty name of a normalisation stands for none.
#[derive(Clone, Copy)]
pub(super) struct LayerNames {
    pub attention: AttentionNames,
    pub attention_norm: &'static str,
    /// Attention to another sequence and its normalisation.
    pub cross: Option<(AttentionNames, &'static str)>,
    pub mlp: MlpNames,
    pub mlp_norm: &'static str,
}

/// Where a block's normalisation stands.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// Before the block.
    Before,
    /// Behind the block, on the stream with what the block has added.
    Behind,
    /// Before the block, and another one on what the block computes: the names of those of attention and perceptron.
    Around([&'static str; 2]),
    /// On what the block computes.
    Change,
    /// Before the blocks, which both read the layer's input. With equal names they share one normalisation.
    Parallel,
}

/// What the layers of a stack have in common.
#[derive(Clone, Copy)]
pub(super) struct Stack<'s> {
    pub names: LayerNames,
    pub norm: Norm,
    pub order: Order,
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
    pub more: More,
}

/// What few families have.
#[derive(Clone, Copy)]
pub(super) struct More {
    /// Whether queries and keys are normalised over all heads together, rather than each head.
    pub norms_over_heads: bool,
    /// Scores are kept below this number by a tangent.
    pub cap: Option<f64>,
    /// What the changes are multiplied with.
    pub residual: f64,
    /// Weights that the changes of attention and perceptron are multiplied with.
    pub layer_scales: Option<[&'static str; 2]>,
    /// Experts in the place of the perceptron.
    pub experts: Option<Experts>,
}

impl More {
    pub const NOTHING: Self =
        Self { norms_over_heads: false, cap: None, residual: 1.0, layer_scales: None, experts: None };
}

/// What the positions of a sequence have to do with attention.
#[derive(Clone, Copy, Default)]
pub(super) struct Positions {
    /// Added to the scores.
    pub mask: Option<ValueId>,
    /// Added to the scores, one for each head: heads x queries x keys.
    pub bias: Option<ValueId>,
    pub rotation: Option<Rotation>,
    /// Scores of contents with distances.
    pub distances: Option<Distances>,
    /// Added to the scores, where samples are windows of others: 1 x windows x 1 x queries x keys.
    pub windows: Option<ValueId>,
}

/// A rotation of pairs of channels by angles that grow with the position.
#[derive(Clone, Copy)]
pub(super) struct Rotation {
    /// Positions x channels; of neighbours positions x pairs x 1.
    cosine: ValueId,
    sine: ValueId,
    /// How many of a head's channels are rotated: the first ones.
    channels: usize,
    pairs: Pairs,
}

/// Which channels make a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pairs {
    /// Channel i of the first half and channel i of the second.
    Halves,
    /// Channels 2 i and 2 i + 1.
    Neighbours,
}

/// The sequence that is attended to, if it is another one.
pub(super) type Memory = (ValueId, Positions);

impl Sketch<'_> {
    pub fn norm(&mut self, x: ValueId, path: &str, width: usize, norm: Norm) -> Result<ValueId, HfError> {
        match norm {
            Norm::Layer(epsilon) => self.layer_norm(x, path, width, epsilon),
            Norm::LayerScaled(epsilon) => self.layer_norm_scaled(x, path, width, epsilon),
            Norm::LayerPlain(epsilon) => Ok(self.layer_norm_plain(x, width, epsilon)),
            Norm::RootMeanSquare(epsilon) => self.rms_norm(x, path, width, epsilon, false),
            Norm::RootMeanSquareFromOne(epsilon) => self.rms_norm(x, path, width, epsilon, true),
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
        if matches!(stack.order, Order::Parallel) {
            return self.parallel_layer(x, path, stack, positions);
        }
        let mut x = self.branch(x, path, (names.attention_norm, 0), stack, |sketch, x| {
            sketch.attention(x, x, path, stack, &names.attention, positions)
        })?;
        if let (Some((cross, norm)), Some((memory, positions))) = (names.cross, memory) {
            x = self.branch(x, path, (norm, 0), stack, |sketch, x| {
                sketch.attention(x, memory, path, stack, &cross, positions)
            })?;
        }
        self.branch(x, path, (names.mlp_norm, 1), stack, |sketch, x| sketch.mlp(x, path, stack))
    }

    /// A layer whose blocks both read its input.
    fn parallel_layer(
        &mut self,
        x: ValueId,
        path: &str,
        stack: &Stack<'_>,
        positions: Positions,
    ) -> Result<ValueId, HfError> {
        let Stack { names, width, .. } = *stack;
        let normalised = self.norm(x, &format!("{path}{}", names.attention_norm), width, stack.norm)?;
        let attended = self.attention(normalised, normalised, path, stack, &names.attention, positions)?;
        let normalised = match names.attention_norm == names.mlp_norm {
            true => normalised,
            false => self.norm(x, &format!("{path}{}", names.mlp_norm), width, stack.norm)?,
        };
        let change = self.mlp(normalised, path, stack)?;
        let change = self.b.add(attended, change);
        Ok(self.b.add(x, change))
    }

    /// Adds what a block computes to the stream.
    fn branch(
        &mut self,
        x: ValueId,
        path: &str,
        (norm, block_index): (&str, usize),
        stack: &Stack<'_>,
        block: impl FnOnce(&mut Self, ValueId) -> Result<ValueId, HfError>,
    ) -> Result<ValueId, HfError> {
        let Stack { width, more, .. } = *stack;
        let name = format!("{path}{norm}");
        let normalised = match stack.order {
            Order::Before | Order::Around(_) if !norm.is_empty() => self.norm(x, &name, width, stack.norm)?,
            _ => x,
        };
        let mut change = block(self, normalised)?;
        match stack.order {
            Order::Around(names) => {
                change = self.norm(change, &format!("{path}{}", names[block_index]), width, stack.norm)?;
            }
            Order::Change => change = self.norm(change, &name, width, stack.norm)?,
            _ => {}
        }
        if let Some(names) = more.layer_scales {
            let scale = self.weight(&format!("{path}{}", names[block_index]), &[width])?;
            change = self.binary(Binary::Mul, change, scale);
        }
        if more.residual != 1.0 {
            let factor = self.scalar(more.residual);
            change = self.binary(Binary::Mul, change, factor);
        }
        let sum = self.b.add(x, change);
        match stack.order {
            Order::Behind => self.norm(sum, &name, width, stack.norm),
            _ => Ok(sum),
        }
    }

    fn mlp(&mut self, x: ValueId, path: &str, stack: &Stack<'_>) -> Result<ValueId, HfError> {
        match &stack.more.experts {
            Some(experts) => self.experts(x, path, stack, experts),
            None => self.perceptron(x, path, stack, stack.names.mlp, stack.inner),
        }
    }

    /// Two linear layers, the inner one gated or not.
    pub fn perceptron(
        &mut self,
        x: ValueId,
        path: &str,
        stack: &Stack<'_>,
        names: MlpNames,
        inner: usize,
    ) -> Result<ValueId, HfError> {
        let Stack { width, activation, activation_field, .. } = *stack;
        let first = if let Gate::Layer(gate) = names.gate { gate } else { names.up };
        let outputs = if matches!(names.gate, Gate::Half) { 2 * inner } else { inner };
        let mut hidden = self.linear(x, &format!("{path}{first}"), [outputs, width], stack.mlp)?;
        match names.gate {
            Gate::No => hidden = self.activation(hidden, activation, activation_field)?,
            Gate::Layer(_) => {
                hidden = self.activation(hidden, activation, activation_field)?;
                let other = self.linear(x, &format!("{path}{}", names.up), [inner, width], stack.mlp)?;
                hidden = self.binary(Binary::Mul, hidden, other);
            }
            Gate::Half => {
                let halves = self.parts(hidden, inner, 2);
                hidden = self.activation(halves[0], activation, activation_field)?;
                hidden = self.binary(Binary::Mul, hidden, halves[1]);
            }
        }
        self.linear(hidden, &format!("{path}{}", names.down), [width, inner], stack.mlp)
    }

    /// Attention from `x` to `memory` in heads of queries (g, i), where head g of keys and values serves all i.
    pub fn attention(
        &mut self,
        x: ValueId,
        memory: ValueId,
        path: &str,
        stack: &Stack<'_>,
        names: &AttentionNames,
        positions: Positions,
    ) -> Result<ValueId, HfError> {
        let [mut query, mut key, mut value] = self.heads_of(x, memory, path, stack, names)?;
        let shared = stack.heads / stack.key_heads;
        if let Some([query_norm, key_norm]) = names.norms.filter(|_| !stack.more.norms_over_heads) {
            query = self.norm(query, &format!("{path}{query_norm}"), stack.head_width, stack.norm)?;
            key = self.norm(key, &format!("{path}{key_norm}"), stack.head_width, stack.norm)?;
        }
        if let Some(rotation) = positions.rotation {
            query = self.rotated(query, rotation, stack.head_width, if shared > 1 { 5 } else { 4 });
            key = self.rotated(key, rotation, stack.head_width, 4);
        }
        let keys = key;
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
        if let Some(distances) = &positions.distances {
            scores = self.with_distances(scores, [query, keys], path, stack, names, distances)?;
        }
        if let Some(cap) = stack.more.cap {
            scores = self.capped(scores, cap);
        }
        for added in [positions.bias, positions.mask].into_iter().flatten() {
            let added = if shared > 1 { self.unsqueeze(added, &[2]) } else { added };
            scores = self.b.add(scores, added);
        }
        if let Some(windows) = positions.windows {
            scores = self.in_each_window(scores, windows, stack.heads);
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

    /// Scores of (samples, windows) x heads x queries x keys, with what is added for each window.
    fn in_each_window(&mut self, scores: ValueId, windows: ValueId, heads: usize) -> ValueId {
        let shape = self.b.node(Operator::Shape { start: 0, end: None }, &[scores]);
        let each = self.b.node(Operator::Shape { start: 1, end: None }, &[windows]);
        let samples = self.b.integers(&[-1]);
        let [count, rest] = [(0, 1), (2, 4)].map(|(start, end)| {
            let [start, end, axes] = [start, end, 0].map(|at| self.b.integers(&[at]));
            self.b.node(Operator::Slice, &[each, start, end, axes])
        });
        let heads = self.b.integers(&[heads as i64]);
        let apart = self.b.concat(&[samples, count, heads, rest], 0);
        let apart = self.b.node(Operator::Reshape { allow_zero: false }, &[scores, apart]);
        let sum = self.b.add(apart, windows);
        self.b.node(Operator::Reshape { allow_zero: false }, &[sum, shape])
    }

    /// Queries, keys and values of each head: batch x heads x sequence x channels.
    fn heads_of(
        &mut self,
        x: ValueId,
        memory: ValueId,
        path: &str,
        stack: &Stack<'_>,
        names: &AttentionNames,
    ) -> Result<[ValueId; 3], HfError> {
        let shared = stack.heads / stack.key_heads;
        let (queries, keys) = (stack.heads * stack.head_width, stack.key_heads * stack.head_width);
        let heads = |shared: usize| match shared {
            1 => vec![stack.key_heads],
            shared => vec![stack.key_heads, shared],
        };
        let [mut query, mut key, value] = match names.packed {
            Some(Packed::ByHead(packed)) => {
                let shape = [queries + 2 * keys, stack.width];
                let packed = self.linear(x, &format!("{path}{packed}"), shape, stack.projections)?;
                let width = stack.head_width;
                let split = self.reshape(packed, &[0, 0, stack.key_heads as i64, ((shared + 2) * width) as i64]);
                let parts = self.unequal_parts(split, &[shared * width, width, width]);
                let [mut query, key, value] = [parts[0], parts[1], parts[2]];
                if shared > 1 {
                    query = self.reshape(query, &[0, 0, 0, shared as i64, width as i64]);
                }
                let order: &[usize] = if shared > 1 { &[0, 2, 3, 1, 4] } else { &[0, 2, 1, 3] };
                let query = self.transpose(query, order);
                return Ok([query, self.transpose(key, &[0, 2, 1, 3]), self.transpose(value, &[0, 2, 1, 3])]);
            }
            Some(Packed::InTurn(packed)) => {
                let shape = [queries + 2 * keys, stack.width];
                let packed = self.linear(x, &format!("{path}{packed}"), shape, stack.projections)?;
                let parts = self.unequal_parts(packed, &[queries, keys, keys]);
                [parts[0], parts[1], parts[2]]
            }
            None => {
                let mut project = |x, name: &str, outputs| {
                    self.linear(x, &format!("{path}{name}"), [outputs, stack.width], stack.projections)
                };
                let query = project(x, names.query, queries)?;
                [query, project(memory, names.key, keys)?, project(memory, names.value, keys)?]
            }
        };
        if let Some([query_norm, key_norm]) = names.norms.filter(|_| stack.more.norms_over_heads) {
            query = self.norm(query, &format!("{path}{query_norm}"), queries, stack.norm)?;
            key = self.norm(key, &format!("{path}{key_norm}"), keys, stack.norm)?;
        }
        let query = self.heads(query, &heads(shared), stack.head_width);
        let key = self.heads(key, &heads(1), stack.head_width);
        Ok([query, key, self.heads(value, &heads(1), stack.head_width)])
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

    /// Pairs of channels turned by the angles of their positions; the channels behind them pass.
    fn rotated(&mut self, x: ValueId, rotation: Rotation, width: usize, rank: usize) -> ValueId {
        let Rotation { channels, .. } = rotation;
        if channels == width {
            return self.turned(x, rotation, rank);
        }
        let parts = self.unequal_parts(x, &[channels, width - channels]);
        let turned = self.turned(parts[0], rotation, rank);
        self.b.concat(&[turned, parts[1]], -1)
    }

    fn turned(&mut self, x: ValueId, rotation: Rotation, rank: usize) -> ValueId {
        let Rotation { cosine, sine, channels, pairs } = rotation;
        if pairs == Pairs::Halves {
            let halves = self.parts(x, channels / 2, 2);
            let negative = self.unary(Unary::Neg, halves[1]);
            let turned = self.b.concat(&[negative, halves[0]], -1);
            let along = self.binary(Binary::Mul, x, cosine);
            let across = self.binary(Binary::Mul, turned, sine);
            return self.b.add(along, across);
        }
        let mut shape = vec![0; rank - 1];
        shape.extend([(channels / 2) as i64, 2]);
        let paired = self.reshape(x, &shape);
        let parts = self.parts(paired, 1, 2);
        let products = |sketch: &mut Self, by: ValueId| [0, 1].map(|of| sketch.binary(Binary::Mul, parts[of], by));
        let [first_along, second_along] = products(self, cosine);
        let [first_across, second_across] = products(self, sine);
        let first = self.binary(Binary::Sub, first_along, second_across);
        let second = self.b.add(second_along, first_across);
        let turned = self.b.concat(&[first, second], -1);
        shape.truncate(rank - 1);
        shape.push(channels as i64);
        self.reshape(turned, &shape)
    }

    /// Cosines and sines of positions times frequencies, one for each pair.
    pub fn rotation(&mut self, positions: ValueId, frequencies: Vec<f32>, pairs: Pairs) -> Rotation {
        let channels = 2 * frequencies.len();
        let positions = self.cast(positions, otfuse_graph::DataType::F32);
        let positions = self.unsqueeze(positions, &[1]);
        let frequencies = self.b.constant(Tensor::from_f32(&[frequencies.len()], frequencies));
        let angles = self.binary(Binary::Mul, positions, frequencies);
        let angles = match pairs {
            Pairs::Halves => self.b.concat(&[angles, angles], -1),
            Pairs::Neighbours => self.unsqueeze(angles, &[2]),
        };
        let [cosine, sine] = [Unary::Cos, Unary::Sin].map(|function| self.unary(function, angles));
        Rotation { cosine, sine, channels, pairs }
    }
}
