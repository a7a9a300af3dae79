//! Three and more models without a privileged one.

use super::{NEGLIGIBLE, Start, Views, converge, squared_distance};
use crate::alignment::AlignedModel;
use crate::error::FusionError;
use crate::map::whole_maps;
use crate::networks::Networks;
use crate::observer::Observer;
use crate::settings::Settings;

/// Aligns each model in turn to the mean of all others, until the sum of squared distances to the mean stops falling (Git
/// Re-Basin, algorithm 3, "MergeMany"). The anchor stays where it is: only the order of the neurons depends on it.
///
/// Takes a converged matching for every model and round; holds all models' tensors.
pub(crate) fn realign(
    views: &Views<'_>,
    networks: &Networks,
    settings: &Settings,
    found: &mut [Option<AlignedModel>],
    observer: &Observer<'_>,
) -> Result<(), FusionError> {
    if networks.len() < 3 {
        return Ok(());
    }
    let maps_of =
        |found: &[Option<AlignedModel>], model: usize| found[model].as_ref().map(|found| whole_maps(&found.maps));
    let mut mapped: Vec<Vec<Vec<f32>>> =
        (0..networks.len()).map(|model| views.all_mapped(model, &maps_of(found, model).unwrap_or_default())).collect();
    let mut spread = spread_of(views, &mapped);
    for _ in 0..settings.matching.max_sweeps {
        for model in (0..networks.len()).filter(|&model| model != networks.anchor()) {
            let Some(before) = &found[model] else { continue };
            let reference = mean(mapped.iter().enumerate().filter(|(other, _)| *other != model).map(|(_, all)| all));
            let start = Start { maps: whole_maps(&before.maps), plans: vec![None; before.maps.len()] };
            let seed = settings.matching.seed;
            let better = converge(views, settings, model, Some(&reference), start, seed, observer)?;
            let last = |objective: &[f64]| objective.last().copied().unwrap_or(f64::INFINITY);
            if last(&better.objective) < better.objective[0] {
                mapped[model] = views.all_mapped(model, &better.maps);
                found[model] = Some(better.into_aligned(model, networks.anchor()));
            }
        }
        let now = spread_of(views, &mapped);
        if now >= spread * (1.0 - NEGLIGIBLE) {
            break;
        }
        spread = now;
    }
    Ok(())
}

/// The mean of several models' tensors.
fn mean<'a>(models: impl Iterator<Item = &'a Vec<Vec<f32>>>) -> Vec<Vec<f32>> {
    let mut sums: Vec<Vec<f64>> = Vec::new();
    let mut count = 0.0;
    for model in models {
        sums.resize(model.len(), Vec::new());
        for (sum, values) in sums.iter_mut().zip(model) {
            sum.resize(values.len(), 0.0);
            sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        count += 1.0;
    }
    sums.into_iter().map(|sum| sum.into_iter().map(|value| (value / count) as f32).collect()).collect()
}

/// The sum of squared distances of all models to their mean.
fn spread_of(views: &Views<'_>, mapped: &[Vec<Vec<f32>>]) -> f64 {
    let centre = mean(mapped.iter());
    let distance = |model: &Vec<Vec<f32>>| -> f64 {
        let tensors = model.iter().zip(&centre).zip(&views.views);
        tensors.map(|((values, centre), view)| view.weight * squared_distance(values, centre)).sum()
    };
    mapped.iter().map(distance).sum()
}
