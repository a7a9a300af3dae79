//! Operators that choose, place or order elements by indices.

use super::error::InferenceError;
use super::fact::{Element, Fact};
use super::scope::Scope;
use crate::{DataType, Dim};

/// The shape of X; with an axis given as input 1.
pub(super) fn cum_sum(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    if let (Some(shape), Some(&[axis])) = (scope.shape(0), scope.integers(1).as_deref()) {
        scope.axis(axis, shape.len())?;
    }
    Ok(Fact::new(scope.data_type(0), scope.shape(0).cloned()))
}

/// The first k along an axis: values and indices.
pub(super) fn top_k(scope: &Scope<'_>, axis: i64) -> Result<Vec<Fact>, InferenceError> {
    let Some(shape) = scope.shape(0) else {
        return Ok(vec![Fact::new(scope.data_type(0), None), Fact::new(Some(DataType::I64), None)]);
    };
    let axis = scope.axis(axis, shape.len())?;
    let mut shape = shape.clone();
    let count = scope.elements(1).and_then(|elements| elements.first());
    shape[axis] = match (count, shape[axis].as_known()) {
        (Some(Element::Number(count)), length) => {
            let count = usize::try_from(*count).ok().filter(|&count| length.is_none_or(|length| count <= length));
            let wanted = || scope.argument("k", format!("at most {}", shape[axis]), scope.elements(1));
            Dim::known(count.ok_or_else(wanted)?)
        }
        (Some(Element::Length(dim)), _) => dim.clone(),
        (None, _) => scope.fresh(axis),
    };
    Ok(vec![Fact::new(scope.data_type(0), Some(shape.clone())), Fact::new(Some(DataType::I64), Some(shape))])
}

/// The shape of the indices, which have as many axes as X.
pub(super) fn gather_elements(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    same_rank(scope, 1, axis)?;
    Ok(Fact::new(scope.data_type(0), scope.shape(1).cloned()))
}

/// The shape of X; indices and updates have as many axes, and one shape.
pub(super) fn scatter_elements(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    same_rank(scope, 1, axis)?;
    same_rank(scope, 2, axis)?;
    if let (Some(indices), Some(updates)) = (scope.shape(1), scope.shape(2)) {
        for (axis, (expected, found)) in indices.iter().zip(updates).enumerate() {
            scope.expect_length(2, axis, expected, found)?;
        }
    }
    Ok(Fact::new(scope.data_type(0), scope.shape(0).cloned()))
}

fn same_rank(scope: &Scope<'_>, input: usize, axis: i64) -> Result<(), InferenceError> {
    let Some(shape) = scope.shape(0) else { return Ok(()) };
    scope.axis(axis, shape.len())?;
    match scope.shape(input) {
        Some(found) if found.len() != shape.len() => Err(scope.rank_error(input, shape.len().to_string())),
        _ => Ok(()),
    }
}

/// How many axes of X the indices' last axis addresses, if it is known.
fn addressed(scope: &Scope<'_>, batch: usize) -> Result<Option<usize>, InferenceError> {
    let (Some(shape), Some(indices)) = (scope.shape(0), scope.shape(1)) else { return Ok(None) };
    if indices.len() <= batch {
        return Err(scope.rank_error(1, format!("at least {}", batch + 1)));
    }
    let Some(count) = indices[indices.len() - 1].as_known() else { return Ok(None) };
    if count == 0 || count.saturating_add(batch) > shape.len() {
        return Err(scope.rank_error(0, format!("at least {}", count.saturating_add(batch))));
    }
    Ok(Some(batch + count))
}

/// The indices' axes but the last, then the axes of X that are not addressed.
pub(super) fn gather_nd(scope: &Scope<'_>, batch: usize) -> Result<Fact, InferenceError> {
    let addressed = addressed(scope, batch)?;
    let shape = match (addressed, scope.shape(0), scope.shape(1)) {
        (Some(first), Some(shape), Some(indices)) => Some([&indices[..indices.len() - 1], &shape[first..]].concat()),
        _ => None,
    };
    Ok(Fact::new(scope.data_type(0), shape))
}

/// The shape of X; updates have the shape that a gather would give.
pub(super) fn scatter_nd(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let expected = gather_nd(scope, 0)?;
    if let (Some(expected), Some(found)) = (expected.shape, scope.shape(2)) {
        if expected.len() != found.len() {
            return Err(scope.rank_error(2, expected.len().to_string()));
        }
        for (axis, (expected, found)) in expected.iter().zip(found).enumerate() {
            scope.expect_length(2, axis, expected, found)?;
        }
    }
    Ok(Fact::new(scope.data_type(0), scope.shape(0).cloned()))
}

/// The indices' axes with one of length `depth` among them.
pub(super) fn one_hot(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(2);
    let Some(indices) = scope.shape(0) else { return Ok(Fact::new(data_type, None)) };
    let axis = scope.axis(axis, indices.len() + 1)?;
    let depth = match scope.elements(1).map(|elements| elements.first()) {
        Some(Some(element)) => {
            let depth = element.as_length().filter(|depth| depth.as_known() != Some(0));
            depth.ok_or_else(|| scope.argument("depth", "a positive number", element))?
        }
        Some(None) => return Err(scope.rank_error(1, "0")),
        None => scope.fresh(axis),
    };
    let mut shape = indices.clone();
    shape.insert(axis, depth);
    Ok(Fact::new(data_type, Some(shape)))
}

/// A row for each axis of X, as many columns as elements are not 0.
pub(super) fn non_zero(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let rows = scope.shape(0).map_or_else(|| scope.fresh(0), |shape| Dim::known(shape.len()));
    Ok(Fact::new(Some(DataType::I64), Some(vec![rows, scope.fresh(1)])))
}

/// The shape of X, of two axes at least.
pub(super) fn trilu(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    match scope.shape(0) {
        Some(shape) if shape.len() < 2 => Err(scope.rank_error(0, "at least 2")),
        shape => Ok(Fact::new(scope.data_type(0), shape.cloned())),
    }
}

/// The shape of X, of two axes.
pub(super) fn eye_like(scope: &Scope<'_>, data_type: Option<DataType>) -> Result<Fact, InferenceError> {
    match scope.shape(0) {
        Some(shape) if shape.len() != 2 => Err(scope.rank_error(0, "2")),
        shape => Ok(Fact::new(data_type.or(scope.data_type(0)), shape.cloned())),
    }
}

/// The product of all lengths.
pub(super) fn size(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let elements = match scope.shape(0) {
        Some(shape) => Some(vec![Element::from(scope.product(0, shape)?)]),
        None => None,
    };
    Ok(Fact { elements, ..Fact::new(Some(DataType::I64), Some(Vec::new())) })
}
