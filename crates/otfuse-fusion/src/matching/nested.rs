//! Sweeps over networks with groups within groups.
//!
//! A group with others inside (attention heads) is matched together with them: the heads by what no order of their
//! channels changes, then the channels of the heads that were matched, as in the forward sweep but with all other axes in
//! the anchor's order; then the channels alone once more, given the heads. The outer step is no exact minimum of the
//! objective, so what lowers it is kept and what does not is not: with permutations the objective falls with every change.

use otfuse_graph::{AxisLayout, GroupId, Role, ValueId};
use otfuse_transport::{Marginals, Permutation, TransportError, TransportPlan};
use rayon::prelude::*;

use super::{NEGLIGIBLE, orders, squared_distance, squared_norm, weighed};
use crate::alignment::{AlignedModel, GroupAlignment, ModelAlignment, SavedPlan, matched_fraction};
use crate::error::FusionError;
use crate::features::neuron_rows;
use crate::map::{GroupMap, NeuronMap};
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::pairing::{Matched, Tables, costs};
use crate::settings::{Members, SweepOrder};
use crate::sweep::Sweep;
use crate::transform::Mapper;

/// A smaller relative change of the objective by plans that are no permutations is none.
const STEADY: f64 = 1e-4;

/// A model's sweeps.
pub(crate) struct Nested<'s> {
    sweep: Sweep<'s>,
    alignments: Vec<Option<GroupAlignment>>,
    /// The weights that carry each group.
    carriers: Vec<Vec<ValueId>>,
    /// The factor of each weight's squared distances, by its place in the graph.
    factors: Vec<f64>,
    settled: Settled,
    networks: &'s Networks,
}

/// Which groups need no other visit: the last one changed nothing, and since then nothing changed that it looks at, so that
/// another one would find the same again.
struct Settled {
    /// How many visits there were when each group changed last.
    changed: Vec<usize>,
    /// How many there were at each group's last visit, if that changed nothing.
    visited: Vec<Option<usize>>,
    visits: usize,
}

impl Settled {
    fn holds(&self, group: GroupId, mut around: impl Iterator<Item = GroupId>) -> bool {
        self.visited[group.index()].is_some_and(|visit| around.all(|other| self.changed[other.index()] <= visit))
    }

    /// Takes note of a visit to a group, and whether it changed the maps of it or of those inside.
    fn visit(&mut self, group: GroupId, inside: &[GroupId], has_changed: bool) {
        self.visits += 1;
        self.visited[group.index()] = (!has_changed).then_some(self.visits);
        for changed in inside.iter().chain([&group]).filter(|_| has_changed) {
            self.changed[changed.index()] = self.visits;
        }
    }
}

/// What became of a change of maps.
#[derive(Clone, Copy)]
struct Change {
    /// Whether it counts: the objective is lower, or another one by more than rounding.
    counts: bool,
    /// Whether the maps are others than before.
    stays: bool,
    /// The objective of the weights that carry the group.
    objective: f64,
}

impl<'s> Nested<'s> {
    /// From the maps of `sweep`, one for each group, which `alignments` describe.
    pub fn new(networks: &'s Networks, sweep: Sweep<'s>, alignments: Vec<Option<GroupAlignment>>) -> Self {
        let graph = networks.reference();
        let settings = sweep.settings;
        let mut carriers = vec![Vec::new(); networks.groups().len()];
        let mut factors = vec![1.0; graph.values().len()];
        for (id, tensor) in graph.initializers().filter(|(id, _)| graph.is_weight(*id)) {
            let layouts = networks.groups().layouts(id).unwrap_or_default();
            if tensor.shape().len() < 2 && !settings.bias_features {
                continue;
            }
            let mut on_axes: Vec<GroupId> = layouts.iter().flat_map(AxisLayout::groups).collect();
            on_axes.sort();
            on_axes.dedup();
            on_axes.iter().for_each(|group| carriers[group.index()].push(id));
            if settings.matching.balance && !on_axes.is_empty() {
                let norm = |model: usize| squared_norm(&networks.values(model, id));
                let norms = norm(networks.anchor()) + norm(sweep.model);
                factors[id.index()] = if norms > 0.0 { 2.0 / norms } else { 1.0 };
            }
        }
        let count = networks.groups().len();
        let settled = Settled { changed: vec![0; count], visited: vec![None; count], visits: 0 };
        Self { sweep, alignments, carriers, factors, settled, networks }
    }

