//! Operators that join, cut and pick along one axis.

use super::contents;
use super::error::{InferenceError, Mismatch};
use super::fact::{Element, Fact, MOST_ELEMENTS};
use super::scope::Scope;
use crate::{Dim, Shape};

/// Inputs side by side along `axis`; all other lengths are equal.
pub(super) fn concat(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    let count = scope.node.inputs.len();
    let data_type = (0..count).find_map(|input| scope.data_type(input));
    let mut joined: Option<Shape> = None;
    let mut all_known = true;
    for input in 0..count {
        let Some(shape) = scope.shape(input) else {
            all_known = false;
            continue;
        };
        let Some(joined) = &mut joined else {
            scope.axis(axis, shape.len())?;
            joined = Some(shape.clone());
            continue;
        };
        if shape.len() != joined.len() {
            return Err(scope.rank_error(input, joined.len().to_string()));
        }
        let axis = scope.axis(axis, shape.len())?;
        for (other, (length, found)) in joined.iter_mut().zip(shape).enumerate() {
            if other == axis {
                let sum = scope.sum(axis, length, found);
                *length = sum.ok_or_else(|| scope.too_large("a length", format!("{length} + {found}")))?;
                continue;
            }
            scope.expect_length(input, other, length, found)?;
            if length.as_known().is_none() && found.as_known().is_some() {
                *length = found.clone();
            }
        }
    }
    let Some(mut shape) = joined else {
        return Ok(Fact::new(data_type, None));
    };
    let axis = scope.axis(axis, shape.len())?;
    if !all_known {
        shape[axis] = scope.fresh(axis);
    }
    Ok(Fact {
        elements: all_known.then(|| joined_elements(scope, count, axis)).flatten(),
        ..Fact::new(data_type, Some(shape))
    })
}

fn joined_elements(scope: &Scope<'_>, count: usize, axis: usize) -> Option<Vec<Element>> {
    let mut blocks = Vec::with_capacity(count);
    let mut total = 0;
    let mut outer = 1;
    for input in 0..count {
        let shape = scope.input(input).known_shape()?;
        let elements = scope.elements(input)?;
        total += elements.len();
        outer = contents::count(&shape[..axis])?;
        blocks.push((elements, contents::count(&shape[axis..])?));
    }
    if total > MOST_ELEMENTS {
        return None;
    }
    let mut joined = Vec::with_capacity(total);
    for part in 0..outer {
        for (elements, length) in &blocks {
            joined.extend_from_slice(elements.get(part * length..(part + 1) * length)?);
        }
    }
    Some(joined)
}

/// Consecutive parts along `axis`, one for each output.
pub(super) fn split(scope: &Scope<'_>, axis: i64) -> Result<Vec<Fact>, InferenceError> {
    let x = scope.input(0);
    let count = scope.node.outputs.len();
    let Some(shape) = &x.shape else {
        return Ok(vec![Fact::new(x.data_type, None); count]);
    };
    let axis = scope.axis(axis, shape.len())?;
    let lengths = if scope.is_given(1) {
        given_parts(scope, axis, &shape[axis], count)?
    } else {
        equal_parts(scope, axis, &shape[axis], count)?
    };
    let mut start = Some(0);
    let mut facts = Vec::with_capacity(count);
    for length in lengths {
        let mut part = Fact::new(x.data_type, Some(shape.clone()));
        if let Some(shape) = &mut part.shape {
            shape[axis] = length.clone();
        }
        part.elements = part.known_shape().zip(start).and_then(|(lengths, start)| {
            contents::moved(x, &lengths, |index| {
                let mut origin = index.to_vec();
                origin[axis] += start;
                origin
            })
        });
        facts.push(part);
        start = start.zip(length.as_known()).and_then(|(start, length)| usize::checked_add(start, length));
    }
    Ok(facts)
}

fn given_parts(scope: &Scope<'_>, axis: usize, length: &Dim, count: usize) -> Result<Vec<Dim>, InferenceError> {
    let Some(elements) = scope.elements(1) else {
        return Ok((0..count).map(|part| part_symbol(scope, axis, part)).collect());
    };
    let lengths: Option<Vec<Dim>> = elements.iter().map(Element::as_length).collect();
    let lengths = lengths.filter(|lengths| lengths.len() == count);
    let wanted = || scope.argument("split", format!("{count} lengths that add up to {length}"), elements);
    let lengths = lengths.ok_or_else(wanted)?;
    let sum = lengths.iter().try_fold(0usize, |sum, part| sum.checked_add(part.as_known().unwrap_or(0)));
    let all_known = lengths.iter().all(|part| part.as_known().is_some());
    match (sum, length.as_known()) {
        (Some(sum), Some(length)) if sum == length || (sum < length && !all_known) => Ok(lengths),
        (Some(_), None) => Ok(lengths),
        _ => Err(wanted()),
    }
}

fn equal_parts(scope: &Scope<'_>, axis: usize, length: &Dim, count: usize) -> Result<Vec<Dim>, InferenceError> {
    if let Some(part) = length.divided_by(&Dim::known(count)) {
        return Ok(vec![part; count]);
    }
    let Some(known) = length.as_known() else {
        let part = scope.quotient(axis, length, count as i64 - 1, count);
        let mut parts = vec![part.unwrap_or_else(|| scope.fresh(axis)); count];
        if let Some(last) = parts.last_mut() {
            *last = part_symbol(scope, axis, count - 1);
        }
        return Ok(parts);
    };
    let indivisible = || {
        let found = length.clone();
        let mismatch = Mismatch::Indivisible { axis, parts: count, found };
        scope.error(0, mismatch)
    };
    if count == 0 {
        return Err(indivisible());
    }
    let part = known.div_ceil(count);
    let last = part.checked_mul(count - 1).and_then(|others| known.checked_sub(others));
    let mut parts = vec![Dim::known(part); count];
    parts[count - 1] = Dim::known(last.ok_or_else(indivisible)?);
    Ok(parts)
}

fn part_symbol(scope: &Scope<'_>, axis: usize, part: usize) -> Dim {
    Dim::symbol(format!("{}.{part}", scope.fresh(axis)))
}

/// The axes of the indices replace `axis`.
pub(super) fn gather(scope: &Scope<'_>, axis: i64) -> Result<Fact, InferenceError> {
    let (x, indices) = (scope.input(0), scope.input(1));
    let (Some(shape), Some(picked)) = (&x.shape, &indices.shape) else {
        return Ok(Fact::new(x.data_type, None));
    };
    let axis = scope.axis(axis, shape.len())?;
    let mut gathered = Fact::new(x.data_type, Some([&shape[..axis], picked, &shape[axis + 1..]].concat()));
    let (Some(length), Some(numbers)) = (shape[axis].as_known(), scope.integers(1)) else {
        return Ok(gathered);
    };
    let mut positions = Vec::with_capacity(numbers.len());
    for index in numbers {
        let from_start = if index < 0 { index.saturating_add_unsigned(length as u64) } else { index };
        let position = usize::try_from(from_start).ok().filter(|&position| position < length);
        positions.push(position.ok_or_else(|| scope.error(1, Mismatch::Index { index, length }))?);
    }
    let rank = picked.len();
    gathered.elements = gathered.known_shape().zip(indices.known_shape()).and_then(|(lengths, picked)| {
        contents::moved(x, &lengths, |index| {
            let position = positions[contents::position(&picked, &index[axis..axis + rank])];
            [&index[..axis], &[position], &index[axis + rank..]].concat()
        })
    });
    Ok(gathered)
}
