//! Operators that make tensors out of shapes and numbers.

use super::contents;
use super::error::InferenceError;
use super::fact::{Element, Fact, MOST_ELEMENTS};
use super::scope::Scope;
use crate::{DataType, Dim, Shape, Tensor};

/// The lengths of the axes from `start` up to `end`, both clamped to the rank.
pub(super) fn shape(scope: &Scope<'_>, start: i64, end: Option<i64>) -> Result<Fact, InferenceError> {
    let Some(shape) = scope.shape(0) else {
        return Ok(Fact::new(Some(DataType::I64), Some(vec![scope.fresh(0)])));
    };
    let rank = shape.len() as i64;
    let clamped = |axis: i64| (if axis < 0 { axis.saturating_add(rank) } else { axis }).clamp(0, rank) as usize;
    let (start, end) = (clamped(start), clamped(end.unwrap_or(rank)));
    let elements: Vec<Element> = shape[start..end.max(start)].iter().cloned().map(Element::from).collect();
    Ok(Fact { data_type: Some(DataType::I64), shape: Some(vec![Dim::known(elements.len())]), elements: Some(elements) })
}

/// One value everywhere.
pub(super) fn constant_of_shape(scope: &Scope<'_>, value: &Tensor) -> Result<Fact, InferenceError> {
    if value.len() != 1 {
        return Err(scope.argument("value", "one element", value));
    }
    if scope.shape(0).is_some_and(|shape| shape.len() != 1) {
        return Err(scope.rank_error(0, "1"));
    }
    let Some(elements) = scope.elements(0) else {
        let rank = scope.shape(0).and_then(|shape| shape[0].as_known());
        let rank = rank.filter(|&rank| rank <= super::MOST_AXES);
        let shape = rank.map(|rank| (0..rank).map(|axis| scope.fresh(axis)).collect());
        return Ok(Fact::new(Some(value.data_type()), shape));
    };
    let lengths: Option<Shape> = elements.iter().map(Element::as_length).collect();
    let lengths = lengths.ok_or_else(|| scope.argument("shape", "no negative numbers", elements))?;
    let mut constant = Fact::new(Some(value.data_type()), Some(lengths));
    let count = constant.known_shape().and_then(|lengths| contents::count(&lengths));
    constant.elements =
        count.zip(Fact::of_tensor(value).elements).map(|(count, one)| one.into_iter().cycle().take(count).collect());
    Ok(constant)
}

/// `start`, `start + delta`, .. below (for negative `delta`, above) `limit`.
pub(super) fn range(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    for input in 0..3 {
        if scope.shape(input).is_some_and(|shape| shape.len() > 1 || shape.iter().any(|dim| dim.as_known() == Some(0)))
        {
            return Err(scope.rank_error(input, "0"));
        }
    }
    let data_type = (0..3).find_map(|input| scope.data_type(input));
    let bound = |input: usize| scope.elements(input).and_then(<[Element]>::first);
    let length = match (bound(0), bound(1), bound(2)) {
        (_, _, Some(Element::Number(0))) => return Err(scope.argument("delta", "not 0", 0)),
        (Some(Element::Number(start)), Some(Element::Number(limit)), Some(Element::Number(delta))) => {
            let count = steps(*start, *limit, *delta);
            let length = Dim::known(usize::try_from(count).unwrap_or(usize::MAX));
            let elements = (count <= MOST_ELEMENTS as i128)
                .then(|| (0..count as i64).map(|i| Element::Number(start + i * delta)).collect());
            return Ok(Fact { elements, ..Fact::new(data_type, Some(vec![length])) });
        }
        (Some(Element::Number(0)), Some(Element::Length(limit)), Some(Element::Number(delta))) => {
            usize::try_from(*delta)
                .ok()
                .and_then(|delta| scope.quotient(0, limit, i64::try_from(delta).ok()? - 1, delta))
        }
        _ => None,
    };
    let length = length.unwrap_or_else(|| scope.fresh(0));
    Ok(Fact::new(data_type, Some(vec![length])))
}

fn steps(start: i64, limit: i64, delta: i64) -> i128 {
    let (span, delta) = (i128::from(limit) - i128::from(start), i128::from(delta));
    let (span, delta) = if delta < 0 { (-span, -delta) } else { (span, delta) };
    (span.max(0) + delta - 1) / delta
}
