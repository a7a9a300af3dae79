//! The order in which three and more models are taken, whatever their order as given.

use otfuse_fusion::Networks;
use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;
use otfuse_runtime::dataset::Targets;

use crate::measure::probabilities;
use crate::model::hashes;
use crate::{Context, ErrorKind, Model, Result, Samples};

/// How strongly the share of samples on which a model differs from the others' ensemble speaks against it.
const POWER: f64 = 8.0;
/// Added to that share, so that a handful of samples makes no difference between good models.
const PRIOR: f64 = 0.02;

/// Three and more models that nobody put in order.
pub(crate) struct Canonical {
    /// Where they stood, in their own order.
    pub order: Vec<usize>,
    /// Averaging weights in their own order, where samples tell.
    pub weights: Option<Vec<f64>>,
}

/// The models in the order of their hashes, for three or more of equal widths. With samples (labels are not looked at) a
/// model that differs from the ensemble of all others on a share `d` of them weighs `(d + 0.02)^-8`, and the heaviest comes
/// last and becomes the anchor. `None` where the given order stays.
///
/// # Errors
/// Files that cannot be read.
pub(crate) fn canonical_order(
    models: &[Model],
    samples: Option<&Samples>,
    context: &Context,
) -> Result<Option<Canonical>> {
    let graphs: Vec<&Graph> = models.iter().map(Model::graph).collect::<Result<_>>()?;
    if models.len() < 3 || !Networks::new(&graphs, 0).is_ok_and(|networks| networks.equal_sizes()) {
        return Ok(None);
    }
    let hashes = hashes(models)?;
    let mut order: Vec<usize> = (0..models.len()).collect();
    order.sort_by(|&a, &b| hashes[a].cmp(&hashes[b]));
    let mut weights = None;
    if let Some(samples) = samples
        && let Some(members) = members(&graphs, &order, samples, context)?
        && let Some(differing) = differing(&members)
    {
        let best = (0..order.len()).fold(0, |best, at| if differing[at] < differing[best] { at } else { best });
        let mut found: Vec<f64> =
            differing.into_iter().map(|count| (count as f64 / samples.len() as f64 + PRIOR).powf(-POWER)).collect();
        order[best..].rotate_left(1);
        found[best..].rotate_left(1);
        weights = Some(found);
    }
    Ok(Some(Canonical { order, weights }))
}

/// What the models say of the samples; none where one of them says no probabilities of classes, which is no fault: a
/// network of other outputs has no ensemble.
fn members(
    graphs: &[&Graph],
    order: &[usize],
    samples: &Samples,
    context: &Context,
) -> Result<Option<Vec<Probabilities>>> {
    if matches!(samples.targets(), Targets::Numbers { .. }) || samples.is_noise() {
        return Ok(None);
    }
    let mut members = Vec::with_capacity(order.len());
    for &model in order {
        match probabilities(graphs[model], samples, context) {
            Ok(found) => members.push(found),
            Err(error) => {
                let error = crate::Error::from(error);
                if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Budget) {
                    return Err(error);
                }
                context.warn(&format!("all models weigh the same: {error}"));
                return Ok(None);
            }
        }
    }
    Ok(Some(members))
}

/// For every network the number of samples that it puts into another class than the ensemble of all others does.
fn differing(members: &[Probabilities]) -> Option<Vec<usize>> {
    let share = 1.0 / members.len().saturating_sub(1).max(1) as f64;
    let of = |member: usize| {
        let weights: Vec<f64> = (0..members.len()).map(|other| if other == member { 0.0 } else { share }).collect();
        Some(disagreement(&members[member], &Probabilities::mixture(members, &weights)?))
    };
    (0..members.len()).map(of).collect()
}

/// The number of samples that two networks put into different classes.
fn disagreement(a: &Probabilities, b: &Probabilities) -> usize {
    a.best().iter().zip(b.best()).filter(|(a, b)| **a != *b).count()
}