    /// Sweeps until nothing changes, or as often as the settings allow.
    pub fn run(mut self, seed: u64, observer: &Observer<'_>) -> Result<AlignedModel, FusionError> {
        let settings = self.sweep.settings;
        let count = self.networks.groups().len();
        let is_random = settings.matching.order == SweepOrder::Random;
        let mut objective = vec![self.objective(None)];
        let mut converged = false;
        for order in orders(count, is_random.then_some(seed)).take(settings.matching.max_sweeps) {
            let mut changed = false;
            for index in order {
                observer.tell(Progress::Sweeping { model: self.sweep.model })?;
                let group = self.networks.groups().iter().nth(index).map(|(group, _)| group);
                let Some(group) = group.filter(|&group| self.networks.groups().group(group).within.is_none()) else {
                    continue;
                };
                if self.settled.holds(group, self.around(group)) {
                    continue;
                }
                let inside: Vec<GroupId> = self.networks.groups().inside(group).collect();
                let change = match inside.as_slice() {
                    [] => self.rematch(group)?,
                    inside => self.rematch_family(group, inside)?,
                };
                changed |= change.counts;
                self.settled.visit(group, &inside, change.stays);
            }
            objective.push(self.objective(None));
            observer.tell(Progress::Swept { model: self.sweep.model })?;
            if !changed {
                converged = true;
                break;
            }
        }
        self.describe_rest()?;
        let alignment = ModelAlignment {
            model: self.sweep.model,
            anchor: self.networks.anchor(),
            inputs: Vec::new(),
            groups: self.alignments.into_iter().flatten().collect(),
            sweeps: objective.len() - 1,
            converged,
            objective,
        };
        Ok(AlignedModel { maps: self.sweep.maps, alignment })
    }

    /// The groups on the weights that carry a group, itself among them.
    fn around(&self, group: GroupId) -> impl Iterator<Item = GroupId> {
        let layouts = |&id: &ValueId| self.networks.groups().layouts(id).unwrap_or_default();
        self.carriers[group.index()].iter().flat_map(layouts).flat_map(AxisLayout::groups)
    }

    /// The squared distances between the anchor's weights and the model's mapped ones, of those that carry `group`.
    fn objective(&self, group: Option<GroupId>) -> f64 {
        let Sweep { model, maps, .. } = &self.sweep;
        let all: Vec<ValueId>;
        let ids = match group {
            Some(group) => &self.carriers[group.index()],
            None => {
                let mut ids: Vec<ValueId> = self.carriers.iter().flatten().copied().collect();
                ids.sort();
                ids.dedup();
                all = ids;
                &all
            }
        };
        let distances: Vec<f64> = ids
            .par_iter()
            .map(|&id| {
                let mapped = crate::average::mapped(self.networks, *model, id, maps);
                let expected = self.networks.values(self.networks.anchor(), id);
                self.factors[id.index()] * squared_distance(&mapped, &expected)
            })
            .collect();
        distances.iter().sum()
    }

    /// Keeps what `change` does to the maps where that lowers the objective, and undoes it where not. Plans that are no
    /// permutations stay in any case, since they minimise another objective (with entropy, or with merged neurons). `before` is
    /// the objective of the weights that carry the group.
    fn attempt(
        &mut self,
        group: GroupId,
        before: f64,
        change: impl FnOnce(&mut Self) -> Result<bool, FusionError>,
    ) -> Result<Change, FusionError> {
        let (maps, plans, alignments) = (self.sweep.maps.clone(), self.sweep.plans.clone(), self.alignments.clone());
        let are_permutations = change(self)?;
        let after = self.objective(Some(group));
        if !are_permutations {
            let counts = (after - before).abs() > STEADY * before;
            return Ok(Change { counts, stays: true, objective: after });
        }
        let falls = after < before * (1.0 - NEGLIGIBLE);
        if !falls {
            (self.sweep.maps, self.sweep.plans, self.alignments) = (maps, plans, alignments);
        }
        Ok(Change { counts: falls, stays: falls, objective: if falls { after } else { before } })
    }

