//! Functions of all numbers along some axes.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use otfuse_graph::{Reduce, ReduceKind};

use super::array::Array;
use super::fault::{Fault, Outcome, resolve_axis};
use super::floats::Floats;
use super::integers::Integers;
use super::layout::resolve_axes;
use super::value::{Operands, Value};

pub(super) fn reduce<B: Backend>(reduce: Reduce, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let axes = operands.optional_integers(1)?.unwrap_or_default();
    let x = operands.value(0)?;
    let rank = x.shape().len();
    if axes.is_empty() && reduce.noop_with_empty_axes {
        return Ok(x);
    }
    let axes = if axes.is_empty() { (0..rank).collect() } else { resolve_axes(&axes, rank)? };
    let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let shape: Vec<usize> = if reduce.keep_dims {
        (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { x.shape()[axis] }).collect()
    } else {
        kept.iter().map(|&axis| x.shape()[axis]).collect()
    };
    // The reduced axes become one, at the end.
    let permutation: Vec<usize> = kept.iter().chain(&axes).copied().collect();
    let width = axes.iter().map(|&axis| x.shape()[axis]).product();
    let rows = kept.iter().map(|&axis| x.shape()[axis]).product();
    Ok(match x {
        Value::Floats(x) => {
            let x = if rank < 2 { x } else { x.permuted(&permutation) };
            let x = x.reshaped(&[rows, width]);
            Value::Floats(Floats::new(along_rows::<B>(reduce.kind, x, width)?).reshaped(&shape))
        }
        Value::Integers(x) => {
            let data_type = x.data_type;
            let x = x.permuted(&permutation);
            let data = (0..rows)
                .map(|row| of_integers(reduce.kind, &x.data[row * width..(row + 1) * width]))
                .collect::<Outcome<Vec<_>>>()?;
            Value::Integers(Integers::new(data_type, shape, data))
        }
    })
}

/// Reduces the second axis of a matrix to length 1.
fn along_rows<B: Backend>(kind: ReduceKind, x: Floats<B>, width: usize) -> Outcome<FloatTensor<B>> {
    let additive = !matches!(kind, ReduceKind::Max | ReduceKind::Min | ReduceKind::Mean);
    if width == 0 && !additive {
        return Err(Fault::new("reduced axes", "one element at least", 0));
    }
    if width == 0 {
        let value = match kind {
            ReduceKind::Prod => 1.0,
            ReduceKind::LogSum | ReduceKind::LogSumExp => f32::NEG_INFINITY,
            _ => 0.0,
        };
        return Ok(Floats::<B>::full(&[x.shape()[0], 1], value, &x.device()).into_tensor());
    }
    let tensor = x.tensor();
    Ok(match kind {
        ReduceKind::Sum => B::float_sum_dim(tensor, 1),
        ReduceKind::Mean => B::float_mean_dim(tensor, 1),
        ReduceKind::Max => B::float_max_dim(tensor, 1),
        ReduceKind::Min => B::float_min_dim(tensor, 1),
        ReduceKind::Prod => product(x, width),
        ReduceKind::L1 => B::float_sum_dim(B::float_abs(tensor), 1),
        ReduceKind::L2 => B::float_sqrt(B::float_sum_dim(B::float_mul(tensor.clone(), tensor), 1)),
        ReduceKind::SumSquare => B::float_sum_dim(B::float_mul(tensor.clone(), tensor), 1),
        ReduceKind::LogSum => B::float_log(B::float_sum_dim(tensor, 1)),
        ReduceKind::LogSumExp => {
            let most = B::float_detach(B::float_max_dim(tensor.clone(), 1));
            let sum = B::float_sum_dim(B::float_exp(B::float_sub(tensor, most.clone())), 1);
            B::float_add(B::float_log(sum), most)
        }
    })
}

/// The product along the second axis by halves: exact for negative factors and zeros, gradients included.
fn product<B: Backend>(mut x: Floats<B>, mut width: usize) -> FloatTensor<B> {
    while width > 1 {
        let half = width / 2;
        let left = x.clone().range(1, 0, half).into_tensor();
        let right = x.clone().range(1, half, half).into_tensor();
        let product = Floats::new(B::float_mul(left, right));
        x = if width.is_multiple_of(2) {
            product
        } else {
            Floats::concatenated(vec![product, x.range(1, width - 1, 1)], 1)
        };
        width = width.div_ceil(2);
    }
    x.into_tensor()
}

fn of_integers(kind: ReduceKind, values: &[i64]) -> Outcome<i64> {
    let empty = || Fault::new("reduced axes", "one element at least", 0);
    let magnitude = |value: &i64| value.wrapping_abs();
    let add = |sum: i64, value: i64| sum.wrapping_add(value);
    Ok(match kind {
        ReduceKind::Sum => values.iter().copied().fold(0, add),
        ReduceKind::L1 => values.iter().map(magnitude).fold(0, add),
        ReduceKind::SumSquare => values.iter().map(|&value| value.wrapping_mul(value)).fold(0, add),
        ReduceKind::Prod => values.iter().fold(1, |product, &value| product.wrapping_mul(value)),
        ReduceKind::Max => values.iter().copied().max().ok_or_else(empty)?,
        ReduceKind::Min => values.iter().copied().min().ok_or_else(empty)?,
        ReduceKind::Mean if values.is_empty() => return Err(empty()),
        ReduceKind::Mean => values.iter().copied().fold(0, add) / values.len() as i64,
        ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp => {
            return Err(Fault::new("input 0", "floats", "integers"));
        }
    })
}

/// ArgMax and ArgMin; of equal elements the first.
pub(super) fn arg_extremum<B: Backend>(
    largest: bool,
    axis: i64,
    keep_dims: bool,
    operands: &mut Operands<B>,
) -> Outcome<Value<B>> {
    let x = operands.value(0)?;
    let mut shape = x.shape().to_vec();
    let axis = resolve_axis(axis, shape.len())?;
    let (outer, width, inner) = (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product());
    if width == 0 {
        return Err(Fault::new("axis", "one element at least", 0));
    }
    let data = match x {
        Value::Floats(x) => {
            positions(&x.into_vec()?, outer, width, inner, |new, old| if largest { new > old } else { new < old })
        }
        Value::Integers(x) => {
            positions(&x.data, outer, width, inner, |new, old| if largest { new > old } else { new < old })
        }
    };
    if keep_dims {
        shape[axis] = 1;
    } else {
        shape.remove(axis);
    }
    Ok(Value::Integers(Integers::new(otfuse_graph::DataType::I64, shape, data)))
}

fn positions<T: Copy>(data: &[T], outer: usize, width: usize, inner: usize, better: impl Fn(T, T) -> bool) -> Vec<i64> {
    let mut positions = Vec::with_capacity(outer * inner);
    for block in 0..outer {
        for column in 0..inner {
            let at = |row: usize| data[(block * width + row) * inner + column];
            let best = (1..width).fold(0, |best, row| if better(at(row), at(best)) { row } else { best });
            positions.push(best as i64);
        }
    }
    positions
}
