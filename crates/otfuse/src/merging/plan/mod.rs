//! Which tensors a result has, and which tensors of which networks each is merged of.

mod drafting;
mod names;

use otfuse_formats::{Checkpoint, Format, Planned};
use otfuse_fusion::merge::{Merge, Numbers};
use otfuse_graph::DataType;
use serde_json::Value;

use self::drafting::Drafting;
pub(super) use self::names::token_axes;
use super::file::{MergeDocument, Reference};
use super::tokens::{Source as TokenSource, Words};
use crate::{Error, Result};

/// A tensor of the result.
#[derive(Debug)]
pub(crate) struct Part {
    /// For each model that it is merged of, which network and which of its tensors.
    pub sources: Vec<(usize, String)>,
    /// The base among them.
    pub base: Option<usize>,
    /// What the method is told.
    pub numbers: Numbers,
    /// The type that is computed in.
    pub working: DataType,
    /// The axis that has an entry for each token, where vocabularies are put together.
    pub tokens: Option<usize>,
    /// Whether it is copied from its first source as it is.
    pub is_copied: bool,
}

/// A merge that is ready to be made.
pub(crate) struct Plan {
    /// The networks.
    pub models: Vec<(Reference, Checkpoint)>,
    /// The one whose form and files the result has.
    pub donor: usize,
    pub method: &'static dyn Merge,
    /// The tensors, and what each is made of.
    pub tensors: Vec<Planned>,
    pub parts: Vec<Part>,
    /// The vocabulary of the result, where it is made anew.
    pub words: Option<Words>,
    /// The stack of layers, how many it has, and for each of the result's which of the donor's it stands in for.
    pub layers: Option<Vec<usize>>,
    /// Tensors that only other networks have.
    pub left_out: Vec<String>,
    /// What is to be said of the settings.
    pub notes: Vec<String>,
}

impl Plan {
    /// What a document says of these networks, in the order of its references.
    ///
    /// # Errors
    /// Networks that do not fit together, missing tensors and parameters, layers that are not there.
    pub fn of(document: &MergeDocument, models: Vec<(Reference, Checkpoint)>) -> Result<Self> {
        let place = |reference: &Reference| models.iter().position(|(known, _)| known == reference);
        let donor = document.base.as_ref().and_then(place).unwrap_or(0);
        same_kind(&models, donor)?;
        let mut drafting = Drafting::new(document, &models, donor);
        let layers = drafting.draft()?;
        let left_out = drafting.left_out();
        let Drafting { mut tensors, mut parts, notes, .. } = drafting;
        let words = words(document, &models, donor)?;
        shapes(&mut tensors, &mut parts, &models, words.as_ref())?;
        types(&mut tensors, &mut parts, document, &models)?;
        models[donor].1.tie(&mut tensors);
        Ok(Self { models, donor, method: document.method(), tensors, parts, words, layers, left_out, notes })
    }
}

/// Refuses networks of several kinds: the result would be one of them, and compute something else.
fn same_kind(models: &[(Reference, Checkpoint)], donor: usize) -> Result<()> {
    let kind = |model: &Checkpoint| Some(model.settings()?.get("model_type")?.as_str()?.to_owned());
    let Some(expected) = kind(&models[donor].1) else { return Ok(()) };
    for (reference, model) in models {
        if let Some(found) = kind(model).filter(|found| *found != expected) {
            let message = format!(
                "'{}': expected a network of model_type {expected}, as '{}', found {found}",
                reference.0, models[donor].0.0
            );
            return Err(Error::input(message).of(model.path()).hint("only networks of one model_type are merged"));
        }
    }
    Ok(())
}

/// The result's vocabulary, where that was asked for.
fn words(document: &MergeDocument, models: &[(Reference, Checkpoint)], donor: usize) -> Result<Option<Words>> {
    let Some(vocabulary) = &document.vocabulary else { return Ok(None) };
    if let Some((reference, _)) = models.iter().find(|(_, model)| model.format() != Format::HuggingFace) {
        return Err(Error::input(format!("tokenizer: '{}' is no folder, so that it has none", reference.0))
            .hint("leave tokenizer and tokenizer_source out"));
    }
    let base = match &vocabulary.source {
        TokenSource::Base if document.base.is_none() => {
            return Err(Error::input("tokenizer_source: base: expected a base_model, found none")
                .hint("base_model: the network whose tokens the result has; or name that network in place of base"));
        }
        _ => donor,
    };
    Words::of(vocabulary, models, (base, document.base.is_some())).map(Some)
}

