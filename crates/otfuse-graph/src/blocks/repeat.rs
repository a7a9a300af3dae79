//! The blocks that a network repeats.

use std::collections::BTreeSet;

use super::{Segment, segments};
use crate::{Facts, Graph, NodeId, Operator, Shape, ValueId};

/// The most segments of a block that is found by its repetition.
const LONGEST: usize = 64;

/// A stretch of a network that begins and ends with a value that all paths pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What flows in; `None` for the first block.
    pub input: Option<ValueId>,
    /// What flows out.
    pub output: ValueId,
    /// Its nodes; blocks of one signature have corresponding nodes at corresponding places.
    pub nodes: Vec<NodeId>,
    /// Values that it shares with other blocks.
    pub shared: Vec<ValueId>,
    /// Its operators and how they are wired; widths aside.
    pub signature: String,
    /// Whether paths part and meet again in it: a residual block.
    pub is_branched: bool,
    /// Whether all axes but one have the same length behind it as in front of it.
    pub keeps_shape: bool,
    /// What it is called: its first weight, up to what all its weights' names have in common, or else its operators.
    pub name: String,
}

/// The blocks of several networks, of which one may repeat what another has once: what any of them repeats, and has the same
/// form behind it as in front of it, is a block in all of them; what is left is cut in front of its layers. Compares stretches
/// of up to 64 segments.
///
/// # Errors
/// Never for graphs whose shapes can be inferred; else the inference's.
pub fn blocks_of(graphs: &[&Graph]) -> Result<Vec<Vec<Block>>, crate::InferenceError> {
    let mut chains = Vec::with_capacity(graphs.len());
    for graph in graphs {
        chains.push((*graph, Facts::of(graph)?, segments(graph)));
    }
    let mut units: Vec<Vec<&str>> = Vec::new();
    for (_, facts, segments) in &chains {
        repeated(facts, segments, &mut units);
    }
    let all: BTreeSet<Vec<&str>> = units.into_iter().collect();
    Ok(chains.iter().map(|(graph, facts, segments)| parsed(graph, facts, segments, &all)).collect())
}

/// Adds the stretches that follow on themselves, the shortest first; those that contain others are repetitions of these.
fn repeated<'s>(facts: &Facts, segments: &'s [Segment], units: &mut Vec<Vec<&'s str>>) {
    let names: Vec<&str> = segments.iter().map(|segment| segment.signature.as_str()).collect();
    for length in 1..=LONGEST.min(names.len() / 2) {
        for start in 0..=names.len() - 2 * length {
            let (unit, next) = (&names[start..start + length], &names[start + length..start + 2 * length]);
            let (first, last) = (&segments[start], &segments[start + length - 1]);
            if unit == next
                && first.has_layer
                && keeps_shape(facts, first.input, last.output)
                && !units.iter().any(|known| unit.windows(known.len()).any(|part| part == known.as_slice()))
            {
                units.push(unit.to_vec());
            }
        }
    }
}

