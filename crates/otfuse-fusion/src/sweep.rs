//! One sweep over the groups from the inputs to the outputs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use otfuse_graph::GroupId;
use otfuse_transport::{TransportError, TransportPlan};
use rayon::prelude::*;

use crate::activations::Activations;
use crate::alignment::{GroupAlignment, SavedPlan, matched_fraction};
use crate::error::FusionError;
use crate::family::{Family, FamilyWeights};
use crate::features::WeightFeatures;
use crate::map::GroupMap;
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::pairing::{Matched, Tables};
use crate::residual::{Residual, weigh};
use crate::settings::{FeatureSource, Settings};

/// One forward sweep over the groups in topological order (algorithm 1 of the paper): features, costs, plan, map. A group
/// within another comes after it.
pub(crate) fn sweep_forward<'a>(
    networks: &'a Networks,
    model: usize,
    settings: &'a Settings,
    activations: Option<&'a [Activations]>,
    observer: &Observer<'_>,
) -> Result<(Sweep<'a>, Vec<(GroupId, GroupAlignment)>), FusionError> {
    let count = networks.groups().len();
    let (maps, plans) = (vec![None; count], vec![None; count]);
    let mut sweep = Sweep::new(networks, model, settings, activations, maps, plans);
    let mut alignments = Vec::with_capacity(count);
    for (id, group) in networks.groups().iter() {
        let pending = group.within.into_iter().chain([id]).filter(|group| sweep.maps[group.index()].is_none());
        for group in pending.collect::<Vec<_>>() {
            let name = networks.group_name(group);
            let failure = |source| FusionError::Transport { model, group: group.index(), member: name.clone(), source };
            let (map, alignment) = match networks.groups().group(group).within {
                Some(outer) => sweep.match_inside(group, outer, &name)?,
                None => {
                    let (own, of_anchor) = sweep.tables(group)?;
                    let sizes = (networks.size(model, group), networks.size(networks.anchor(), group));
                    let matched = match sweep.importance(group) {
                        Some(importance) => Matched::weighted(&own, &of_anchor, importance, settings),
                        None => Matched::of(&own, &of_anchor, sizes, settings),
                    };
                    let matched = matched.map_err(failure)?;
                    let alignment = matched.alignment(&name, sizes);
                    sweep.plans[group.index()] = Some(matched.plan);
                    (GroupMap::Whole(matched.map), alignment)
                }
            };
            sweep.maps[group.index()] = Some(map);
            alignments.push((group, alignment));
            observer.tell(Progress::Aligned { model, group })?;
        }
    }
    Ok((sweep, alignments))
}

/// The maps found so far.
pub(crate) struct Sweep<'a> {
    pub networks: &'a Networks,
    pub model: usize,
    pub settings: &'a Settings,
    pub activations: Option<&'a [Activations]>,
    pub maps: Vec<Option<GroupMap>>,
    /// Plans of the groups that are not within others.
    pub plans: Vec<Option<TransportPlan>>,
    /// The family seen last, and which of its neighbours were ready then.
    remembered: Mutex<Option<Remembered>>,
}

/// A family in a model and in the anchor.
type Families = (FamilyWeights, FamilyWeights);

/// The families of a group's heads, under the group and what was known of the maps around it.
type Remembered = ((GroupId, Vec<bool>), Arc<Families>);

impl<'a> Sweep<'a> {
    pub fn new(
        networks: &'a Networks,
        model: usize,
        settings: &'a Settings,
        activations: Option<&'a [Activations]>,
        maps: Vec<Option<GroupMap>>,
        plans: Vec<Option<TransportPlan>>,
    ) -> Self {
        let remembered = Mutex::new(None);
        Self { networks, model, settings, activations, maps, plans, remembered }
    }

