//! Tensors made out of shapes and ranges, and conversions of type.

use burn_backend::Backend;
use half::{bf16, f16};
use otfuse_graph::{DataType, Tensor};

use super::array::Array;
use super::fault::{Fault, MOST_ELEMENTS, Outcome, element_count};
use super::floats::Floats;
use super::integers::Integers;
use super::layout::lengths;
use super::value::{Operands, Value};

pub(super) fn shape<B: Backend>(start: i64, end: Option<i64>, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let x = operands.value(0)?;
    let rank = x.shape().len() as i64;
    let absolute = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (absolute(start), absolute(end.unwrap_or(rank)));
    let lengths = x.shape().get(start..end).unwrap_or(&[]);
    Ok(Value::Integers(Integers::list(lengths.iter().map(|&length| length as i64).collect())))
}

pub(super) fn constant_of_shape<B: Backend>(value: &Tensor, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let shape = lengths(&operands.integers(0)?.data)?;
    let count = element_count(&shape)?;
    match Value::<B>::from_tensor(value, &operands.device)? {
        Value::Floats(value) => Ok(Value::Floats(Floats::full(&shape, value.to_scalar()?, &operands.device))),
        Value::Integers(value) => match value.data.as_slice() {
            &[element] => Ok(Value::Integers(Integers::new(value.data_type, shape, vec![element; count]))),
            _ => Err(Fault::new("value", "one element", format!("shape {:?}", value.shape))),
        },
    }
}

pub(super) fn range<B: Backend>(operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let values = [operands.value(0)?, operands.value(1)?, operands.value(2)?];
    let too_long = |found: String| Fault::new("range", format!("at most {MOST_ELEMENTS} elements"), found);
    let mut integers = Vec::new();
    let mut data_type = DataType::I64;
    for value in &values {
        if value.shape().iter().product::<usize>() != 1 {
            return Err(Fault::new("limits", "one element each", format!("shape {:?}", value.shape())));
        }
        if let Value::Integers(value) = value {
            data_type = value.data_type;
            integers.push(value.data[0]);
        }
    }
    if let &[start, limit, delta] = integers.as_slice() {
        if delta == 0 {
            return Err(Fault::new("step", "a number other than 0", 0));
        }
        let (span, step) = (i128::from(limit) - i128::from(start), i128::from(delta));
        let count = if span.signum() == step.signum() { (span.abs() + step.abs() - 1) / step.abs() } else { 0 };
        let count = usize::try_from(count).ok().filter(|&count| count <= MOST_ELEMENTS);
        let count = count.ok_or_else(|| too_long(format!("{start} to {limit} by {delta}")))?;
        let data = (0..count as i64).map(|at| start.wrapping_add(at.wrapping_mul(delta))).collect();
        return Ok(Value::Integers(Integers::new(data_type, vec![count], data)));
    }
    let mut numbers = [0.0; 3];
    for (number, value) in numbers.iter_mut().zip(values) {
        *number = f64::from(value.into_floats(&operands.device).to_scalar()?);
    }
    let [start, limit, delta] = numbers;
    let count = ((limit - start) / delta).ceil().max(0.0);
    if !count.is_finite() || count > MOST_ELEMENTS as f64 {
        return Err(too_long(format!("{start} to {limit} by {delta}")));
    }
    let data: Vec<f32> = (0..count as usize).map(|at| (start + at as f64 * delta) as f32).collect();
    Ok(Value::Floats(Floats::from_vec(data, &[count as usize], &operands.device)))
}

/// Ones on a diagonal.
pub(super) fn eye_like<B: Backend>(
    data_type: Option<DataType>,
    offset: i64,
    operands: &mut Operands<B>,
) -> Outcome<Value<B>> {
    let x = operands.value(0)?;
    let &[rows, columns] = x.shape() else {
        return Err(Fault::new("input 0", "2 axes", format!("shape {:?}", x.shape())));
    };
    let own = match &x {
        Value::Integers(x) => x.data_type,
        Value::Floats(_) => DataType::F32,
    };
    let data_type = data_type.unwrap_or(own);
    let ones = (0..rows * columns).map(|place| (place % columns) as i64 - (place / columns) as i64 == offset);
    if data_type.is_float() {
        let ones = ones.map(|one| f32::from(u8::from(one))).collect();
        return Ok(Value::Floats(Floats::from_vec(ones, &[rows, columns], &operands.device)));
    }
    Ok(Value::Integers(Integers::new(data_type, vec![rows, columns], ones.map(i64::from).collect())))
}

/// The number of elements.
pub(super) fn size<B: Backend>(operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let count = operands.value(0)?.shape().iter().product::<usize>();
    Ok(Value::Integers(Integers::new(DataType::I64, Vec::new(), vec![count as i64])))
}

/// Floats become integers by truncation, truth values by comparison with 0. Computed is in float32: floats of 16 bits
/// are rounded to what these hold, to the nearest and of two equally near to the even one.
pub(super) fn cast<B: Backend>(to: DataType, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let x = operands.value(0)?;
    if to.is_float() {
        let x = x.into_floats(&operands.device);
        return Ok(Value::Floats(match to {
            DataType::F16 => rounded(x, |value| f16::from_f32(value).to_f32())?,
            DataType::BF16 => rounded(x, |value| bf16::from_f32(value).to_f32())?,
            _ => x,
        }));
    }
    Ok(Value::Integers(match x {
        Value::Integers(x) => Integers::new(to, x.shape, x.data),
        Value::Floats(x) => {
            let shape = x.shape().to_vec();
            let number = |value: f32| if to == DataType::Bool { i64::from(value != 0.0) } else { value as i64 };
            Integers::new(to, shape, x.into_vec()?.into_iter().map(number).collect())
        }
    }))
}

/// Rounding as an addition, which gradients pass. The difference of a number and its rounding is exact.
fn rounded<B: Backend>(x: Floats<B>, round: impl Fn(f32) -> f32) -> Outcome<Floats<B>> {
    let error = |value: f32| if value.is_finite() { round(value) - value } else { 0.0 };
    let errors: Vec<f32> = x.to_vec()?.into_iter().map(error).collect();
    if errors.iter().all(|&error| error == 0.0) {
        return Ok(x);
    }
    let errors = Floats::<B>::from_vec(errors, x.shape(), &x.device());
    Ok(x.map(|x| B::float_add(x, errors.into_tensor())))
}
