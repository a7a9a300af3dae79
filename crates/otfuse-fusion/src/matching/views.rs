//! The tensors that matching compares.

use std::borrow::Cow;
use std::collections::HashSet;

use otfuse_graph::{AxisLayout, Graph, GroupId, NodeId, Operator, Role, ValueId};
use rayon::prelude::*;

use super::{squared_distance, squared_norm, weighed};
use crate::activations::Activations;
use crate::axis::AxisMaps;
use crate::features::neuron_rows;
use crate::map::NeuronMap;
use crate::networks::Networks;
use crate::normalization::AffineNormalization;
use crate::settings::Members;

/// A tensor of every model that carries neurons on at least one axis.
pub(crate) struct View<'a> {
    layouts: Vec<AxisLayout>,
    roles: Vec<Role>,
    /// Per model: its shape and values.
    models: Vec<(Vec<usize>, Cow<'a, [f32]>)>,
    /// The factor of its squared distances.
    pub weight: f64,
    is_activation: bool,
}

/// All tensors that matching compares, in the anchor's structure.
pub(crate) struct Views<'a> {
    pub networks: &'a Networks,
    pub views: Vec<View<'a>>,
    /// For every group the views that carry it and the axis that does.
    carriers: Vec<Vec<(usize, usize)>>,
}

/// What a model's tensors are mapped with.
pub(crate) type Maps = [Option<NeuronMap>];

impl<'a> Views<'a> {
    /// The weights of all models. With `fold` a batch normalisation behind a layer is taken into the layer's weight and
    /// becomes a shift; without, scales and shifts are tensors like others. Running statistics are left out then.
    pub fn of_weights(networks: &'a Networks, biases: bool, fold: bool) -> Self {
        let anchor = networks.reference();
        let mut done: HashSet<ValueId> = running_statistics(anchor);
        let mut views = Vec::new();
        if fold && biases {
            for (id, _) in anchor.nodes() {
                if let Some(folded) = fold_normalization(networks, id) {
                    done.extend(folded.replaced);
                    views.extend(folded.views);
                }
            }
        }
        for (id, tensor) in anchor.initializers() {
            let layouts = networks.groups().layouts(id).unwrap_or_default();
            let carries = layouts.iter().any(|layout| !layout.is_fixed());
            let wanted = biases || tensor.shape().len() >= 2;
            if !tensor.data_type().is_float() || !carries || !wanted || done.contains(&id) {
                continue;
            }
            let of_model =
                |model| (networks.tensor(model, id).shape().to_vec(), Cow::Owned(networks.values(model, id)));
            views.push(View {
                layouts: layouts.to_vec(),
                roles: (0..layouts.len()).map(|axis| networks.role(id, axis)).collect(),
                models: (0..networks.len()).map(of_model).collect(),
                weight: 1.0,
                is_activation: false,
            });
        }
        let mut views = Self { networks, views, carriers: Vec::new() };
        views.index();
        views
    }

    /// Adds recorded activations. They are scaled so that, for each group, they carry `share` of the squared norms of all
    /// that describes the group's neurons.
    pub fn add_activations(&mut self, activations: &'a [Activations], share: f64) {
        let anchor = self.networks.anchor();
        for (group, _) in self.networks.groups().iter() {
            let energy = |view: &View<'_>| view.weight * squared_norm(&view.models[anchor].1);
            let of_weights: f64 = self.carriers[group.index()].iter().map(|&(view, _)| energy(&self.views[view])).sum();
            let count = activations.get(anchor).map_or(0, |found| found.tables(group).len());
            let mut added = Vec::with_capacity(count);
            for table in 0..count {
                let of_model = |model: usize| {
                    let size = self.networks.size(model, group);
                    let values = activations.get(model).and_then(|found| found.tables(group).get(table));
                    let values = values.map_or(&[][..], Vec::as_slice);
                    (vec![size, values.len() / size.max(1)], Cow::Borrowed(values))
                };
                let models: Vec<_> = (0..self.networks.len()).map(of_model).collect();
                let layouts = vec![AxisLayout::Group(group), AxisLayout::Fixed(models[anchor].0[1])];
                let roles = vec![Role::Producer; 2];
                added.push(View { layouts, roles, models, weight: 1.0, is_activation: true });
            }
            let of_activations: f64 = added.iter().map(energy).sum();
            if of_activations > 0.0 {
                let others = if of_weights > 0.0 && share < 1.0 { of_weights / (1.0 - share) } else { 1.0 };
                added.iter_mut().for_each(|view| view.weight = share * others / of_activations);
            }
            self.views.extend(added);
        }
        if share >= 1.0 {
            self.views.retain(|view| view.is_activation);
        }
        self.index();
    }

