//! Operators that choose, place or order elements by indices.

use std::cmp::Ordering;

use burn_backend::Backend;
use otfuse_graph::{DataType, ScatterReduction};

use super::array::Array;
use super::fault::{Fault, Outcome, element_count, resolve_axis};
use super::floats::Floats;
use super::integers::{Integers, strides};
use super::value::{Operands, Value};

/// Applies a function that is written for both kinds of tensors.
macro_rules! for_both {
    ($value:expr, $x:ident => $result:expr) => {
        match $value {
            Value::Floats($x) => Value::Floats($result),
            Value::Integers($x) => Value::Integers($result),
        }
    };
}

fn index(found: i64, length: usize) -> Outcome<usize> {
    let absolute = if found < 0 { found.saturating_add(length as i64) } else { found };
    usize::try_from(absolute)
        .ok()
        .filter(|&index| index < length)
        .ok_or_else(|| Fault::new("index", format!("an index below {length}"), found))
}

/// The elements at places of the row-major order.
fn taken<A: Array>(x: A, places: &[usize], shape: &[usize]) -> A {
    let count = x.shape().iter().product();
    x.reshaped(&[count]).selected(0, places).reshaped(shape)
}

/// For each index, in row-major order, the place in `data` at the same coordinates but for `axis`.
fn places_along(data: &[usize], axis: usize, indices: &Integers) -> Outcome<Vec<usize>> {
    let shape = &indices.shape;
    let fits = shape.len() == data.len() && (0..data.len()).all(|at| at == axis || shape[at] <= data[at]);
    if !fits {
        return Err(Fault::new("indices", format!("at most {data:?} but for axis {axis}"), format!("{shape:?}")));
    }
    let strides = strides(data);
    let mut coordinates = vec![0; shape.len()];
    let mut places = Vec::with_capacity(indices.data.len());
    for &found in &indices.data {
        let found = index(found, data[axis])?;
        let place = coordinates.iter().zip(&strides).enumerate();
        places.push(place.map(|(at, (&own, &stride))| if at == axis { found } else { own } * stride).sum());
        advance(&mut coordinates, shape);
    }
    Ok(places)
}

/// The next coordinates in row-major order.
fn advance(coordinates: &mut [usize], shape: &[usize]) {
    for (own, &length) in coordinates.iter_mut().zip(shape).rev() {
        *own += 1;
        if *own < length {
            return;
        }
        *own = 0;
    }
}

pub(super) fn gather_elements<B: Backend>(axis: i64, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let (x, indices) = (operands.value(0)?, operands.integers(1)?);
    let axis = resolve_axis(axis, x.shape().len())?;
    let places = places_along(x.shape(), axis, &indices)?;
    Ok(for_both!(x, x => taken(x, &places, &indices.shape)))
}

/// For each tuple of the indices, in row-major order, the places of its slice in `data`; and the slice's shape.
fn places_of_slices(data: &[usize], batch: usize, indices: &Integers) -> Outcome<(Vec<usize>, Vec<usize>)> {
    let wrong = || Fault::new("indices", format!("addresses in {data:?}"), format!("shape {:?}", indices.shape));
    let (&width, leading) = indices.shape.split_last().ok_or_else(wrong)?;
    let addressed = batch + width;
    if addressed > data.len() || leading.len() < batch || leading[..batch] != data[..batch] || width == 0 {
        return Err(wrong());
    }
    let slice: usize = data[addressed..].iter().product();
    let strides = strides(data);
    let per_batch: usize = leading[batch..].iter().product::<usize>().max(1);
    let block: usize = data[batch..].iter().product();
    let mut places = Vec::with_capacity(indices.data.len() / width * slice);
    for (tuple, address) in indices.data.chunks_exact(width).enumerate() {
        let mut start = tuple / per_batch * block;
        for (at, &found) in address.iter().enumerate() {
            start += index(found, data[batch + at])? * strides[batch + at];
        }
        places.extend(start..start + slice);
    }
    Ok((places, [leading, &data[addressed..]].concat()))
}

