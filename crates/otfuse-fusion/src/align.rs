//! Aligning one model to the anchor: a forward sweep, then sweeps until nothing changes if the settings ask for them.

use otfuse_graph::GroupId;
use rayon::prelude::*;

use crate::activations::Activations;
use crate::alignment::{AlignedModel, ModelAlignment};
use crate::error::FusionError;
use crate::map::whole_maps;
use crate::matching::{Nested, Start, Views, converge, identity_map};
use crate::networks::Networks;
use crate::observer::{Observer, Progress};
use crate::settings::{Settings, SweepStart};
use crate::sweep::{Sweep, sweep_forward};

/// What one model's alignment goes by.
struct Task<'a> {
    networks: &'a Networks,
    model: usize,
    settings: &'a Settings,
    activations: Option<&'a [Activations]>,
    observer: &'a Observer<'a>,
    /// Whether the sweeps begin with every neuron where it is.
    from_identity: bool,
}

/// Aligns one model to the anchor; with `views`, of networks without groups within groups, in sweeps.
///
/// Of several starts the one with the lowest objective is taken, the first one if equal.
pub(crate) fn align(
    networks: &Networks,
    model: usize,
    settings: &Settings,
    activations: Option<&[Activations]>,
    views: Option<&Views<'_>>,
    observer: &Observer<'_>,
) -> Result<AlignedModel, FusionError> {
    let is_as_wide = |group: GroupId| networks.size(model, group) == networks.size(networks.anchor(), group);
    let from_identity = settings.sweeps()
        && settings.matching.start == SweepStart::Identity
        && networks.groups().iter().all(|(id, _)| is_as_wide(id));
    let task = Task { networks, model, settings, activations, observer, from_identity };
    if !settings.sweeps() {
        return task.forward();
    }
    let starts = 0..settings.matching.starts.max(1) as u64;
    let seed = |start: u64| settings.matching.seed.wrapping_add(start);
    let runs: Vec<AlignedModel> = match views {
        Some(views) => {
            starts.into_par_iter().map(|start| task.converged(views, seed(start))).collect::<Result<_, _>>()?
        }
        None => starts.map(|start| task.nested(seed(start))).collect::<Result<_, _>>()?,
    };
    let last = |run: &AlignedModel| run.alignment.objective.last().copied().unwrap_or(f64::INFINITY);
    let best = runs.into_iter().reduce(|best, run| if last(&run) < last(&best) { run } else { best });
    let best = best.ok_or(FusionError::TooFewModels { found: 0 })?;
    if from_identity {
        for (group, _) in networks.groups().iter() {
            observer.tell(Progress::Aligned { model, group })?;
        }
    }
    Ok(best)
}

impl Task<'_> {
    /// The forward sweep alone.
    fn forward(&self) -> Result<AlignedModel, FusionError> {
        let Self { networks, model, settings, activations, observer, .. } = *self;
        let (sweep, groups) = sweep_forward(networks, model, settings, activations, observer)?;
        let groups = groups.into_iter().map(|(_, alignment)| alignment).collect();
        let alignment = ModelAlignment { groups, ..ModelAlignment::new(model, networks.anchor()) };
        Ok(AlignedModel { maps: sweep.maps, alignment })
    }

    /// Sweeps over networks without groups within groups.
    fn converged(&self, views: &Views<'_>, seed: u64) -> Result<AlignedModel, FusionError> {
        let Self { networks, model, settings, activations, observer, from_identity } = *self;
        let start = if from_identity {
            Start::identity(networks)
        } else {
            let (sweep, _) = sweep_forward(networks, model, settings, activations, observer)?;
            Start { maps: whole_maps(&sweep.maps), plans: sweep.plans }
        };
        let found = converge(views, settings, model, None, start, seed, observer)?;
        Ok(found.into_aligned(model, networks.anchor()))
    }

    /// Sweeps over networks with groups within groups.
    fn nested(&self, seed: u64) -> Result<AlignedModel, FusionError> {
        let Self { networks, model, settings, activations, observer, from_identity } = *self;
        let count = networks.groups().len();
        let mut alignments = vec![None; count];
        let sweep = if from_identity {
            let identity = networks.groups().iter().map(|(group, _)| identity_map(networks, group).unzip());
            let (maps, plans) = identity.unzip();
            Sweep::new(networks, model, settings, activations, maps, plans)
        } else {
            let (sweep, found) = sweep_forward(networks, model, settings, activations, observer)?;
            found.into_iter().for_each(|(group, alignment)| alignments[group.index()] = Some(alignment));
            sweep
        };
        Nested::new(networks, sweep, alignments).run(seed, observer)
    }
}
