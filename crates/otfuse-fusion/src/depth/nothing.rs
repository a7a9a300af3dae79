//! Blocks that change nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use otfuse_graph::{Binary, Graph, NodeId, Operator, Unary, ValueId, Variadic};

use super::range::clip;

/// What a weight has to be for a block to change nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// All zeros.
    Zero,
    /// All ones.
    One,
    /// The matrix, or the middle of the windows, that leaves its input as it is; the axis that counts outputs.
    Same { output_axis: usize },
    /// The same of a convolution whose every channel is a group of its own.
    SameDepthwise,
    /// Statistics of a normalisation whose scale undoes the division by their square root.
    UndoneBy { epsilon: f32 },
    /// What the normalisation in front of the block has, which itself becomes plain.
    ScaleInFront,
    /// The same of what is added.
    ShiftInFront,
}

/// The most nodes of a block that is searched.
const LONGEST: usize = 2000;

/// What a block's weights have to be.
pub(super) type Parts = BTreeMap<ValueId, Part>;

/// A block that is to change nothing.
pub(super) struct Goal<'g> {
    pub graph: &'g Graph,
    pub producers: &'g HashMap<ValueId, NodeId>,
    pub readers: &'g HashMap<ValueId, Vec<(NodeId, usize)>>,
    pub nodes: HashSet<NodeId>,
    pub input: ValueId,
    pub output: ValueId,
    /// The numbers that flow in.
    pub range: (f64, f64),
    /// Whether what flows in comes right out of a normalisation over its last axis.
    pub is_normalised: bool,
}