/// Sees to it that tensors that are merged have one shape.
fn shapes(
    tensors: &mut [Planned],
    parts: &mut [Part],
    models: &[(Reference, Checkpoint)],
    words: Option<&Words>,
) -> Result<()> {
    let axes: Vec<Vec<(String, usize)>> = match words {
        Some(_) => models.iter().map(|(_, model)| Ok(token_axes(model))).collect::<Result<_>>()?,
        None => vec![Vec::new(); models.len()],
    };
    for (planned, part) in tensors.iter_mut().zip(parts) {
        let axis_of = |(model, name): &(usize, String)| {
            axes[*model].iter().find(|(known, _)| known == name).map(|(_, axis)| *axis)
        };
        part.tokens = part.sources.first().and_then(axis_of).filter(|_| !part.is_copied);
        let without = |shape: &[usize]| {
            let mut shape = shape.to_vec();
            part.tokens.into_iter().for_each(|axis| shape[axis] = 0);
            shape
        };
        for (model, name) in &part.sources {
            let shape = models[*model].1.dict().get(name).map_or(&[][..], |tensor| tensor.shape());
            if shape.len() != planned.shape.len() || without(shape) != without(&planned.shape) {
                let (first, other) = (&models[part.sources[0].0].0.0, &models[*model].0.0);
                let message = format!(
                    "'{name}' of '{other}': expected shape {:?}, as in '{first}', found {shape:?}",
                    planned.shape
                );
                let mut error = Error::input(message).of(models[*model].1.path());
                error.tensor = Some(name.clone());
                let is_table = shape.len() == 2 && planned.shape.len() == 2 && shape[1] == planned.shape[1];
                return Err(error.hint(if is_table && words.is_none() {
                    "where vocabularies differ, say tokenizer_source: union, or base"
                } else {
                    "networks that are merged have one architecture; `alignment: {}` fuses networks of unequal widths by merge_method ot"
                }));
            }
        }
        if let (Some(axis), Some(words)) = (part.tokens, words) {
            planned.shape[axis] = words.count;
        }
    }
    Ok(())
}

/// The types that are computed in and written.
fn types(
    tensors: &mut [Planned],
    parts: &mut [Part],
    document: &MergeDocument,
    models: &[(Reference, Checkpoint)],
) -> Result<()> {
    for (planned, part) in tensors.iter_mut().zip(parts) {
        let of_source =
            |(model, name): &(usize, String)| models[*model].1.dict().get(name).map(|tensor| tensor.data_type());
        let found: Vec<DataType> = part.sources.iter().filter_map(of_source).collect();
        if found.iter().any(|data_type| !data_type.is_float()) {
            same_integers(part, models)?;
            part.sources.truncate(1);
            part.is_copied = true;
            continue;
        }
        let promoted = found.iter().copied().reduce(promoted).unwrap_or(DataType::F32);
        part.working = document.dtype.unwrap_or(promoted);
        planned.data_type = document.out_dtype.unwrap_or(part.working);
    }
    Ok(())
}

/// Refuses integers that differ: there is no mean of them.
fn same_integers(part: &Part, models: &[(Reference, Checkpoint)]) -> Result<()> {
    let tensor = |(model, name): &(usize, String)| models[*model].1.dict().get(name);
    let first = tensor(&part.sources[0]);
    match part.sources.iter().find(|source| tensor(source) != first) {
        None => Ok(()),
        Some((model, name)) => {
            let message = format!(
                "'{name}' of '{}' holds integers that differ from those of '{}'; floating-point numbers alone are merged",
                models[*model].0.0, models[part.sources[0].0].0.0
            );
            let error = Error { tensor: Some(name.clone()), ..Error::input(message).of(models[*model].1.path()) };
            Err(error.hint("merge networks whose integers are the same"))
        }
    }
}

/// The narrowest type that holds numbers of both.
fn promoted(one: DataType, other: DataType) -> DataType {
    match (one, other) {
        (one, other) if one == other => one,
        (DataType::F64, _) | (_, DataType::F64) => DataType::F64,
        _ => DataType::F32,
    }
}

/// Where layers of the donor stand in the settings of a result that has others: their number, and lists with an entry for each.
pub(crate) fn renumber(settings: &mut serde_json::Map<String, Value>, layers: &[usize], count: usize) -> bool {
    let keys = ["num_hidden_layers", "n_layer", "n_layers", "num_layers"];
    let mut found = false;
    for key in keys {
        if settings.get(key).and_then(Value::as_u64) == Some(count as u64) {
            settings.insert(key.into(), layers.len().into());
            found = true;
        }
    }
    if let Some(Value::Array(types)) = settings.get_mut("layer_types")
        && types.len() == count
    {
        *types = layers.iter().filter_map(|&layer| types.get(layer).cloned()).collect();
    }
    found
}
