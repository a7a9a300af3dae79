//! Matching the graphs of several models.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use otfuse_graph::{
    AxisLayout, DataType, Graph, GroupId, Member, NeuronGroups, Node, NodeId, Operator, PinReason, Role, ValueId,
};

use crate::error::FusionError;
use crate::scores::correction;

/// The graphs of several models, found to be one architecture up to the sizes of their neuron groups. Values and groups
/// of all models go by the anchor's ids. A handle: copies share everything.
#[derive(Clone)]
pub struct Networks {
    shared: Arc<Shared>,
}

/// What all copies of a handle share.
struct Shared {
    graphs: Vec<Graph>,
    anchor: usize,
    groups: NeuronGroups,
    /// Per model: the anchor's value to the model's value.
    values: Vec<HashMap<ValueId, ValueId>>,
    /// Per model: the number of neurons of each group.
    sizes: Vec<Vec<usize>>,
    /// Per model: what all that produces a group is multiplied with once it is mapped.
    corrections: Vec<Vec<Option<f32>>>,
    roles: BTreeMap<(ValueId, usize), Role>,
    /// The nodes that read each value of the anchor.
    readers: HashMap<ValueId, Vec<(NodeId, usize)>>,
    /// Set once all weights are known to be finite.
    finite: OnceLock<()>,
    /// Set where weights that are not finite are let through.
    admits_nonfinite: OnceLock<()>,
}

impl std::fmt::Debug for Networks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Networks").field("models", &self.len()).field("anchor", &self.anchor()).finish_non_exhaustive()
    }
}

impl Networks {
    /// Matches the graphs to that of the model `anchor`, node by node in topological order, and finds their neuron
    /// groups. Linear in the size of the graphs, which are copied: the bytes of their tensors are shared.
    ///
    /// # Errors
    /// Fewer than two models, another architecture (the first difference is named), other sizes where they are fixed.
    pub fn new(graphs: &[&Graph], anchor: usize) -> Result<Self, FusionError> {
        Self::found(graphs, anchor, NeuronGroups::of)
    }