pub(super) fn gather_nd<B: Backend>(batch: usize, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let (x, indices) = (operands.value(0)?, operands.integers(1)?);
    let (places, shape) = places_of_slices(x.shape(), batch, &indices)?;
    element_count(&shape)?;
    Ok(for_both!(x, x => taken(x, &places, &shape)))
}

pub(super) fn scatter_elements<B: Backend>(
    axis: i64,
    reduction: ScatterReduction,
    operands: &mut Operands<B>,
) -> Outcome<Value<B>> {
    let (x, indices, updates) = (operands.value(0)?, operands.integers(1)?, operands.value(2)?);
    let axis = resolve_axis(axis, x.shape().len())?;
    let places = places_along(x.shape(), axis, &indices)?;
    if updates.shape() != indices.shape {
        return Err(Fault::new("updates", format!("{:?}", indices.shape), format!("{:?}", updates.shape())));
    }
    scatter(x, &places, updates, reduction, operands)
}

pub(super) fn scatter_nd<B: Backend>(reduction: ScatterReduction, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let (x, indices, updates) = (operands.value(0)?, operands.integers(1)?, operands.value(2)?);
    let (places, shape) = places_of_slices(x.shape(), 0, &indices)?;
    if updates.shape() != shape {
        return Err(Fault::new("updates", format!("{shape:?}"), format!("{:?}", updates.shape())));
    }
    scatter(x, &places, updates, reduction, operands)
}

fn scatter<B: Backend>(
    x: Value<B>,
    places: &[usize],
    updates: Value<B>,
    reduction: ScatterReduction,
    operands: &Operands<B>,
) -> Outcome<Value<B>> {
    if reduction == ScatterReduction::None {
        return Ok(match (x, updates) {
            (Value::Integers(x), Value::Integers(updates)) => Value::Integers(placed(x, places, updates)),
            (x, updates) => {
                let (x, updates) = (x.into_floats(&operands.device), updates.into_floats(&operands.device));
                Value::Floats(placed(x, places, updates))
            }
        });
    }
    Ok(match (x, updates) {
        (Value::Integers(mut x), Value::Integers(updates)) => {
            for (&place, &update) in places.iter().zip(&updates.data) {
                let own = x.data[place];
                x.data[place] = match reduction {
                    ScatterReduction::Add => own.wrapping_add(update),
                    ScatterReduction::Mul => own.wrapping_mul(update),
                    ScatterReduction::Min => own.min(update),
                    _ => own.max(update),
                };
            }
            Value::Integers(Integers::new(x.data_type, x.shape, x.data))
        }
        (x, updates) => {
            let shape = x.shape().to_vec();
            let mut data = x.into_floats(&operands.device).into_vec()?;
            for (&place, update) in places.iter().zip(updates.into_floats(&operands.device).into_vec()?) {
                let own = data[place];
                data[place] = match reduction {
                    ScatterReduction::Add => own + update,
                    ScatterReduction::Mul => own * update,
                    ScatterReduction::Min => {
                        if update < own {
                            update
                        } else {
                            own
                        }
                    }
                    _ => {
                        if update > own {
                            update
                        } else {
                            own
                        }
                    }
                };
            }
            Value::Floats(Floats::from_vec(data, &shape, &operands.device))
        }
    })
}

/// The last update of a place wins.
fn placed<A: Array>(x: A, places: &[usize], updates: A) -> A {
    let shape = x.shape().to_vec();
    let count: usize = shape.iter().product();
    let mut sources: Vec<usize> = (0..count).collect();
    for (update, &place) in places.iter().enumerate() {
        sources[place] = count + update;
    }
    if places.is_empty() {
        return x;
    }
    let both = A::concatenated(vec![x.reshaped(&[count]), updates.reshaped(&[places.len()])], 0);
    both.selected(0, &sources).reshaped(&shape)
}

