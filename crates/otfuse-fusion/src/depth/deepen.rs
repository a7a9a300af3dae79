//! Networks with blocks that change nothing.

use std::collections::{BTreeMap, HashMap};

use otfuse_graph::{Block, Conv, Graph, GraphEditor, NodeId, Operator, Tensor, ValueId};

use super::error::DepthError;
use super::nothing::Part;
use super::template::{Known, Template};
use super::walk::Walk;
use crate::split_mix::SplitMix;

/// A network in the form of a deeper one.
#[derive(Clone, Debug)]
pub struct Deepened {
    /// The network: nodes and names are those of the deeper one, widths and weights its own.
    pub graph: Graph,
    /// The blocks of the deeper network that its own blocks do not stand for: they change nothing.
    pub inserted: Vec<usize>,
}

/// A network in the form of a deeper one, computing what it computed. `pairs` says for each of its own blocks which block of the
/// deeper network it becomes; the deeper network's other blocks are put in so that they change nothing: residual branches end in a
/// layer of zeros, layers without a branch are identities behind rectifiers, and what is free in them is drawn at random, in the
/// size of the nearest block's. Of normalisations behind residual sums the last in a row has the scale of the first, which becomes
/// plain.
///
/// Exact but for rounding and for the constant that a repeated normalisation adds to its variance. Linear in the size of the
/// networks.
///
/// # Errors
/// Pairs that are none; a block that cannot be made to change nothing; networks that are wired otherwise beside their blocks.
pub fn deepen(
    (deep, deep_blocks): (&Graph, &[Block]),
    (own, own_blocks): (&Graph, &[Block]),
    pairs: &[(usize, usize)],
    seed: u64,
) -> Result<Deepened, DepthError> {
    let (known_deep, known_own) = (Known::of(deep, deep_blocks)?, Known::of(own, own_blocks)?);
    super::pairs::check(deep_blocks, own_blocks, pairs)?;
    let mut walk = Walk::of((deep, deep_blocks), (own, own_blocks), pairs)?;
    let mut weaver = Weaver::new(&known_deep, &known_own, seed);
    let (mut place, mut inserted) = (None, Vec::new());
    for (at, block) in deep_blocks.iter().enumerate() {
        if let Some(&(_, to)) = pairs.iter().find(|(deep, _)| *deep == at) {
            place = Some(to);
            continue;
        }
        let refused = |reason: String| DepthError::Insertion { block: block.name.clone(), reason };
        let place = place.ok_or_else(|| refused("it is the first one".into()))?;
        let template = Template::find(&known_deep, &known_own, at, place).map_err(refused)?;
        if std::ptr::eq(template.known, &raw const known_own) {
            for (&a, &b) in block.shared.iter().zip(&template.block.shared) {
                walk.follow(a, b)?;
            }
        }
        weaver.insert(at, &template, &walk)?;
        inserted.push(at);
    }
    let graph = weaver.woven(&walk)?;
    Ok(Deepened { graph, inserted })
}

/// Where a node of the new network comes from.
struct Origin<'g> {
    graph: &'g Graph,
    node: NodeId,
    /// Channels that are groups of their own.
    groups: Option<usize>,
}

/// The network on its way.
struct Cloth {
    editor: GraphEditor,
    /// The deeper network's values in it.
    values: HashMap<ValueId, ValueId>,
    /// For constants of the deeper network where they were taken from.
    taken: HashMap<ValueId, (usize, ValueId)>,
}

struct Weaver<'k, 'g> {
    deep: &'k Known<'g>,
    own: &'k Known<'g>,
    /// Nodes of blocks that are put in, by the deeper network's.
    origins: HashMap<NodeId, Origin<'g>>,
    /// Tensors by the deeper network's constants.
    tensors: BTreeMap<ValueId, Tensor>,
    random: SplitMix,
}

