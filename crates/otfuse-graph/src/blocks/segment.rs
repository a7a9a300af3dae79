//! The pieces of a network between values that all paths pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use crate::{Graph, Node, NodeId, Operator, ValueId};

/// What lies between two values that every path from the inputs to the outputs passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// What flows in; `None` for the first segment, which the network's inputs flow into.
    pub input: Option<ValueId>,
    /// What flows out.
    pub output: ValueId,
    /// Its nodes, in an order that follows from their wiring alone: two segments of the same
    /// [signature](Self::signature) have corresponding nodes at corresponding places.
    pub nodes: Vec<NodeId>,
    /// Values that it shares with other segments, in the order in which it reads them: masks, positions, lengths.
    pub shared: Vec<ValueId>,
    /// Its operators and how they are wired; widths aside.
    pub signature: String,
    /// Whether paths part and meet again in it.
    pub is_branched: bool,
    /// Whether it holds a weight of two axes or more.
    pub has_layer: bool,
}

/// The segments of a network, from the inputs to the outputs. Paths are those of values that depend on the contents of an input
/// and on weights: masks and positions stand beside them. Empty where the network computes no such value. `O(nodes + edges)`
/// but for the sets of segments that side values are read by.
pub fn segments(graph: &Graph) -> Vec<Segment> {
    let Some(wiring) = Wiring::of(graph) else { return Vec::new() };
    let waists = wiring.waists();
    let owners = wiring.owners(&waists);
    let mut input = None;
    let mut found = Vec::with_capacity(waists.len());
    for (at, &output) in waists.iter().enumerate() {
        found.push(wiring.segment(at, input, output, &owners));
        input = Some(output);
    }
    found
}

struct Wiring<'g> {
    graph: &'g Graph,
    producers: HashMap<ValueId, NodeId>,
    readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
    /// Whether a node is on a path.
    is_main: Vec<bool>,
}

impl<'g> Wiring<'g> {
    fn of(graph: &'g Graph) -> Option<Self> {
        let mut contents: BTreeSet<ValueId> = graph.inputs().iter().copied().collect();
        let mut weighted: BTreeSet<ValueId> =
            graph.initializers().map(|(id, _)| id).filter(|id| graph.is_weight(*id)).collect();
        let mut is_main = Vec::with_capacity(graph.nodes().len());
        for (_, node) in graph.nodes() {
            let reads = |of: &BTreeSet<ValueId>| node.inputs.iter().flatten().any(|input| of.contains(input));
            let is_shape = matches!(node.operator, Operator::Shape { .. } | Operator::Size);
            let (has_contents, has_weights) = (!is_shape && reads(&contents), !is_shape && reads(&weighted));
            let outputs = || node.outputs.iter().flatten().copied();
            if has_contents {
                contents.extend(outputs());
            }
            if has_weights {
                weighted.extend(outputs());
            }
            is_main.push(has_contents && has_weights);
        }
        is_main.contains(&true).then(|| Self {
            graph,
            producers: graph.producers(),
            readers: graph.consumers(),
            is_main,
        })
    }

    fn is_main_value(&self, value: ValueId) -> bool {
        self.producers.get(&value).is_some_and(|node| self.is_main[node.index()])
    }

    /// Values behind which no other is still to be read, in topological order.
    fn waists(&self) -> Vec<ValueId> {
        let is_source = |node: &Node| !node.inputs.iter().flatten().any(|&input| self.is_main_value(input));
        let mains = || self.graph.nodes().filter(|(id, _)| self.is_main[id.index()]);
        let mut sources = mains().filter(|(_, node)| is_source(node)).count();
        let mut open: BTreeMap<ValueId, usize> = BTreeMap::new();
        let mut waists = Vec::new();
        for (_, node) in mains() {
            sources -= usize::from(is_source(node));
            for input in node.inputs.iter().flatten() {
                if let Some(count) = open.get_mut(input) {
                    *count -= 1;
                }
            }
            for &output in node.outputs.iter().flatten() {
                let readers = self.readers.get(&output).map_or(&[][..], Vec::as_slice);
                let readers = readers.iter().filter(|(reader, _)| self.is_main[reader.index()]).count();
                let ends = self.graph.outputs().iter().filter(|end| **end == output).count();
                open.insert(output, readers + ends);
            }
            open.retain(|_, count| *count > 0);
            if sources == 0
                && open.len() == 1
                && let Some(&waist) = open.keys().next()
                && waists.last() != Some(&waist)
            {
                waists.push(waist);
            }
        }
        // Several outputs end in one last segment, which has no waist of its own.
        if open.len() > 1
            && let Some(&last) = open.keys().next_back()
        {
            waists.push(last);
        }
        waists
    }

    /// For each node the segment that it belongs to; `None` for what several segments share.
    fn owners(&self, waists: &[ValueId]) -> Vec<Option<usize>> {
        let mut owners = vec![None; self.graph.nodes().len()];
        let mut at = 0;
        for (id, node) in self.graph.nodes().filter(|(id, _)| self.is_main[id.index()]) {
            owners[id.index()] = Some(at.min(waists.len().saturating_sub(1)));
            if waists.get(at).is_some_and(|&waist| node.outputs.contains(&Some(waist))) {
                at += 1;
            }
        }
        let is_own = self.follow_from_network();
        let nodes: Vec<(NodeId, &Node)> = self.graph.nodes().collect();
        for (id, node) in nodes.into_iter().rev().filter(|(id, _)| !self.is_main[id.index()]) {
            let readers = node.outputs.iter().flatten().filter_map(|output| self.readers.get(output)).flatten();
            let mut of: Vec<Option<usize>> = readers.map(|(reader, _)| owners[reader.index()]).collect();
            of.sort_unstable();
            of.dedup();
            let ends = node.outputs.iter().flatten().any(|output| self.graph.outputs().contains(output));
            let is_own = is_own[id.index()] && !ends;
            owners[id.index()] = if let ([one], true) = (of.as_slice(), is_own) { *one } else { None };
        }
        owners
    }

