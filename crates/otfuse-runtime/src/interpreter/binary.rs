//! Functions of several numbers, element by element, and choices between them.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Binary, DataType, Variadic};

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast};
use super::floats::{Floats, extremum, upload_mask};
use super::integers::{Integers, combine};
use super::unary::scalar;
use super::value::{Operands, Value};

pub(super) fn binary<B: Backend>(binary: Binary, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    match (operands.value(0)?, operands.value(1)?) {
        (Value::Integers(a), Value::Integers(b)) => of_integers(binary, &a, &b).map(Value::Integers),
        (a, b) => {
            let device = &operands.device;
            of_floats(binary, a.into_floats(device), b.into_floats(device))
        }
    }
}

fn of_floats<B: Backend>(binary: Binary, a: Floats<B>, b: Floats<B>) -> Outcome<Value<B>> {
    let on_device = match binary {
        Binary::Add => arithmetic(a, b, B::float_add)?,
        Binary::Sub => arithmetic(a, b, B::float_sub)?,
        Binary::Mul => arithmetic(a, b, B::float_mul)?,
        Binary::Div => arithmetic(a, b, B::float_div)?,
        Binary::Pow => power(a, b)?,
        Binary::Mod { truncated } => {
            // `a - trunc(a / b) b` is not exact in floating point; the remainder of the host is.
            let remainder = |x: f32, y: f32| {
                let remainder = x % y;
                if !truncated && remainder != 0.0 && (remainder < 0.0) != (y < 0.0) { remainder + y } else { remainder }
            };
            let device = a.device();
            let (shape, data) = combine((&a.to_vec()?, a.shape()), (&b.to_vec()?, b.shape()), remainder)?;
            Floats::from_vec(data, &shape, &device)
        }
        Binary::Equal => return compare(a, b, |x, y| x == y),
        Binary::Less => return compare(a, b, |x, y| x < y),
        Binary::LessOrEqual => return compare(a, b, |x, y| x <= y),
        Binary::Greater => return compare(a, b, |x, y| x > y),
        Binary::GreaterOrEqual => return compare(a, b, |x, y| x >= y),
        Binary::And | Binary::Or | Binary::Xor => return Err(Fault::new("inputs", "truth values", "floats")),
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor | Binary::BitShift { .. } => {
            return Err(Fault::new("inputs", "integers", "floats"));
        }
    };
    Ok(Value::Floats(on_device))
}

/// Brings two tensors to one rank, which is all that the backend needs to broadcast them.
fn arithmetic<B: Backend>(
    a: Floats<B>,
    b: Floats<B>,
    function: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> Outcome<Floats<B>> {
    let shape = broadcast(a.shape(), b.shape())?;
    let rank = shape.len();
    Ok(Floats::new(function(a.aligned(rank), b.aligned(rank))).reshaped(&shape))
}

fn compare<B: Backend>(a: Floats<B>, b: Floats<B>, function: impl Fn(f32, f32) -> bool) -> Outcome<Value<B>> {
    let (shape, data) =
        combine((&a.to_vec()?, a.shape()), (&b.to_vec()?, b.shape()), |x, y| i64::from(function(x, y)))?;
    Ok(Value::Integers(Integers::new(DataType::Bool, shape, data)))
}

fn power<B: Backend>(base: Floats<B>, exponent: Floats<B>) -> Outcome<Floats<B>> {
    if exponent.shape().iter().product::<usize>() != 1 || exponent.rank() > base.rank() {
        return arithmetic(base, exponent, B::float_powf);
    }
    Ok(match exponent.to_scalar()? {
        2.0 => base.map(|x| B::float_mul(x.clone(), x)),
        1.0 => base,
        0.5 => base.map(B::float_sqrt),
        exponent => base.map(|x| B::float_powf_scalar(x, scalar(exponent))),
    })
}

fn of_integers(binary: Binary, a: &Integers, b: &Integers) -> Outcome<Integers> {
    let truth = |data_type: DataType| data_type == DataType::Bool;
    let logical = matches!(binary, Binary::And | Binary::Or | Binary::Xor);
    if truth(a.data_type) != truth(b.data_type) || (logical && !truth(a.data_type)) {
        let expected = if logical { "truth values" } else { "inputs of one type" };
        return Err(Fault::new("inputs", expected, format!("{} and {}", a.data_type, b.data_type)));
    }
    let data_type = if binary.is_comparison() { DataType::Bool } else { a.data_type };
    let zero = || Fault::new("divisor", "a number other than 0", 0);
    a.combine(b, data_type, |x, y| {
        Ok(match binary {
            Binary::Add => x.wrapping_add(y),
            Binary::Sub => x.wrapping_sub(y),
            Binary::Mul => x.wrapping_mul(y),
            Binary::Div if y == 0 => return Err(zero()),
            Binary::Div => x.wrapping_div(y),
            Binary::Pow => match u32::try_from(y) {
                Ok(exponent) => x.wrapping_pow(exponent),
                Err(_) => (x as f64).powf(y as f64) as i64,
            },
            Binary::Mod { .. } if y == 0 => return Err(zero()),
            Binary::Mod { truncated: true } => x.wrapping_rem(y),
            Binary::Mod { truncated: false } => {
                let remainder = x.wrapping_rem(y);
                if remainder != 0 && (remainder < 0) != (y < 0) { remainder + y } else { remainder }
            }
            Binary::Equal => i64::from(x == y),
            Binary::Less => i64::from(x < y),
            Binary::LessOrEqual => i64::from(x <= y),
            Binary::Greater => i64::from(x > y),
            Binary::GreaterOrEqual => i64::from(x >= y),
            Binary::And | Binary::BitwiseAnd => x & y,
            Binary::Or | Binary::BitwiseOr => x | y,
            Binary::Xor | Binary::BitwiseXor => x ^ y,
            Binary::BitShift { left } => shifted(x, y, left),
        })
    })
}

/// Bits shifted out are lost; a shift by all bits or more leaves none.
fn shifted(x: i64, count: i64, left: bool) -> i64 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let (left_most, right_most) = (x.checked_shl(count), x.checked_shr(count));
    if left { left_most.unwrap_or(0) } else { right_most.unwrap_or(if x < 0 { -1 } else { 0 }) }
}

