//! Maxima and means over sliding windows.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape};
use otfuse_graph::{Pool, PoolKind};

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};
use super::floats::{Floats, extremum};
use super::layout::pad_with;
use super::unary::scalar;
use super::value::Operands;
use super::window::{Sliding, slide};
use crate::{RuntimeBackend, SlidingAxis};

pub(super) fn pool<B: RuntimeBackend>(pool: &Pool, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    if x.rank() < 3 {
        return Err(Fault::new("input", "3 axes at least", format!("shape {:?}", x.shape())));
    }
    let lengths = x.shape()[2..].to_vec();
    let axes = slide(&pool.window, &lengths, &pool.kernel, pool.ceil)?;
    let mut shape = x.shape().to_vec();
    shape.iter_mut().skip(2).zip(&axes).for_each(|(length, axis)| *length = axis.output);
    element_count(&shape)?;

    let largest = pool.kind == PoolKind::Max;
    let covered = cover(x, &axes, if largest { f64::NEG_INFINITY } else { 0.0 })?;
    let flat = axes.len() <= 2 && (largest || axes.iter().all(|axis| axis.dilation == 1));
    let pooled = if flat { on_planes(covered, &axes, largest) } else { axis_by_axis(covered, &axes, largest) };
    let pooled = pooled.reshaped(&shape);
    if largest {
        return Ok(pooled);
    }
    Ok(divide_by_counts(pooled, &axes, &lengths, pool.count_include_pad))
}

/// Pads, and cuts off what no window reaches, so that the windows cover every spatial axis exactly.
fn cover<B: Backend>(mut x: Floats<B>, axes: &[Sliding], value: f64) -> Outcome<Floats<B>> {
    let (mut before, mut after) = (vec![0; x.rank()], vec![0; x.rank()]);
    for (axis, sliding) in axes.iter().enumerate() {
        let available = x.shape()[2 + axis] + sliding.before;
        before[2 + axis] = sliding.before;
        after[2 + axis] = sliding.covered().saturating_sub(available);
        if available > sliding.covered() {
            // `covered` is at least one more than the leading padding, or no window would start inside the input.
            let length = sliding.covered().saturating_sub(sliding.before);
            x = x.range(2 + axis, 0, length);
            before[2 + axis] = sliding.covered() - length;
        }
    }
    if before.iter().chain(&after).all(|&pad| pad == 0) {
        return Ok(x);
    }
    pad_with(x, &before, &after, value)
}

/// One or two spatial axes with the backend's own pools.
fn on_planes<B: RuntimeBackend>(x: Floats<B>, axes: &[Sliding], largest: bool) -> Floats<B> {
    let flat = axes.len() == 1;
    let each = |field: fn(&Sliding) -> usize| match axes {
        [only] => [1, field(only)],
        [rows, columns, ..] => [field(rows), field(columns)],
        [] => [1, 1],
    };
    let shape = x.shape().to_vec();
    let x = if flat { x.reshaped(&[shape[0], shape[1], 1, shape[2]]) } else { x };
    let (kernel, stride) = (each(|axis| axis.kernel), each(|axis| axis.stride));
    Floats::new(if largest {
        let lengths = [2, 3].map(|axis| x.shape()[axis]);
        let (dilation, output) = (each(|axis| axis.dilation), each(|axis| axis.output));
        let axes = [0, 1].map(|axis| SlidingAxis {
            input: lengths[axis],
            kernel: kernel[axis],
            stride: stride[axis],
            dilation: dilation[axis],
            before: 0,
            after: 0,
            output: output[axis],
        });
        B::max_pool(x.into_tensor(), &axes)
    } else {
        B::avg_pool2d(x.into_tensor(), kernel, stride, [0, 0], true, false)
    })
}

/// Any number of spatial axes: a window of several axes is a window over each of them in turn.
fn axis_by_axis<B: Backend>(mut x: Floats<B>, axes: &[Sliding], largest: bool) -> Floats<B> {
    for (axis, sliding) in axes.iter().enumerate() {
        let mut result: Option<FloatTensor<B>> = None;
        for offset in 0..sliding.kernel {
            let start = offset * sliding.dilation;
            let indices: Vec<usize> = (0..sliding.output).map(|at| start + at * sliding.stride).collect();
            let part = x.clone().selected(2 + axis, &indices).into_tensor();
            result = Some(match result {
                None => part,
                Some(result) if largest => extremum::<B>(result, part, true),
                Some(result) => B::float_add(result, part),
            });
        }
        if let Some(result) = result {
            x = Floats::new(if largest { result } else { B::float_div_scalar(result, scalar(sliding.kernel as f32)) });
        }
    }
    x
}

/// Makes sums divided by the whole window into means over the elements that count: all within the padded input, or
/// only those of the input. Counts of a window are products of the counts along its axes.
fn divide_by_counts<B: Backend>(x: Floats<B>, axes: &[Sliding], lengths: &[usize], include_pad: bool) -> Floats<B> {
    let mut x = x;
    let (rank, device) = (x.rank(), x.device());
    for (axis, sliding) in axes.iter().enumerate() {
        let (first, end) = if include_pad {
            (0, sliding.before + lengths[axis] + sliding.after)
        } else {
            (sliding.before, sliding.before + lengths[axis])
        };
        let count = |window: usize| {
            let positions = (0..sliding.kernel).map(|at| window * sliding.stride + at * sliding.dilation);
            positions.filter(|position| (first..end).contains(position)).count()
        };
        let counts: Vec<usize> = (0..sliding.output).map(count).collect();
        if counts.iter().any(|&count| count != sliding.kernel) {
            let factors = counts.iter().map(|&count| sliding.kernel as f32 / count.max(1) as f32).collect();
            let mut shape = vec![1; rank];
            shape[2 + axis] = sliding.output;
            let factors = Floats::<B>::from_vec(factors, &shape, &device).into_tensor();
            x = x.map(|x| B::float_mul(x, factors));
        }
    }
    x
}

/// One number per channel.
pub(super) fn global<B: Backend>(kind: PoolKind, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    if x.rank() < 3 || x.shape()[2..].contains(&0) {
        let found = format!("shape {:?}", x.shape());
        return Err(Fault::new("input", "3 axes at least, none empty", found));
    }
    let shape = x.shape().to_vec();
    let positions = shape[2..].iter().product();
    let flat = x.reshaped(&[shape[0], shape[1], positions]).into_tensor();
    let pooled = match kind {
        PoolKind::Max => B::float_max_dim(flat, 2),
        PoolKind::Average => B::float_mean_dim(flat, 2),
    };
    let mut pooled_shape = vec![1; shape.len()];
    pooled_shape[..2].copy_from_slice(&shape[..2]);
    Ok(Floats::new(B::float_reshape(pooled, Shape::from(pooled_shape))))
}
