//! One network's neurons in the order of another's, for other tools to merge.

use crate::{AlignOptions, Context, Dataset, Error, Fuse, FuseOptions, Fused, Model, Result};

/// Brings the neurons of `model` into the order of `to`: what [`apply`](crate::apply()) does again for a later checkpoint,
/// and other tools merge index by index. With data neurons are matched by activations and weights, without by weights.
///
/// # Errors
/// Networks that do not fit together, options that contradict each other, a proof that fails.
pub fn align(
    model: &Model,
    to: &Model,
    options: &AlignOptions,
    data: Option<&Dataset>,
    context: &Context,
) -> Result<Fused> {
    aligning(model, to, options, data)?.run(context)
}

/// The fusion that an alignment is, for those who have to know beforehand what it writes.
///
/// # Errors
/// An anchor that is not the second network.
pub fn aligning(model: &Model, to: &Model, options: &AlignOptions, data: Option<&Dataset>) -> Result<Fuse> {
    if options.anchor.is_some_and(|anchor| anchor != 1) {
        return Err(Error::input("`anchor`: the second network is the one that the first is aligned to")
            .hint("name the networks in the other order"));
    }
    // The result is one of its parents in another order: there is nothing to measure.
    let options = FuseOptions { aligned_only: Some(true), check: Some(0), ..options.fusing(data.is_some()) };
    let fuse = Fuse::new([model, to]).options(options);
    Ok(match data {
        Some(data) => fuse.data(data),
        None => fuse,
    })
}
