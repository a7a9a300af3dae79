//! Aligning one model to the anchor: a forward sweep, then sweeps until nothing changes if the settings ask for them.

use otfuse_graph::GroupId;
use otfuse_transport::{Features, Marginals, Problem, TransportError, TransportPlan, cost_matrix};
use rayon::prelude::*;

use crate::activations::Activations;
use crate::alignment::{GroupAlignment, ModelAlignment, SavedPlan, matched_fraction, termination_name};
use crate::error::FusionError;
use crate::features::WeightFeatures;
use crate::map::NeuronMap;
use crate::matching::{Converged, Start, Views, converge};
use crate::networks::Networks;
use crate::settings::{FeatureSource, MarginalKind, Settings, SweepStart};

/// Everything about a model after its alignment.
pub(crate) struct Aligned {
    pub maps: Vec<Option<NeuronMap>>,
    pub alignment: ModelAlignment,
}

/// Aligns one model to the anchor, or to `reference` (tensors of `views` in the anchor's shape).
///
/// Several starts run side by side; of those the one with the lowest objective is taken, the first one if equal.
pub(crate) fn align(
    networks: &Networks<'_>,
    model: usize,
    settings: &Settings,
    activations: Option<&[Activations]>,
    views: Option<&Views<'_>>,
    done: &(dyn Fn(GroupId) + Sync),
) -> Result<Aligned, FusionError> {
    let matching = &settings.matching;
    let from_identity = matching.start == SweepStart::Identity
        && networks.groups.iter().all(|(id, _)| networks.size(model, id) == networks.size(networks.anchor, id));
    let (Some(views), true) = (views, settings.sweeps()) else {
        let (forward, groups) = sweep_forward(networks, model, settings, activations, done)?;
        let alignment = ModelAlignment { groups, ..ModelAlignment::new(model, networks.anchor) };
        return Ok(Aligned { maps: forward.maps, alignment });
    };
    let run = |index: usize| -> Result<Converged, FusionError> {
        let start = match from_identity {
            true => Start::identity(networks),
            false => sweep_forward(networks, model, settings, activations, done)?.0,
        };
        converge(views, networks, settings, model, None, start, matching.seed.wrapping_add(index as u64))
    };
    let runs: Vec<Converged> = (0..matching.starts.max(1)).into_par_iter().map(run).collect::<Result<_, _>>()?;
    let last = |run: &Converged| run.objective.last().copied().unwrap_or(f64::INFINITY);
    let best = runs.into_iter().reduce(|best, run| if last(&run) < last(&best) { run } else { best });
    let best = best.ok_or(FusionError::TooFewModels { found: 0 })?;
    if from_identity {
        networks.groups.iter().for_each(|(group, _)| done(group));
    }
    Ok(Aligned::new(model, networks.anchor, best))
}

impl Aligned {
    pub fn new(model: usize, anchor: usize, found: Converged) -> Self {
        let groups = found.groups.into_iter().flatten().collect();
        let (sweeps, converged) = (found.objective.len() - 1, found.converged);
        let alignment = ModelAlignment { model, anchor, groups, sweeps, converged, objective: found.objective };
        Self { maps: found.maps, alignment }
    }
}

/// One forward sweep over the groups in topological order (algorithm 1 of the paper): features, costs, plan, map.
fn sweep_forward(
    networks: &Networks<'_>,
    model: usize,
    settings: &Settings,
    activations: Option<&[Activations]>,
    done: &(dyn Fn(GroupId) + Sync),
) -> Result<(Start, Vec<GroupAlignment>), FusionError> {
    let anchor = networks.anchor;
    let mut maps: Vec<Option<NeuronMap>> = vec![None; networks.groups.len()];
    let (mut alignments, mut plans) = (Vec::with_capacity(maps.len()), Vec::with_capacity(maps.len()));
    for (group, _) in networks.groups.iter() {
        let (own, of_anchor) = match settings.features {
            FeatureSource::Weights => {
                let ready = |other: GroupId| maps[other.index()].is_some();
                let features = |model, maps| WeightFeatures { networks, settings, model, maps }.of(group, &ready);
                (features(model, &maps), features(anchor, &[]))
            }
            FeatureSource::Activations { .. } | FeatureSource::Both { .. } => {
                let of =
                    |model: usize| activations.and_then(|all| all.get(model)).map(|found| found.tables(group).to_vec());
                let missing = |model| FusionError::Activations { model, problem: "no activations were given".into() };
                (of(model).ok_or_else(|| missing(model))?, of(anchor).ok_or_else(|| missing(anchor))?)
            }
        };
        let sizes = (networks.size(model, group), networks.size(anchor, group));
        let name = networks.group_name(group);
        let (map, alignment, plan) = match_group(&own, &of_anchor, sizes, &name, settings)
            .map_err(|source| FusionError::Transport { model, group: group.index(), member: name.clone(), source })?;
        maps[group.index()] = Some(map);
        alignments.push(alignment);
        plans.push(Some(plan));
        done(group);
    }
    Ok((Start { maps, plans }, alignments))
}

fn match_group(
    own: &[Vec<f32>],
    of_anchor: &[Vec<f32>],
    (n, m): (usize, usize),
    name: &str,
    settings: &Settings,
) -> Result<(NeuronMap, GroupAlignment, TransportPlan), TransportError> {
    let (left, right) = (Features::joined(n, &slices(own))?, Features::joined(m, &slices(of_anchor))?);
    let cost = cost_matrix(settings.ground_cost, &left, &right)?;
    let (a, b) = (marginals(own, n, settings.marginals)?, marginals(of_anchor, m, settings.marginals)?);
    let problem = Problem::new(cost, a, b)?;
    let solution = settings.solver.solve(&problem)?;
    let map = NeuronMap::new(&solution.plan, problem.a(), problem.b(), settings.published_scaling);
    let alignment = GroupAlignment {
        name: name.to_owned(),
        size: n,
        anchor_size: m,
        cost: solution.cost,
        gap: solution.gap,
        termination: termination_name(solution.termination).to_owned(),
        matched_fraction: matched_fraction(&solution.plan),
        plan: SavedPlan::from(&solution.plan),
    };
    Ok((map, alignment, solution.plan))
}

pub(crate) fn slices(tables: &[Vec<f32>]) -> Vec<&[f32]> {
    tables.iter().map(Vec::as_slice).collect()
}

/// The mass of each neuron. Neurons without any weight share theirs evenly if there is nothing else.
pub(crate) fn marginals(tables: &[Vec<f32>], neurons: usize, kind: MarginalKind) -> Result<Marginals, TransportError> {
    if kind == MarginalKind::Uniform {
        return Marginals::uniform(neurons);
    }
    let norm = |neuron: usize| -> f64 {
        let rows = tables.iter().flat_map(|table| {
            let width = table.len() / neurons;
            table[neuron * width..(neuron + 1) * width].iter().map(|&value| f64::from(value))
        });
        match kind {
            MarginalKind::L2 => rows.map(|value| value * value).sum::<f64>().sqrt(),
            _ => rows.map(f64::abs).sum(),
        }
    };
    let norms: Vec<f64> = (0..neurons).map(norm).collect();
    if norms.iter().all(|&norm| norm == 0.0) { Marginals::uniform(neurons) } else { Marginals::from_weights(&norms) }
}
