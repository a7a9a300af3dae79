//! Quantized numbers: integers on the host, exact.

use burn_backend::Backend;
use otfuse_graph::{Conv, DataType};

use super::array::Array;
use super::fault::{Fault, Outcome, broadcast, element_count, resolve_axis};
use super::floats::Floats;
use super::integers::Integers;
use super::sampling::unravel;
use super::value::Operands;
use super::window::slide;

/// The lowest and highest number of an integer type.
fn range(data_type: DataType) -> Outcome<(i64, i64)> {
    Ok(match data_type {
        DataType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::U8 => (0, u8::MAX.into()),
        DataType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::U16 => (0, u16::MAX.into()),
        DataType::I32 => (i32::MIN.into(), i32::MAX.into()),
        other => return Err(Fault::new("zero point", "integers of 8, 16 or 32 bits", other)),
    })
}

/// Rounded (a half to the even number), moved by the zero point, and saturated.
fn quantized(x: f32, scale: f32, zero: i64, (low, high): (i64, i64)) -> i64 {
    let rounded = (x / scale).round_ties_even();
    // Beyond these, f32 has no fractions; the cast saturates.
    (rounded as i64).saturating_add(zero).clamp(low, high)
}

/// A parameter (one number, or one for each index of an axis) for each element of a shape.
fn spread<A: Array>(parameter: A, shape: &[usize], axis: i64, name: &str) -> Outcome<A> {
    let count: usize = parameter.shape().iter().product();
    if parameter.rank() > 1 {
        return Err(Fault::new(name, "one axis at most", format!("shape {:?}", parameter.shape())));
    }
    let mut aligned = vec![1; shape.len()];
    if count != 1 {
        let axis = resolve_axis(axis, shape.len())?;
        if shape[axis] != count {
            return Err(Fault::new(name, format!("{} numbers", shape[axis]), count));
        }
        aligned[axis] = count;
    }
    let aligned = parameter.reshaped(&aligned);
    Ok(aligned.expanded(shape))
}

pub(super) fn quantize<B: Backend>(
    axis: i64,
    data_type: Option<DataType>,
    operands: &mut Operands<B>,
) -> Outcome<Integers> {
    let x = operands.value(0)?.into_floats(&operands.device);
    let shape = x.shape().to_vec();
    let scale = operands.value(1)?.into_floats(&operands.device);
    let zero = operands.values.get(2).is_some_and(Option::is_some).then(|| operands.integers(2)).transpose()?;
    let data_type = zero.as_ref().map(|zero| zero.data_type).or(data_type).unwrap_or(DataType::U8);
    let limits = range(data_type)?;
    let scales = spread(scale, &shape, axis, "scale")?.into_vec()?;
    let zeros = match zero {
        Some(zero) => spread(zero, &shape, axis, "zero point")?.data,
        None => vec![0; scales.len()],
    };
    let numbers = x.into_vec()?.into_iter().zip(scales).zip(zeros);
    let data = numbers.map(|((x, scale), zero)| quantized(x, scale, zero, limits)).collect();
    Ok(Integers::new(data_type, shape, data))
}

pub(super) fn dequantize<B: Backend>(axis: i64, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let mut x = operands.integers(0)?;
    let shape = x.shape.clone();
    if operands.values.get(2).is_some_and(Option::is_some) {
        let zeros = spread(operands.integers(2)?, &shape, axis, "zero point")?.data;
        x.data.iter_mut().zip(zeros).for_each(|(x, zero)| *x -= zero);
    }
    let scales = operands.value(1)?.into_floats(&operands.device);
    let scales = spread(scales, &shape, axis, "scale")?;
    let values = x.data.iter().map(|&x| x as f32).collect();
    let values = Floats::from_vec(values, &shape, &operands.device);
    Ok(values.map(|values| B::float_mul(values, scales.into_tensor())))
}