    /// As [`new`](Self::new), but the order of the network's outputs is free too, as in the published code: the last
    /// layer is aligned like any other, so that outputs may be permuted.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_free_outputs(graphs: &[&Graph], anchor: usize) -> Result<Self, FusionError> {
        Self::found(graphs, anchor, NeuronGroups::with_free_outputs)
    }

    fn found(
        graphs: &[&Graph],
        anchor: usize,
        analyse: impl Fn(&Graph) -> Result<NeuronGroups, otfuse_graph::InferenceError>,
    ) -> Result<Self, FusionError> {
        check_anchor(graphs.len(), anchor)?;
        let mut analyses = Vec::with_capacity(graphs.len());
        for (model, graph) in graphs.iter().enumerate() {
            analyses.push(analyse(graph).map_err(|source| FusionError::Analysis { model, source })?);
        }
        let models: Vec<(&Graph, &NeuronGroups)> = graphs.iter().copied().zip(&analyses).collect();
        Self::analysed(&models, anchor)
    }

    /// As [`new`](Self::new), for graphs whose neuron groups are known already.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn analysed(models: &[(&Graph, &NeuronGroups)], anchor: usize) -> Result<Self, FusionError> {
        check_anchor(models.len(), anchor)?;
        let (of_anchor, groups) = models[anchor];
        let roles = groups
            .iter()
            .flat_map(|(_, group)| group.members.iter())
            .map(|member| ((member.initializer, member.axis), member.role))
            .collect();
        let (mut values, mut sizes, mut corrections) = (Vec::new(), Vec::new(), Vec::new());
        for (model, &(graph, analysis)) in models.iter().enumerate() {
            let architecture = |difference| FusionError::Architecture { model, anchor, difference };
            let matched = match_values(of_anchor, graph).map_err(architecture)?;
            let of_model = match_groups(of_anchor, groups, graph, analysis, &matched, model, anchor)?;
            let corrected = groups.iter().map(|(id, group)| {
                correction((of_anchor, graph), groups, id, (of_model[id.index()], group.size), &matched)
            });
            corrections.push(corrected.collect());
            sizes.push(of_model);
            values.push(matched);
        }
        let shared = Shared {
            graphs: models.iter().map(|(graph, _)| (*graph).clone()).collect(),
            anchor,
            groups: groups.clone(),
            values,
            sizes,
            corrections,
            roles,
            readers: of_anchor.consumers(),
            finite: OnceLock::new(),
            admits_nonfinite: OnceLock::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The anchor's neuron groups.
    pub fn groups(&self) -> &NeuronGroups {
        &self.shared.groups
    }

    /// The number of models.
    pub fn len(&self) -> usize {
        self.shared.graphs.len()
    }

    /// Never: there are at least two models.
    pub fn is_empty(&self) -> bool {
        self.shared.graphs.is_empty()
    }

    /// The graph of a model.
    pub fn graph(&self, model: usize) -> &Graph {
        &self.shared.graphs[model]
    }

    /// Whether all are the same network, in whatever types its numbers are. Linear in the number of weights.
    pub fn is_one(&self) -> bool {
        let anchor = self.reference();
        let mut all = anchor.initializers();
        all.all(|(id, tensor)| (0..self.len()).all(|model| self.tensor(model, id).has_numbers_of(tensor)))
    }

    /// The graph of the anchor.
    pub(crate) fn reference(&self) -> &Graph {
        self.graph(self.anchor())
    }

    /// Lets weights through that are not finite, from now on: such a weight of the result is no error where the same weight of a
    /// model is not finite either. Neurons cannot be matched by weights that are no numbers, which stays an error.
    pub fn admit_nonfinite(&self) {
        let _ = self.shared.admits_nonfinite.set(());
    }

    /// Whether weights that are not finite are let through.
    pub(crate) fn admits_nonfinite(&self) -> bool {
        self.shared.admits_nonfinite.get().is_some()
    }

    /// Where it is noted that all weights are finite.
    pub(crate) fn finite(&self) -> &OnceLock<()> {
        &self.shared.finite
    }

    /// The index of the anchor.
    pub fn anchor(&self) -> usize {
        self.shared.anchor
    }

    /// Whether all models have the anchor's sizes.
    pub fn equal_sizes(&self) -> bool {
        self.shared.sizes.iter().all(|sizes| *sizes == self.shared.sizes[self.shared.anchor])
    }

    /// The number of neurons of a group in a model.
    pub fn size(&self, model: usize, group: GroupId) -> usize {
        self.shared.sizes[model][group.index()]
    }

    /// What all that produces a group in a model is multiplied with once it is mapped, if anything.
    pub(crate) fn correction(&self, model: usize, group: GroupId) -> Option<f32> {
        self.shared.corrections[model][group.index()]
    }

    /// The model's value that stands where `value` stands in the anchor.
    pub fn value(&self, model: usize, value: ValueId) -> ValueId {
        self.shared.values[model][&value]
    }

    /// The weight of a model that stands where `initializer` stands in the anchor.
    pub(crate) fn tensor(&self, model: usize, initializer: ValueId) -> &otfuse_graph::Tensor {
        let tensor = self.shared.graphs[model].initializer(self.value(model, initializer));
        tensor.expect("initializers were matched with initializers")
    }

    /// The values of that weight; none if the anchor's is no tensor of floats, or else the model's is one too.
    pub(crate) fn values(&self, model: usize, initializer: ValueId) -> Vec<f32> {
        self.tensor(model, initializer).to_f32().unwrap_or_default()
    }

    /// What an axis of a weight does with its neurons.
    pub(crate) fn role(&self, initializer: ValueId, axis: usize) -> Role {
        self.shared.roles.get(&(initializer, axis)).copied().unwrap_or(Role::Producer)
    }

    /// The node that a weight is applied in, behind operators that only move or convert it, and the value that this node
    /// reads.
    pub(crate) fn application(&self, member: &Member) -> (NodeId, ValueId) {
        let graph = self.reference();
        let (mut id, mut value) = (member.node, member.initializer);
        loop {
            let node = graph.node(id);
            let moves = node.operator.keeps_elements();
            let next =
                node.output(0).filter(|_| moves).and_then(|output| Some((output, self.shared.readers.get(&output)?)));
            match next.and_then(|(output, readers)| Some((output, readers.first()?.0))) {
                Some((output, reader)) => (id, value) = (reader, output),
                None => return (id, value),
            }
        }
    }

    /// The name of a group: that of its first producer.
    pub fn group_name(&self, group: GroupId) -> String {
        let members = &self.shared.groups.group(group).members;
        let producer = members.iter().find(|member| member.role == Role::Producer).or(members.first());
        producer.map_or_else(String::new, |member: &Member| self.reference().value(member.initializer).name.clone())
    }
}

/// Refuses fewer than two models and an anchor that is none of them.
fn check_anchor(models: usize, anchor: usize) -> Result<(), FusionError> {
    match models {
        0 | 1 => Err(FusionError::TooFewModels { found: models }),
        models if anchor >= models => Err(FusionError::Anchor { anchor, last: models - 1 }),
        _ => Ok(()),
    }
}

