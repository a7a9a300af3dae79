//! Slices.

use super::contents;
use super::error::InferenceError;
use super::fact::{Element, Fact};
use super::scope::Scope;
use crate::Dim;
use Element::{Length, Number};

/// Bounds at and beyond this mean "to the end": exporters write the largest int32 or int64.
const END: i64 = i32::MAX as i64;

/// What a slice takes along one axis: the length, and where it starts if that is known.
struct Taken {
    length: Dim,
    start: Option<i64>,
    step: i64,
}

/// Data, starts, ends, axes (else the first ones), steps (else 1).
pub(super) fn slice(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let x = scope.input(0);
    let Some(shape) = &x.shape else {
        return Ok(Fact::new(x.data_type, None));
    };
    let count = (1..5).find_map(|input| scope.shape(input)?.first()?.as_known());
    let axes = match (scope.is_given(3), count) {
        (true, _) => scope.integers(3),
        (false, Some(count)) if count > shape.len() => return Err(scope.rank_error(0, format!("at least {count}"))),
        (false, Some(count)) => Some((0..count as i64).collect()),
        (false, None) => None,
    };
    let Some(axes) = axes else {
        let shape = (0..shape.len()).map(|axis| scope.fresh(axis)).collect();
        return Ok(Fact::new(x.data_type, Some(shape)));
    };
    let axes = scope.axes(&axes, shape.len())?;
    for input in [1, 2, 4] {
        if let Some(elements) = scope.elements(input).filter(|elements| elements.len() != axes.len()) {
            return Err(scope.argument("bounds", format!("one for each of {} axes", axes.len()), elements));
        }
    }
    let mut taken: Vec<Option<Taken>> = shape.iter().map(|_| None).collect();
    for (position, &axis) in axes.iter().enumerate() {
        let step =
            if scope.is_given(4) { scope.elements(4).and_then(|steps| steps[position].as_number()) } else { Some(1) };
        if step == Some(0) {
            return Err(scope.argument("steps", "not 0", 0));
        }
        let start = scope.elements(1).map(|starts| &starts[position]);
        let end = scope.elements(2).map(|ends| &ends[position]);
        taken[axis] = Some(match (start, end, step) {
            (Some(start), Some(end), Some(step)) => take(scope, axis, &shape[axis], start, end, step),
            _ => Taken { length: scope.fresh(axis), start: None, step: 1 },
        });
    }
    let lengths = shape.iter().zip(&taken);
    let lengths = lengths.map(|(dim, taken)| taken.as_ref().map_or(dim, |taken| &taken.length).clone());
    let mut sliced = Fact::new(x.data_type, Some(lengths.collect()));
    let starts_known = taken.iter().flatten().all(|taken| taken.start.is_some());
    sliced.elements = sliced.known_shape().filter(|_| starts_known).and_then(|lengths| {
        contents::moved(x, &lengths, |index| {
            let origin = |(&i, taken): (&usize, &Option<Taken>)| match taken {
                Some(Taken { start, step, .. }) => (start.unwrap_or(0) + step * i as i64) as usize,
                None => i,
            };
            index.iter().zip(&taken).map(origin).collect()
        })
    });
    Ok(sliced)
}

fn take(scope: &Scope<'_>, axis: usize, dim: &Dim, start: &Element, end: &Element, step: i64) -> Taken {
    if let (Some(length), Number(start), Number(end)) = (dim.as_known(), start, end) {
        let (start, length) = clamped(length as i128, i128::from(*start), i128::from(*end), i128::from(step));
        return Taken { length: Dim::known(length), start: Some(start), step };
    }
    let length = symbolic(scope, axis, dim, start, end, step).unwrap_or_else(|| scope.fresh(axis));
    Taken { length, start: None, step }
}

/// First index and count of a slice whose numbers are all known.
fn clamped(length: i128, start: i128, end: i128, step: i128) -> (i64, usize) {
    let from_start = |bound: i128| if bound < 0 { bound + length } else { bound };
    let (start, end) = (from_start(start), from_start(end));
    let (start, span) = if step > 0 {
        let start = start.clamp(0, length);
        (start, end.clamp(0, length) - start)
    } else {
        let start = start.clamp(-1, length - 1);
        (start, start - end.clamp(-1, length - 1))
    };
    let stride = step.abs();
    let count = (span.max(0) + stride - 1) / stride;
    (start.max(0) as i64, count as usize)
}

/// The length of a slice of a symbolic axis, or between symbolic bounds, where it can be expressed.
fn symbolic(scope: &Scope<'_>, axis: usize, dim: &Dim, start: &Element, end: &Element, step: i64) -> Option<Dim> {
    let stride = usize::try_from(step.unsigned_abs()).ok()?;
    if step < 0 {
        let whole = matches!(start, Number(start) if *start == -1 || *start >= END)
            && matches!(end, Number(end) if *end <= -END);
        return whole.then(|| scope.quotient(axis, dim, i64::try_from(stride - 1).ok()?, stride))?;
    }
    let span = match (start, end) {
        (Number(0), Number(end)) if *end >= END => dim.clone(),
        (Number(0), Number(end)) if *end >= 0 => scope.least(axis, dim, &Dim::known(usize::try_from(*end).ok()?)),
        (Number(0), Number(end)) => scope.plus(axis, dim, *end)?,
        (Number(0), Length(end)) => scope.least(axis, dim, end),
        (Number(start), Number(end)) if *start > 0 && *end >= END => scope.plus(axis, dim, start.checked_neg()?)?,
        (Number(start), Number(end)) if *start < 0 && *end >= END => {
            scope.least(axis, dim, &Dim::known(usize::try_from(start.unsigned_abs()).ok()?))
        }
        (Length(start), Length(end)) if start == end => Dim::known(0),
        _ => return None,
    };
    scope.quotient(axis, &span, i64::try_from(stride - 1).ok()?, stride)
}