/// `(A - a_zero) (B - b_zero)`, exact in 64 bits and wrapped to 32.
pub(super) fn mat_mul_integer<B: Backend>(operands: &mut Operands<B>) -> Outcome<Integers> {
    let (mut a, mut b) = (operands.integers(0)?, operands.integers(1)?);
    if a.rank() == 0 || b.rank() == 0 {
        return Err(Fault::new("inputs", "one axis at least", "a number"));
    }
    let (a_vector, b_vector) = (a.rank() == 1, b.rank() == 1);
    if a_vector {
        a.shape.insert(0, 1);
    }
    if b_vector {
        b.shape.push(1);
    }
    for (index, matrix, axis) in [(2, &mut a, 2), (3, &mut b, 1)] {
        if operands.values.get(index).is_some_and(Option::is_some) {
            // Of rows of A, of columns of B.
            let axis = matrix.rank() as i64 - axis;
            let zeros = spread(operands.integers(index)?, &matrix.shape, axis, "zero point")?.data;
            matrix.data.iter_mut().zip(zeros).for_each(|(x, zero)| *x -= zero);
        }
    }
    let (a_batch, a_matrix) = a.shape.split_at(a.rank() - 2);
    let (b_batch, b_matrix) = b.shape.split_at(b.rank() - 2);
    let (rows, inner, columns) = (a_matrix[0], a_matrix[1], b_matrix[1]);
    if b_matrix[0] != inner {
        return Err(Fault::new("rows of the second matrix", inner, b_matrix[0]));
    }
    let batch = broadcast(a_batch, b_batch)?;
    let mut shape = [batch.as_slice(), &[rows, columns]].concat();
    let mut data = vec![0_i64; element_count(&shape)?];
    let a = a.clone().expanded(&[batch.as_slice(), &[rows, inner]].concat());
    let b = b.clone().expanded(&[batch.as_slice(), &[inner, columns]].concat());
    for matrix in 0..batch.iter().product() {
        let (left, right) = (&a.data[matrix * rows * inner..], &b.data[matrix * inner * columns..]);
        for row in 0..rows {
            let target = &mut data[(matrix * rows + row) * columns..][..columns];
            for at in 0..inner {
                let factor = left[row * inner + at];
                target.iter_mut().zip(&right[at * columns..]).for_each(|(sum, &x)| *sum += factor * x);
            }
        }
    }
    if b_vector {
        shape.pop();
    }
    if a_vector {
        shape.remove(shape.len() - if b_vector { 1 } else { 2 });
    }
    Ok(Integers::new(DataType::I32, shape, data))
}

/// A convolution of integers, scaled and quantized.
pub(super) fn convolution<B: Backend>(conv: &Conv, operands: &mut Operands<B>) -> Outcome<Integers> {
    let (x, weight, bias) =
        (centred(operands, 0, None)?, centred(operands, 3, Some(0))?, operands.optional_integers(8)?);
    let mut number = |index: usize| operands.value(index)?.into_floats(&operands.device).to_scalar();
    let (x_scale, y_scale) = (number(1)?, number(6)?);
    let w_scales = operands.value(4)?.into_floats(&operands.device).into_vec()?;
    let zero = operands.integers(7)?;
    let limits = range(zero.data_type)?;
    let (shape, kernel) = (x.shape.clone(), weight.shape.clone());
    let groups = conv.groups;
    let fits = shape.len() >= 3
        && kernel.len() == shape.len()
        && groups > 0
        && shape[1] == kernel[1].saturating_mul(groups)
        && kernel[0].is_multiple_of(groups)
        && zero.data.len() == 1
        && [1, kernel[0]].contains(&w_scales.len())
        && bias.as_ref().is_none_or(|bias| bias.len() == kernel[0]);
    if !fits {
        return Err(Fault::new("X and W", "shapes that agree", format!("{shape:?} and {kernel:?}")));
    }
    let axes = slide(&conv.window, &shape[2..], &kernel[2..], false)?;
    let output: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let (pixels, places) = (shape[2..].iter().product::<usize>(), output.iter().product::<usize>());
    let elements: usize = kernel[2..].iter().product();
    let result = [&[shape[0], kernel[0]], output.as_slice()].concat();
    let mut sums = vec![0_i64; element_count(&result)?];
    for place in 0..places {
        let window = unravel(place, &output);
        for element in 0..elements {
            let within = unravel(element, &kernel[2..]);
            let at = axes.iter().zip(window.iter().zip(within)).zip(&shape[2..]).try_fold(
                0,
                |at, ((axis, (start, own)), &length)| {
                    let padded = start * axis.stride + own * axis.dilation;
                    padded.checked_sub(axis.before).filter(|&index| index < length).map(|index| at * length + index)
                },
            );
            let Some(at) = at else { continue };
            for row in 0..shape[0] * kernel[0] {
                let (sample, out) = (row / kernel[0], row % kernel[0]);
                let first = sample * shape[1] + out / (kernel[0] / groups) * kernel[1];
                let products = (0..kernel[1]).map(|channel| {
                    x.data[(first + channel) * pixels + at]
                        * weight.data[(out * kernel[1] + channel) * elements + element]
                });
                sums[row * places + place] += products.sum::<i64>();
            }
        }
    }
    let data = sums.into_iter().enumerate().map(|(index, sum)| {
        let out = index / places.max(1) % kernel[0];
        let sum = sum + bias.as_ref().map_or(0, |bias| bias[out]);
        let scale = x_scale * w_scales[out % w_scales.len()] / y_scale;
        ((sum as f32 * scale).round_ties_even() as i64).saturating_add(zero.data[0]).clamp(limits.0, limits.1)
    });
    Ok(Integers::new(zero.data_type, result, data.collect()))
}

/// An input less its zero point, the second one behind it.
fn centred<B: Backend>(operands: &mut Operands<B>, index: usize, axis: Option<i64>) -> Outcome<Integers> {
    let mut x = operands.integers(index)?;
    let zeros = spread(operands.integers(index + 2)?, &x.shape, axis.unwrap_or(0), "zero point")?.data;
    x.data.iter_mut().zip(zeros).for_each(|(x, zero)| *x -= zero);
    Ok(x)
}
