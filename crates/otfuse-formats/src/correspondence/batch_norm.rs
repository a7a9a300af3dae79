//! Batch normalisations that an exporter computed into the layer before them, taken out again.
//!
//! A layer `y = W x + b` and its normalisation `gamma (y - mean) / sqrt(variance + epsilon) + beta` become one layer, from
//! which neither can be told. With the checkpoint's own tensors the graph gets both back.

use std::collections::{BTreeSet, HashMap, HashSet};

use otfuse_graph::{DataType, Graph, GraphEditor, GraphError, Node, NodeId, Operator, Tensor, ValueId};

use super::binding::{Binding, Piece, Source};
use super::names::Names;
use super::provenance::Origin;
use super::views::{Order, is_close, is_right_factor, orders};
use crate::StateDict;
use crate::model::TensorProblem;

/// PyTorch's default, where the exporter does not say which it was.
const EPSILON: f32 = 1e-5;
/// Other numbers that well-known networks add, tried where values tell.
const EPSILONS: [f32; 5] = [EPSILON, 1e-3, 1e-4, 1e-6, 1e-2];

/// A graph with its normalisations apart.
pub(super) struct Unfolded {
    pub(super) graph: Graph,
    pub(super) bindings: Vec<Binding>,
    pub(super) problems: Vec<TensorProblem>,
    pub(super) notes: Vec<String>,
    pub(super) is_changed: bool,
}

/// A normalisation of the checkpoint.
#[derive(Clone)]
struct Norm {
    mean: String,
    variance: String,
    scale: Option<String>,
    shift: Option<String>,
    /// The path of the module.
    module: String,
    channels: usize,
    /// Its place among the names of the checkpoint.
    place: usize,
}

/// A use of a layer with a constant weight, in whose outputs axis 1 has `channels` neurons.
#[derive(Clone)]
struct Layer {
    node: NodeId,
    weight: ValueId,
    key: String,
    order: Order,
    channels: usize,
    place: usize,
}

/// Takes all normalisations out that the graph has no node of.
pub(super) fn unfold(
    graph: Graph,
    origins: &HashMap<String, Origin>,
    names: &Names,
    dict: &StateDict,
    witness: Option<&StateDict>,
) -> Result<Unfolded, GraphError> {
    let known = known(&graph, origins, names);
    let norms: Vec<Norm> = norms(dict).into_iter().filter(|norm| !known.contains(&norm.mean)).collect();
    let layers = if norms.is_empty() { Vec::new() } else { layers(&graph, origins, names, dict) };
    let (pairs, problems, notes) = (Vec::new(), Vec::new(), BTreeSet::new());
    let pairing = Pairing { graph: &graph, origins, names, witness, known: &known, layers, pairs, problems, notes };
    let Pairing { pairs, problems, notes, .. } = pairing.run(norms);
    let is_changed = !pairs.is_empty();
    let mut bindings = Vec::new();
    let mut editor = GraphEditor::edit(graph);
    for (layer, norm, epsilon) in pairs {
        split(&mut editor, dict, &layer, &norm, epsilon, &mut bindings);
    }
    if is_changed {
        editor.remove_unread();
    }
    Ok(Unfolded { graph: editor.finish()?, bindings, problems, notes: notes.into_iter().collect(), is_changed })
}

/// The keys that the graph has by their names, and those of its own normalisations: equal statistics are written once.
fn known(graph: &Graph, origins: &HashMap<String, Origin>, names: &Names) -> HashSet<String> {
    let mut known: HashSet<String> =
        graph.initializers().filter_map(|(id, _)| names.key(&graph.value(id).name)).map(str::to_owned).collect();
    for (_, node) in graph.nodes() {
        let Operator::BatchNormalization { .. } = node.operator else { continue };
        let Some(origin) = origins.get(&node.name) else { continue };
        known.extend(origin.arguments.iter().filter_map(|name| names.key_of_mangled(name)).map(str::to_owned));
        if !origin.module.is_empty() {
            known.extend(names.in_module(&origin.module).into_iter().map(|(_, key)| key));
        }
    }
    known
}