/// Sums along an axis, each with all elements before it.
pub(super) fn cum_sum<B: Backend>(exclusive: bool, reverse: bool, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let x = operands.value(0)?;
    let &[axis] = operands.integers(1)?.data.as_slice() else {
        return Err(Fault::new("axis", "one number", "several"));
    };
    let shape = x.shape().to_vec();
    let axis = resolve_axis(axis, shape.len())?;
    let length = shape[axis];
    if length == 0 {
        return Ok(x);
    }
    let order: Vec<usize> = if reverse { (0..length).rev().collect() } else { (0..length).collect() };
    Ok(match x {
        Value::Floats(x) => {
            let ordered = if reverse { x.selected(axis, &order) } else { x };
            let mut sums = ordered.clone().map(|x| B::float_cumsum(x, axis));
            if exclusive {
                // Not the difference to x: that would round twice, and infinities would cancel.
                let first = ordered.filled_like(&with_length(&shape, axis, 1), 0.0)?;
                sums = Floats::concatenated(vec![first, sums.range(axis, 0, length - 1)], axis).range(axis, 0, length);
            }
            Value::Floats(if reverse { sums.selected(axis, &order) } else { sums })
        }
        Value::Integers(mut x) => {
            let inner: usize = shape[axis + 1..].iter().product();
            for start in 0..x.data.len() / length {
                let base = start / inner * length * inner + start % inner;
                let mut sum = 0_i64;
                for &at in &order {
                    let own = &mut x.data[base + at * inner];
                    let next = sum.wrapping_add(*own);
                    *own = if exclusive { sum } else { next };
                    sum = next;
                }
            }
            Value::Integers(Integers::new(x.data_type, x.shape, x.data))
        }
    })
}

fn with_length(shape: &[usize], axis: usize, length: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = length;
    shape
}

/// Values and indices of the first elements in order of size; of equal elements the one with the lower index first.
pub(super) fn top_k<B: Backend>(axis: i64, largest: bool, operands: &mut Operands<B>) -> Outcome<Vec<Value<B>>> {
    let (x, count) = (operands.value(0)?, operands.integers(1)?);
    let shape = x.shape().to_vec();
    let axis = resolve_axis(axis, shape.len())?;
    let length = shape[axis];
    let count = match count.data.as_slice() {
        &[count] => usize::try_from(count).ok().filter(|&count| count <= length),
        _ => None,
    };
    let count = count.ok_or_else(|| Fault::new("k", format!("a number up to {length}"), "another"))?;
    let order = match &x {
        Value::Floats(x) => ranks(&x.to_vec()?, &shape, axis, |a, b| ordered(*a, *b, largest)),
        Value::Integers(x) => ranks(&x.data, &shape, axis, |a, b| if largest { b.cmp(a) } else { a.cmp(b) }),
    };
    let order = Integers::new(DataType::I64, shape.clone(), order).range(axis, 0, count);
    let places = places_along(&shape, axis, &order)?;
    Ok(vec![for_both!(x, x => taken(x, &places, &order.shape)), Value::Integers(order)])
}

/// Numbers in order of size; what is no number counts as the largest.
fn ordered(a: f32, b: f32, largest: bool) -> Ordering {
    let order = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    if largest { order.reverse() } else { order }
}

