//! What describes a neuron by its activations.

use std::collections::{BTreeMap, HashMap};

use otfuse_graph::{AxisLayout, Graph, GroupId, NodeId, Observation, Operator, Role, Tensor, ValueId};

use crate::error::FusionError;
use crate::features::{Array, is_linear, rows_of};
use crate::importance::Deviations;
use crate::networks::Networks;
use crate::residual::{Residual, weigh};
use crate::settings::{ActivationPoint, ActivationStatistic, Settings};
use crate::transform::{Leaf, Mapper};

/// The activations of one model's neuron groups on some samples.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    tables: BTreeMap<GroupId, Vec<Vec<f32>>>,
    /// The terms of residual streams, one table per term.
    terms: BTreeMap<GroupId, Vec<Vec<f32>>>,
    /// For groups with others inside (attention heads): where their neurons and those inside are observed together.
    families: BTreeMap<GroupId, Vec<Leaf>>,
    /// How much the network makes of the neurons of each group, where that counts.
    importance: BTreeMap<GroupId, Vec<f64>>,
}

impl Networks {
    /// The values of a model that have to be recorded for [`Activations::new`].
    pub fn observed(&self, model: usize, point: ActivationPoint) -> Vec<ValueId> {
        let of_group = |group| self.points(group, point).into_iter().chain(self.terms(group));
        let mut values: Vec<ValueId> =
            self.groups().iter().flat_map(|(group, _)| of_group(group)).map(|point| point.value).collect();
        values.sort();
        values.dedup();
        values.into_iter().map(|value| self.value(model, value)).collect()
    }

    /// Where the neurons of a group are observed, in the anchor's ids.
    pub(crate) fn points(&self, group: GroupId, point: ActivationPoint) -> Vec<Observation> {
        let graph = self.reference();
        let readers = graph.consumers();
        let observations = &self.groups().group(group).observations;
        let observed = |value: ValueId| observations.iter().find(|observation| observation.value == value);
        let producers = self.groups().group(group).members_as(Role::Producer).map(|member| self.application(member).0);
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
            | Operator::BatchNormalizationInTraining { .. }
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
        networks: &Networks,
        model: usize,
        point: ActivationPoint,
        statistic: ActivationStatistic,
        batches: &[HashMap<ValueId, Tensor>],
    ) -> Result<Self, FusionError> {
        let recorded = Recorded { networks, model, batches };
        let mut found = Self::default();
        for (group, described) in networks.groups().iter() {
            if described.within.is_some() {
                continue;
            }
            let points = networks.points(group, point);
            if networks.groups().inside(group).next().is_some() {
                let leaves = points.iter().map(|point| recorded.leaves(point)).collect::<Result<Vec<_>, _>>()?;
                found.families.insert(group, leaves.into_iter().flatten().collect());
                continue;
            }
            let tables = points.iter().map(|point| recorded.tables(group, point, statistic));
            let tables: Vec<Vec<Vec<f32>>> = tables.collect::<Result<_, _>>()?;
            found.tables.insert(group, tables.into_iter().flatten().collect());
            let terms = networks.terms(group);
            let terms = terms.iter().map(|term| recorded.table(group, term, statistic));
            found.terms.insert(group, terms.collect::<Result<_, _>>()?);
        }
        Ok(found)
    }

    /// Lets neurons count by their importance, the deviation of their sums times the norm of the weights that take them in.
    #[must_use]
    pub fn with_importance(mut self, networks: &Networks, model: usize, deviations: &Deviations) -> Self {
        let of = |group| Some((group, deviations.importance(networks, model, group)?));
        self.importance = networks.groups().iter().filter_map(|(group, _)| of(group)).collect();
        self
    }

    pub(crate) fn importance(&self, group: GroupId) -> Option<&[f64]> {
        self.importance.get(&group).map(Vec::as_slice)
    }

    pub(crate) fn tables(&self, group: GroupId) -> &[Vec<f32>] {
        self.tables.get(&group).map_or(&[], Vec::as_slice)
    }

