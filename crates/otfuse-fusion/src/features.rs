//! What describes a neuron by its weights.

use std::borrow::Cow;

use otfuse_graph::{AxisLayout, GroupId, Member, NodeId, Operator, Role};
use rayon::prelude::*;

use crate::map::GroupMap;
use crate::networks::Networks;
use crate::normalization::AffineNormalization;
use crate::settings::Settings;
use crate::transform::Mapper;

/// Copied numbers that are worth another thread.
const COPIED: usize = 1 << 18;

/// Elements of a large weight that are brought into rows at a time.
const PIECE: usize = 1 << 21;

/// The rows of all neurons of a group on the middle axis of an `outer x length x inner` array: row-major
/// `count x features`. `neurons` names the neuron of each index of the axis.
pub(crate) fn neuron_rows(
    data: &[f32],
    outer: usize,
    neurons: &[Option<usize>],
    inner: usize,
    count: usize,
) -> Vec<f32> {
    rows_of(&[Array { values: Cow::Borrowed(data), outer, inner }], neurons, count)
}

/// An array of an outer length x an axis of neurons x an inner length.
pub(crate) struct Array<'a> {
    pub values: Cow<'a, [f32]>,
    pub outer: usize,
    pub inner: usize,
}

/// The rows of all neurons, each of what all arrays have of it. Threads share the neurons of many numbers.
pub(crate) fn rows_of(arrays: &[Array<'_>], neurons: &[Option<usize>], count: usize) -> Vec<f32> {
    let mut indices: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, neuron) in neurons.iter().enumerate() {
        if let Some(neuron) = neuron {
            indices[*neuron].push(index);
        }
    }
    let length = neurons.len();
    let width =
        |indices: &Vec<usize>| indices.len() * arrays.iter().map(|array| array.outer * array.inner).sum::<usize>();
    let gather = |row: &mut [f32], indices: &[usize]| {
        let mut row = row;
        for Array { values, outer, inner } in arrays {
            for o in 0..*outer {
                for &index in indices {
                    let (piece, rest) = row.split_at_mut(*inner);
                    piece.copy_from_slice(&values[(o * length + index) * inner..][..*inner]);
                    row = rest;
                }
            }
        }
    };
    let mut rows = vec![0.0; indices.iter().map(width).sum()];
    let mut parts = Vec::with_capacity(count);
    let mut rest = rows.as_mut_slice();
    for indices in &indices {
        let (row, behind) = rest.split_at_mut(width(indices));
        parts.push((row, indices));
        rest = behind;
    }
    let least = (COPIED / (parts.first().map_or(0, |(row, _)| row.len()) + 1)).max(1);
    parts.into_par_iter().with_min_len(least).for_each(|(row, indices)| gather(row, indices));
    rows
}

/// Features of the neurons of groups from the weights of one model, the groups before being mapped already.
pub(crate) struct WeightFeatures<'a> {
    pub networks: &'a Networks,
    pub settings: &'a Settings,
    pub model: usize,
    /// The maps found so far; empty for the anchor itself.
    pub maps: &'a [Option<GroupMap>],
}