impl<'k, 'g> Weaver<'k, 'g> {
    fn new(deep: &'k Known<'g>, own: &'k Known<'g>, seed: u64) -> Self {
        let random = SplitMix(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6465_7074);
        Self { deep, own, origins: HashMap::new(), tensors: BTreeMap::new(), random }
    }

    fn insert(&mut self, at: usize, template: &Template<'_, 'g>, walk: &Walk<'_>) -> Result<(), DepthError> {
        let block = &self.deep.blocks[at];
        let refused = |reason: &str| DepthError::Insertion { block: block.name.clone(), reason: reason.into() };
        // Of a normalisation in front: what it has now.
        let mut in_front: HashMap<usize, Tensor> = HashMap::new();
        for (&node, &other) in block.nodes.iter().zip(&template.block.nodes) {
            let groups = template.groups.get(&other).copied();
            self.origins.insert(node, Origin { graph: template.known.graph, node: other, groups });
            let (of_deep, of_template) = (self.deep.graph.node(node), template.known.graph.node(other));
            for (a, b) in of_deep.inputs.iter().zip(&of_template.inputs) {
                let (Some(a), Some(b)) = (*a, *b) else { continue };
                if self.deep.graph.initializer(a).is_none() || self.tensors.contains_key(&a) {
                    continue;
                }
                let is_shared = self.deep.readers[&a].iter().any(|(reader, _)| !block.nodes.contains(reader));
                if is_shared && self.deep.graph.is_weight(a) {
                    return Err(refused("it shares weights with other blocks"));
                }
                let tensor = match template.parts.get(&b) {
                    Some(part @ (Part::ScaleInFront | Part::ShiftInFront)) => {
                        let position = if *part == Part::ScaleInFront { 1 } else { 2 };
                        let found = self.in_front(block, position, walk);
                        in_front.entry(position).or_insert(found.ok_or_else(|| refused("a scale is missing"))?).clone()
                    }
                    _ => {
                        let tensor = template.tensor(b, &mut self.random);
                        tensor.ok_or_else(|| refused("a weight is no tensor of floats"))?
                    }
                };
                self.tensors.insert(a, tensor);
            }
        }
        for (position, tensor) in in_front {
            let node = block.input.and_then(|input| self.deep.producers.get(&input));
            if let Some(id) = node.and_then(|node| self.deep.graph.node(*node).input(position)) {
                let value = if position == 1 { 1.0 } else { 0.0 };
                let plain = Tensor::from_f32_as(tensor.data_type(), tensor.shape(), vec![value; tensor.len()]);
                self.tensors.insert(id, plain);
            }
        }
        Ok(())
    }

    /// A weight of the normalisation that a block's input comes out of.
    fn in_front(&self, block: &Block, position: usize, walk: &Walk<'_>) -> Option<Tensor> {
        let node = *self.deep.producers.get(&block.input?)?;
        let id = self.deep.graph.node(node).input(position)?;
        self.tensors.get(&id).cloned().or_else(|| {
            let own = walk.constant(node, position)?;
            self.own.graph.initializer(own).cloned()
        })
    }

    /// The network, node by node as the deeper one.
    fn woven(&self, walk: &Walk<'g>) -> Result<Graph, DepthError> {
        let (deep, own) = (self.deep.graph, self.own.graph);
        let mut cloth = Cloth { editor: GraphEditor::new(deep.name()), values: HashMap::new(), taken: HashMap::new() };
        if deep.inputs().len() != own.inputs().len() || deep.outputs().len() != own.outputs().len() {
            return Err(DepthError::NoPairs { reason: "they have other numbers of inputs or outputs".into() });
        }
        for (&input, &of_own) in deep.inputs().iter().zip(own.inputs()) {
            let value = cloth.editor.add_value(deep.value(input).name.clone(), own.value(of_own).declared.clone());
            cloth.editor.add_input(value);
            cloth.values.insert(input, value);
        }
        for (id, _) in deep.nodes() {
            let origin = match (self.origins.get(&id), walk.nodes.get(&id)) {
                (Some(origin), _) => Origin { graph: origin.graph, node: origin.node, groups: origin.groups },
                (None, Some(&node)) => Origin { graph: own, node, groups: None },
                (None, None) => Origin { graph: deep, node: id, groups: None },
            };
            self.weave(id, &origin, &mut cloth)?;
        }
        for output in deep.outputs() {
            let reason = || DepthError::NoPairs { reason: "an output is no computed value".into() };
            cloth.editor.add_output(*cloth.values.get(output).ok_or_else(reason)?);
        }
        Ok(cloth.editor.finish()?)
    }

