//! Operators that repeat or surround elements.

use super::contents;
use super::error::{InferenceError, Mismatch};
use super::fact::{Element, Fact};
use super::scope::Scope;
use crate::{Dim, Shape};

/// The target of an expansion, or the repeats of a tiling, as lengths.
fn lengths(scope: &Scope<'_>, argument: &'static str) -> Result<Option<Shape>, InferenceError> {
    if scope.shape(1).is_some_and(|shape| shape.len() != 1) {
        return Err(scope.rank_error(1, "1"));
    }
    let Some(elements) = scope.elements(1) else {
        return Ok(None);
    };
    let lengths: Option<Shape> = elements.iter().map(Element::as_length).collect();
    lengths.map(Some).ok_or_else(|| scope.argument(argument, "no negative numbers", elements))
}

/// The input broadcast with a target shape.
pub(super) fn expand(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let target = lengths(scope, "shape")?;
    let (Some(shape), Some(target)) = (&x.shape, target) else {
        return Ok(Fact::new(x.data_type, None));
    };
    let mut expanded = Fact::new(x.data_type, Some(scope.broadcast(0, shape, &target)?));
    // Positions of a shorter shape, and of axes of length 1, are those of the broadcast index.
    expanded.elements = expanded.known_shape().and_then(|lengths| contents::moved(x, &lengths, <[usize]>::to_vec));
    Ok(expanded)
}

/// Every axis repeated.
pub(super) fn tile(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let repeats = lengths(scope, "repeats")?;
    let Some(shape) = &x.shape else {
        return Ok(Fact::new(x.data_type, None));
    };
    let Some(repeats) = repeats else {
        let shape = (0..shape.len()).map(|axis| scope.fresh(axis)).collect();
        return Ok(Fact::new(x.data_type, Some(shape)));
    };
    if repeats.len() != shape.len() {
        return Err(scope.argument("repeats", format!("{} numbers", shape.len()), repeats));
    }
    let mut tiled = Vec::with_capacity(shape.len());
    for (axis, (length, repeat)) in shape.iter().zip(&repeats).enumerate() {
        tiled.push(scope.times(axis, length, repeat)?);
    }
    let mut tiled = Fact::new(x.data_type, Some(tiled));
    tiled.elements = tiled.known_shape().zip(x.known_shape()).and_then(|(lengths, original)| {
        contents::moved(x, &lengths, |index| index.iter().zip(&original).map(|(i, length)| i % length).collect())
    });
    Ok(tiled)
}

/// Numbers of elements before, then after each of the given axes (else all); negative ones cut.
pub(super) fn pad(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let Some(shape) = &x.shape else {
        return Ok(Fact::new(x.data_type, None));
    };
    let axes = if scope.is_given(3) {
        match scope.integers(3) {
            Some(axes) => Some(scope.axes(&axes, shape.len())?),
            None => None,
        }
    } else {
        Some((0..shape.len()).collect())
    };
    let (Some(axes), Some(pads)) = (axes, scope.elements(1)) else {
        let shape = (0..shape.len()).map(|axis| scope.fresh(axis)).collect();
        return Ok(Fact::new(x.data_type, Some(shape)));
    };
    if pads.len() != 2 * axes.len() {
        return Err(scope.argument("pads", format!("{} numbers", 2 * axes.len()), pads));
    }
    let mut padded = shape.clone();
    for (position, &axis) in axes.iter().enumerate() {
        padded[axis] = match (&pads[position], &pads[axes.len() + position]) {
            (Element::Number(before), Element::Number(after)) => {
                before.checked_add(*after).and_then(|added| scope.plus(axis, &shape[axis], added)).ok_or_else(|| {
                    let (expected, found) = (Dim::known(0), shape[axis].clone());
                    let cut = before.saturating_add(*after).unsigned_abs() as usize;
                    let expected = if cut > 0 { Dim::known(cut) } else { expected };
                    scope.error(0, Mismatch::Length { axis, expected, found })
                })?
            }
            _ => scope.fresh(axis),
        };
    }
    Ok(Fact::new(x.data_type, Some(padded)))
}