/// The indices along an axis in order, in the shape of the data.
fn ranks<T>(data: &[T], shape: &[usize], axis: usize, order: impl Fn(&T, &T) -> Ordering) -> Vec<i64> {
    let (length, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut ranks = vec![0; data.len()];
    for line in 0..data.len().checked_div(length).unwrap_or(0) {
        let base = line / inner * length * inner + line % inner;
        let mut indices: Vec<usize> = (0..length).collect();
        indices.sort_by(|&a, &b| order(&data[base + a * inner], &data[base + b * inner]));
        for (rank, found) in indices.into_iter().enumerate() {
            ranks[base + rank * inner] = found as i64;
        }
    }
    ranks
}

/// 1 at the first largest element along an axis.
pub(super) fn hardmax<B: Backend>(axis: i64, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let shape = x.shape().to_vec();
    let axis = resolve_axis(axis, shape.len())?;
    let (length, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let ranks = ranks(&x.to_vec()?, &shape, axis, |a, b| ordered(*a, *b, true));
    let mut marks = vec![0.0; ranks.len()];
    for line in 0..ranks.len().checked_div(length).unwrap_or(0) {
        let base = line / inner * length * inner + line % inner;
        marks[base + ranks[base] as usize * inner] = 1.0;
    }
    Ok(Floats::from_vec(marks, &shape, &operands.device))
}

/// `on` where the new axis has the index, `off` elsewhere; indices out of range have none.
pub(super) fn one_hot<B: Backend>(axis: i64, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let device = &operands.device.clone();
    let number = |value: Value<B>| -> Outcome<Vec<i64>> {
        Ok(match value {
            Value::Integers(integers) => integers.data,
            Value::Floats(floats) => floats.into_vec()?.into_iter().map(|value| value as i64).collect(),
        })
    };
    let indices = operands.value(0)?;
    let shape = indices.shape().to_vec();
    let (indices, depth) = (number(indices)?, number(operands.value(1)?)?);
    let depth = match depth.as_slice() {
        &[depth] => usize::try_from(depth).ok().filter(|&depth| depth > 0),
        _ => None,
    };
    let depth = depth.ok_or_else(|| Fault::new("depth", "one positive number", "another"))?;
    let axis = resolve_axis(axis, shape.len() + 1)?;
    let mut result = shape.clone();
    result.insert(axis, depth);
    let count = element_count(&result)?;
    let inner: usize = shape[axis..].iter().product();
    let mut sources = vec![0_usize; count];
    for (place, &found) in indices.iter().enumerate() {
        let absolute = if found < 0 { found.saturating_add(depth as i64) } else { found };
        if let Some(found) = usize::try_from(absolute).ok().filter(|&found| found < depth) {
            sources[place / inner * depth * inner + found * inner + place % inner] = 1;
        }
    }
    let values = operands.value(2)?;
    if values.shape() != [2] {
        return Err(Fault::new("values", "off and on", format!("shape {:?}", values.shape())));
    }
    Ok(match values {
        Value::Integers(values) => Value::Integers(values.selected(0, &sources).reshaped(&result)),
        Value::Floats(values) => {
            let values = values.into_vec()?;
            let data = sources.into_iter().map(|source| values[source]).collect();
            Value::Floats(Floats::from_vec(data, &result, device))
        }
    })
}

/// The coordinates of all elements other than 0, one element a column.
pub(super) fn non_zero<B: Backend>(operands: &mut Operands<B>) -> Outcome<Integers> {
    let x = operands.value(0)?;
    let shape = x.shape().to_vec();
    let marked: Vec<bool> = match x {
        Value::Floats(x) => x.into_vec()?.into_iter().map(|value| value != 0.0).collect(),
        Value::Integers(x) => x.data.into_iter().map(|value| value != 0).collect(),
    };
    let mut coordinates = vec![0; shape.len()];
    let mut found = vec![Vec::new(); shape.len()];
    for marked in marked {
        if marked {
            found.iter_mut().zip(&coordinates).for_each(|(row, &own)| row.push(own as i64));
        }
        advance(&mut coordinates, &shape);
    }
    let columns = found.first().map_or(0, Vec::len);
    Ok(Integers::new(DataType::I64, vec![shape.len(), columns], found.concat()))
}

/// Zeros on one side of a diagonal of the last two axes.
pub(super) fn trilu<B: Backend>(upper: bool, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let x = operands.value(0)?;
    let offset = operands.optional_integers(1)?.and_then(|k| k.first().copied()).unwrap_or(0);
    let shape = x.shape().to_vec();
    let [.., rows, columns] = *shape.as_slice() else {
        return Err(Fault::new("input 0", "2 axes at least", format!("shape {shape:?}")));
    };
    let matrix = (0..rows * columns).map(|place| {
        let distance = (place % columns) as i64 - (place / columns) as i64;
        i64::from(if upper { distance >= offset } else { distance <= offset })
    });
    let mask = Integers::new(DataType::Bool, vec![rows, columns], matrix.collect()).expanded(&shape);
    Ok(match x {
        Value::Integers(mut x) => {
            x.data.iter_mut().zip(&mask.data).for_each(|(value, &kept)| *value *= kept);
            Value::Integers(x)
        }
        Value::Floats(x) => {
            let zeros = x.filled_like(&shape, 0.0)?;
            Value::Floats(zeros.replaced(super::floats::upload_mask::<B>(&mask.data, &shape, &operands.device), x))
        }
    })
}