    /// Matches a group anew on all weights that carry it, given the maps of all others.
    fn rematch(&mut self, group: GroupId) -> Result<Change, FusionError> {
        self.attempt(group, self.objective(Some(group)), |this| {
            let (matched, sizes) = this.matched(group)?;
            let name = this.networks.group_name(group);
            this.alignments[group.index()] = Some(matched.alignment(&name, sizes));
            let is_permutation = matched.plan.is_permutation();
            this.sweep.maps[group.index()] = Some(GroupMap::Whole(matched.map));
            this.sweep.plans[group.index()] = Some(matched.plan);
            Ok(is_permutation)
        })
    }

    /// Matches a group together with those inside, then those inside alone.
    fn rematch_family(&mut self, outer: GroupId, inside: &[GroupId]) -> Result<Change, FusionError> {
        // The maps of the family itself are no part of what it is described by.
        self.sweep.forget();
        let mut found = self.attempt(outer, self.objective(Some(outer)), |this| {
            this.sweep.maps[outer.index()] = None;
            inside.iter().for_each(|inner| this.sweep.maps[inner.index()] = None);
            let (own, of_anchor) = this.sweep.tables(outer)?;
            let sizes = this.sizes(outer);
            let name = this.networks.group_name(outer);
            let matched = Matched::of(&own, &of_anchor, sizes, this.sweep.settings)
                .map_err(|source| this.failure(outer, source))?;
            this.alignments[outer.index()] = Some(matched.alignment(&name, sizes));
            let mut are_permutations = matched.plan.is_permutation();
            this.sweep.maps[outer.index()] = Some(GroupMap::Whole(matched.map));
            this.sweep.plans[outer.index()] = Some(matched.plan);
            for &inner in inside {
                are_permutations &= this.match_inside(inner, outer)?;
            }
            Ok(are_permutations)
        })?;
        for &inner in inside {
            let channels = self.attempt(outer, found.objective, |this| {
                let is_permutation = this.match_inside(inner, outer)?;
                Ok(is_permutation && this.is_permutation(outer))
            })?;
            let (counts, stays) = (found.counts | channels.counts, found.stays | channels.stays);
            found = Change { counts, stays, objective: channels.objective };
        }
        Ok(found)
    }

    fn match_inside(&mut self, inner: GroupId, outer: GroupId) -> Result<bool, FusionError> {
        let name = self.networks.group_name(inner);
        let (map, alignment) = self.sweep.match_inside(inner, outer, &name)?;
        let is_permutation = matches!(alignment.plan, SavedPlan::Permutation(_));
        self.sweep.maps[inner.index()] = Some(map);
        self.alignments[inner.index()] = Some(alignment);
        Ok(is_permutation)
    }

    fn is_permutation(&self, group: GroupId) -> bool {
        self.sweep.plans[group.index()].as_ref().is_some_and(TransportPlan::is_permutation)
    }

    fn sizes(&self, group: GroupId) -> (usize, usize) {
        (self.networks.size(self.sweep.model, group), self.networks.size(self.networks.anchor(), group))
    }

    fn failure(&self, group: GroupId, source: TransportError) -> FusionError {
        let member = self.networks.group_name(group);
        FusionError::Transport { model: self.sweep.model, group: group.index(), member, source }
    }

    fn matched(&self, group: GroupId) -> Result<(Matched, (usize, usize)), FusionError> {
        let sizes = self.sizes(group);
        let own = self.tables(group, self.sweep.model, &self.sweep.maps);
        let of_anchor = self.tables(group, self.networks.anchor(), &[]);
        let matched = Matched::of(&own, &of_anchor, sizes, self.sweep.settings);
        Ok((matched.map_err(|source| self.failure(group, source))?, sizes))
    }

    /// The rows of a group's neurons on each axis of each weight that carries it, all other axes mapped.
    fn tables(&self, group: GroupId, model: usize, maps: &[Option<GroupMap>]) -> Tables {
        let members = self.sweep.settings.matching.members;
        let mut places = Vec::new();
        for &id in &self.carriers[group.index()] {
            for (axis, layout) in self.networks.groups().layouts(id).unwrap_or_default().iter().enumerate() {
                let wanted = members == Members::All || self.networks.role(id, axis) == Role::Producer;
                if wanted && layout.groups().contains(&group) {
                    places.push((id, axis));
                }
            }
        }
        let tables: Vec<Option<Vec<f32>>> =
            places.par_iter().map(|&(id, axis)| self.rows(group, id, axis, model, maps)).collect();
        tables.into_iter().flatten().collect()
    }

