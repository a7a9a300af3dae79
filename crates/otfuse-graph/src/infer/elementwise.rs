//! Operators that work element by element.

use super::error::InferenceError;
use super::fact::{Element, Fact, fits};
use super::scope::Scope;
use super::{arithmetic, contents};
use crate::{Binary, DataType, Dim, Shape, Unary, Variadic};

/// The shape stays as it is.
pub(super) fn unary(scope: &Scope<'_>, unary: Unary) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let elements = match (&x.elements, x.data_type) {
        (Some(elements), Some(data_type)) => {
            elements.iter().map(|element| arithmetic::unary(unary, data_type, element)).collect()
        }
        _ => None,
    };
    let data_type = if unary.is_test() { Some(DataType::Bool) } else { x.data_type };
    Ok(Fact { elements: representable(data_type, elements), ..Fact::new(data_type, x.shape.clone()) })
}

/// Both inputs broadcast.
pub(super) fn binary(scope: &Scope<'_>, binary: Binary) -> Result<Fact, InferenceError> {
    let shape = scope.broadcast_inputs(0..2)?;
    let operands = scope.data_type(0).or(scope.data_type(1));
    let data_type = if binary.is_comparison() { Some(DataType::Bool) } else { operands };
    let elements = operands.and_then(|operands| {
        combined(scope, 2, shape.as_ref(), |position, values| {
            arithmetic::binary(scope, position, binary, operands, values[0], values[1])
        })
    });
    Ok(Fact { elements: representable(data_type, elements), ..Fact::new(data_type, shape) })
}

/// All inputs broadcast.
pub(super) fn variadic(scope: &Scope<'_>, variadic: Variadic) -> Result<Fact, InferenceError> {
    let count = scope.node.inputs.len();
    let shape = scope.broadcast_inputs(0..count)?;
    let data_type = (0..count).find_map(|input| scope.data_type(input));
    let elements = data_type.and_then(|data_type| {
        combined(scope, count, shape.as_ref(), |position, values| {
            let (first, rest) = values.split_first()?;
            rest.iter().try_fold((*first).clone(), |result, value| {
                arithmetic::variadic(scope, position, variadic, data_type, &result, value)
            })
        })
    });
    Ok(Fact { elements: representable(data_type, elements), ..Fact::new(data_type, shape) })
}

/// The slope broadcasts to the input.
pub(super) fn prelu(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    if let Some(shape) = scope.shape(0) {
        scope.expect_broadcast_to(1, shape)?;
    }
    Ok(Fact::new(scope.data_type(0), scope.shape(0).cloned()))
}

/// The shape stays as it is; the bounds are single numbers.
pub(super) fn clip(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    for bound in 1..3 {
        scope.expect_broadcast_to(bound, &[Dim::known(1)])?;
    }
    let bound = |input: usize, default: i64| match scope.integers(input).as_deref() {
        _ if !scope.is_given(input) => Some(default),
        Some(&[bound]) => Some(bound),
        _ => None,
    };
    let elements = scope.integers(0).and_then(|values| {
        let (least, most) = (bound(1, i64::MIN)?, bound(2, i64::MAX)?);
        Some(values.into_iter().map(|value| Element::Number(value.max(least).min(most))).collect())
    });
    Ok(Fact { elements, ..Fact::new(scope.data_type(0), scope.shape(0).cloned()) })
}

/// Condition and both choices broadcast.
pub(super) fn select(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let shape = scope.broadcast_inputs(0..3)?;
    let elements = combined(scope, 3, shape.as_ref(), |_, values| {
        let chosen = if values[0].as_number()? != 0 { values[1] } else { values[2] };
        Some(chosen.clone())
    });
    Ok(Fact { elements, ..Fact::new(scope.data_type(1).or(scope.data_type(2)), shape) })
}

/// The shape stays as it is; numbers stay as they are where the type holds them.
pub(super) fn cast(scope: &Scope<'_>, to: DataType) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let to_bool = |element: &Element| Some(Element::Number(i64::from(element.as_number()? != 0)));
    let elements = match &x.elements {
        Some(elements) if to == DataType::Bool => elements.iter().map(to_bool).collect(),
        elements => elements.clone(),
    };
    Ok(Fact { elements: representable(Some(to), elements), ..Fact::new(Some(to), x.shape.clone()) })
}

/// The contents that follow from the first `count` inputs' elements, broadcast to `shape`.
fn combined(
    scope: &Scope<'_>,
    count: usize,
    shape: Option<&Shape>,
    function: impl Fn(usize, &[&Element]) -> Option<Element>,
) -> Option<Vec<Element>> {
    let shape: Vec<usize> = shape?.iter().map(Dim::as_known).collect::<Option<_>>()?;
    let operands: Vec<_> = (0..count)
        .map(|input| Some((scope.input(input).known_shape()?, scope.elements(input)?)))
        .collect::<Option<_>>()?;
    let mut elements = Vec::new();
    for (position, index) in contents::indices(&shape)?.enumerate() {
        let values: Vec<&Element> = operands
            .iter()
            .map(|(shape, elements)| elements.get(contents::position(shape, &index)))
            .collect::<Option<_>>()?;
        elements.push(function(position, &values)?);
    }
    Some(elements)
}

/// The elements, if the type holds all of them exactly.
fn representable(data_type: Option<DataType>, elements: Option<Vec<Element>>) -> Option<Vec<Element>> {
    let data_type = data_type?;
    elements.filter(|elements| {
        elements.iter().all(|element| element.as_number().is_none_or(|number| fits(data_type, number)))
    })
}
