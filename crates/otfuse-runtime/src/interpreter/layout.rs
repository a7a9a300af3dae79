//! Operators that only move elements.

use burn_backend::Backend;
use otfuse_graph::{Operator, PadMode};

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast, element_count, resolve_axis};
use super::value::{Operands, Value};

/// All operators of the family with one output but Split.
pub(super) fn layout<B: Backend>(operator: &Operator, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    match operator {
        Operator::Concat { axis } => return concat(*axis, operands),
        Operator::Pad(mode) => return pad(*mode, operands),
        _ => {}
    }
    Ok(match operands.value(0)? {
        Value::Floats(x) => Value::Floats(moved(operator, x, operands)?),
        Value::Integers(x) => Value::Integers(moved(operator, x, operands)?),
    })
}

fn moved<B: Backend, A: Array>(operator: &Operator, x: A, operands: &mut Operands<B>) -> Outcome<A> {
    let shape = x.shape().to_vec();
    let rank = shape.len();
    match operator {
        Operator::Flatten { axis } => {
            let axis = if *axis == rank as i64 { rank } else { resolve_axis(*axis, rank)? };
            let (outer, inner) = shape.split_at(axis);
            Ok(x.reshaped(&[outer.iter().product(), inner.iter().product()]))
        }
        Operator::Reshape { allow_zero } => {
            let target = reshape_target(&shape, &operands.integers(1)?.data, *allow_zero)?;
            Ok(x.reshaped(&target))
        }
        Operator::Transpose { permutation } => {
            let permutation = permutation.clone().unwrap_or_else(|| (0..rank).rev().collect());
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            if !sorted.iter().copied().eq(0..rank) {
                let expected = format!("a permutation of {rank} axes");
                return Err(Fault::new("permutation", expected, format!("{permutation:?}")));
            }
            Ok(if rank < 2 { x } else { x.permuted(&permutation) })
        }
        Operator::Squeeze => {
            let axes = match operands.optional_integers(1)? {
                Some(axes) => resolve_axes(&axes, rank)?,
                None => (0..rank).filter(|&axis| shape[axis] == 1).collect(),
            };
            if let Some(&axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
                return Err(Fault::new(format!("axis {axis}"), "length 1", shape[axis]));
            }
            let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
            Ok(x.reshaped(&kept))
        }
        Operator::Unsqueeze => {
            let axes = operands.integers(1)?.data;
            let axes = resolve_axes(&axes, rank + axes.len())?;
            let mut lengths = shape.iter().copied();
            let new =
                (0..rank + axes.len()).map(|axis| if axes.contains(&axis) { 1 } else { lengths.next().unwrap_or(1) });
            Ok(x.reshaped(&new.collect::<Vec<_>>()))
        }
        Operator::Slice => slice(x, operands),
        Operator::Gather { axis } => gather(x, *axis, operands),
        Operator::Expand => {
            let target = broadcast(&shape, &lengths(&operands.integers(1)?.data)?)?;
            Ok(x.expanded(&target))
        }
        Operator::Tile => tile(x, &operands.integers(1)?.data),
        _ => Err(Fault::Unsupported("it moves no elements".into())),
    }
}

/// Integers that are lengths.
pub(super) fn lengths(values: &[i64]) -> Outcome<Vec<usize>> {
    let lengths = values.iter().map(|&value| usize::try_from(value).ok()).collect();
    let lengths: Option<Vec<usize>> = lengths;
    let lengths = lengths.ok_or_else(|| Fault::new("shape", "lengths of 0 or more", format!("{values:?}")))?;
    element_count(&lengths)?;
    Ok(lengths)
}

/// Distinct axes, resolved.
pub(super) fn resolve_axes(axes: &[i64], rank: usize) -> Outcome<Vec<usize>> {
    let mut resolved = axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Outcome<Vec<_>>>()?;
    resolved.sort_unstable();
    if resolved.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::new("axes", "distinct axes", format!("{axes:?}")));
    }
    Ok(resolved)
}