    /// For each node whether it follows from a weight or from a value on a path. All else would be the same in a network of
    /// another depth: masks and positions, of which several segments make use, even where there is but one.
    fn follow_from_network(&self) -> Vec<bool> {
        let mut known: BTreeSet<ValueId> =
            self.graph.initializers().map(|(id, _)| id).filter(|id| self.graph.is_weight(*id)).collect();
        let mut found = Vec::with_capacity(self.is_main.len());
        for (id, node) in self.graph.nodes() {
            let follows = self.is_main[id.index()] || node.inputs.iter().flatten().any(|input| known.contains(input));
            if follows {
                known.extend(node.outputs.iter().flatten());
            }
            found.push(follows);
        }
        found
    }

    fn segment(&self, at: usize, input: Option<ValueId>, output: ValueId, owners: &[Option<usize>]) -> Segment {
        let mut walk = Walk { wiring: self, owners, at, input, known: HashMap::new(), text: String::new() };
        let mut segment = Segment {
            input,
            output,
            nodes: Vec::new(),
            shared: Vec::new(),
            signature: String::new(),
            is_branched: false,
            has_layer: false,
        };
        walk.visit(output, &mut segment);
        let inner = |node: &Node| node.inputs.iter().flatten().filter(|&&value| self.is_main_value(value)).count() > 1;
        segment.is_branched = segment.nodes.iter().any(|&node| inner(self.graph.node(node)));
        segment.has_layer =
            segment.nodes.iter().flat_map(|&node| self.graph.node(node).inputs.iter().flatten()).any(|&value| {
                let is_wide = |tensor: &crate::Tensor| tensor.shape().iter().filter(|&&length| length > 1).count() > 1;
                self.graph.is_weight(value) && self.graph.initializer(value).is_some_and(is_wide)
            });
        segment.signature = walk.text;
        segment
    }
}

/// A walk over a segment from its end, inputs in their order.
struct Walk<'w, 'g> {
    wiring: &'w Wiring<'g>,
    owners: &'w [Option<usize>],
    at: usize,
    input: Option<ValueId>,
    /// What each node that was met is called.
    known: HashMap<NodeId, usize>,
    text: String,
}

impl Walk<'_, '_> {
    fn visit(&mut self, value: ValueId, segment: &mut Segment) {
        let graph = self.wiring.graph;
        let mut waiting = vec![(value, false)];
        // Depth first without recursion: networks are deep.
        while let Some((value, is_done)) = waiting.pop() {
            let Some(node) = self.own(value) else { continue };
            if self.known.contains_key(&node) {
                continue;
            }
            if is_done {
                self.known.insert(node, segment.nodes.len());
                segment.nodes.push(node);
                self.describe(node, segment);
            } else {
                waiting.push((value, true));
                waiting.extend(graph.node(node).inputs.iter().rev().flatten().map(|&input| (input, false)));
            }
        }
    }

    /// The node of this segment that computes a value.
    fn own(&self, value: ValueId) -> Option<NodeId> {
        let node = *self.wiring.producers.get(&value).filter(|_| Some(value) != self.input)?;
        (self.owners[node.index()] == Some(self.at)).then_some(node)
    }

    fn describe(&mut self, id: NodeId, segment: &mut Segment) {
        let graph = self.wiring.graph;
        let node = graph.node(id);
        match &node.operator {
            // A depthwise convolution has as many groups as channels.
            Operator::Conv(conv) => {
                let _ = write!(self.text, "Conv {:?} {}", conv.window, conv.groups == 1);
            }
            operator => {
                let _ = write!(self.text, "{operator:?}");
            }
        }
        self.text.push('(');
        for (position, input) in node.inputs.iter().enumerate() {
            let Some(input) = *input else {
                self.text.push_str("-,");
                continue;
            };
            if Some(input) == self.input {
                self.text.push_str("x,");
            } else if let Some(tensor) = graph.initializer(input) {
                let kernel = match &node.operator {
                    Operator::Conv(_) if position == 1 => tensor.shape().get(2..).unwrap_or_default(),
                    _ => &[],
                };
                let (rank, is_weight) = (tensor.shape().len(), graph.is_weight(input));
                let _ = write!(self.text, "w{rank}{is_weight}{kernel:?},");
            } else if let Some(at) = graph.inputs().iter().position(|of| *of == input) {
                let _ = write!(self.text, "i{at},");
            } else if let Some(other) = self.own(input) {
                let output = graph.node(other).outputs.iter().position(|of| *of == Some(input)).unwrap_or(0);
                let name = self.known.get(&other).copied().unwrap_or(usize::MAX);
                let _ = write!(self.text, "n{name}.{output},");
            } else {
                let at = segment.shared.iter().position(|of| *of == input).unwrap_or_else(|| {
                    segment.shared.push(input);
                    segment.shared.len() - 1
                });
                let _ = write!(self.text, "s{at},");
            }
        }
        self.text.push_str(");");
    }
}
