//! Weights that are one in some models and several in others: they are made the same in all.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::{Context, Model, Result};

/// The models with the same weights tied in all of them: those that share one storage in one model stay one where they are equal
/// in all others, as they are in copies of such a network, and are apart in all models where they are not.
pub(crate) fn alike<'a>(models: &'a [Model], context: &Context) -> Result<Cow<'a, [Model]>> {
    let (models, parted) = matched(models)?;
    parted.iter().for_each(|note| context.warn(note));
    Ok(models)
}

/// The same, with what is to be said of weights that are apart now.
pub(crate) fn matched(models: &[Model]) -> Result<(Cow<'_, [Model]>, Vec<String>)> {
    let tied = |model: &Model| model.file().map(|file| file.tied_names().into_iter().collect()).unwrap_or_default();
    let sets: Vec<BTreeSet<Vec<String>>> = models.iter().map(tied).collect();
    if sets.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok((Cow::Borrowed(models), Vec::new()));
    }
    let all: BTreeSet<&Vec<String>> = sets.iter().flatten().collect();
    let (mut kept, mut parted) = (Vec::new(), Vec::new());
    for names in all {
        let is_apart = |(model, own): &(&Model, &BTreeSet<Vec<String>>)| {
            !own.contains(names) && !model.file().is_ok_and(|file| file.holds_equal(names))
        };
        match models.iter().zip(&sets).find(is_apart) {
            None => kept.push(names.clone()),
            Some((model, _)) => parted.push(format!(
                "{}: '{}' and '{}' differ, and are one weight in others of the models: they are two in the result, of which a \
                 network that ties them reads only one",
                model.path().display(),
                names[0],
                names[1]
            )),
        }
    }
    let models: Vec<Model> = models.iter().map(|model| model.tied_as(&kept)).collect::<Result<_>>()?;
    Ok((Cow::Owned(models), parted))
}
