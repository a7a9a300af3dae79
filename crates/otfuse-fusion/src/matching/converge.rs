//! The sweeps.

use std::collections::HashSet;

use otfuse_graph::GroupId;
use otfuse_transport::{Features, Permutation, Potentials, Problem, Solution, TransportPlan, cost_matrix};

use super::{Views, orders};
use crate::align::{marginals, slices};
use crate::alignment::{GroupAlignment, SavedPlan, matched_fraction, termination_name};
use crate::error::FusionError;
use crate::map::NeuronMap;
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::settings::{Settings, SweepOrder};

/// A smaller gain than this share of a group's costs is no gain but rounding.
const NEGLIGIBLE: f64 = 1e-9;

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
    networks: &Networks,
    settings: &Settings,
    model: usize,
    reference: Option<&[Vec<f32>]>,
    start: Start,
    seed: u64,
    observer: &Observer<'_>,
) -> Result<Converged, FusionError> {
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
            observer.check()?;
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
            let (left, right) =
                (Features::joined(sizes.0, &slices(&own))?, Features::joined(sizes.1, &slices(&expected))?);
            let cost = cost_matrix(self.settings.ground_cost, &left, &right)?;
            let kind = self.settings.marginals;
            let problem = Problem::new(cost, marginals(&own, sizes.0, kind)?, marginals(&expected, sizes.1, kind)?)?;
            let solution = match &self.potentials[index] {
                Some(start) => self.settings.solver.solve_from(&problem, start)?,
                None => self.settings.solver.solve(&problem)?,
            };
            let before = self.found.plans[index].as_ref().map(|plan| plan.cost(problem.cost())).transpose()?;
            let scale = problem.cost().max_abs();
            Ok((solution, before, scale, problem))
        };
        let (solution, before, scale, problem) = solve().map_err(failed)?;
        let is_better = match (&self.found.plans[index], before) {
            (Some(TransportPlan::Permutation(_)), Some(before)) if solution.plan.is_permutation() => {
                solution.cost < before - NEGLIGIBLE * scale
            }
            (Some(old), Some(_)) => old != &solution.plan && differs(old, &solution.plan),
            _ => true,
        };
        let map = NeuronMap::new(&solution.plan, problem.a(), problem.b(), self.settings.published_scaling);
        let changes = is_better && self.try_map(group, map, &solution);
        self.found.groups[index] = Some(self.describe(&name, sizes, &solution, changes, before));
        if changes {
            self.found.plans[index] = Some(solution.plan);
        }
        if let Some(alignment) = &mut self.found.groups[index]
            && let Some(plan) = &self.found.plans[index]
        {
            alignment.plan = SavedPlan::from(plan);
            alignment.matched_fraction = matched_fraction(plan);
        }
        self.potentials[index] = Some(solution.potentials);
        Ok(changes)
    }

    /// Takes the new map; where the costs depended on the old one, only if the objective itself falls.
    fn try_map(&mut self, group: GroupId, map: NeuronMap, solution: &Solution) -> bool {
        let index = group.index();
        if !(self.views.is_paired_with_itself(group) && solution.plan.is_permutation()) {
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

    fn describe(
        &self,
        name: &str,
        sizes: (usize, usize),
        solution: &Solution,
        changed: bool,
        before: Option<f64>,
    ) -> GroupAlignment {
        GroupAlignment {
            name: name.to_owned(),
            size: sizes.0,
            anchor_size: sizes.1,
            cost: if changed { solution.cost } else { before.unwrap_or(solution.cost) },
            gap: solution.gap,
            termination: termination_name(solution.termination).to_owned(),
            matched_fraction: matched_fraction(&solution.plan),
            plan: SavedPlan::from(&solution.plan),
        }
    }
}

/// Whether two plans differ by more than a thousandth of the mass.
fn differs(a: &TransportPlan, b: &TransportPlan) -> bool {
    let (a, b) = (a.to_dense(), b.to_dense());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() > 1e-3
}