fn norms(dict: &StateDict) -> Vec<Norm> {
    let places = dict.iter().enumerate();
    let norms = places.filter_map(|(place, (mean, tensor))| {
        let stem = mean.strip_suffix("running_mean")?;
        // Tensors of other lengths are those of something else.
        let fits = |key: &String| dict.get(key).is_some_and(|found| found.shape() == tensor.shape());
        let given = |name: &str| Some(format!("{stem}{name}")).filter(fits);
        let variance = given("running_var")?;
        let [scale, shift] = [given("weight"), given("bias")];
        let module = stem.trim_end_matches('.').to_owned();
        Some(Norm { mean: mean.into(), variance, scale, shift, module, channels: tensor.len(), place })
    });
    norms.collect()
}

/// The layers that a normalisation may have been computed into, with the checkpoint's weight of each.
fn layers(graph: &Graph, origins: &HashMap<String, Origin>, names: &Names, dict: &StateDict) -> Vec<Layer> {
    let place: HashMap<&str, usize> = dict.names().enumerate().map(|(place, key)| (key, place)).collect();
    let consumers = graph.consumers();
    let mut found = Vec::new();
    for (node, what) in graph.nodes() {
        let axis = match &what.operator {
            Operator::Conv(_) => 0,
            Operator::ConvTranspose(_) => 1,
            Operator::Gemm(gemm) => usize::from(!gemm.transpose_b),
            _ => continue,
        };
        let Some((weight, tensor)) = what.input(1).and_then(|id| Some((id, graph.initializer(id)?))) else { continue };
        let normalised = what.output(0).and_then(|output| consumers.get(&output)).is_some_and(|readers| {
            readers.iter().any(|(node, _)| matches!(graph.node(*node).operator, Operator::BatchNormalization { .. }))
        });
        let Some(&channels) = tensor.shape().get(axis) else { continue };
        let module = origins.get(&what.name).filter(|origin| origin.normalisation.is_none());
        let in_module = || {
            let inside = names.in_module(&module?.module);
            inside.into_iter().find(|(name, _)| name == "weight").map(|(_, key)| key)
        };
        let Some(key) = names.key(&graph.value(weight).name).map(str::to_owned).or_else(in_module) else { continue };
        let Some(own) = dict.get(&key).filter(|_| !normalised) else { continue };
        let mut fitting = orders(tensor.shape(), own.shape());
        if is_right_factor(graph, tensor, Some((node, 1))) {
            fitting.reverse();
        }
        let Some(order) = fitting.into_iter().next() else { continue };
        let place = place.get(key.as_str()).copied().unwrap_or(usize::MAX);
        found.push(Layer { node, weight, key, order, channels, place });
    }
    found
}

/// Finds the layer of each normalisation: by what the exporter says, by values, by names and order.
struct Pairing<'a> {
    graph: &'a Graph,
    origins: &'a HashMap<String, Origin>,
    names: &'a Names,
    witness: Option<&'a StateDict>,
    known: &'a HashSet<String>,
    /// Layers that have no normalisation yet.
    layers: Vec<Layer>,
    /// A layer, its normalisation and what is added to the variance.
    pairs: Vec<(Layer, Norm, f32)>,
    problems: Vec<TensorProblem>,
    notes: BTreeSet<String>,
}