pub(super) fn variadic<B: Backend>(variadic: Variadic, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let count = operands.values.len();
    let mut result = operands.value(0)?;
    for index in 1..count {
        let next = operands.value(index)?;
        result = match (result, next) {
            (Value::Integers(a), Value::Integers(b)) => Value::Integers(a.combine(&b, a.data_type, |x, y| {
                Ok(match variadic {
                    Variadic::Sum | Variadic::Mean => x.wrapping_add(y),
                    Variadic::Min => x.min(y),
                    Variadic::Max => x.max(y),
                })
            })?),
            (a, b) => {
                let (a, b) = (a.into_floats(&operands.device), b.into_floats(&operands.device));
                Value::Floats(match variadic {
                    Variadic::Sum | Variadic::Mean => arithmetic(a, b, B::float_add)?,
                    Variadic::Min | Variadic::Max => extremum_of(a, b, variadic == Variadic::Max)?,
                })
            }
        };
    }
    Ok(match result {
        Value::Floats(sum) if variadic == Variadic::Mean && count > 1 => {
            Value::Floats(sum.map(|sum| B::float_div_scalar(sum, scalar(count as f32))))
        }
        Value::Integers(_) if variadic == Variadic::Mean => return Err(Fault::new("inputs", "floats", "integers")),
        result => result,
    })
}

fn extremum_of<B: Backend>(a: Floats<B>, b: Floats<B>, largest: bool) -> Outcome<Floats<B>> {
    let shape = broadcast(a.shape(), b.shape())?;
    let (a, b) = (a.expanded(&shape), b.expanded(&shape));
    Ok(Floats::new(extremum::<B>(a.into_tensor(), b.into_tensor(), largest)).reshaped(&shape))
}

/// `max(x, 0) + slope min(x, 0)`; the slope broadcasts to x.
pub(super) fn prelu<B: Backend>(operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let (x, slope) = (operands.floats(0)?, operands.floats(1)?);
    if broadcast(x.shape(), slope.shape())? != x.shape() {
        let found = format!("{:?}", slope.shape());
        return Err(Fault::new("slope", format!("a shape that broadcasts to {:?}", x.shape()), found));
    }
    let negative = x.clone().map(|x| B::float_neg(B::relu(B::float_neg(x))));
    let negative = arithmetic(negative, slope, B::float_mul)?;
    arithmetic(x.map(B::relu), negative, B::float_add)
}

pub(super) fn clip<B: Backend>(operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let bound = |value: Option<Value<B>>| -> Outcome<Option<Value<B>>> {
        match value {
            Some(value) if value.shape().iter().product::<usize>() != 1 => {
                Err(Fault::new("bound", "one element", format!("shape {:?}", value.shape())))
            }
            value => Ok(value),
        }
    };
    let (least, most) = (bound(operands.optional(1))?, bound(operands.optional(2))?);
    match operands.value(0)? {
        Value::Floats(mut x) => {
            let number = |bound: Value<B>| bound.into_floats(&operands.device).to_scalar();
            if let Some(least) = least.map(number).transpose()? {
                x = x.map(|x| B::float_clamp_min(x, scalar(least)));
            }
            if let Some(most) = most.map(number).transpose()? {
                x = x.map(|x| B::float_clamp_max(x, scalar(most)));
            }
            Ok(Value::Floats(x))
        }
        Value::Integers(mut x) => {
            let number = |bound: Value<B>| match bound {
                Value::Integers(bound) => Ok(bound.data[0]),
                Value::Floats(_) => Err(Fault::new("bound", "an integer", "a float")),
            };
            let least = least.map(number).transpose()?.unwrap_or(i64::MIN);
            let most = most.map(number).transpose()?.unwrap_or(i64::MAX);
            x.data.iter_mut().for_each(|value| *value = (*value).max(least).min(most));
            Ok(Value::Integers(x))
        }
    }
}

/// Where.
pub(super) fn choose<B: Backend>(operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let mask = operands.integers(0)?;
    let (yes, no) = (operands.value(1)?, operands.value(2)?);
    let shape = broadcast(&broadcast(&mask.shape, yes.shape())?, no.shape())?;
    let mask = mask.expanded(&shape);
    Ok(match (yes, no) {
        (Value::Integers(yes), Value::Integers(no)) => {
            let (yes, no) = (yes.expanded(&shape), no.expanded(&shape));
            let chosen = mask.data.iter().zip(yes.data.iter().zip(&no.data));
            let data = chosen.map(|(&mask, (&yes, &no))| if mask != 0 { yes } else { no }).collect();
            Value::Integers(Integers::new(yes.data_type, shape, data))
        }
        (yes, no) => {
            let device = &operands.device;
            let (yes, no) = (yes.into_floats(device).expanded(&shape), no.into_floats(device).expanded(&shape));
            Value::Floats(no.replaced(upload_mask::<B>(&mask.data, &shape, device), yes))
        }
    })
}
