//! Three and more models whose activations are matched, without a privileged one.

use otfuse_graph::GroupId;
use otfuse_transport::TransportPlan;
use rayon::prelude::*;

use crate::activations::Activations;
use crate::alignment::{AlignedModel, SavedPlan};
use crate::error::FusionError;
use crate::map::GroupMap;
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::pairing::{Matched, Tables};
use crate::settings::Settings;

/// The most rounds over the models.
const ROUNDS: usize = 20;

/// Matches each model's neurons in turn with the mean of what the neurons of all others compute, until nothing changes. The
/// anchor stays where it is. Groups whose neurons are not matched one to one are left as they are.
///
/// Groups are independent of each other: the activations of a neuron do not depend on the order of others.
pub(crate) fn realign_recorded(
    networks: &Networks,
    settings: &Settings,
    activations: &[Activations],
    found: &mut [Option<AlignedModel>],
    observer: &Observer<'_>,
) -> Result<(), FusionError> {
    let ids = networks.groups().iter().filter(|(_, group)| group.within.is_none()).map(|(id, _)| id);
    let ids: Vec<GroupId> = ids.collect();
    let all: &[Option<AlignedModel>] = found;
    let better: Vec<Vec<Option<Matched>>> = ids
        .par_iter()
        .map(|&group| Members::of(networks, settings, activations, all, group).map_or(Ok(Vec::new()), |it| it.settle()))
        .collect::<Result<_, FusionError>>()?;
    for (&group, better) in ids.iter().zip(better) {
        let name = networks.group_name(group);
        for (model, matched) in better.into_iter().enumerate() {
            let (Some(matched), Some(aligned)) = (matched, found[model].as_mut()) else { continue };
            let sizes = (networks.size(model, group), networks.size(networks.anchor(), group));
            if let Some(entry) = aligned.alignment.groups.iter_mut().find(|entry| entry.name == name) {
                *entry = matched.alignment(&name, sizes);
            }
            aligned.maps[group.index()] = Some(GroupMap::Whole(matched.map));
            observer.tell(Progress::Aligned { model, group })?;
        }
    }
    Ok(())
}

/// A group's neurons in all models.
struct Members<'a> {
    networks: &'a Networks,
    settings: &'a Settings,
    group: GroupId,
    size: usize,
    tables: Vec<Tables>,
    /// The neuron of each model that stands at each of the anchor's places.
    places: Vec<Vec<usize>>,
}

impl<'a> Members<'a> {
    /// `None` where some model's neurons are not matched one to one, or nothing was recorded.
    fn of(
        networks: &'a Networks,
        settings: &'a Settings,
        activations: &[Activations],
        found: &[Option<AlignedModel>],
        group: GroupId,
    ) -> Option<Self> {
        let size = networks.size(networks.anchor(), group);
        let name = networks.group_name(group);
        let (mut tables, mut places) = (Vec::new(), Vec::new());
        for (model, aligned) in found.iter().enumerate() {
            let recorded = activations.get(model)?;
            let of_model = recorded.described(networks, settings, model, group);
            if of_model.is_empty() || networks.size(model, group) != size {
                return None;
            }
            tables.push(of_model);
            places.push(match aligned {
                None => (0..size).collect(),
                Some(aligned) => {
                    let plan = &aligned.alignment.groups.iter().find(|entry| entry.name == name)?.plan;
                    let SavedPlan::Permutation(targets) = plan else { return None };
                    inverse(targets)
                }
            });
        }
        Some(Self { networks, settings, group, size, tables, places })
    }

    /// The last match of each model that found a better place.
    fn settle(mut self) -> Result<Vec<Option<Matched>>, FusionError> {
        let count = self.tables.len();
        let mut better: Vec<Option<Matched>> = (0..count).map(|_| None).collect();
        for _ in 0..ROUNDS {
            let mut changed = false;
            for model in (0..count).filter(|&model| model != self.networks.anchor()) {
                let matched = self.matched(model)?;
                let TransportPlan::Permutation(permutation) = &matched.plan else { return Ok(better) };
                let places = inverse(permutation.as_slice());
                if places != self.places[model] {
                    self.places[model] = places;
                    better[model] = Some(matched);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        Ok(better)
    }

    /// A model's neurons against the mean of all others'.
    fn matched(&self, model: usize) -> Result<Matched, FusionError> {
        let others: Vec<usize> = (0..self.tables.len()).filter(|&other| other != model).collect();
        let mean: Tables = (0..self.tables[model].len())
            .map(|table| {
                let width = self.tables[model][table].len() / self.size.max(1);
                let mut sums = vec![0.0_f64; self.size * width];
                for &other in &others {
                    let values = &self.tables[other][table];
                    for (place, &neuron) in self.places[other].iter().enumerate() {
                        let sums = &mut sums[place * width..(place + 1) * width];
                        let row = &values[neuron * width..(neuron + 1) * width];
                        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
                    }
                }
                sums.into_iter().map(|sum| (sum / others.len() as f64) as f32).collect()
            })
            .collect();
        Matched::of(&self.tables[model], &mean, (self.size, self.size), self.settings).map_err(|source| {
            FusionError::Transport {
                model,
                group: self.group.index(),
                member: self.networks.group_name(self.group),
                source,
            }
        })
    }
}

/// Which source each target has.
fn inverse(targets: &[usize]) -> Vec<usize> {
    let mut sources = vec![0; targets.len()];
    targets.iter().enumerate().for_each(|(source, &target)| sources[target] = source);
    sources
}
