//! What is written on a unit.

use otfuse_graph::{Cell, Facts, GroupId, NodeId, Operator, PoolKind, ReduceKind, Unary, ValueId};

use super::flow::{Flow, is_moving, joins};

/// The most characters of a name.
const MOST: usize = 60;

/// The most steps that a label lists.
const MOST_PARTS: usize = 12;

pub(super) struct Labels<'f, 'g> {
    pub flow: &'f Flow<'g>,
    pub facts: &'f Facts,
}

impl Labels<'_, '_> {
    /// An input or output with its shape.
    pub fn port(&self, id: ValueId) -> String {
        let name = short(&self.flow.graph.value(id).name);
        match self.facts.shape(id) {
            Some(shape) if !shape.is_empty() => {
                let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
                format!("{name} [{}]", short(&lengths.join(" \u{d7} ")))
            }
            _ => name,
        }
    }

    /// The weights that a node reads.
    pub fn weights(&self, id: NodeId) -> Vec<ValueId> {
        self.flow.parameters(id).into_iter().flat_map(|value| self.flow.sources(value)).collect()
    }

    /// The input of tokens that a node looks up.
    pub fn tokens(&self, id: NodeId) -> Option<ValueId> {
        let node = self.flow.node(id);
        let mut value = node.input(1).filter(|_| matches!(node.operator, Operator::Gather { .. }))?;
        for _ in 0..4 {
            if self.flow.graph.inputs().contains(&value) {
                return Some(value);
            }
            let producer = self.flow.node(*self.flow.producers.get(&value)?);
            value = producer.input(0).filter(|_| is_moving(&producer.operator))?;
        }
        None
    }

    /// What the names of some weights have in common, up to the last dot.
    pub fn common(&self, weights: &[ValueId]) -> String {
        let names: Vec<&str> = weights.iter().map(|&id| self.flow.graph.value(id).name.as_str()).collect();
        let Some(first) = names.first() else { return String::new() };
        let shared = |name: &str| first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let mut length = names.iter().map(|name| shared(name)).min().unwrap_or(0);
        while !first.is_char_boundary(length) {
            length -= 1;
        }
        let common = &first[..length];
        let is_whole = names.iter().all(|name| *name == *first);
        match common.rfind(['.', '/']) {
            Some(at) if !is_whole => short(&common[..at]),
            None if !is_whole => String::new(),
            _ => short(common.strip_suffix(".weight").unwrap_or(common)),
        }
    }

    /// What a unit does.
    pub fn unit(&self, nodes: &[NodeId], is_attention: bool, inside: &[(GroupId, usize, Option<GroupId>)]) -> String {
        if is_attention {
            return self.attention(nodes, inside);
        }
        let layers: Vec<NodeId> = nodes.iter().copied().filter(|&id| self.flow.is_layer(id)).collect();
        if layers.len() > 1 {
            return self.perceptron(nodes, &layers);
        }
        let mut parts: Vec<String> = Vec::new();
        let is_written_out = layers.is_empty()
            && nodes.len() > 2
            && nodes.iter().any(|&id| matches!(self.flow.node(id).operator, Operator::Unary(Unary::Sqrt)));
        if is_written_out {
            let is_centred = nodes.iter().any(|&id| joins(&self.flow.node(id).operator) == Some("\u{2212}"));
            let width = self.last_length(*nodes.last().unwrap_or(&nodes[0]));
            return format!("{}{width}", if is_centred { "LayerNorm" } else { "RMSNorm" });
        }
        for &id in nodes {
            if let Some(part) = self.part(id)
                && parts.last() != Some(&part)
            {
                parts.push(part);
            }
        }
        if let Some(name) = self.nonlinearity(nodes).filter(|_| !parts.iter().any(|part| part == "GELU")) {
            parts.retain(|part| !["sigmoid", "tanh", "erf", "\u{d7}", "+", "\u{f7}", "Pow"].contains(&part.as_str()));
            parts.push(name.into());
        }
        if parts.is_empty() {
            parts = nodes.iter().map(|&id| self.flow.node(id).operator.name().to_owned()).collect();
            parts.dedup();
            parts.truncate(3);
        }
        if parts.len() > MOST_PARTS {
            parts.truncate(MOST_PARTS);
            parts.push("\u{2026}".into());
        }
        parts.join(", ")
    }