fn reshape_target(shape: &[usize], target: &[i64], allow_zero: bool) -> Outcome<Vec<usize>> {
    let wrong = || Fault::new("shape", format!("as many elements as {shape:?}"), format!("{target:?}"));
    let mut result = Vec::with_capacity(target.len());
    let mut inferred = None;
    for (axis, &length) in target.iter().enumerate() {
        result.push(match length {
            -1 if inferred.is_none() => {
                inferred = Some(axis);
                1
            }
            0 if !allow_zero => *shape.get(axis).ok_or_else(wrong)?,
            length => usize::try_from(length).map_err(|_| wrong())?,
        });
    }
    let count = element_count(shape)?;
    let known = element_count(&result)?;
    if let Some(axis) = inferred {
        if known == 0 || !count.is_multiple_of(known) {
            return Err(wrong());
        }
        result[axis] = count / known;
    } else if known != count {
        return Err(wrong());
    }
    Ok(result)
}

fn slice<B: Backend, A: Array>(mut x: A, operands: &mut Operands<B>) -> Outcome<A> {
    let starts = operands.integers(1)?.data;
    let ends = operands.integers(2)?.data;
    let axes = operands.optional_integers(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = operands.optional_integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        let found = format!("{} ends, {} axes, {} steps", ends.len(), axes.len(), steps.len());
        return Err(Fault::new("ends, axes and steps", format!("{} of each", starts.len()), found));
    }
    resolve_axes(&axes, x.rank())?;
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = resolve_axis(axis, x.rank())?;
        let length = x.shape()[axis] as i64;
        if step == 0 {
            return Err(Fault::new("step", "a number other than 0", 0));
        }
        let absolute = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
        let indices: Vec<usize> = if step > 0 {
            let (start, end) = (absolute(start).clamp(0, length), absolute(end).clamp(0, length));
            if step == 1 {
                x = x.range(axis, start as usize, (end - start).max(0) as usize);
                continue;
            }
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            (start as usize..end as usize).step_by(step).collect()
        } else {
            let (start, end) = (absolute(start).clamp(-1, length - 1), absolute(end).clamp(-1, length - 1));
            let count = if start > end { (start - end - 1) / step.saturating_neg() + 1 } else { 0 };
            (0..count).map(|at| (start + at * step) as usize).collect()
        };
        x = x.selected(axis, &indices);
    }
    Ok(x)
}

fn gather<B: Backend, A: Array>(x: A, axis: i64, operands: &mut Operands<B>) -> Outcome<A> {
    let indices = operands.integers(1)?;
    let axis = resolve_axis(axis, x.rank())?;
    let length = x.shape()[axis];
    let resolved = indices
        .data
        .iter()
        .map(|&index| {
            let absolute = if index < 0 { index.saturating_add(length as i64) } else { index };
            usize::try_from(absolute)
                .ok()
                .filter(|&index| index < length)
                .ok_or_else(|| Fault::new("index", format!("an index below {length}"), index))
        })
        .collect::<Outcome<Vec<_>>>()?;
    let shape = [&x.shape()[..axis], &indices.shape, &x.shape()[axis + 1..]].concat();
    element_count(&shape)?;
    Ok(x.selected(axis, &resolved).reshaped(&shape))
}