impl Pairing<'_> {
    fn run(mut self, norms: Vec<Norm>) -> Self {
        let rest = self.by_origin(norms);
        let rest = self.by_values(rest);
        for norm in rest {
            self.by_name(norm);
        }
        self.used_again();
        self
    }

    /// What the exporter says: a layer that is used twice is there twice.
    fn by_origin(&mut self, norms: Vec<Norm>) -> Vec<Norm> {
        let mut open = Vec::new();
        for norm in norms {
            let is_said = |layer: &Layer| {
                let origin = self.origins.get(&self.graph.node(layer.node).name);
                let mut arguments = origin.into_iter().flat_map(|origin| &origin.arguments);
                let of_norm = arguments.any(|argument| self.names.key_of_mangled(argument) == Some(&norm.mean));
                of_norm && layer.channels == norm.channels
            };
            let said: Vec<Layer> = self.layers.extract_if(.., |layer| is_said(layer)).collect();
            if said.is_empty() {
                open.push(norm);
                continue;
            }
            for layer in said {
                let origin = self.origins.get(&self.graph.node(layer.node).name);
                let epsilon = origin.and_then(|origin| origin.normalisation);
                self.pairs.push((layer, norm.clone(), epsilon.unwrap_or(EPSILON)));
            }
        }
        open
    }

    fn by_values(&mut self, norms: Vec<Norm>) -> Vec<Norm> {
        let mut rest = Vec::new();
        for norm in norms {
            let mut equal = self.layers.iter().enumerate().filter(|(_, layer)| layer.channels == norm.channels);
            let equal =
                equal.find_map(|(at, layer)| Some((at, folded_epsilon(self.graph, self.witness?, layer, &norm)?)));
            match equal {
                Some((at, epsilon)) => self.pairs.push((self.layers.remove(at), norm, epsilon)),
                None => rest.push(norm),
            }
        }
        rest
    }

    /// Names and order: of the layers of this width the one beside it, or before it.
    fn by_name(&mut self, norm: Norm) {
        let layers = &self.layers;
        let fitting: Vec<usize> = (0..layers.len()).filter(|&at| layers[at].channels == norm.channels).collect();
        let closeness = |at: usize| {
            let layer = &layers[at];
            let module = layer.key.rsplit_once('.').map_or("", |(module, _)| module);
            let ((above, name), (norm_above, norm_name)) = (parted(module), parted(&norm.module));
            let numbers = (digits(name), digits(norm_name));
            let is_behind = layer.place < norm.place;
            let same_number = name.len() > numbers.0.len() && !numbers.0.is_empty() && numbers.0 == numbers.1;
            let distance = layer.place.abs_diff(norm.place);
            (above == norm_above, same_number, is_behind, usize::MAX - distance)
        };
        // Of two uses of one layer the earlier.
        let beside = fitting.iter().copied().rev().max_by_key(|&at| closeness(at));
        match beside.filter(|&at| closeness(at).0 && closeness(at).2) {
            Some(at) => {
                self.notes.insert(format!(
                    "the ONNX file does not say what its batch normalisations add to the variance: {EPSILON:e} is taken, \
                     PyTorch's default"
                ));
                self.pairs.push((self.layers.remove(at), norm, EPSILON));
            }
            None if self.has_layers_beside(&norm) => {
                self.problems.push(TensorProblem::Unexpected { tensor: norm.mean, found: vec![norm.channels] })
            }
            None => {}
        }
    }

    /// Whether the graph has layers of the module that a normalisation is in: a head that the graph lacks has its layers
    /// beside it in the checkpoint.
    fn has_layers_beside(&self, norm: &Norm) -> bool {
        let (above, _) = parted(&norm.module);
        let beside = |key: &str| parted(key.rsplit_once('.').map_or("", |(module, _)| module)).0 == above;
        self.layers.iter().any(|layer| beside(&layer.key)) || self.known.iter().any(|key| beside(key))
    }

    /// Layers that are used once more with the same normalisation.
    fn used_again(&mut self) {
        let tensors = |layer: &Layer| {
            let node = self.graph.node(layer.node);
            [1, 2].map(|position| node.input(position).and_then(|value| self.graph.initializer(value)))
        };
        for layer in std::mem::take(&mut self.layers) {
            let same = |(first, ..): &&(Layer, Norm, f32)| first.key == layer.key && tensors(first) == tensors(&layer);
            if let Some((_, norm, epsilon)) = self.pairs.iter().find(same).cloned() {
                self.pairs.push((layer, norm, epsilon));
            }
        }
    }
}

fn parted(module: &str) -> (&str, &str) {
    module.rsplit_once('.').unwrap_or(("", module))
}

fn digits(name: &str) -> &str {
    &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..]
}

