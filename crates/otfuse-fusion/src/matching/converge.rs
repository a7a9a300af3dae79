//! The sweeps.

use std::collections::HashSet;

use otfuse_graph::GroupId;
use otfuse_transport::{Permutation, Potentials, TransportPlan};

use super::{NEGLIGIBLE, Views, orders};
use crate::alignment::{AlignedModel, GroupAlignment, ModelAlignment, SavedPlan, matched_fraction};
use crate::error::FusionError;
use crate::map::{GroupMap, NeuronMap};
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::pairing::{Matched, pairing};
use crate::settings::{Settings, SweepOrder};

/// Where the sweeps begin.
pub(crate) struct Start {
    /// A map for every group, and the plan that it stands for.
    pub maps: Vec<Option<NeuronMap>>,
    pub plans: Vec<Option<TransportPlan>>,
}

impl Start {
    /// Neuron `i` is neuron `i`; needs equal widths.
    pub fn identity(networks: &Networks) -> Self {
        let plans = networks.groups().iter().map(|(group, _)| {
            Permutation::identity(networks.size(networks.anchor(), group)).map(TransportPlan::Permutation).ok()
        });
        Self { maps: vec![None; networks.groups().len()], plans: plans.collect() }
    }
}

/// What the sweeps found.
pub(crate) struct Converged {
    pub maps: Vec<Option<NeuronMap>>,
    pub plans: Vec<Option<TransportPlan>>,
    pub groups: Vec<Option<GroupAlignment>>,
    /// The objective at the start and after each sweep.
    pub objective: Vec<f64>,
    /// Whether the last sweep changed nothing.
    pub converged: bool,
}

impl Converged {
    pub fn into_aligned(self, model: usize, anchor: usize) -> AlignedModel {
        let alignment = ModelAlignment {
            model,
            anchor,
            inputs: Vec::new(),
            groups: self.groups.into_iter().flatten().collect(),
            sweeps: self.objective.len() - 1,
            converged: self.converged,
            objective: self.objective,
        };
        AlignedModel { maps: self.maps.into_iter().map(|map| map.map(GroupMap::Whole)).collect(), alignment }
    }
}

struct Sweeps<'a> {
    views: &'a Views<'a>,
    networks: &'a Networks,
    settings: &'a Settings,
    model: usize,
    reference: Option<&'a [Vec<f32>]>,
    found: Converged,
    potentials: Vec<Option<Potentials>>,
}

/// Sweeps over the groups until no map changes, or as often as the settings allow.
///
/// `reference` are tensors in the anchor's shape to align to in place of the anchor's own; `random` seeds the orders in
/// place of the settings' choice.
pub(crate) fn converge(
    views: &Views<'_>,
    settings: &Settings,
    model: usize,
    reference: Option<&[Vec<f32>]>,
    start: Start,
    seed: u64,
    observer: &Observer<'_>,
) -> Result<Converged, FusionError> {
    let networks = views.networks;
    let count = networks.groups().len();
    let objective = vec![views.objective(model, &start.maps, reference, None)];
    let groups = (0..count).map(|_| None).collect();
    let found = Converged { maps: start.maps, plans: start.plans, groups, objective, converged: false };
    let potentials = vec![None; count];
    let mut sweeps = Sweeps { views, networks, settings, model, reference, found, potentials };
    let ids: Vec<GroupId> = networks.groups().iter().map(|(group, _)| group).collect();
    let neighbours: Vec<HashSet<GroupId>> = ids.iter().map(|&group| views.neighbours(group)).collect();
    let is_random = settings.matching.order == SweepOrder::Random;
    // Only a group next to one that changed can change.
    let mut stale = vec![true; count];
    for order in orders(count, is_random.then_some(seed)).take(settings.matching.max_sweeps) {
        for index in order {
            observer.tell(Progress::Sweeping { model })?;
            if !std::mem::take(&mut stale[index]) || !sweeps.rematch(ids[index])? {
                continue;
            }
            for (other, near) in neighbours.iter().enumerate() {
                stale[other] |=
                    near.contains(&ids[index]) && (other != index || views.is_paired_with_itself(ids[index]));
            }
        }
        let objective = views.objective(model, &sweeps.found.maps, reference, None);
        sweeps.found.objective.push(objective);
        observer.tell(Progress::Swept { model })?;
        if stale.iter().all(|stale| !stale) {
            sweeps.found.converged = true;
            break;
        }
    }
    Ok(sweeps.found)
}

impl Sweeps<'_> {
    /// Matches a group given the maps of all others; whether its map changed.
    fn rematch(&mut self, group: GroupId) -> Result<bool, FusionError> {
        let (networks, index) = (self.networks, group.index());
        let name = networks.group_name(group);
        let members = self.settings.matching.members;
        let own = self.views.tables(group, self.model, &self.found.maps, None, members);
        let anchor = networks.anchor();
        let expected = self.views.tables(group, anchor, &[], self.reference, members);
        let sizes = (networks.size(self.model, group), networks.size(anchor, group));
        let failed = |source| FusionError::Transport { model: self.model, group: index, member: name.clone(), source };
        let solve = || {
            let problem = pairing(&own, &expected, sizes, self.settings)?;
            let matched = Matched::new(&problem, self.potentials[index].as_ref(), self.settings)?;
            let before = self.found.plans[index].as_ref().map(|plan| plan.cost(problem.cost())).transpose()?;
            Ok((matched, before, problem.cost().max_abs()))
        };
        let (matched, before, scale) = solve().map_err(failed)?;
        let is_permutation = matched.plan.is_permutation();
        let is_better = match (&self.found.plans[index], before) {
            (Some(TransportPlan::Permutation(_)), Some(before)) if is_permutation => {
                // A smaller gain than this share of the group's costs is no gain but rounding.
                matched.cost < before - NEGLIGIBLE * scale
            }
            (Some(old), Some(_)) => old != &matched.plan && differs(old, &matched.plan),
            _ => true,
        };
        let mut alignment = matched.alignment(&name, sizes);
        let changes = is_better && self.try_map(group, matched.map, is_permutation);
        if changes {
            self.found.plans[index] = Some(matched.plan);
        } else if let (Some(plan), Some(before)) = (&self.found.plans[index], before) {
            alignment.cost = before;
            alignment.plan = SavedPlan::from(plan);
            alignment.matched_fraction = matched_fraction(plan);
        }
        self.found.groups[index] = Some(alignment);
        self.potentials[index] = Some(matched.potentials);
        Ok(changes)
    }

    /// Takes the new map; where the costs depended on the old one, only if the objective itself falls.
    fn try_map(&mut self, group: GroupId, map: NeuronMap, is_permutation: bool) -> bool {
        let index = group.index();
        if !(self.views.is_paired_with_itself(group) && is_permutation) {
            self.found.maps[index] = Some(map);
            return true;
        }
        let objective =
            |maps: &[Option<NeuronMap>]| self.views.objective(self.model, maps, self.reference, Some(group));
        let before = objective(&self.found.maps);
        let old = self.found.maps[index].replace(map);
        let falls = objective(&self.found.maps) < before * (1.0 - NEGLIGIBLE);
        if !falls {
            self.found.maps[index] = old;
        }
        falls
    }
}

/// Whether two plans differ by more than a thousandth of the mass.
fn differs(a: &TransportPlan, b: &TransportPlan) -> bool {
    let (a, b) = (a.to_dense(), b.to_dense());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() > 1e-3
}