fn tile<A: Array>(mut x: A, repeats: &[i64]) -> Outcome<A> {
    let repeats = lengths(repeats)?;
    if repeats.len() != x.rank() {
        return Err(Fault::new("repeats", format!("{} numbers", x.rank()), format!("{repeats:?}")));
    }
    let shape: Vec<usize> = x.shape().iter().zip(&repeats).map(|(&a, &b)| a.saturating_mul(b)).collect();
    element_count(&shape)?;
    for (axis, &times) in repeats.iter().enumerate() {
        if times == 1 {
            continue;
        }
        if x.shape().contains(&0) {
            let mut shape = x.shape().to_vec();
            shape[axis] *= times;
            x = x.reshaped(&shape);
        } else if times == 0 {
            x = x.range(axis, 0, 0);
        } else {
            // Copies of what lies from this axis on, each behind the other.
            let mut shape = x.shape().to_vec();
            let (outer, inner) = (shape[..axis].iter().product(), shape[axis..].iter().product());
            shape[axis] *= times;
            x = x.reshaped(&[outer, 1, inner]).expanded(&[outer, times, inner]).reshaped(&shape);
        }
    }
    Ok(x)
}

fn concat<B: Backend>(axis: i64, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let values = (0..operands.values.len()).map(|index| operands.value(index)).collect::<Outcome<Vec<_>>>()?;
    if values.iter().all(|value| matches!(value, Value::Integers(_))) {
        let parts = values.into_iter().filter_map(|value| match value {
            Value::Integers(integers) => Some(integers),
            Value::Floats(_) => None,
        });
        return Ok(Value::Integers(concatenated(parts.collect(), axis)?));
    }
    let parts = values.into_iter().map(|value| value.into_floats(&operands.device)).collect();
    Ok(Value::Floats(concatenated(parts, axis)?))
}

fn concatenated<A: Array>(mut parts: Vec<A>, axis: i64) -> Outcome<A> {
    let first = parts[0].shape().to_vec();
    let axis = resolve_axis(axis, first.len())?;
    let mut length = 0usize;
    for part in &parts {
        let shape = part.shape();
        let agrees = shape.len() == first.len() && (0..shape.len()).all(|at| at == axis || shape[at] == first[at]);
        if !agrees {
            let expected = format!("{first:?} but for axis {axis}");
            return Err(Fault::new("shape", expected, format!("{shape:?}")));
        }
        length = length.saturating_add(shape[axis]);
    }
    let mut result = first.clone();
    result[axis] = length;
    element_count(&result)?;
    // Empty parts contribute nothing; backends need not know them.
    if length > 0 {
        parts.retain(|part| part.shape()[axis] > 0);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { A::concatenated(parts, axis) })
}

pub(super) fn split<B: Backend>(axis: i64, operands: &mut Operands<B>, outputs: usize) -> Outcome<Vec<Value<B>>> {
    let given = operands.optional_integers(1)?;
    fn parts<A: Array>(x: A, axis: i64, given: Option<Vec<i64>>, outputs: usize) -> Outcome<Vec<A>> {
        let axis = resolve_axis(axis, x.rank())?;
        let total = x.shape()[axis];
        let sizes = match given {
            Some(given) => lengths(&given)?,
            None => {
                let size = total.div_ceil(outputs.max(1));
                (0..outputs).map(|part| size.min(total.saturating_sub(part * size))).collect()
            }
        };
        if sizes.len() != outputs || sizes.iter().sum::<usize>() != total {
            let expected = format!("{outputs} lengths with sum {total}");
            return Err(Fault::new("lengths", expected, format!("{sizes:?}")));
        }
        let mut start = 0;
        let part = |&size: &usize| {
            start += size;
            x.clone().range(axis, start - size, size)
        };
        Ok(sizes.iter().map(part).collect())
    }
    Ok(match operands.value(0)? {
        Value::Floats(x) => parts(x, axis, given, outputs)?.into_iter().map(Value::Floats).collect(),
        Value::Integers(x) => parts(x, axis, given, outputs)?.into_iter().map(Value::Integers).collect(),
    })
}

