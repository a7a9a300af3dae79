//! The tensors of a merged network, made one by one.

use otfuse_fusion::FusionError;
use otfuse_fusion::merge::{self, Measured, Operands, Stored, Values, made};
use otfuse_graph::Tensor;

use super::plan::Plan;
use crate::{Error, Result};

/// One tensor of the result.
pub(super) fn tensor(plan: &Plan, place: usize, seed: u64) -> Result<Tensor> {
    let (planned, part) = (&plan.tensors[place], &plan.parts[place]);
    let stored: Vec<&Tensor> =
        part.sources.iter().filter_map(|(model, name)| plan.models[*model].1.dict().get(name)).collect();
    if part.is_copied {
        return copied(stored[0], planned);
    }
    let tables: Vec<Vec<f32>> = match (part.tokens, &plan.words) {
        (Some(axis), Some(words)) => {
            // A table of each network, of which some have no part in this tensor.
            let all: Vec<&Tensor> = (0..plan.models.len())
                .map(|model| {
                    let own = part.sources.iter().position(|(known, _)| *known == model);
                    own.map_or_else(
                        || plan.models[model].1.dict().get(&planned.name).unwrap_or(stored[0]),
                        |at| stored[at],
                    )
                })
                .collect();
            let round = |values: &mut [f64]| merge::round(part.working, values);
            words.tables(&part.sources.iter().map(|(model, _)| *model).collect::<Vec<_>>(), &all, axis, &round)?
        }
        _ => Vec::new(),
    };
    let values: Vec<Stored<'_>> = stored.iter().map(|&tensor| Stored::new(tensor, part.working)).collect();
    let models: Vec<&dyn Values> = match tables.is_empty() {
        true => values.iter().map(|values| values as &dyn Values).collect(),
        false => tables.iter().map(|table| table as &dyn Values).collect(),
    };
    let operands = Operands {
        name: &planned.name,
        shape: &planned.shape,
        models,
        measured: Measured::Nothing,
        base: part.base,
        numbers: &part.numbers,
        rounding: Some(part.working),
        seed,
    };
    let made = made(plan.method, &operands, planned.data_type).map_err(|error| match error {
        FusionError::ResultNotFinite { index, value, .. } => not_finite(plan, place, index, f64::from(value)),
        error => {
            let mut error = Error::input(format!("'{}': {error}", planned.name));
            error.tensor = Some(planned.name.clone());
            error
        }
    });
    stored.iter().for_each(|tensor| tensor.release());
    made
}

/// A tensor that is no weight, in the type that is written.
fn copied(tensor: &Tensor, planned: &otfuse_formats::Planned) -> Result<Tensor> {
    if tensor.data_type() == planned.data_type {
        return Ok(tensor.clone());
    }
    let values = tensor.to_f32().ok_or_else(|| Error::input(format!("'{}' holds no numbers", planned.name)))?;
    Ok(Tensor::from_f32_as(planned.data_type, &planned.shape, values))
}

fn not_finite(plan: &Plan, place: usize, index: usize, value: f64) -> Error {
    let (planned, part) = (&plan.tensors[place], &plan.parts[place]);
    let holder = part.sources.iter().find(|(model, name)| {
        plan.models[*model].1.dict().get(name).is_some_and(|tensor| tensor.find(|value| !value.is_finite()).is_some())
    });
    let mut error = match holder {
        Some((model, name)) => {
            Error::input(format!("'{name}' of '{}' holds numbers that are not finite", plan.models[*model].0.0))
                .hint("such a network computes nothing; take another checkpoint of it")
        }
        None => Error::input(format!("'{}' would be {value} at index {index} as {}", planned.name, planned.data_type))
            .hint("out_dtype: float32 holds larger numbers"),
    };
    error.tensor = Some(planned.name.clone());
    error
}

/// Elements of a tensor that are compared.
const COMPARED: usize = 1 << 16;

/// Networks of one lineage point in one direction, and those that were trained from other beginnings do not. Says so of the largest tensor
/// that is merged, by cosine with the donor's.
pub(super) fn strangers(plan: &Plan) -> Option<String> {
    let merged = plan.parts.iter().zip(&plan.tensors).filter(|(part, planned)| {
        !part.is_copied && part.tokens.is_none() && part.sources.len() > 1 && planned.shape.len() > 1
    });
    let (part, _) = merged.max_by_key(|(_, planned)| planned.shape.iter().product::<usize>())?;
    let values = |(model, name): &(usize, String)| {
        let tensor = plan.models[*model].1.dict().get(name)?;
        tensor.range_to_f32(0..tensor.len().min(COMPARED))
    };
    let first = values(&part.sources[0])?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let stranger = part.sources[1..].iter().find(|source| {
        values(source)
            .is_some_and(|other| dot(&first, &other) < UNLIKE * (dot(&first, &first) * dot(&other, &other)).sqrt())
    })?;
    Some(format!(
        "'{}' and '{}' have no common beginning: their neurons are in unlike orders, and what is merged index by index computes nothing \
         of theirs; `alignment: {{}}` in the file aligns them first",
        plan.models[part.sources[0].0].0.0, plan.models[stranger.0].0.0
    ))
}

/// Networks whose weights have a smaller cosine were not fine-tuned from one.
const UNLIKE: f64 = 0.1;