impl WeightFeatures<'_> {
    /// Tables of one row per neuron, one per weight that produces the group and whose inputs are mapped. Which these
    /// are does not depend on the model, so that the tables of two models match.
    pub fn of(&self, group: GroupId, ready: &dyn Fn(GroupId) -> bool) -> Vec<Vec<f32>> {
        let graph = self.networks.reference();
        let members: Vec<&Member> = self.networks.groups().group(group).members_as(Role::Producer).collect();
        let mut tables = Vec::new();
        for member in &members {
            let rank = self.networks.tensor(self.networks.anchor(), member.initializer).shape().len();
            let (id, value) = self.networks.application(member);
            let node = graph.node(id);
            let is_weight = node.inputs.first() == Some(&Some(value)) || node.input(1) == Some(value);
            if !is_linear(&node.operator) {
                // A scale or shift of a normalisation says nothing about incoming weights.
                // The rows of a table that is looked up are weights, whose inputs are the indices.
                let is_table = rank >= 2 && matches!(node.operator, Operator::Gather { .. });
                let is_shift =
                    matches!(node.operator, Operator::Binary(_) | Operator::Variadic(_) | Operator::Gather { .. });
                let counts = is_table || (is_shift && self.settings.bias_features);
                if counts && self.is_ready(member, group, ready) {
                    tables.push(self.rows(member, group, None));
                }
            } else if rank >= 2 && is_weight && self.is_ready(member, group, ready) {
                let normalization = self.settings.bias_features.then(|| self.normalization(id)).flatten();
                let scale = normalization.as_ref().map(|found| found.factors.as_slice());
                tables.push(self.rows(member, group, scale));
                if let Some(normalization) = &normalization {
                    tables.push(self.vector_rows(member, group, &normalization.shifts));
                }
            } else if rank == 1 && self.settings.bias_features && self.normalization(id).is_none() {
                tables.push(self.rows(member, group, None));
            }
        }
        tables
    }

    fn size(&self, group: GroupId) -> usize {
        self.networks.size(self.model, group)
    }

    fn normalization(&self, node: NodeId) -> Option<AffineNormalization> {
        AffineNormalization::behind(self.networks, self.model, node)
    }

    fn is_ready(&self, member: &Member, group: GroupId, ready: &dyn Fn(GroupId) -> bool) -> bool {
        let layouts = self.networks.groups().layouts(member.initializer).unwrap_or_default();
        layouts.iter().enumerate().all(|(axis, layout)| match layout {
            // What lies beside the group on its own axis does not enter its rows; what multiplies it does.
            layout if axis == member.axis => factors_beside(layout, group).iter().all(|&other| ready(other)),
            layout => layout.groups().iter().all(|&other| ready(other) && other != group),
        })
    }

    /// The rows of a member after the maps found so far, each index of the axis scaled first where a scale is given.
    fn rows(&self, member: &Member, group: GroupId, scale: Option<&[f32]>) -> Vec<f32> {
        let id = member.initializer;
        let tensor = self.networks.tensor(self.model, id);
        let layouts = self.networks.groups().layouts(id).unwrap_or_default();
        let mapper = Mapper { networks: self.networks, model: self.model, maps: self.maps };
        let keep = |other: GroupId| other == group;
        let mapped_size = |other: GroupId| match self.maps.get(other.index()).and_then(Option::as_ref) {
            Some(map) if other != group => map.targets(),
            _ => self.size(other),
        };
        let neurons = layouts[member.axis].neurons(group, &mapped_size);
        let count = self.size(group);
        let rows_of = |data: &[f32], shape: &[usize]| {
            let outer = shape[..member.axis].iter().product();
            let inner = shape[member.axis + 1..].iter().product();
            neuron_rows(data, outer, &neurons, inner, count)
        };
        if scale.is_none() && member.axis > 0 && layouts[0].is_fixed() && tensor.len() > PIECE {
            // A large table goes piece by piece into the rows, which are all that is held of it.
            let length = tensor.shape()[0];
            let step = (PIECE / (tensor.len() / length)).max(1);
            let mut rows: Vec<f32> = Vec::new();
            for first in (0..length).step_by(step) {
                let last = length.min(first + step);
                let (data, shape) = mapper.mapped_rows(id, first..last, &keep);
                let piece = rows_of(&data, &shape);
                let part = piece.len() / count.max(1);
                let width = part / (last - first) * length;
                rows.resize(width * count, 0.0);
                for (row, piece) in rows.chunks_exact_mut(width.max(1)).zip(piece.chunks_exact(part.max(1))) {
                    row[part / (last - first) * first..][..part].copy_from_slice(piece);
                }
            }
            return rows;
        }
        let mut data = self.networks.values(self.model, id);
        if let Some(scale) = scale {
            let inner: usize = tensor.shape()[member.axis + 1..].iter().product();
            for (index, chunk) in data.chunks_exact_mut(inner.max(1)).enumerate() {
                let factor = scale[index % scale.len()];
                chunk.iter_mut().for_each(|value| *value *= factor);
            }
        }
        let (data, shape) = mapper.mapped(id, data, &keep);
        rows_of(&data, &shape)
    }

    /// The rows of one number per index of the member's axis.
    fn vector_rows(&self, member: &Member, group: GroupId, values: &[f32]) -> Vec<f32> {
        let layouts = self.networks.groups().layouts(member.initializer).unwrap_or_default();
        let neurons = layouts[member.axis].neurons(group, &|group| self.size(group));
        neuron_rows(values, 1, &neurons, 1, self.size(group))
    }
}

/// Whether an operator computes weighted sums of its first input.
pub(crate) fn is_linear(operator: &Operator) -> bool {
    matches!(operator, Operator::Gemm(_) | Operator::MatMul | Operator::Conv(_) | Operator::ConvTranspose(_))
}

/// The groups that form a product with `group` on an axis.
fn factors_beside(layout: &AxisLayout, group: GroupId) -> Vec<GroupId> {
    match layout {
        AxisLayout::Group(_) | AxisLayout::Fixed(_) => Vec::new(),
        AxisLayout::Sequence(parts) => parts.iter().flat_map(|part| factors_beside(part, group)).collect(),
        AxisLayout::Product(factors) if layout.groups().contains(&group) => factors
            .iter()
            .flat_map(|factor| match factor.groups().contains(&group) {
                true => factors_beside(factor, group),
                false => factor.groups(),
            })
            .collect(),
        AxisLayout::Product(_) => Vec::new(),
    }
}
