//! `otfuse inspect`.

use std::collections::BTreeMap;
use std::io::Write;

use otfuse_formats::file::atomic_write;
use otfuse_graph::{Facts, Graph, Member, NeuronGroups, Role, ValueId};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::arguments::Inspect;
use crate::cli::models::{check_output, count, file_failure, open, shown};
use crate::cli::output::{Output, table};
use crate::diagram::{Block, Diagram};

/// What is known of a network.
#[derive(Serialize)]
pub struct Report {
    path: String,
    format: String,
    name: String,
    parameters: usize,
    nodes: usize,
    operators: BTreeMap<String, usize>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// The network as a person would draw it.
    layers: Vec<Layer>,
    blocks: Vec<Repeated>,
    groups: Vec<Group>,
    pinned: Vec<Pinned>,
    #[serde(skip)]
    drawing: String,
}

/// A box of the drawing.
#[derive(Serialize)]
struct Layer {
    label: String,
    /// The boxes that it reads, by their places in the list.
    inputs: Vec<usize>,
    /// The neuron groups on its result.
    groups: Vec<usize>,
    /// What its weights are called.
    weights: String,
}

/// Layers from `start` on that are there several times in a row.
#[derive(Serialize)]
struct Repeated {
    start: usize,
    length: usize,
    count: usize,
}

#[derive(Serialize)]
struct Port {
    name: String,
    data_type: Option<String>,
    shape: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Group {
    index: usize,
    size: usize,
    /// The group within each neuron of which these have an order of their own.
    within: Option<usize>,
    members: Vec<MemberReport>,
}

/// A pinned axis of a weight and why it is pinned.
#[derive(Serialize)]
pub struct Pinned {
    /// The length of the axis.
    pub size: usize,
    members: Vec<MemberReport>,
    /// Why it is pinned.
    pub reason: String,
}

impl Pinned {
    /// The weights in a few words.
    pub fn brief(&self) -> String {
        brief(&self.members)
    }
}

#[derive(Serialize)]
struct MemberReport {
    tensor: String,
    axis: usize,
    role: &'static str,
}

/// Runs the command.
pub fn run(arguments: &Inspect, output: &Output) -> Result<(), Failure> {
    let model = open(&arguments.model, &arguments.reading)?;
    let graph = &model.graph;
    let facts = Facts::of(graph).map_err(|error| Failure::input(error).of(&arguments.model))?;
    let groups = NeuronGroups::of(graph).map_err(|error| Failure::input(error).of(&arguments.model))?;
    for path in arguments.svg.iter().chain(&arguments.dot) {
        check_output(path, std::slice::from_ref(&arguments.model), None)?;
    }
    let diagram = Diagram::of(graph, &facts, &groups);
    let title = shown(&arguments.model);
    for (path, text) in [(&arguments.svg, diagram.svg(&title)), (&arguments.dot, diagram.dot(&title))] {
        if let Some(path) = path {
            atomic_write(path, |file| file.write_all(text.as_bytes())).map_err(|error| file_failure(&error))?;
        }
    }
    let mut operators = BTreeMap::new();
    for (_, node) in graph.nodes() {
        *operators.entry(node.operator.name().to_owned()).or_default() += 1;
    }
    let port = |id: &ValueId| Port {
        name: graph.value(*id).name.clone(),
        data_type: facts.data_type(*id).map(|data_type| data_type.to_string()),
        shape: facts.shape(*id).map(|shape| shape.iter().map(ToString::to_string).collect()),
    };
    let report = Report {
        path: shown(&arguments.model),
        format: model.format().to_string(),
        name: graph.name().to_owned(),
        parameters: graph.parameter_count(),
        nodes: graph.nodes().len(),
        operators,
        inputs: graph.inputs().iter().map(port).collect(),
        outputs: graph.outputs().iter().map(port).collect(),
        layers: diagram
            .units
            .iter()
            .map(|unit| Layer {
                label: unit.label.clone(),
                inputs: unit.inputs.clone(),
                groups: unit.carries.iter().map(|group| group.index()).collect(),
                weights: unit.weights.clone(),
            })
            .collect(),
        blocks: diagram
            .blocks
            .iter()
            .map(|&Block { start, length, count }| Repeated { start, length, count })
            .collect(),
        drawing: diagram.text(),
        groups: groups
            .iter()
            .map(|(id, group)| Group {
                index: id.index(),
                size: group.size,
                within: group.within.map(otfuse_graph::GroupId::index),
                members: members(graph, &group.members),
            })
            .collect(),
        pinned: pinned(graph, &groups),
    };
    output.result(&report, text)
}

/// What a network's analysis left without freedom.
pub fn pinned(graph: &Graph, groups: &NeuronGroups) -> Vec<Pinned> {
    let pinned = groups.pinned().iter();
    pinned
        .map(|group| Pinned {
            size: group.size,
            members: members(graph, &group.members),
            reason: group.reason.to_string(),
        })
        .collect()
}

fn members(graph: &Graph, members: &[Member]) -> Vec<MemberReport> {
    let report = |member: &Member| MemberReport {
        tensor: graph.value(member.initializer).name.clone(),
        axis: member.axis,
        role: if member.role == Role::Producer { "producer" } else { "consumer" },
    };
    members.iter().map(report).collect()
}

/// Members in a few words: `fc1.weight[0], fc1.bias[0] -> fc2.weight[1]`.
fn brief(members: &[MemberReport]) -> String {
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

fn text(report: &Report) -> String {
    let port = |port: &Port| {
        let shape = port.shape.as_ref().map_or("?".into(), |shape| shape.join(" x "));
        format!("{} [{shape}] {}", port.name, port.data_type.as_deref().unwrap_or("?"))
    };
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>().join(", ");
    let operators: Vec<String> = report.operators.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let groups = report.groups.iter();
    let groups = groups.map(|group| {
        let size = match group.within {
            Some(outer) => format!("{} in each of group {outer}", group.size),
            None => group.size.to_string(),
        };
        vec![group.index.to_string(), size, brief(&group.members)]
    });
    let pinned = report.pinned.iter();
    let pinned = pinned.map(|group| vec![group.size.to_string(), group.brief(), group.reason.clone()]);
    format!(
        "{} ({})\n{}, {}\ninputs:    {}\noutputs:   {}\noperators: {}\n\n{}\n\n{}\n{}\n\npinned\n{}",
        report.path,
        report.format,
        count(report.parameters, "parameter"),
        count(report.nodes, "node"),
        ports(&report.inputs),
        ports(&report.outputs),
        operators.join(", "),
        report.drawing,
        count(report.groups.len(), "neuron group"),
        table(&["group", "neurons", "producers -> consumers"], &["group", "neurons"], groups),
        table(&["size", "weights", "why"], &["size"], pinned),
    )
}