    /// `None` where the group stands on another axis too, in a way that cannot be mapped by itself.
    fn rows(
        &self,
        group: GroupId,
        id: ValueId,
        axis: usize,
        model: usize,
        maps: &[Option<GroupMap>],
    ) -> Option<Vec<f32>> {
        let networks = self.networks;
        let layouts = networks.groups().layouts(id)?;
        let data = networks.tensor(model, id).to_f32()?;
        let (mut data, mut shape) = Mapper { networks, model, maps }.mapped(id, data, &|other| other == group);
        for (other, layout) in layouts.iter().enumerate() {
            if other == axis || !layout.groups().contains(&group) {
                continue;
            }
            if *layout != AxisLayout::Group(group) {
                return None;
            }
            if let Some(GroupMap::Whole(map)) = maps.get(group.index()).and_then(Option::as_ref) {
                let map = if networks.role(id, other) == Role::Consumer { &map.consumer } else { &map.producer };
                data = map.apply(&data, shape[..other].iter().product(), shape[other + 1..].iter().product());
                shape[other] = map.targets();
            }
        }
        let size = |other: GroupId| match maps.get(other.index()).and_then(Option::as_ref) {
            Some(map) if other != group => map.targets(),
            _ => networks.size(model, other),
        };
        let neurons = layouts[axis].neurons(group, &size);
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        let (own, of_anchor) = (networks.size(model, group), networks.size(networks.anchor(), group));
        let rows = neuron_rows(&data, outer, &neurons, inner, own);
        Some(weighed(rows, self.factors[id.index()], networks.role(id, axis), (own, of_anchor)))
    }

    /// Describes groups that stayed where a start without costs had them: whole ones at what that costs, those inside of
    /// others as they are.
    fn describe_rest(&mut self) -> Result<(), FusionError> {
        for (group, described) in self.networks.groups().iter() {
            let index = group.index();
            if self.alignments[index].is_some() {
                continue;
            }
            let sizes = self.sizes(group);
            let has_inside = self.networks.groups().inside(group).next().is_some();
            let cost = match &self.sweep.plans[index] {
                Some(plan) if !has_inside => {
                    let own = self.tables(group, self.sweep.model, &self.sweep.maps);
                    let of_anchor = self.tables(group, self.networks.anchor(), &[]);
                    let costs = costs(&own, &of_anchor, sizes, self.sweep.settings.ground_cost);
                    costs.and_then(|costs| plan.cost(&costs)).map_err(|source| self.failure(group, source))?
                }
                _ => 0.0,
            };
            let copies = described.within.map_or(1, |outer| self.sizes(outer).0);
            self.alignments[index] = Some(GroupAlignment {
                name: self.networks.group_name(group),
                size: sizes.0,
                anchor_size: sizes.1,
                cost,
                gap: 0.0,
                termination: "unchanged".into(),
                matched_fraction: self.sweep.plans[index].as_ref().map_or(1.0, matched_fraction),
                plan: SavedPlan::Permutation((0..copies * sizes.0).collect()),
            });
        }
        Ok(())
    }
}

/// The map that leaves every neuron of a group, and of those inside, where it is.
pub(crate) fn identity_map(networks: &Networks, group: GroupId) -> Option<(GroupMap, TransportPlan)> {
    let identity = |size: usize| {
        let plan = TransportPlan::Permutation(Permutation::identity(size).ok()?);
        let uniform = Marginals::uniform(size).ok()?;
        Some((NeuronMap::new(&plan, &uniform, &uniform, false), plan))
    };
    let size = networks.size(networks.anchor(), group);
    let (map, plan) = identity(size)?;
    let map = match networks.groups().group(group).within {
        None => GroupMap::Whole(map),
        Some(outer) => {
            let pairs = (0..networks.size(networks.anchor(), outer)).map(|neuron| ((neuron, neuron), map.clone()));
            GroupMap::Within { outer, targets: size, pairs: pairs.collect() }
        }
    };
    Some((map, plan))
}