    /// Divides the squared distances of each tensor by its mean squared norm over the models, so that all tensors count
    /// alike.
    pub fn balance(&mut self) {
        for view in &mut self.views {
            let norms: f64 = view.models.iter().map(|(_, values)| squared_norm(values)).sum();
            if norms > 0.0 {
                view.weight = view.models.len() as f64 / norms;
            }
        }
    }

    fn index(&mut self) {
        self.carriers = vec![Vec::new(); self.networks.groups().len()];
        for (index, view) in self.views.iter().enumerate() {
            for (axis, layout) in view.layouts.iter().enumerate() {
                let groups: HashSet<GroupId> = layout.groups().into_iter().collect();
                for group in groups {
                    self.carriers[group.index()].push((index, axis));
                }
            }
        }
    }

    /// The other groups on the tensors that carry a group: whose maps its costs depend on.
    pub fn neighbours(&self, group: GroupId) -> HashSet<GroupId> {
        let views = self.carriers[group.index()].iter().map(|&(view, _)| &self.views[view]);
        views.flat_map(|view| view.layouts.iter().flat_map(AxisLayout::groups)).collect()
    }

    /// Whether a tensor carries the group twice: then its costs depend on its own map.
    pub fn is_paired_with_itself(&self, group: GroupId) -> bool {
        self.carriers[group.index()].iter().any(|&(view, _)| {
            self.views[view].layouts.iter().flat_map(AxisLayout::groups).filter(|&other| other == group).count() > 1
        })
    }

    /// The rows of a group's neurons in one model, all other axes mapped: one table per tensor and axis, row-major.
    /// `given` takes the place of the model's own values (in the anchor's shape).
    pub fn tables(
        &self,
        group: GroupId,
        model: usize,
        maps: &Maps,
        given: Option<&[Vec<f32>]>,
        members: Members,
    ) -> Vec<Vec<f32>> {
        let wanted = |&&(view, axis): &&(usize, usize)| {
            members == Members::All || self.views[view].roles.get(axis) == Some(&Role::Producer)
        };
        let carriers: Vec<(usize, usize)> = self.carriers[group.index()].iter().filter(wanted).copied().collect();
        carriers.par_iter().map(|&(view, axis)| self.rows(view, axis, group, model, maps, given)).collect()
    }

    fn rows(
        &self,
        view: usize,
        axis: usize,
        group: GroupId,
        model: usize,
        maps: &Maps,
        given: Option<&[Vec<f32>]>,
    ) -> Vec<f32> {
        let anchor = self.networks.anchor();
        let model = if given.is_some() { anchor } else { model };
        let tensor = &self.views[view];
        let values = match given {
            Some(given) => Cow::Borrowed(given[view].as_slice()),
            None => Cow::Borrowed(tensor.models[model].1.as_ref()),
        };
        let (data, shape) = self.mapped(view, model, values, maps, Some((axis, group)));
        let size = |other: GroupId| match maps.get(other.index()).and_then(Option::as_ref) {
            Some(map) if other != group => map.producer.targets(),
            _ => self.networks.size(model, other),
        };
        let neurons = tensor.layouts[axis].neurons(group, &size);
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        let (own, of_anchor) = (self.networks.size(model, group), self.networks.size(anchor, group));
        weighed(neuron_rows(&data, outer, &neurons, inner, own), tensor.weight, tensor.roles[axis], (own, of_anchor))
    }

