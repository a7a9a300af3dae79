//! What is known of a network.

use std::collections::BTreeMap;

use otfuse_graph::{Graph, GroupId, Member, NeuronGroups, Role, ValueId};
use serde::Serialize;

use crate::diagram::{Block, Diagram};
use crate::{Context, Model, Result};

/// What is known of a network.
#[derive(Serialize)]
pub struct Inspection {
    /// The file, as it was given.
    pub path: String,
    /// Its format.
    pub format: String,
    /// The name that the file gives the network.
    pub name: String,
    /// Learned numbers.
    pub parameters: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// How often each operator stands in it.
    pub operators: BTreeMap<String, usize>,
    /// The network's inputs.
    pub inputs: Vec<Port>,
    /// The network's outputs.
    pub outputs: Vec<Port>,
    /// The network as a person would draw it.
    pub layers: Vec<DrawnLayer>,
    /// Layers that repeat.
    pub blocks: Vec<Repeated>,
    /// Neuron groups.
    pub groups: Vec<InspectedGroup>,
    /// Axes without freedom.
    pub pinned: Vec<Pinned>,
    #[serde(skip)]
    diagram: Diagram,
}

/// A box of the drawing.
#[derive(Clone, Debug, Serialize)]
pub struct DrawnLayer {
    /// What it does.
    pub label: String,
    /// The boxes that it reads, by their places in the list.
    pub inputs: Vec<usize>,
    /// The neuron groups on its result.
    pub groups: Vec<usize>,
    /// What its weights are called.
    pub weights: String,
}

/// Layers from `start` on that are there several times in a row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Repeated {
    /// The first layer.
    pub start: usize,
    /// Layers of a block.
    pub length: usize,
    /// Blocks.
    pub count: usize,
}

/// An input or output.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type, where it is known.
    pub data_type: Option<String>,
    /// The length of each axis, a number or a name, where it is known.
    pub shape: Option<Vec<String>>,
}

/// A neuron group.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedGroup {
    /// Its number.
    pub index: usize,
    /// Its neurons.
    pub size: usize,
    /// The group within each neuron of which these have an order of their own.
    pub within: Option<usize>,
    /// The axes of weights that they stand on.
    pub members: Vec<AxisOfWeight>,
}

/// A pinned axis of a weight and why it is pinned.
#[derive(Clone, Debug, Serialize)]
pub struct Pinned {
    /// The length of the axis.
    pub size: usize,
    /// The weights.
    pub members: Vec<AxisOfWeight>,
    /// Why it is pinned.
    pub reason: String,
}

/// An axis of a weight.
#[derive(Clone, Debug, Serialize)]
pub struct AxisOfWeight {
    /// The weight.
    pub tensor: String,
    /// The axis.
    pub axis: usize,
    /// `producer` or `consumer`.
    pub role: &'static str,
}

/// Looks at a network: inputs, outputs, operators, parameters, neuron groups, what is pinned and why.
///
/// # Errors
/// A network whose shapes contradict each other.
pub fn inspect(model: &Model, context: &Context) -> Result<Inspection> {
    model.notes().iter().for_each(|note| context.warn(note));
    let file = model.file()?;
    let graph = &file.graph;
    let (facts, groups) = (model.facts()?, model.groups()?);
    let diagram = Diagram::of(graph, &facts, groups);
    let mut operators = BTreeMap::new();
    for (_, node) in graph.nodes() {
        *operators.entry(node.operator.name().to_owned()).or_default() += 1;
    }
    let port = |id: &ValueId| Port {
        name: graph.value(*id).name.clone(),
        data_type: facts.data_type(*id).map(|data_type| data_type.to_string()),
        shape: facts.shape(*id).map(|shape| shape.iter().map(ToString::to_string).collect()),
    };
    let layers = diagram.units.iter().map(|unit| DrawnLayer {
        label: unit.label.clone(),
        inputs: unit.inputs.clone(),
        groups: unit.carries.iter().map(|group| group.index()).collect(),
        weights: unit.weights.clone(),
    });
    let blocks = diagram.blocks.iter().map(|&Block { start, length, count }| Repeated { start, length, count });
    let of_groups = groups.iter().map(|(id, group)| InspectedGroup {
        index: id.index(),
        size: group.size,
        within: group.within.map(GroupId::index),
        members: members(graph, &group.members),
    });
    Ok(Inspection {
        path: model.shown(),
        format: file.format().to_string(),
        name: graph.name().to_owned(),
        parameters: graph.parameter_count(),
        nodes: graph.nodes().len(),
        operators,
        inputs: graph.inputs().iter().map(port).collect(),
        outputs: graph.outputs().iter().map(port).collect(),
        layers: layers.collect(),
        blocks: blocks.collect(),
        groups: of_groups.collect(),
        pinned: pinned(graph, groups),
        diagram,
    })
}

impl Inspection {
    /// The network as a drawing of characters.
    pub fn drawing(&self) -> String {
        self.diagram.text()
    }

    /// The network drawn, repeated blocks folded and boxes coloured by neuron group, as SVG.
    pub fn svg(&self) -> String {
        self.diagram.svg(&self.path)
    }

    /// The same drawing for Graphviz.
    pub fn dot(&self) -> String {
        self.diagram.dot(&self.path)
    }
}

/// What a network's analysis left without freedom.
pub(crate) fn pinned(graph: &Graph, groups: &NeuronGroups) -> Vec<Pinned> {
    let of = |group: &otfuse_graph::PinnedGroup| Pinned {
        size: group.size,
        members: members(graph, &group.members),
        reason: group.reason.to_string(),
    };
    groups.pinned().iter().map(of).collect()
}

fn members(graph: &Graph, members: &[Member]) -> Vec<AxisOfWeight> {
    let report = |member: &Member| AxisOfWeight {
        tensor: graph.value(member.initializer).name.clone(),
        axis: member.axis,
        role: if member.role == Role::Producer { "producer" } else { "consumer" },
    };
    members.iter().map(report).collect()
}

/// Members in a few words: `fc1.weight[0], fc1.bias[0] -> fc2.weight[1]`.
pub fn brief(members: &[AxisOfWeight]) -> String {
    const MOST: usize = 2;
    let of = |role: &str| {
        let names: Vec<String> = members
            .iter()
            .filter(|member| member.role == role)
            .map(|member| format!("{}[{}]", member.tensor, member.axis))
            .collect();
        let more = names.len().saturating_sub(MOST);
        let shown = names.into_iter().take(MOST).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    match (of("producer"), of("consumer")) {
        (producers, consumers) if consumers.is_empty() => producers,
        (producers, consumers) => format!("{producers} -> {consumers}"),
    }
}