    /// The name of a nonlinearity that is written out.
    fn nonlinearity(&self, nodes: &[NodeId]) -> Option<&'static str> {
        let multiplies = nodes.iter().any(|&id| self.is_gate(id));
        let has = |wanted: Unary| nodes.iter().any(|&id| self.flow.node(id).operator == Operator::Unary(wanted));
        match () {
            () if !multiplies => None,
            () if has(Unary::Erf) => Some("GELU"),
            () if has(Unary::Tanh) && nodes.len() > 4 => Some("GELU"),
            () if has(Unary::Sigmoid) => Some("SiLU"),
            () => None,
        }
    }

    /// Whether a node multiplies two features.
    fn is_gate(&self, id: NodeId) -> bool {
        joins(&self.flow.node(id).operator) == Some("\u{d7}") && self.flow.operands(id).len() == 2
    }

    fn perceptron(&self, nodes: &[NodeId], layers: &[NodeId]) -> String {
        let sizes: Vec<[String; 2]> = layers.iter().map(|&id| self.linear(id)).collect();
        let (first, last) = (&sizes[0], &sizes[sizes.len() - 1]);
        let bends: Vec<String> = nodes.iter().filter_map(|&id| self.part(id)).collect();
        let known = ["ReLU", "GELU", "tanh", "sigmoid"];
        let bend = self.nonlinearity(nodes).map(str::to_owned);
        let bend = bend.or_else(|| bends.into_iter().find(|part| known.contains(&part.as_str())));
        let bend = bend.map_or_else(String::new, |bend| format!(", {bend}"));
        let name = if layers.len() == 3 { "Gated MLP" } else { "MLP" };
        format!("{name} {} \u{2192} {} \u{2192} {}{bend}", first[0], first[1], last[1])
    }

    fn attention(&self, nodes: &[NodeId], inside: &[(GroupId, usize, Option<GroupId>)]) -> String {
        // Heads are the groups that others are within: their channels, and queries that share keys.
        let mut heads: Vec<String> = Vec::new();
        for &(outer, size, _) in inside {
            let mut widths: Vec<usize> = inside.iter().filter(|it| it.2 == Some(outer)).map(|it| it.1).collect();
            widths.sort_unstable();
            widths.dedup();
            heads.extend(match widths[..] {
                [] => None,
                [width] => Some(format!("{size} heads \u{d7} {width}")),
                [shared, .., width] => Some(format!("{size} \u{d7} {shared} heads \u{d7} {width}")),
            });
        }
        let sizes = nodes.iter().filter(|&&id| self.flow.is_layer(id)).map(|&id| self.linear(id));
        let width = sizes.map(|[inputs, _]| inputs).next().unwrap_or_default();
        match heads.first() {
            Some(heads) => format!("Attention, {heads}"),
            None => format!("Attention {width}").trim_end().to_owned(),
        }
    }

    /// Inputs and outputs of a linear layer, as text.
    fn linear(&self, id: NodeId) -> [String; 2] {
        let node = self.flow.node(id);
        let shape = node.input(1).and_then(|weight| self.facts.shape(weight)).map(|shape| shape.to_vec());
        let shape = shape.unwrap_or_default();
        let length = |axis: usize| shape.get(axis).map_or_else(|| "?".to_owned(), ToString::to_string);
        match &node.operator {
            Operator::Gemm(gemm) if gemm.transpose_b => [length(1), length(0)],
            _ => {
                let rank = shape.len().max(2);
                [length(rank - 2), length(rank - 1)]
            }
        }
    }

    /// ` 64`: the last length of a node's result.
    fn last_length(&self, id: NodeId) -> String {
        let shape = self.flow.node(id).output(0).and_then(|value| self.facts.shape(value));
        let last = shape.and_then(|shape| shape.last()).and_then(|dim| dim.as_known());
        last.map_or_else(String::new, |last| format!(" {last}"))
    }

    /// What one node adds to a label; nothing for biases and changes of shape.
    fn part(&self, id: NodeId) -> Option<String> {
        let node = self.flow.node(id);
        let operands = self.flow.operands(id).len();
        let weight = || node.input(1).and_then(|weight| self.facts.shape(weight)).map(|shape| shape.to_vec());
        Some(match &node.operator {
            Operator::MatMul | Operator::Gemm(_) if self.flow.is_layer(id) => {
                let [inputs, outputs] = self.linear(id);
                format!("Linear {inputs} \u{2192} {outputs}")
            }
            Operator::Conv(_) | Operator::ConvTranspose(_) if self.flow.is_layer(id) => {
                let shape: Vec<String> = weight().unwrap_or_default().iter().map(ToString::to_string).collect();
                let kernel = shape.get(2..).unwrap_or_default().join("\u{d7}");
                let (name, window, groups) = match &node.operator {
                    Operator::Conv(conv) => ("Conv", &conv.window, conv.groups),
                    Operator::ConvTranspose(conv) => ("ConvTranspose", &conv.window, conv.groups),
                    _ => return None,
                };
                let channels = |value: Option<ValueId>| {
                    let shape = value.and_then(|value| self.facts.shape(value));
                    shape.and_then(|shape| shape.get(1)).map_or_else(|| "?".to_owned(), ToString::to_string)
                };
                let mut text =
                    format!("{name} {kernel}, {} \u{2192} {}", channels(node.input(0)), channels(node.output(0)));
                if window.strides.iter().any(|&stride| stride > 1) {
                    text += &format!(", stride {}", window.strides.first().unwrap_or(&1));
                }
                if groups > 1 {
                    text += &format!(", {groups} groups");
                }
                text
            }
            Operator::Gather { .. } if self.flow.is_layer(id) => {
                let shape = node.input(0).and_then(|table| self.facts.shape(table)).map(|shape| shape.to_vec());
                let shape: Vec<String> = shape.unwrap_or_default().iter().map(ToString::to_string).collect();
                format!("Embedding {}", shape.join(" \u{d7} "))
            }
            Operator::Recurrent(recurrent) => {
                let name = match recurrent.cell {
                    Cell::Rnn => "RNN",
                    Cell::Gru { .. } => "GRU",
                    _ => "LSTM",
                };
                format!("{name} {}{}", recurrent.hidden, if recurrent.reverse { ", backwards" } else { "" })
            }
            Operator::Attention(_) => "Attention".into(),
            Operator::BatchNormalization { .. } | Operator::BatchNormalizationInTraining { .. } => "BatchNorm".into(),
            Operator::LayerNormalization { .. } => format!("LayerNorm{}", self.last_length(id)),
            Operator::InstanceNormalization { .. } => "InstanceNorm".into(),
            Operator::Unary(unary) => unary_name(unary, node.operator.name()),
            Operator::Clip => "clip".into(),
            Operator::Softmax { .. } => "softmax".into(),
            Operator::LogSoftmax { .. } => "log softmax".into(),
            Operator::Pool(pool) => {
                let name = if pool.kind == PoolKind::Max { "MaxPool" } else { "AveragePool" };
                let kernel: Vec<String> = pool.kernel.iter().map(ToString::to_string).collect();
                format!("{name} {}", kernel.join("\u{d7}"))
            }
            Operator::GlobalPool(PoolKind::Max) => "max over positions".into(),
            Operator::GlobalPool(PoolKind::Average) => "mean over positions".into(),
            Operator::Reduce(reduce) if reduce.kind == ReduceKind::Mean => "mean".into(),
            Operator::Gather { .. } => "one position".into(),
            Operator::Concat { .. } => "concatenate".into(),
            operator if is_moving(operator) => return None,
            operator if operands > 1 => joins(operator).map_or_else(|| operator.name().to_owned(), str::to_owned),
            // Biases, scales and fixed factors.
            Operator::Binary(_) | Operator::Variadic(_) => return None,
            operator => operator.name().to_owned(),
        })
    }
}

fn unary_name(unary: &Unary, name: &str) -> String {
    match unary {
        Unary::Relu => "ReLU",
        Unary::Gelu { .. } => "GELU",
        Unary::Tanh => "tanh",
        Unary::Sigmoid => "sigmoid",
        Unary::Erf => "erf",
        _ => name,
    }
    .to_owned()
}

/// The text, shortened in the middle, on one line.
pub(super) fn short(text: &str) -> String {
    let clean: Vec<char> = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if clean.len() <= MOST {
        return clean.into_iter().collect();
    }
    let half = MOST / 2 - 1;
    let (head, tail) = (&clean[..half], &clean[clean.len() - half..]);
    head.iter().chain(['\u{2026}'].iter()).chain(tail).collect()
}
