//! The order in which three and more models are taken, whatever their order on the command line.

use otfuse_formats::model::Model;
use otfuse_fusion::Networks;
use otfuse_graph::Graph;
use otfuse_runtime::Probabilities;

use super::Failure;
use super::arguments::{Fuse, PresetName, SplitName};
use super::command::eval::probabilities;
use super::models::{dataset, hashes};

/// The models in the order of their hashes where nobody asked for an anchor and any could be it: three or more, of equal
/// widths, without a published preset. With samples the last one, which becomes the anchor, is the one that agrees most
/// often with the ensemble of all (labels are not looked at). With the hashes of the models as they were given. `None` where
/// the given order stays.
pub(crate) fn canonical_order(
    arguments: &Fuse,
    models: &[Model],
) -> Result<Option<(Vec<usize>, Vec<String>)>, Failure> {
    let is_free = arguments.anchor.is_none() && matches!(arguments.preset, None | Some(PresetName::Converged));
    let graphs: Vec<&Graph> = models.iter().map(|model| &model.graph).collect();
    if models.len() < 3 || !is_free || !Networks::new(&graphs, 0).is_ok_and(|networks| networks.equal_sizes()) {
        return Ok(None);
    }
    let hashes = hashes(&arguments.models)?;
    let mut order: Vec<usize> = (0..models.len()).collect();
    order.sort_by(|&a, &b| hashes[a].cmp(&hashes[b]));
    if arguments.data.data.is_some() {
        let samples = dataset(&arguments.data, SplitName::Train, None)?.spread(arguments.samples);
        let members: Option<Vec<Probabilities>> =
            order.iter().map(|&model| probabilities(graphs[model], &samples).ok()).collect();
        if let Some(members) = members
            && let Some(ensemble) = Probabilities::mean(&members)
        {
            let agreement: Vec<usize> = members.iter().map(|member| agreement(member, &ensemble)).collect();
            let best = (0..order.len()).fold(0, |best, at| if agreement[at] > agreement[best] { at } else { best });
            let anchor = order.remove(best);
            order.push(anchor);
        }
    }
    Ok(Some((order, hashes)))
}

/// The number of samples that two networks put into the same class.
fn agreement(a: &Probabilities, b: &Probabilities) -> usize {
    let classes = a.classes().max(1);
    let best = |row: &[f64]| (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
    let rows = a.logarithms().chunks_exact(classes).zip(b.logarithms().chunks_exact(classes));
    rows.filter(|(a, b)| best(a) == best(b)).count()
}