impl Goal<'_> {
    /// What the weights have to be for the block to give out what flows in; `None` where no weights do that. A residual branch is
    /// silenced at its end: its last layer is zero, or the scale behind it. Layers without a branch beside them become identities,
    /// which nonlinearities must let pass as `range` says.
    ///
    /// Of blocks of more than [`LONGEST`] nodes nothing is said: the search goes back node by node.
    pub fn parts(&self) -> Option<Parts> {
        if self.nodes.len() > LONGEST {
            return None;
        }
        let mut parts = Parts::new();
        self.same(self.output, &mut parts).then_some(parts)
    }

    fn node(&self, value: ValueId) -> Option<&otfuse_graph::Node> {
        let id = self.producers.get(&value).filter(|id| self.nodes.contains(id))?;
        Some(self.graph.node(*id))
    }

    /// A weight that a value is, perhaps turned or widened.
    fn weight(&self, mut value: ValueId) -> Option<(ValueId, bool)> {
        let mut is_turned = false;
        loop {
            if self.graph.initializer(value).is_some() {
                let is_own = self
                    .readers
                    .get(&value)
                    .is_some_and(|readers| readers.iter().all(|(reader, _)| self.nodes.contains(reader)));
                return (is_own && self.graph.is_weight(value)).then_some((value, is_turned));
            }
            let node = self.node(value)?;
            match &node.operator {
                Operator::Transpose { permutation } if permutation.as_deref().is_none_or(|order| order == [1, 0]) => {
                    is_turned = !is_turned;
                }
                Operator::Identity | Operator::Cast { .. } => {}
                _ => return None,
            }
            value = node.input(0)?;
        }
    }

    fn set(&self, value: ValueId, part: Part, parts: &mut Parts) -> bool {
        match self.weight(value) {
            Some((id, _)) => parts.insert(id, part).is_none_or(|before| before == part),
            None => false,
        }
    }

    fn set_if_any(&self, value: Option<ValueId>, part: Part, parts: &mut Parts) -> bool {
        value.is_none_or(|value| self.set(value, part, parts))
    }

    /// Tries, and leaves nothing behind where it fails.
    fn attempt(&self, parts: &mut Parts, of: impl FnOnce(&mut Parts) -> bool) -> bool {
        let mut tried = parts.clone();
        let is_done = of(&mut tried);
        if is_done {
            *parts = tried;
        }
        is_done
    }

    /// Lets a value be what flows into the block.
    fn same(&self, value: ValueId, parts: &mut Parts) -> bool {
        if value == self.input {
            return true;
        }
        let Some(node) = self.node(value) else { return false };
        let first = node.input(0);
        let (low, high) = self.range;
        let passes = |parts: &mut Parts| first.is_some_and(|first| self.same(first, parts));
        match &node.operator {
            Operator::Identity => passes(parts),
            Operator::Unary(unary) => {
                let is_open = match unary {
                    Unary::Relu | Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::Celu { .. } => low >= 0.0,
                    Unary::Abs => low >= 0.0,
                    _ => false,
                };
                is_open && passes(parts)
            }
            Operator::PRelu => low >= 0.0 && passes(parts),
            Operator::Clip => {
                let (least, most) = clip(self.graph, node);
                least <= low && most >= high && passes(parts)
            }
            Operator::Binary(Binary::Add) | Operator::Variadic(Variadic::Sum) => {
                let summands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
                (0..summands.len()).any(|kept| {
                    self.attempt(parts, |parts| {
                        summands.iter().enumerate().all(|(at, &summand)| match at == kept {
                            true => self.same(summand, parts),
                            false => self.zero(summand, parts),
                        })
                    })
                })
            }
            Operator::Binary(Binary::Mul) => {
                let (Some(a), Some(b)) = (first, node.input(1)) else { return false };
                [(a, b), (b, a)].into_iter().any(|(factor, other)| {
                    self.attempt(parts, |parts| self.set(factor, Part::One, parts) && self.same(other, parts))
                })
            }
            Operator::Conv(conv) => self.same_convolution(node, conv, parts) && passes(parts),
            Operator::Gemm(gemm) => {
                gemm.alpha == 1.0
                    && gemm.beta == 1.0
                    && !gemm.transpose_a
                    && self.same_product(node, usize::from(!gemm.transpose_b), parts)
                    && self.set_if_any(node.input(2), Part::Zero, parts)
                    && passes(parts)
            }
            Operator::MatMul => self.same_product(node, 1, parts) && passes(parts),
            Operator::BatchNormalization { epsilon } => {
                let statistics = [(2, Part::Zero), (3, Part::Zero), (4, Part::One)];
                statistics.iter().all(|(at, part)| self.set_if_any(node.input(*at), *part, parts))
                    && self.set_if_any(node.input(1), Part::UndoneBy { epsilon: *epsilon }, parts)
                    && passes(parts)
            }
            Operator::LayerNormalization { axis: -1, .. } if self.is_normalised => {
                let is_last = value == self.output;
                let [scale, shift] =
                    if is_last { [Part::ScaleInFront, Part::ShiftInFront] } else { [Part::One, Part::Zero] };
                self.set_if_any(node.input(1), scale, parts)
                    && self.set_if_any(node.input(2), shift, parts)
                    && passes(parts)
            }
            _ => false,
        }
    }

    fn same_product(&self, node: &otfuse_graph::Node, output_axis: usize, parts: &mut Parts) -> bool {
        let Some((id, is_turned)) = node.input(1).and_then(|value| self.weight(value)) else { return false };
        let is_matrix = self.graph.initializer(id).is_some_and(|tensor| tensor.shape().len() == 2);
        let output_axis = if is_turned { 1 - output_axis } else { output_axis };
        is_matrix && parts.insert(id, Part::Same { output_axis }).is_none()
    }

    fn same_convolution(&self, node: &otfuse_graph::Node, conv: &otfuse_graph::Conv, parts: &mut Parts) -> bool {
        let Some((id, false)) = node.input(1).and_then(|value| self.weight(value)) else { return false };
        let Some(shape) = self.graph.initializer(id).map(|tensor| tensor.shape().to_vec()) else { return false };
        let kernel = shape.get(2..).unwrap_or_default();
        let is_centred = kernel.iter().enumerate().all(|(axis, &length)| {
            let pads = conv.window.pads(axis, kernel.len(), 16, length);
            let half = conv.window.dilation(axis) * (length / 2);
            length % 2 == 1 && conv.window.stride(axis) == 1 && pads == (half, half)
        });
        let part = match conv.groups {
            1 => Part::Same { output_axis: 0 },
            groups if shape[0] == groups && shape[1] == 1 => Part::SameDepthwise,
            _ => return false,
        };
        is_centred && parts.insert(id, part).is_none() && self.set_if_any(node.input(2), Part::Zero, parts)
    }

    /// Lets a value be zero.
    fn zero(&self, value: ValueId, parts: &mut Parts) -> bool {
        if value == self.input {
            return false;
        }
        if self.graph.initializer(value).is_some() {
            return self.set(value, Part::Zero, parts);
        }
        let Some(node) = self.node(value) else { return false };
        let first = node.input(0);
        let passes = |parts: &mut Parts| first.is_some_and(|first| self.zero(first, parts));
        match &node.operator {
            Operator::Binary(Binary::Add | Binary::Sub) | Operator::Variadic(_) | Operator::Concat { .. } => {
                node.inputs.iter().flatten().all(|&summand| self.zero(summand, parts))
            }
            Operator::Binary(Binary::Mul) => {
                let mut factors: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
                // A learned scale first: it silences the branch and leaves its layers as they are.
                factors.sort_by_key(|&factor| self.weight(factor).is_none());
                factors.into_iter().any(|factor| self.attempt(parts, |parts| self.zero(factor, parts)))
            }
            Operator::MatMul | Operator::Gemm(_) | Operator::Conv(_) | Operator::ConvTranspose(_) => {
                let of_weight = self.attempt(parts, |parts| {
                    node.input(1).is_some_and(|weight| self.set(weight, Part::Zero, parts))
                        && self.set_if_any(node.input(2), Part::Zero, parts)
                });
                let is_product = matches!(node.operator, Operator::MatMul);
                of_weight
                    || (is_product
                        && node
                            .inputs
                            .iter()
                            .flatten()
                            .any(|&factor| self.attempt(parts, |parts| self.zero(factor, parts))))
            }
            Operator::BatchNormalization { .. } => {
                // The scale stays like that of other blocks where the layer itself can be zero.
                self.attempt(parts, |parts| {
                    [2, 3].iter().all(|&at| self.set_if_any(node.input(at), Part::Zero, parts)) && passes(parts)
                }) || [1, 2].iter().all(|&at| self.set_if_any(node.input(at), Part::Zero, parts))
            }
            Operator::LayerNormalization { .. }
            | Operator::InstanceNormalization { .. }
            | Operator::GroupNormalization { .. } => {
                [1, 2].iter().all(|&at| self.set_if_any(node.input(at), Part::Zero, parts))
            }
            Operator::Attention(_) => node.input(2).is_some_and(|values| self.zero(values, parts)),
            Operator::Unary(unary) => keeps_zero(*unary) && passes(parts),
            Operator::Where => [1, 2].iter().all(|&at| node.input(at).is_some_and(|side| self.zero(side, parts))),
            Operator::PRelu | Operator::Clip | Operator::Pool(_) | Operator::GlobalPool(_) | Operator::Reduce(_) => {
                passes(parts)
            }
            operator if operator.keeps_elements() => passes(parts),
            Operator::Slice | Operator::Split { .. } | Operator::Gather { .. } | Operator::Pad(_) => passes(parts),
            _ => false,
        }
    }
}

/// Whether a function of zero is zero.
fn keeps_zero(unary: Unary) -> bool {
    matches!(
        unary,
        Unary::Relu
            | Unary::LeakyRelu { .. }
            | Unary::Elu { .. }
            | Unary::Celu { .. }
            | Unary::Selu { .. }
            | Unary::Gelu { .. }
            | Unary::Swish { .. }
            | Unary::HardSwish
            | Unary::Mish
            | Unary::Tanh
            | Unary::Softsign
            | Unary::Erf
            | Unary::Sin
            | Unary::Abs
            | Unary::Neg
            | Unary::Sqrt
    )
}