/// Weights that a graph keeps in other types than it computes with: for each as float32 the weight itself.
struct Widened(BTreeMap<ValueId, ValueId>);

impl Widened {
    fn of(graph: &Graph) -> Self {
        let widened = |node: &Node| {
            let weight = node.input(0).filter(|&weight| Self::is(graph, node, weight))?;
            Some((node.output(0)?, weight))
        };
        Self(graph.nodes().filter_map(|(_, node)| widened(node)).collect())
    }

    fn is(graph: &Graph, node: &Node, weight: ValueId) -> bool {
        let is_float = graph.initializer(weight).is_some_and(|tensor| tensor.data_type().is_float());
        matches!(node.operator, Operator::Cast { to: DataType::F32 }) && is_float && graph.is_weight(weight)
    }

    /// The weight that a value is, in whatever type.
    fn weight(&self, value: ValueId) -> ValueId {
        self.0.get(&value).copied().unwrap_or(value)
    }

    /// The nodes that do more than that.
    fn other_nodes<'g>(&'g self, graph: &'g Graph) -> impl Iterator<Item = (NodeId, &'g Node)> {
        graph.nodes().filter(|(_, node)| node.output(0).is_none_or(|output| !self.0.contains_key(&output)))
    }
}

/// Walks both graphs at once. `Err` describes the first difference.
fn match_values(anchor: &Graph, model: &Graph) -> Result<HashMap<ValueId, ValueId>, String> {
    let mut matched = HashMap::new();
    let count = |what: &str, expected: usize, found: usize| format!("it has {found} {what} instead of {expected}");
    if anchor.inputs().len() != model.inputs().len() {
        return Err(count("inputs", anchor.inputs().len(), model.inputs().len()));
    }
    matched.extend(anchor.inputs().iter().copied().zip(model.inputs().iter().copied()));
    let [of_anchor, of_model] = [anchor, model].map(Widened::of);
    for ((_, expected), (_, found)) in of_anchor.other_nodes(anchor).zip(of_model.other_nodes(model)) {
        let difference = |what: &str| {
            format!(
                "node '{}' ({}) {what} node '{}' ({}) of the anchor",
                found.name,
                found.operator.name(),
                expected.name,
                expected.operator.name()
            )
        };
        if !same_operator(expected, found) {
            return Err(difference("differs in operator or attributes from"));
        }
        if expected.inputs.len() != found.inputs.len() || expected.outputs.len() != found.outputs.len() {
            return Err(difference("has another number of inputs or outputs than"));
        }
        for (expected_input, found_input) in expected.inputs.iter().zip(&found.inputs) {
            let (expected_input, found_input) = match (expected_input, found_input) {
                (Some(expected), Some(found)) => (of_anchor.weight(*expected), of_model.weight(*found)),
                (None, None) => continue,
                _ => return Err(difference("has other inputs than")),
            };
            match matched.get(&expected_input) {
                Some(&known) if known == found_input => {}
                Some(_) if anchor.is_weight(expected_input) && model.is_weight(found_input) => {
                    return Err(format!(
                        "weights are tied otherwise (tie_word_embeddings differs): where the anchor uses '{}' once more, \
                         it has '{}'",
                        anchor.value(expected_input).name,
                        model.value(found_input).name
                    ));
                }
                Some(_) => return Err(difference("is wired otherwise than")),
                None => {
                    same_kind((anchor, expected_input, model, found_input)).map_err(difference)?;
                    matched.insert(expected_input, found_input);
                }
            }
        }
        matched.extend(
            expected.outputs.iter().zip(&found.outputs).filter_map(|(expected, found)| Some(((*expected)?, (*found)?))),
        );
    }
    let [expected, found] = [of_anchor.other_nodes(anchor).count(), of_model.other_nodes(model).count()];
    if expected != found {
        return Err(count("nodes", expected, found));
    }
    let wide: HashMap<ValueId, ValueId> = of_model.0.iter().map(|(&output, &weight)| (weight, output)).collect();
    for (&output, weight) in &of_anchor.0 {
        if let Some(place) = matched.get(weight) {
            let own = wide.get(place).unwrap_or(place);
            matched.insert(output, *own);
        }
    }
    // A weight that no node reads (it may be an output) has no place in the walk.
    for (id, expected) in anchor.initializers() {
        let name = &anchor.value(id).name;
        if let Entry::Vacant(entry) = matched.entry(id) {
            let found = model.find_value(name).and_then(|found| Some((found, model.initializer(found)?)));
            let (place, found) = found.ok_or_else(|| format!("it has no tensor '{name}'"))?;
            if found.data_type().is_float() != expected.data_type().is_float() {
                return Err(format!("its tensor '{name}' is of {}, not {}", found.data_type(), expected.data_type()));
            }
            entry.insert(place);
        }
    }
    let outputs: Vec<ValueId> = anchor.outputs().iter().filter_map(|output| matched.get(output).copied()).collect();
    if outputs != model.outputs() {
        return Err("it has other outputs".into());
    }
    Ok(matched)
}