fn parsed(graph: &Graph, facts: &Facts, segments: &[Segment], units: &BTreeSet<Vec<&str>>) -> Vec<Block> {
    let names: Vec<&str> = segments.iter().map(|segment| segment.signature.as_str()).collect();
    let unit_at = |at: usize| {
        let fits = |unit: &&Vec<&str>| names[at..].starts_with(unit);
        units.iter().filter(fits).map(Vec::len).max()
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while at < segments.len() {
        let end = match unit_at(at) {
            Some(length) => at + length,
            None => {
                // Pooling and the like behind a layer is no part of it.
                let is_end = |next: usize| {
                    let next_layer = segments[next].has_layer || unit_at(next).is_some();
                    next_layer || (segments[at].has_layer && !is_pointwise(graph, &segments[next]))
                };
                let next = (at + 1..segments.len()).find(|&next| is_end(next));
                next.unwrap_or(segments.len())
            }
        };
        found.push(joined(graph, facts, &segments[at..end]));
        at = end;
    }
    found
}

/// Whether a segment treats each position alike: an activation or a normalisation.
fn is_pointwise(graph: &Graph, segment: &Segment) -> bool {
    use Operator::{
        BatchNormalization, Binary, Cast, Clip, GroupNormalization, Identity, InstanceNormalization,
        LayerNormalization, LocalResponseNormalization, PRelu, Unary, Variadic, Where,
    };
    segment.nodes.iter().all(|&node| {
        matches!(
            graph.node(node).operator,
            BatchNormalization { .. }
                | Binary(_)
                | Cast { .. }
                | Clip
                | GroupNormalization { .. }
                | Identity
                | InstanceNormalization { .. }
                | LayerNormalization { .. }
                | LocalResponseNormalization { .. }
                | PRelu
                | Unary(_)
                | Variadic(_)
                | Where
        )
    })
}

fn joined(graph: &Graph, facts: &Facts, segments: &[Segment]) -> Block {
    let (input, output) = (segments[0].input, segments[segments.len() - 1].output);
    let nodes: Vec<NodeId> = segments.iter().flat_map(|segment| segment.nodes.iter().copied()).collect();
    Block {
        input,
        output,
        shared: segments.iter().flat_map(|segment| segment.shared.iter().copied()).collect(),
        signature: segments.iter().map(|segment| segment.signature.as_str()).collect::<Vec<_>>().join("|"),
        is_branched: segments.iter().any(|segment| segment.is_branched),
        keeps_shape: keeps_shape(facts, input, output),
        name: name_of(graph, &nodes),
        nodes,
    }
}

/// Whether two values have as many axes, of the same lengths but for one.
fn keeps_shape(facts: &Facts, input: Option<ValueId>, output: ValueId) -> bool {
    let shapes = input.and_then(|input| Some((facts.shape(input)?, facts.shape(output)?)));
    let differing = |(a, b): (&Shape, &Shape)| a.iter().zip(b.iter()).filter(|(a, b)| a != b).count();
    shapes.is_none_or(|shapes| shapes.0.len() == shapes.1.len() && differing(shapes) <= 1) && input.is_some()
}

fn name_of(graph: &Graph, nodes: &[NodeId]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for &node in nodes {
        let weights = graph.node(node).inputs.iter().flatten().filter(|id| graph.is_weight(**id));
        names.extend(weights.map(|&id| graph.value(id).name.as_str()));
    }
    // Exporters make up names for some weights: those count that begin like the first.
    let beginning = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let first = names.first().map(|name| beginning(name));
    names.retain(|name| first.as_ref().is_none_or(|first| beginning(name) == *first));
    let Some((first, rest)) = names.split_first() else {
        let operators = nodes.iter().map(|&node| graph.node(node).operator.name());
        return operators.filter(|name| !matches!(*name, "Identity" | "Constant")).collect::<Vec<_>>().join(" ");
    };
    let common = rest.iter().fold(*first, |common, name| {
        let length = common.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        common.get(..length).unwrap_or(common)
    });
    let cut = if rest.is_empty() { first.rfind('.').map_or(*first, |at| &first[..at]) } else { common };
    match cut.rfind('.') {
        Some(at) if cut.len() == at + 1 => cut[..at].to_owned(),
        Some(at) if !rest.is_empty() => cut[..at].to_owned(),
        _ if cut.is_empty() => (*first).to_owned(),
        _ => cut.to_owned(),
    }
}

impl Block {
    /// The operators that weigh and compute, in words.
    pub fn operators(&self, graph: &Graph) -> String {
        let is_shown = |operator: &Operator| {
            !matches!(
                operator,
                Operator::Identity
                    | Operator::Reshape { .. }
                    | Operator::Transpose { .. }
                    | Operator::Shape { .. }
                    | Operator::Unsqueeze
                    | Operator::Squeeze
                    | Operator::Cast { .. }
            )
        };
        let nodes = self.nodes.iter().map(|&node| &graph.node(node).operator).filter(|operator| is_shown(operator));
        let names: Vec<&str> = nodes.map(Operator::name).collect();
        const MOST: usize = 6;
        match names.len() {
            count if count > MOST => format!("{} and {} more", names[..MOST].join(" "), count - MOST),
            _ => names.join(" "),
        }
    }
}