    /// A tensor with its axes mapped, and its new shape. The group on the axis that is left out keeps its neurons there.
    fn mapped<'b>(
        &self,
        view: usize,
        model: usize,
        values: Cow<'b, [f32]>,
        maps: &Maps,
        left_out: Option<(usize, GroupId)>,
    ) -> (Cow<'b, [f32]>, Vec<usize>) {
        let tensor = &self.views[view];
        let mut shape = tensor.models[model].0.clone();
        let size = |group: GroupId| self.networks.size(model, group);
        let mut data = values;
        for (axis, layout) in tensor.layouts.iter().enumerate() {
            let map = |group: GroupId| {
                let map = maps.get(group.index())?.as_ref().filter(|_| left_out != Some((axis, group)))?;
                Some(if tensor.roles[axis] == Role::Consumer { &map.consumer } else { &map.producer })
            };
            if layout.groups().into_iter().all(|group| map(group).is_none()) {
                continue;
            }
            let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
            let (mapped, length) = AxisMaps { size: &size, map: &map }.apply(data.into_owned(), outer, layout, inner);
            (data, shape[axis]) = (Cow::Owned(mapped), length);
        }
        (data, shape)
    }

    /// All tensors of a model after its maps, in the anchor's shape.
    pub fn all_mapped(&self, model: usize, maps: &Maps) -> Vec<Vec<f32>> {
        let mapped = |view: usize| {
            let values = Cow::Borrowed(self.views[view].models[model].1.as_ref());
            self.mapped(view, model, values, maps, None).0.into_owned()
        };
        (0..self.views.len()).into_par_iter().map(mapped).collect()
    }

    /// The objective: squared distances between a model's mapped tensors and the reference, or of those only that carry
    /// `group`.
    pub fn objective(&self, model: usize, maps: &Maps, reference: Option<&[Vec<f32>]>, group: Option<GroupId>) -> f64 {
        let anchor = self.networks.anchor();
        let carries = |view: &usize| match group {
            Some(group) => self.carriers[group.index()].iter().any(|(carrier, _)| carrier == view),
            None => true,
        };
        let wanted: Vec<usize> = (0..self.views.len()).filter(carries).collect();
        let distances: Vec<f64> = wanted
            .par_iter()
            .map(|&view| {
                let values = Cow::Borrowed(self.views[view].models[model].1.as_ref());
                let (mapped, _) = self.mapped(view, model, values, maps, None);
                let expected = match reference {
                    Some(reference) => reference[view].as_slice(),
                    None => self.views[view].models[anchor].1.as_ref(),
                };
                self.views[view].weight * squared_distance(&mapped, expected)
            })
            .collect();
        distances.iter().sum()
    }
}

/// The running statistics of batch normalisations.
fn running_statistics(graph: &Graph) -> HashSet<ValueId> {
    let normalizations = graph.nodes().filter(|(_, node)| matches!(node.operator, Operator::BatchNormalization { .. }));
    normalizations.flat_map(|(_, node)| [node.input(3), node.input(4)]).flatten().collect()
}

struct Folded<'a> {
    /// The initializers that the views take the place of.
    replaced: Vec<ValueId>,
    views: Vec<View<'a>>,
}

/// A linear layer with the batch normalisation behind it as one weight and one shift.
fn fold_normalization<'a>(networks: &Networks, id: NodeId) -> Option<Folded<'a>> {
    let graph = networks.reference();
    let node = graph.node(id);
    let axis = output_axis(graph, id)?;
    let weight = node.input(1)?;
    let layouts = networks.groups().layouts(weight)?.to_vec();
    if layouts.iter().all(AxisLayout::is_fixed) {
        return None;
    }
    let (mut weights, mut shifts, mut replaced) = (Vec::new(), Vec::new(), vec![weight]);
    for model in 0..networks.len() {
        let normalization = AffineNormalization::behind(networks, model, id)?;
        let tensor = networks.tensor(model, weight);
        let (shape, mut values) = (tensor.shape().to_vec(), tensor.to_f32()?);
        let channels = shape[axis];
        if normalization.factors.len() != channels {
            return None;
        }
        let inner: usize = shape[axis + 1..].iter().product();
        for (index, chunk) in values.chunks_exact_mut(inner.max(1)).enumerate() {
            chunk.iter_mut().for_each(|value| *value *= normalization.factors[index % channels]);
        }
        weights.push((shape, Cow::Owned(values)));
        shifts.push((vec![channels], Cow::Owned(normalization.shifts)));
        replaced.extend(normalization.parameters);
    }
    let roles = (0..layouts.len()).map(|axis| networks.role(weight, axis)).collect();
    let channel = layouts[axis].clone();
    let view = |layouts, roles, models| View { layouts, roles, models, weight: 1.0, is_activation: false };
    let mut views = vec![view(layouts, roles, weights)];
    if !channel.is_fixed() {
        views.push(view(vec![channel], vec![Role::Producer], shifts));
    }
    Some(Folded { replaced, views })
}

/// The axis of a linear node's weight that counts its outputs.
fn output_axis(graph: &Graph, id: NodeId) -> Option<usize> {
    let node = graph.node(id);
    let rank = graph.initializer(node.input(1)?)?.shape().len();
    match &node.operator {
        Operator::Conv(_) => Some(0),
        Operator::Gemm(gemm) => Some(usize::from(!gemm.transpose_b)),
        Operator::MatMul => rank.checked_sub(1),
        _ => None,
    }
}