/// Whether two constants may stand in one place; the error says how they differ.
fn same_kind((anchor, expected, model, found): (&Graph, ValueId, &Graph, ValueId)) -> Result<(), &'static str> {
    let is_weight = anchor.is_weight(expected);
    let (Some(expected), Some(found)) = (anchor.initializer(expected), model.initializer(found)) else {
        return Err("reads a computed value where there is a constant, unlike");
    };
    let kind = |tensor: &otfuse_graph::Tensor| (tensor.shape().len(), tensor.data_type().is_float());
    if kind(expected) != kind(found) {
        return Err("has a weight of another rank or type than");
    }
    let is_fixed = !is_weight && kind(expected).1;
    if is_fixed && !expected.shape().is_empty() && expected != found {
        return Err("has a constant of another value than");
    }
    Ok(())
}

/// Equal but for what follows from widths: a depthwise convolution has as many groups as channels.
fn same_operator(a: &Node, b: &Node) -> bool {
    match (&a.operator, &b.operator) {
        (Operator::Conv(a), Operator::Conv(b)) => a.window == b.window && (a.groups == 1) == (b.groups == 1),
        (a, b) => a == b,
    }
}

/// The model's size of each of the anchor's groups; checks that all weights are laid out alike.
fn match_groups(
    anchor_graph: &Graph,
    groups: &NeuronGroups,
    graph: &Graph,
    analysis: &NeuronGroups,
    matched: &HashMap<ValueId, ValueId>,
    model: usize,
    anchor: usize,
) -> Result<Vec<usize>, FusionError> {
    let mut partners: BTreeMap<GroupId, GroupId> = BTreeMap::new();
    for (id, tensor) in anchor_graph.initializers().filter(|(_, tensor)| tensor.data_type().is_float()) {
        let partner = matched[&id];
        let (Some(expected), Some(found)) = (groups.layouts(id), analysis.layouts(partner)) else {
            continue;
        };
        for (axis, (expected, found)) in expected.iter().zip(found).enumerate() {
            if pair_layouts(expected, found, &mut partners).is_some() {
                continue;
            }
            let found_shape = graph.initializer(partner).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
            return Err(FusionError::PinnedSize {
                model,
                tensor: anchor_graph.value(id).name.clone(),
                axis,
                expected: tensor.shape().to_vec(),
                found: found_shape,
                reason: pin_reason(groups, id, axis),
            });
        }
    }
    let sizes = groups.iter().map(|(id, _)| {
        let partner = partners.get(&id).copied();
        partner.map(|partner| analysis.group(partner).size).ok_or_else(|| FusionError::Architecture {
            model,
            anchor,
            difference: format!("the group of {:?} has no counterpart", groups.group(id).members.first()),
        })
    });
    sizes.collect()
}

fn pin_reason(groups: &NeuronGroups, initializer: ValueId, axis: usize) -> String {
    let on_axis =
        |members: &[Member]| members.iter().any(|member| (member.initializer, member.axis) == (initializer, axis));
    let pinned = groups.pinned().iter().find(|pinned| on_axis(&pinned.members));
    let reason = pinned.map_or(PinReason::Position, |pinned| pinned.reason.clone());
    match reason {
        PinReason::Position if groups.layouts(initializer).is_some_and(|axes| !axes[axis].is_fixed()) => {
            "its parts do not correspond".into()
        }
        reason => format!("its order is fixed ({reason})"),
    }
}

/// Pairs the groups of two layouts; `None` if their structures or fixed lengths differ.
fn pair_layouts(a: &AxisLayout, b: &AxisLayout, partners: &mut BTreeMap<GroupId, GroupId>) -> Option<()> {
    match (a, b) {
        (AxisLayout::Group(a), AxisLayout::Group(b)) => (*partners.entry(*a).or_insert(*b) == *b).then_some(()),
        (AxisLayout::Fixed(a), AxisLayout::Fixed(b)) => (a == b).then_some(()),
        (AxisLayout::Sequence(a), AxisLayout::Sequence(b)) | (AxisLayout::Product(a), AxisLayout::Product(b)) => {
            if a.len() != b.len() {
                return None;
            }
            a.iter().zip(b).try_for_each(|(a, b)| pair_layouts(a, b, partners))
        }
        _ => None,
    }
}
