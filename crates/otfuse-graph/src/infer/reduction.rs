//! Reductions over axes.

use super::error::InferenceError;
use super::fact::{Element, Fact, fits};
use super::scope::Scope;
use super::{arithmetic, contents};
use crate::{Binary, DataType, Dim, Reduce, ReduceKind, Shape, Variadic};

/// Axes become 1 or disappear: those given; if none, all or none as the operator says.
pub(super) fn reduce(scope: &Scope<'_>, reduce: &Reduce) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let axes = if scope.is_given(1) { scope.integers(1) } else { Some(Vec::new()) };
    let Some(shape) = &x.shape else {
        return Ok(Fact::new(x.data_type, None));
    };
    let reduced = match axes {
        Some(axes) if !axes.is_empty() => scope.axes(&axes, shape.len())?,
        Some(_) if reduce.noop_with_empty_axes => Vec::new(),
        Some(_) => (0..shape.len()).collect(),
        None => {
            let shape = reduce.keep_dims.then(|| (0..shape.len()).map(|axis| scope.fresh(axis)).collect());
            return Ok(Fact::new(x.data_type, shape));
        }
    };
    Ok(Fact {
        elements: reduced_elements(scope, reduce.kind, &reduced),
        ..Fact::new(x.data_type, Some(without(shape, &reduced, reduce.keep_dims)))
    })
}

/// The index of an element along one axis.
pub(super) fn arg_extremum(scope: &Scope<'_>, axis: i64, keep_dims: bool) -> Result<Fact, InferenceError> {
    let shape = match scope.shape(0) {
        Some(shape) => Some(without(shape, &[scope.axis(axis, shape.len())?], keep_dims)),
        None => None,
    };
    Ok(Fact::new(Some(DataType::I64), shape))
}

fn without(shape: &Shape, axes: &[usize], keep_dims: bool) -> Shape {
    let kept = |(axis, dim): (usize, &Dim)| match (axes.contains(&axis), keep_dims) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(Dim::known(1)),
        (true, false) => None,
    };
    shape.iter().enumerate().filter_map(kept).collect()
}

fn reduced_elements(scope: &Scope<'_>, kind: ReduceKind, axes: &[usize]) -> Option<Vec<Element>> {
    let x = scope.input(0);
    let (shape, elements, data_type) = (x.known_shape()?, x.elements.as_ref()?, x.data_type?);
    let combine = |position: usize, left: &Element, right: &Element| match kind {
        ReduceKind::Sum => arithmetic::binary(scope, position, Binary::Add, data_type, left, right),
        ReduceKind::Prod => arithmetic::binary(scope, position, Binary::Mul, data_type, left, right),
        ReduceKind::Max => arithmetic::variadic(scope, position, Variadic::Max, data_type, left, right),
        ReduceKind::Min => arithmetic::variadic(scope, position, Variadic::Min, data_type, left, right),
        _ => None,
    };
    let lengths: Vec<usize> = (0..shape.len()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
    let mut results: Vec<Option<Element>> = vec![None; contents::count(&lengths)?];
    for (index, element) in contents::indices(&shape)?.zip(elements) {
        let position = contents::position(&lengths, &index);
        let slot = results.get_mut(position)?;
        *slot = Some(match slot.take() {
            Some(sum) => combine(position, &sum, element)?,
            None if matches!(kind, ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Max | ReduceKind::Min) => {
                element.clone()
            }
            None => return None,
        });
    }
    // Over no elements, sums and products have neutral elements.
    let neutral = match kind {
        ReduceKind::Sum => Some(0),
        ReduceKind::Prod => Some(1),
        _ => None,
    };
    let results: Option<Vec<Element>> =
        results.into_iter().map(|result| result.or(neutral.map(Element::Number))).collect();
    results.filter(|results| results.iter().all(|e| e.as_number().is_none_or(|number| fits(data_type, number))))
}
