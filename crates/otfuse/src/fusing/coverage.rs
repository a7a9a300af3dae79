//! How much of a network is aligned, and why the rest is not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use otfuse_fusion::Alignment;
use otfuse_graph::{AxisLayout, Graph, Member, NeuronGroups, Operator, PinReason, Tensor, ValueId};
use serde::Serialize;

use super::Group;
use super::plan::Plan;
use crate::{Error, FuseOptions, Result};

/// So many reasons, and weights of each, are shown to people; the JSON has all reasons.
const MOST_REASONS: usize = 4;
const MOST_TENSORS: usize = 3;

/// How many of the anchor's parameters are aligned: those that carry neurons whose order is free.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Coverage {
    /// Learned numbers that stand on an axis of a neuron group.
    pub aligned: usize,
    /// All learned numbers.
    pub parameters: usize,
    /// Neuron groups.
    pub groups: usize,
    /// Whether no alignment was asked for.
    pub as_asked: bool,
    /// What is not aligned, by reason, the most numbers first.
    pub rest: Vec<NotAligned>,
    /// The file, and an input of its network that it gives no axes, so that what reads it has no neurons either.
    #[serde(skip)]
    undeclared: Option<(String, String)>,
}

/// Learned numbers that are not aligned for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct NotAligned {
    /// How many.
    pub parameters: usize,
    /// Why.
    pub reason: String,
    /// The weights that they are in, the first few.
    pub tensors: Vec<String>,
}

impl Coverage {
    /// What of the anchor is aligned under a plan.
    pub(crate) fn of(group: &Group, plan: &Plan) -> Self {
        let (graph, groups) = (group.networks.graph(group.networks.anchor()), group.networks.groups());
        let mut found = if plan.settings.alignment == Alignment::None {
            let reason = "averaged index by index, as asked".to_owned();
            let rest = NotAligned { parameters: graph.parameter_count(), reason, tensors: Vec::new() };
            Self { as_asked: true, rest: vec![rest], ..Self::default() }
        } else {
            Self { groups: groups.len(), ..Self::default() }
        };
        found.parameters = graph.parameter_count();
        if !found.as_asked {
            found.walk(graph, groups);
            let is_bare = |&&input: &&ValueId| {
                graph.value(input).declared.as_ref().is_none_or(|declared| declared.shape.is_none())
            };
            let bare = graph.inputs().iter().find(is_bare);
            found.undeclared =
                bare.map(|&input| (group.path(group.networks.anchor()), graph.value(input).name.clone()));
        }
        found.rest.retain(|rest| rest.parameters > 0);
        found.rest.sort_by(|a, b| b.parameters.cmp(&a.parameters).then_with(|| a.reason.cmp(&b.reason)));
        found
    }

    fn walk(&mut self, graph: &Graph, groups: &NeuronGroups) {
        let pins = pins(groups);
        let statistics = statistics(graph);
        let is_parameter = |(id, tensor): &(ValueId, &Tensor)| {
            graph.is_weight(*id) && !tensor.shape().is_empty() && !statistics.contains(id)
        };
        let mut rest: BTreeMap<String, NotAligned> = BTreeMap::new();
        let mut seen = 0;
        for (id, tensor) in graph.initializers().filter(is_parameter) {
            let fixed = match groups.layouts(id) {
                Some(layouts) => layouts.iter().map(fixed).product(),
                None => tensor.len(),
            };
            seen += tensor.len();
            self.aligned += tensor.len() - fixed.min(tensor.len());
            if fixed == 0 {
                continue;
            }
            let reason = reason(pins.get(&id).map_or(&[], Vec::as_slice));
            let of_reason = rest.entry(reason).or_insert_with_key(|reason| NotAligned {
                parameters: 0,
                reason: reason.clone(),
                tensors: Vec::new(),
            });
            of_reason.parameters += fixed;
            if of_reason.tensors.len() < MOST_TENSORS {
                of_reason.tensors.push(graph.value(id).name.clone());
            }
        }
        self.rest = rest.into_values().collect();
        let inside = self.parameters.saturating_sub(seen);
        let reason = "in bodies of control flow, which are not aligned".to_owned();
        self.rest.push(NotAligned { parameters: inside, reason, tensors: Vec::new() });
    }