fn pad<B: Backend>(mode: PadMode, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let pads = operands.integers(1)?.data;
    let value = match operands.optional(2) {
        None => 0.0,
        Some(Value::Floats(value)) => f64::from(value.to_scalar()?),
        Some(Value::Integers(value)) => match value.data.as_slice() {
            &[value] => value as f64,
            _ => return Err(Fault::new("value", "one element", format!("shape {:?}", value.shape))),
        },
    };
    let axes = operands.optional_integers(3)?;
    Ok(match operands.value(0)? {
        Value::Floats(x) => Value::Floats(padded(x, mode, &pads, axes, value)?),
        Value::Integers(x) => Value::Integers(padded(x, mode, &pads, axes, value)?),
    })
}

fn padded<A: Array>(mut x: A, mode: PadMode, pads: &[i64], axes: Option<Vec<i64>>, value: f64) -> Outcome<A> {
    let rank = x.rank();
    let axes = axes.unwrap_or_else(|| (0..rank as i64).collect());
    resolve_axes(&axes, rank)?;
    if pads.len() != 2 * axes.len() {
        return Err(Fault::new("pads", format!("{} numbers", 2 * axes.len()), format!("{pads:?}")));
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (at, &axis) in axes.iter().enumerate() {
        let axis = resolve_axis(axis, rank)?;
        let (lead, tail) = (pads[at], pads[axes.len() + at]);
        // Negative pads cut off.
        let cut = |pad: i64| usize::try_from(pad.saturating_neg()).unwrap_or(0);
        let length = x.shape()[axis];
        let kept = length.checked_sub(cut(lead).saturating_add(cut(tail)));
        let kept =
            kept.ok_or_else(|| Fault::new("pads", format!("at least -{length} together"), lead.saturating_add(tail)))?;
        x = x.range(axis, cut(lead), kept);
        before[axis] = usize::try_from(lead).unwrap_or(0);
        after[axis] = usize::try_from(tail).unwrap_or(0);
    }
    let lengths: Vec<usize> =
        (0..rank).map(|axis| x.shape()[axis].saturating_add(before[axis]).saturating_add(after[axis])).collect();
    element_count(&lengths)?;
    if mode == PadMode::Constant {
        return pad_with(x, &before, &after, value);
    }
    for axis in 0..rank {
        if before[axis] + after[axis] > 0 {
            let indices = mirrored(mode, x.shape()[axis], before[axis], after[axis])?;
            x = x.selected(axis, &indices);
        }
    }
    Ok(x)
}

/// Which element of an axis stands at each place of the padded axis.
fn mirrored(mode: PadMode, length: usize, before: usize, after: usize) -> Outcome<Vec<usize>> {
    if length == 0 {
        return Err(Fault::new("padded axis", "one element at least", 0));
    }
    let length = length as i64;
    let period = (2 * (length - 1)).max(1);
    let index = |at: i64| match mode {
        PadMode::Edge | PadMode::Constant => at.clamp(0, length - 1),
        PadMode::Wrap => at.rem_euclid(length),
        PadMode::Reflect => {
            let at = at.rem_euclid(period);
            if at < length { at } else { period - at }
        }
    };
    Ok((-(before as i64)..length + after as i64).map(|at| index(at) as usize).collect())
}

/// Adds elements of one value before and after each axis.
pub(super) fn pad_with<A: Array>(mut x: A, before: &[usize], after: &[usize], value: f64) -> Outcome<A> {
    for axis in 0..x.rank() {
        let block = |length: usize| {
            let mut shape = x.shape().to_vec();
            shape[axis] = length;
            x.filled_like(&shape, value)
        };
        let lead = (before[axis] > 0).then(|| block(before[axis])).transpose()?;
        let tail = (after[axis] > 0).then(|| block(after[axis])).transpose()?;
        if lead.is_some() || tail.is_some() {
            let parts: Vec<A> = lead.into_iter().chain([x.clone()]).chain(tail).collect();
            let mut shape = x.shape().to_vec();
            shape[axis] = shape[axis].saturating_add(before[axis]).saturating_add(after[axis]);
            element_count(&shape)?;
            x = concatenated(parts, axis as i64)?;
        }
    }
    Ok(x)
}