    /// The tables that describe the neurons of a group as the settings say: of a residual stream its terms, weighed.
    pub(crate) fn described(
        &self,
        networks: &Networks,
        settings: &Settings,
        model: usize,
        group: GroupId,
    ) -> Vec<Vec<f32>> {
        if settings.residual == Residual::Sums || networks.terms(group).is_empty() {
            return self.tables(group).to_vec();
        }
        let mut terms = self.terms(group).to_vec();
        weigh(&mut terms, networks.size(model, group), settings.residual);
        terms
    }

    /// One table for each term of a residual stream; none for other groups.
    pub(crate) fn terms(&self, group: GroupId) -> &[Vec<f32>] {
        self.terms.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Where the neurons of a group are observed together with those inside of it.
    pub(crate) fn family(&self, group: GroupId) -> &[Leaf] {
        self.families.get(&group).map_or(&[], Vec::as_slice)
    }
}

/// What a model computed, batch by batch.
struct Recorded<'a> {
    networks: &'a Networks,
    model: usize,
    batches: &'a [HashMap<ValueId, Tensor>],
}

impl Recorded<'_> {
    /// The values of an observation in each batch, as arrays of outer x the axis observed x inner.
    fn arrays(&self, observation: &Observation) -> Result<Vec<Array<'_>>, FusionError> {
        let Self { networks, model, batches } = *self;
        let length = observation.layout.length(&|group| networks.size(model, group));
        let mut arrays = Vec::with_capacity(batches.len());
        for batch in batches {
            let id = networks.value(model, observation.value);
            let name = &networks.graph(model).value(id).name;
            let error = |problem: String| FusionError::Activations { model, problem };
            let tensor = batch.get(&id).ok_or_else(|| error(format!("'{name}' was not recorded")))?;
            let (shape, axis) = (tensor.shape(), observation.axis);
            let values = tensor.as_f32().filter(|_| shape.get(axis) == Some(&length)).ok_or_else(|| {
                error(format!("'{name}' has shape {shape:?}, expected {length} neurons on axis {axis}"))
            })?;
            let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
            arrays.push(Array { values, outer, inner });
        }
        Ok(arrays)
    }

    /// The tables of an observation, of one row per neuron: one for each batch, or the moments of all.
    fn tables(
        &self,
        group: GroupId,
        observation: &Observation,
        statistic: ActivationStatistic,
    ) -> Result<Vec<Vec<f32>>, FusionError> {
        let size = |group| self.networks.size(self.model, group);
        let neurons = observation.layout.neurons(group, &size);
        let arrays = self.arrays(observation)?.into_iter();
        let rows = arrays.map(|array| rows_of(&[array], &neurons, size(group)));
        let rows: Vec<Vec<f32>> = rows.collect();
        Ok(match statistic {
            ActivationStatistic::Raw => rows,
            ActivationStatistic::Moments => vec![moments(&rows, size(group))],
        })
    }

    /// The tables of all batches side by side.
    fn table(
        &self,
        group: GroupId,
        observation: &Observation,
        statistic: ActivationStatistic,
    ) -> Result<Vec<f32>, FusionError> {
        if statistic == ActivationStatistic::Moments {
            return Ok(self.tables(group, observation, statistic)?.concat());
        }
        let size = |group| self.networks.size(self.model, group);
        let neurons = observation.layout.neurons(group, &size);
        Ok(rows_of(&self.arrays(observation)?, &neurons, size(group)))
    }

    /// The observation of all batches with its axis taken apart into groups.
    fn leaves(&self, observation: &Observation) -> Result<Vec<Leaf>, FusionError> {
        let (mut samples, mut all, mut inside) = (0, Vec::new(), 1);
        for Array { values, outer, inner } in self.arrays(observation)? {
            if all.is_empty() {
                inside = inner;
            }
            if inner != inside {
                let problem = format!("batches have {inside} and {inner} positions behind the heads");
                return Err(FusionError::Activations { model: self.model, problem });
            }
            samples += outer;
            all.extend_from_slice(&values);
        }
        let layouts = [AxisLayout::Fixed(samples), (*observation.layout).clone(), AxisLayout::Fixed(inside)];
        Ok(Mapper { networks: self.networks, model: self.model, maps: &[] }.parts(all, &layouts))
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