    /// Adds a node of the deeper network, with the operator and the constants of its origin.
    fn weave(&self, id: NodeId, origin: &Origin<'g>, cloth: &mut Cloth) -> Result<(), DepthError> {
        let deep = self.deep.graph;
        let (node, source) = (deep.node(id), origin.graph.node(origin.node));
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (position, input) in node.inputs.iter().enumerate() {
            let Some(input) = *input else {
                inputs.push(None);
                continue;
            };
            let other = source.input(position);
            if let Some(other) = other.filter(|_| deep.initializer(input).is_some()) {
                self.check_source(input, (origin.graph, other), cloth)?;
            }
            let value = match cloth.values.get(&input) {
                Some(value) => *value,
                None => self.constant(&mut cloth.editor, input, (origin.graph, other))?,
            };
            cloth.values.insert(input, value);
            inputs.push(Some(value));
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for output in &node.outputs {
            outputs.push(output.map(|output| {
                let value = cloth.editor.add_value(deep.value(output).name.clone(), None);
                cloth.values.insert(output, value);
                value
            }));
        }
        let operator = match (&source.operator, origin.groups) {
            (Operator::Conv(conv), Some(groups)) => Operator::Conv(Conv { groups, window: conv.window.clone() }),
            (operator, _) => operator.clone(),
        };
        cloth.editor.add_node(node.name.clone(), operator, inputs, outputs);
        Ok(())
    }

    /// Refuses a weight that only the deeper network has in several places.
    fn check_source(
        &self,
        id: ValueId,
        (graph, other): (&Graph, ValueId),
        cloth: &mut Cloth,
    ) -> Result<(), DepthError> {
        let from = (std::ptr::from_ref(graph).addr(), other);
        let is_other = cloth.taken.insert(id, from).is_some_and(|before| before != from);
        if !is_other || self.tensors.contains_key(&id) || !self.deep.graph.is_weight(id) {
            return Ok(());
        }
        Err(DepthError::Unlike {
            deeper: self.deep.graph.value(id).name.clone(),
            other: graph.value(other).name.clone(),
            reason: "only the deeper network has this weight in several places".into(),
        })
    }

    fn constant(
        &self,
        editor: &mut GraphEditor,
        id: ValueId,
        (graph, other): (&Graph, Option<ValueId>),
    ) -> Result<ValueId, DepthError> {
        let deep = self.deep.graph;
        let name = deep.value(id).name.clone();
        let unlike = |reason: &str| DepthError::Unlike {
            deeper: name.clone(),
            other: other.map_or_else(String::new, |other| graph.value(other).name.clone()),
            reason: reason.into(),
        };
        if deep.initializer(id).is_none() {
            return Err(unlike("it is computed behind where it is read"));
        }
        let own = other.and_then(|other| graph.initializer(other));
        let tensor = self.tensors.get(&id).or(own).ok_or_else(|| unlike("only one of them is a constant"))?.clone();
        let is_fixed = tensor.data_type().is_float() && other.is_some_and(|other| !graph.is_weight(other));
        Ok(match is_fixed {
            true => editor.add_constant(name, tensor),
            false => editor.add_initializer(name, tensor),
        })
    }
}
