//! What describes a neuron by its activations.

use std::collections::{BTreeMap, HashMap};

use otfuse_graph::{Graph, GroupId, NodeId, Observation, Operator, Role, Tensor, ValueId};

use crate::error::FusionError;
use crate::features::{is_linear, neuron_rows};
use crate::networks::Networks;

/// Where activations are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ActivationPoint {
    /// Behind the weighted sum, its bias, batch normalisation and residual addition, before the nonlinearity.
    #[default]
    PreActivation,
    /// Behind the nonlinearity.
    PostActivation,
}

/// What is kept of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ActivationStatistic {
    /// All of them: every sample and position is a feature.
    #[default]
    Raw,
    /// Mean and standard deviation over samples and positions.
    Moments,
}

/// The activations of one model's neuron groups on some samples.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    tables: BTreeMap<GroupId, Vec<Vec<f32>>>,
}

impl Networks<'_> {
    /// The values of a model that have to be recorded for [`Activations::new`].
    pub fn observed(&self, model: usize, point: ActivationPoint) -> Vec<ValueId> {
        let mut values: Vec<ValueId> =
            self.groups.iter().flat_map(|(group, _)| self.points(group, point)).map(|point| point.value).collect();
        values.sort();
        values.dedup();
        values.into_iter().map(|value| self.value(model, value)).collect()
    }

    /// Where the neurons of a group are observed, in the anchor's ids.
    fn points(&self, group: GroupId, point: ActivationPoint) -> Vec<Observation> {
        let graph = self.graphs[self.anchor];
        let readers = graph.consumers();
        let observations = &self.groups.group(group).observations;
        let observed = |value: ValueId| observations.iter().find(|observation| observation.value == value);
        let producers = self.groups.group(group).members_as(Role::Producer).map(|member| self.application(member).0);
        let mut points: Vec<Observation> = Vec::new();
        for node in producers.filter(|&node| is_linear(&graph.node(node).operator)) {
            let Some(found) = graph.node(node).output(0).and_then(observed) else {
                continue;
            };
            let mut found = found.clone();
            while let Some(next) = next_observed(graph, &readers, found.value, &is_affine).and_then(observed) {
                found = next.clone();
            }
            if point == ActivationPoint::PostActivation {
                let behind = next_observed(graph, &readers, found.value, &is_nonlinearity).and_then(observed);
                found = behind.unwrap_or(&found).clone();
            }
            if !points.contains(&found) {
                points.push(found);
            }
        }
        if points.is_empty() { observations.clone() } else { points }
    }
}

/// The output of the first reader of `value` of a kind; for affine steps, only if it is the only reader.
fn next_observed(
    graph: &Graph,
    readers: &HashMap<ValueId, Vec<(NodeId, usize)>>,
    value: ValueId,
    kind: &dyn Fn(&Operator) -> bool,
) -> Option<ValueId> {
    let readers = readers.get(&value)?;
    let (node, _) = readers.iter().find(|(node, _)| kind(&graph.node(*node).operator))?;
    let only = readers.iter().all(|(other, _)| other == node);
    let operator = &graph.node(*node).operator;
    if is_affine(operator) && !only {
        return None;
    }
    graph.node(*node).output(0)
}

fn is_affine(operator: &Operator) -> bool {
    use otfuse_graph::{Binary, Variadic};
    matches!(
        operator,
        Operator::BatchNormalization { .. }
            | Operator::Identity
            | Operator::Binary(Binary::Add | Binary::Sub)
            | Operator::Variadic(Variadic::Sum)
    )
}

fn is_nonlinearity(operator: &Operator) -> bool {
    matches!(operator, Operator::Unary(_) | Operator::PRelu | Operator::Clip | Operator::Softmax { .. })
}

impl Activations {
    /// Gathers the activations of a model from recorded values: one map per batch from the ids that
    /// [`Networks::observed`] named to tensors whose first axis counts samples. All models need the same samples in the
    /// same batches.
    ///
    /// # Errors
    /// A value that was not recorded, or whose shape is not that of the network.
    pub fn new(
        networks: &Networks<'_>,
        model: usize,
        point: ActivationPoint,
        statistic: ActivationStatistic,
        batches: &[HashMap<ValueId, Tensor>],
    ) -> Result<Self, FusionError> {
        let size = |group| networks.size(model, group);
        let mut tables = BTreeMap::new();
        for (group, _) in networks.groups.iter() {
            let mut of_group = Vec::new();
            for observation in networks.points(group, point) {
                let neurons = observation.layout.neurons(group, &size);
                let of_point = batches.iter().map(|batch| {
                    let id = networks.value(model, observation.value);
                    let name = &networks.graphs[model].value(id).name;
                    let error = |problem: String| FusionError::Activations { model, problem };
                    let tensor = batch.get(&id).ok_or_else(|| error(format!("'{name}' was not recorded")))?;
                    let (shape, axis) = (tensor.shape(), observation.axis);
                    let values =
                        tensor.to_f32().filter(|_| shape.get(axis) == Some(&neurons.len())).ok_or_else(|| {
                            error(format!(
                                "'{name}' has shape {shape:?}, expected {} neurons on axis {axis}",
                                neurons.len()
                            ))
                        })?;
                    let outer = shape[..axis].iter().product();
                    let inner = shape[axis + 1..].iter().product();
                    Ok(neuron_rows(&values, outer, &neurons, inner, size(group)))
                });
                let of_point = of_point.collect::<Result<Vec<_>, FusionError>>()?;
                match statistic {
                    ActivationStatistic::Raw => of_group.extend(of_point),
                    ActivationStatistic::Moments => of_group.push(moments(&of_point, size(group))),
                }
            }
            tables.insert(group, of_group);
        }
        Ok(Self { tables })
    }

    pub(crate) fn tables(&self, group: GroupId) -> &[Vec<f32>] {
        self.tables.get(&group).map_or(&[], Vec::as_slice)
    }
}

/// Mean and standard deviation of each row over several tables: `rows x 2`.
fn moments(tables: &[Vec<f32>], rows: usize) -> Vec<f32> {
    let row = |index: usize| {
        tables.iter().flat_map(move |table| {
            let width = table.len() / rows.max(1);
            table[index * width..(index + 1) * width].iter().map(|&value| f64::from(value))
        })
    };
    let statistics = (0..rows).flat_map(|index| {
        let count = row(index).count().max(1) as f64;
        let mean = row(index).sum::<f64>() / count;
        let variance = row(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        [mean as f32, variance.sqrt() as f32]
    });
    statistics.collect()
}
