//! The order in which three and more models are taken, whatever their order on the command line.

use otfuse_formats::model::Model;
use otfuse_fusion::Networks;
use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;

use super::Failure;
use super::arguments::{Fuse, PresetName, SplitName};
use super::command::eval::probabilities;
use super::models::{dataset, hashes};

/// How strongly the share of samples on which a model differs from the others' ensemble speaks against it.
const POWER: f64 = 8.0;
/// Added to that share, so that a handful of samples makes no difference between good models.
const PRIOR: f64 = 0.02;

/// Three and more models that nobody put in order.
pub(crate) struct Canonical {
    /// Where they stood, in their own order.
    pub order: Vec<usize>,
    /// Their hashes as they were given.
    pub hashes: Vec<String>,
    /// Averaging weights in their own order, where samples tell.
    pub weights: Option<Vec<f64>>,
}

/// The models in the order of their hashes where nobody asked for an anchor and any could be it: three or more, of equal
/// widths, without a published preset. With samples (labels are not looked at) a model that differs from the ensemble of
/// all others on a share `d` of them weighs `(d + 0.02)^-8`, and the heaviest comes last and becomes the anchor. `None`
/// where the given order stays.
///
/// # Errors
/// Samples or files that cannot be read.
pub(crate) fn canonical_order(arguments: &Fuse, models: &[Model]) -> Result<Option<Canonical>, Failure> {
    let is_free = arguments.anchor.is_none() && matches!(arguments.preset, None | Some(PresetName::Converged));
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).collect();
    if models.len() < 3 || !is_free || !Networks::new(&graphs, 0).is_ok_and(|networks| networks.equal_sizes()) {
        return Ok(None);
    }
    let hashes = hashes(&arguments.models)?;
    let mut order: Vec<usize> = (0..models.len()).collect();
    order.sort_by(|&a, &b| hashes[a].cmp(&hashes[b]));
    let mut weights = None;
    if arguments.data.data.is_some() {
        let samples = dataset(&arguments.data, SplitName::Train, None)?.spread(arguments.samples);
        let members: Option<Vec<Probabilities>> =
            order.iter().map(|&model| probabilities(graphs[model], &samples).ok()).collect();
        if let Some(members) = members
            && let Some(differing) = differing(&members)
        {
            let best = (0..order.len()).fold(0, |best, at| if differing[at] < differing[best] { at } else { best });
            let mut found: Vec<f64> =
                differing.into_iter().map(|count| (count as f64 / samples.len() as f64 + PRIOR).powf(-POWER)).collect();
            order[best..].rotate_left(1);
            found[best..].rotate_left(1);
            weights = Some(found);
        }
    }
    Ok(Some(Canonical { order, hashes, weights }))
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
    let classes = a.classes().max(1);
    let best = |row: &[f64]| (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
    let rows = a.logarithms().chunks_exact(classes).zip(b.logarithms().chunks_exact(classes));
    rows.filter(|(a, b)| best(a) != best(b)).count()
}