    /// Refuses networks without parameters, and that nothing is aligned unless it was asked for.
    pub(crate) fn check(&self, options: &FuseOptions) -> Result<()> {
        if self.parameters == 0 {
            return Err(Error::input("there are no parameters to fuse: the networks have no weights of floats")
                .hint("`otfuse inspect` shows what they are made of; trees and the like cannot be averaged"));
        }
        if self.as_asked || self.aligned > 0 {
            return Ok(());
        }
        let error = Error::input(format!("nothing can be aligned: {self}"));
        if let Some((file, input)) = &self.undeclared {
            return Err(error.hint(format!(
                "{file} does not say how many axes its input '{input}' has: export it with its shape, or add that in Python, for \
                 two axes: m = onnx.load(PATH); shape = m.graph.input[0].type.tensor_type.shape; \
                 [shape.dim.add(dim_param=n) for n in ('batch', 'length')]; onnx.save(m, PATH)"
            )));
        }
        Err(if options.aligned_only == Some(true) {
            error.hint("only neurons between two layers have an order of their own; `otfuse inspect` lists them")
        } else {
            error.hint(
                "`method` average averages the weights index by index, which makes sense for networks that were trained \
                 from one start; `otfuse inspect` shows what holds each axis",
            )
        })
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (all, groups) = (plural(self.parameters), plural(self.groups));
        write!(f, "{} of {} parameter{all} aligned in {} group{groups}", self.aligned, self.parameters, self.groups)?;
        if self.rest.is_empty() {
            return Ok(());
        }
        f.write_str("; not aligned: ")?;
        for (at, rest) in self.rest.iter().take(MOST_REASONS).enumerate() {
            let comma = if at > 0 { "; " } else { "" };
            write!(f, "{comma}{} {}", rest.parameters, rest.reason)?;
            if !rest.tensors.is_empty() {
                write!(f, " ({})", rest.tensors.join(", "))?;
            }
        }
        match self.rest.get(MOST_REASONS..) {
            Some(more) if !more.is_empty() => {
                let parameters: usize = more.iter().map(|rest| rest.parameters).sum();
                write!(f, "; {parameters} for {} other reason{}", more.len(), plural(more.len()))
            }
            _ => Ok(()),
        }
    }
}

/// Indices of an axis that no free neuron is on.
fn fixed(layout: &AxisLayout) -> usize {
    match layout {
        AxisLayout::Group(_) => 0,
        AxisLayout::Fixed(length) => *length,
        AxisLayout::Sequence(parts) => parts.iter().map(fixed).sum(),
        AxisLayout::Product(factors) => factors.iter().map(fixed).product(),
    }
}

/// What batch normalisations recorded in training, which counts as no parameter.
pub(super) fn statistics(graph: &Graph) -> HashSet<ValueId> {
    let normalizations =
        graph.nodes().map(|(_, node)| node).filter(|node| matches!(node.operator, Operator::BatchNormalization { .. }));
    normalizations.flat_map(|node| [node.input(3), node.input(4)]).flatten().collect()
}

/// Why axes of each weight are pinned.
fn pins(groups: &NeuronGroups) -> HashMap<ValueId, Vec<&PinReason>> {
    let mut pins: HashMap<ValueId, Vec<&PinReason>> = HashMap::new();
    for pinned in groups.pinned() {
        for Member { initializer, .. } in &pinned.members {
            pins.entry(*initializer).or_default().push(&pinned.reason);
        }
    }
    pins
}

/// The reasons of a weight's axes in words: what an operator does before the fixed ends of the network, and these before
/// anything else.
fn reason(pins: &[&PinReason]) -> String {
    let rank = |reason: &PinReason| match reason {
        PinReason::Operator { .. } | PinReason::TooManyParts => 0,
        PinReason::Constant { .. } => 1,
        PinReason::NetworkInput { .. } | PinReason::NetworkOutput { .. } => 2,
        PinReason::Position => 3,
    };
    let Some(first) = pins.iter().map(|reason| rank(reason)).min() else {
        return "on axes without neurons".to_owned();
    };
    let mut texts: Vec<String> =
        pins.iter().filter(|reason| rank(reason) == first).map(|reason| reason.to_string()).collect();
    texts.sort();
    texts.dedup();
    format!("held by {}", texts.join(" and "))
}