    /// Forgets the family seen last: maps changed around it that were found before.
    pub fn forget(&mut self) {
        *self.remembered.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn ready(&self, group: GroupId) -> bool {
        self.maps[group.index()].is_some()
    }

    /// The features of a group's neurons in the model and in the anchor.
    pub fn tables(&self, group: GroupId) -> Result<(Tables, Tables), FusionError> {
        let Self { networks, model, settings, .. } = *self;
        let anchor = networks.anchor();
        let family = Family::of(networks, group);
        if let Some(family) = family {
            let families = self.remembered(&family)?;
            let (own, of_anchor) = &*families;
            return Ok((own.outer_tables(), of_anchor.outer_tables()));
        }
        let is_stream = settings.residual != Residual::Sums && !networks.terms(group).is_empty();
        let of = |model: usize, maps: &[Option<GroupMap>]| -> Result<Tables, FusionError> {
            if let Some(found) = self.recorded(model)? {
                return Ok(found.described(networks, settings, model, group));
            }
            let mut tables = WeightFeatures { networks, settings, model, maps }.of(group, &|other| self.ready(other));
            if is_stream {
                weigh(&mut tables, networks.size(model, group), settings.residual);
            }
            Ok(tables)
        };
        Ok((of(model, &self.maps)?, of(anchor, &[])?))
    }

    /// How important a group's neurons are in the model and in the anchor, where that counts.
    fn importance(&self, group: GroupId) -> Option<(&[f64], &[f64])> {
        if !matches!(self.settings.features, FeatureSource::Activations { .. }) {
            return None;
        }
        let of = |model: usize| self.activations?.get(model)?.importance(group);
        Some((of(self.model)?, of(self.networks.anchor())?))
    }

    /// The activations of a model, if the settings ask for them.
    fn recorded(&self, model: usize) -> Result<Option<&Activations>, FusionError> {
        if self.settings.features == FeatureSource::Weights {
            return Ok(None);
        }
        let found = self.activations.and_then(|all| all.get(model));
        found.map(Some).ok_or(FusionError::Activations { model, problem: "no activations were given".into() })
    }

    /// [`families`](Self::families), once for a family while its neighbours stay as they are.
    fn remembered(&self, family: &Family) -> Result<Arc<Families>, FusionError> {
        let ready = family.neighbours(self.networks).into_iter().map(|group| self.ready(group)).collect();
        let key = (family.outer(), ready);
        let remembered = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((found, families)) = &*remembered()
            && *found == key
        {
            return Ok(Arc::clone(families));
        }
        // Not locked meanwhile: a thread that waits for another one takes up other work.
        let families = Arc::new(self.families(family)?);
        *remembered() = Some((key, Arc::clone(&families)));
        Ok(families)
    }

    /// A family in the model and in the anchor; by weights too where its activations are not observed.
    fn families(&self, family: &Family) -> Result<Families, FusionError> {
        let Self { networks, model, settings, .. } = *self;
        let anchor = networks.anchor();
        if let (Some(own), Some(of_anchor)) = (self.recorded(model)?, self.recorded(anchor)?) {
            let leaves = (own.family(family.outer()), of_anchor.family(family.outer()));
            if !leaves.0.is_empty() && !leaves.1.is_empty() {
                return Ok((family.observed(leaves.0), family.observed(leaves.1)));
            }
        }
        let ready = |other: GroupId| self.ready(other);
        let of = |model, maps| family.weights(networks, settings, model, maps, &ready);
        Ok(rayon::join(|| of(model, &self.maps), || of(anchor, &[])))
    }

    /// Matches the neurons within each pair of outer neurons that share mass.
    pub fn match_inside(
        &self,
        group: GroupId,
        outer: GroupId,
        name: &str,
    ) -> Result<(GroupMap, GroupAlignment), FusionError> {
        let Self { networks, model, settings, .. } = *self;
        let failure = |source| FusionError::Transport { model, group: group.index(), member: name.to_owned(), source };
        let sizes = (networks.size(model, group), networks.size(networks.anchor(), group));
        let family = Family::of(networks, group);
        let (Some(GroupMap::Whole(map)), Some(family)) = (&self.maps[outer.index()], family) else {
            return Err(failure(TransportError::Empty { what: "outer neurons" }));
        };
        debug_assert_eq!(family.outer(), outer);
        let families = self.remembered(&family)?;
        let (own, of_anchor) = &*families;
        let is_known = |inner: GroupId| self.ready(inner);
        let entries = map.producer.entries();
        let matched: Vec<((usize, usize), f64, Matched)> = entries
            .into_par_iter()
            .map(|(source, target, factor)| {
                let pair = |inner: GroupId| self.maps[inner.index()].clone();
                let none = |_: GroupId| None;
                let places = (source, target);
                let own = own.inner_tables(&family, group, source, &pair, &is_known, places);
                let of_anchor = of_anchor.inner_tables(&family, group, target, &none, &is_known, places);
                Ok(((source, target), factor, Matched::of(&own, &of_anchor, sizes, settings)?))
            })
            .collect::<Result<_, TransportError>>()
            .map_err(failure)?;
        let alignment = joined(&matched, name, sizes, networks.size(networks.anchor(), outer));
        let pairs: BTreeMap<_, _> = matched.into_iter().map(|(pair, _, matched)| (pair, matched.map)).collect();
        Ok((GroupMap::Within { outer, targets: sizes.1, pairs }, alignment))
    }
}

/// The alignments within all pairs of outer neurons as one: neuron `i` of outer neuron `o` counts as `o * size + i`, and
/// costs are means over the anchor's outer neurons.
fn joined(
    matched: &[((usize, usize), f64, Matched)],
    name: &str,
    (size, anchor_size): (usize, usize),
    outer: usize,
) -> GroupAlignment {
    let mean = |value: &dyn Fn(&Matched) -> f64| {
        matched.iter().map(|(_, share, matched)| share * value(matched)).sum::<f64>() / outer.max(1) as f64
    };
    let mut termination = "optimal";
    let mut permutation = vec![None; matched.len() * size];
    let mut entries = Vec::new();
    for ((source, target), share, matched) in matched {
        if matched.termination != "optimal" {
            termination = matched.termination;
        }
        for (i, j, mass) in matched.plan.entries().filter(|entry| entry.2 > 0.0) {
            entries.push((source * size + i, target * anchor_size + j, mass * share / outer.max(1) as f64));
            if let (TransportPlan::Permutation(_), Some(slot)) = (&matched.plan, permutation.get_mut(source * size + i))
            {
                *slot = Some(target * anchor_size + j);
            }
        }
    }
    let is_permutation = matched.len() == outer && entries.len() == permutation.len();
    let permutation: Option<Vec<usize>> = permutation.into_iter().collect();
    GroupAlignment {
        name: name.to_owned(),
        size,
        anchor_size,
        cost: mean(&|matched| matched.cost),
        gap: mean(&|matched| matched.gap),
        termination: termination.to_owned(),
        matched_fraction: mean(&|matched| matched_fraction(&matched.plan)),
        plan: match permutation.filter(|_| is_permutation) {
            Some(permutation) => SavedPlan::Permutation(permutation),
            None => SavedPlan::Entries(entries),
        },
    }
}
