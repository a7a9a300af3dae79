//! Operators that arrange the same elements under other axes.

use super::contents;
use super::error::{InferenceError, Mismatch};
use super::fact::{Element, Fact};
use super::scope::Scope;
use crate::{Dim, Shape};

/// The same elements in the same order under another shape.
fn reshaped(x: &Fact, shape: Option<Shape>) -> Fact {
    Fact { elements: x.elements.clone(), ..Fact::new(x.data_type, shape) }
}

/// The axes before `axis` become one, the others become one.
pub(super) fn flatten(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    let Some(shape) = scope.shape(0) else {
        let shape = vec![scope.fresh(0), scope.fresh(1)];
        return Ok(Fact::new(scope.data_type(0), Some(shape)));
    };
    // Unlike elsewhere, the rank itself is allowed.
    let axis = if axis == shape.len() as i64 { shape.len() } else { scope.axis(axis, shape.len())? };
    let flat = vec![scope.product(0, &shape[..axis])?, scope.product(1, &shape[axis..])?];
    Ok(reshaped(scope.input(0), Some(flat)))
}

/// Target lengths may be 0 (as in the input, unless `allow_zero`) and, once, -1 (whatever remains).
pub(super) fn reshape(scope: &Scope<'_>, allow_zero: bool) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    if scope.shape(1).is_some_and(|shape| shape.len() != 1) {
        return Err(scope.rank_error(1, "1"));
    }
    let Some(target) = scope.elements(1) else {
        return Ok(reshaped(x, unknown_target(scope)?));
    };
    let mut shape = Vec::with_capacity(target.len());
    let mut remainder = None;
    for (axis, element) in target.iter().enumerate() {
        shape.push(match element {
            Element::Number(-1) if remainder.is_none() => {
                remainder = Some(axis);
                Dim::known(1)
            }
            Element::Number(0) if !allow_zero => match &x.shape {
                Some(shape) => {
                    shape.get(axis).cloned().ok_or_else(|| scope.rank_error(0, format!("at least {}", axis + 1)))?
                }
                None => scope.fresh(axis),
            },
            element => {
                element.as_length().ok_or_else(|| scope.argument("shape", "lengths, 0 and at most one -1", target))?
            }
        });
    }
    let Some(input) = &x.shape else {
        if let Some(axis) = remainder {
            shape[axis] = scope.fresh(axis);
        }
        return Ok(reshaped(x, Some(shape)));
    };
    let size_error = || {
        let target = target.iter().map(describe).collect();
        let input = input.clone();
        scope.error(0, Mismatch::Size { input, target })
    };
    let total = scope.product(shape.len(), input)?;
    let product = scope.product(shape.len() + 1, &shape)?;
    match remainder {
        Some(axis) => {
            shape[axis] = match total.divided_by(&product) {
                Some(quotient) => quotient,
                None if total.as_known().is_some() && product.as_known().is_some() => return Err(size_error()),
                None => scope.expression(axis, format!("({total}/({product}))")),
            };
        }
        None if total != product && total.same_symbols(&product) => return Err(size_error()),
        None => {}
    }
    Ok(reshaped(x, Some(shape)))
}

/// The rank of a reshape's output is the length of its target.
fn unknown_target(scope: &Scope<'_>) -> Result<Option<Shape>, InferenceError> {
    let rank = scope.shape(1).and_then(|shape| shape[0].as_known());
    match rank {
        Some(rank) if rank > super::MOST_AXES => Err(scope.too_large("the rank", rank.to_string())),
        rank => Ok(rank.map(|rank| (0..rank).map(|axis| scope.fresh(axis)).collect())),
    }
}

fn describe(element: &Element) -> String {
    match element {
        Element::Number(number) => number.to_string(),
        Element::Length(dim) => dim.to_string(),
    }
}

/// Axis i of the output is axis `permutation[i]` of the input.
pub(super) fn transpose(scope: &Scope<'_>, permutation: Option<&[usize]>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let rank = x.shape.as_ref().map(Vec::len).or(permutation.map(<[usize]>::len));
    let Some(rank) = rank else {
        return Ok(Fact::new(x.data_type, None));
    };
    let order = permutation.map_or_else(|| (0..rank).rev().collect(), <[usize]>::to_vec);
    let signed: Vec<i64> = order.iter().map(|&axis| i64::try_from(axis).unwrap_or(i64::MAX)).collect();
    if order.len() != rank || scope.axes(&signed, rank).is_err() {
        return Err(scope.error_of(None, Mismatch::Axes { rank, found: signed }));
    }
    let Some(shape) = &x.shape else {
        let shape = (0..rank).map(|axis| scope.fresh(axis)).collect();
        return Ok(Fact::new(x.data_type, Some(shape)));
    };
    let mut transposed = Fact::new(x.data_type, Some(order.iter().map(|&axis| shape[axis].clone()).collect()));
    transposed.elements = transposed.known_shape().and_then(|lengths| {
        contents::moved(x, &lengths, |index| {
            let mut origin = vec![0; rank];
            order.iter().zip(index).for_each(|(&axis, &i)| origin[axis] = i);
            origin
        })
    });
    Ok(transposed)
}

/// Axes of length 1 disappear: those given, else all.
pub(super) fn squeeze(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let Some(shape) = &x.shape else {
        return Ok(Fact::new(x.data_type, None));
    };
    let dropped: Vec<usize> = if scope.is_given(1) {
        let Some(axes) = scope.integers(1) else {
            return Ok(Fact::new(x.data_type, None));
        };
        let axes = scope.axes(&axes, shape.len())?;
        for &axis in &axes {
            scope.expect_length(0, axis, &Dim::known(1), &shape[axis])?;
        }
        axes
    } else if shape.iter().all(|dim| dim.as_known().is_some()) {
        (0..shape.len()).filter(|&axis| shape[axis].is_one()).collect()
    } else {
        // Whether a symbolic axis stays depends on its length.
        return Ok(Fact::new(x.data_type, None));
    };
    let kept = shape.iter().enumerate().filter(|(axis, _)| !dropped.contains(axis));
    Ok(reshaped(x, Some(kept.map(|(_, dim)| dim.clone()).collect())))
}

/// Axes of length 1 appear where the output's axes are given.
pub(super) fn unsqueeze(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let (Some(shape), Some(axes)) = (&x.shape, scope.integers(1)) else {
        return Ok(Fact::new(x.data_type, None));
    };
    let rank = shape.len() + axes.len();
    let mut added = vec![false; rank];
    for axis in scope.axes(&axes, rank)? {
        added[axis] = true;
    }
    let mut old = shape.iter();
    let lengths =
        added.iter().filter_map(|&added| if added { Some(Dim::known(1)) } else { old.next().cloned() }).collect();
    Ok(reshaped(x, Some(lengths)))
}