/// The epsilon with which the normalisation, computed into the checkpoint's weight, gives the graph's.
fn folded_epsilon(graph: &Graph, dict: &StateDict, layer: &Layer, norm: &Norm) -> Option<f32> {
    let wanted = graph.initializer(layer.weight)?;
    let name = &graph.value(layer.weight).name;
    let binding = Binding::of(name, layer.order.clone(), Source::Pieces(vec![Piece::whole(&layer.key)]));
    let weight = binding.read(dict, wanted)?;
    let variance = dict.get(&norm.variance)?.to_f32()?;
    let scale = match &norm.scale {
        Some(scale) => dict.get(scale)?.to_f32()?,
        None => vec![1.0; variance.len()],
    };
    let axis = match &graph.node(layer.node).operator {
        Operator::Conv(_) => 0,
        Operator::Gemm(gemm) => usize::from(!gemm.transpose_b),
        _ => 1,
    };
    let behind: usize = weight.shape().get(axis + 1..)?.iter().product();
    let values = weight.to_f32()?;
    EPSILONS.into_iter().find(|epsilon| {
        let factor = |channel: usize| scale[channel] / (variance[channel] + epsilon).sqrt();
        let folded = values.iter().enumerate().map(|(at, value)| value * factor(at / behind % norm.channels)).collect();
        is_close(&Tensor::from_f32(weight.shape(), folded), wanted)
    })
}

/// Puts the normalisation behind the layer, which gets its own weights back.
fn split(
    editor: &mut GraphEditor,
    dict: &StateDict,
    layer: &Layer,
    norm: &Norm,
    epsilon: f32,
    bindings: &mut Vec<Binding>,
) {
    let Node { name, operator, mut inputs, outputs } = editor.graph().node(layer.node).clone();
    let Some(output) = outputs.first().copied().flatten() else { return };
    let Some(data_type) = editor.graph().initializer(layer.weight).map(Tensor::data_type) else { return };
    let mut add = |editor: &mut GraphEditor, key: &str| {
        let tensor = dict.get(key).and_then(|tensor| super::binding::cast(tensor.clone(), data_type))?;
        let value = editor.add_initializer(key, tensor);
        bindings.push(Binding::same(key, &editor.graph().value(value).name));
        Some(value)
    };
    let bias = layer.key.rsplit_once('.').map_or_else(|| "bias".to_owned(), |(module, _)| format!("{module}.bias"));
    inputs.resize(3, None);
    inputs[2] = if dict.contains(&bias) { add(editor, &bias) } else { None };
    let scale = norm.scale.as_ref().and_then(|key| add(editor, key));
    let shift = norm.shift.as_ref().and_then(|key| add(editor, key));
    let [mean, variance] = [&norm.mean, &norm.variance].map(|key| add(editor, key));
    let mut uniform = |what: &str, value: f32| {
        let tensor = Tensor::from_f32_as(float(data_type), &[norm.channels], vec![value; norm.channels]);
        editor.add_initializer(format!("{}.{what}", norm.module), tensor)
    };
    let scale = scale.unwrap_or_else(|| uniform("weight", 1.0));
    let shift = shift.unwrap_or_else(|| uniform("bias", 0.0));
    // The weight by its own name: the graph's tensor is another one.
    let value = editor.graph().value(layer.weight).name.clone();
    bindings.push(Binding::of(&value, layer.order.clone(), Source::Pieces(vec![Piece::whole(&layer.key)])));
    editor.remove_node(layer.node);
    let before = editor.add_value(format!("{}.unnormalized", editor.graph().value(output).name), None);
    editor.add_node(name.clone(), operator, inputs, vec![Some(before)]);
    let inputs = vec![Some(before), Some(scale), Some(shift), mean, variance];
    editor.add_node(
        format!("{name}.normalization"),
        Operator::BatchNormalization { epsilon },
        inputs,
        vec![Some(output)],
    );
}

fn float(data_type: DataType) -> DataType {
    if data_type.is_float() { data_type } else { DataType::F32 }
}
