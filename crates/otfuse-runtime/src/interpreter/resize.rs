//! Resizing: interpolation along one axis after the other, each a product with a matrix of weights.

use burn_backend::Backend;
use otfuse_graph::{Coordinates, Nearest, Resize, ResizeMode};

use super::array::Array;
use super::fault::{Fault, Outcome, element_count, resolve_axis};
use super::floats::{Floats, upload_mask};
use super::value::{Operands, Value};

/// One axis to resize.
struct Axis {
    axis: usize,
    from: usize,
    to: usize,
    scale: f32,
    /// Start and end of the part that is resized, as fractions.
    roi: (f32, f32),
}

pub(super) fn resize<B: Backend>(resize: &Resize, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    let mut x = operands.value(0)?;
    let axes = axes(resize, x.shape(), operands)?;
    let mut shape = x.shape().to_vec();
    for axis in &axes {
        shape[axis.axis] = axis.to;
        element_count(&shape)?;
    }
    for axis in axes {
        let unchanged = axis.scale == 1.0 && axis.from == axis.to && resize.coordinates != Coordinates::CropAndResize;
        if unchanged {
            continue;
        }
        if axis.from == 0 {
            return Err(Fault::new(format!("axis {}", axis.axis), "one element at least", 0));
        }
        x = match (resize.mode, x) {
            (ResizeMode::Nearest(nearest), Value::Floats(x)) => {
                let x = x.selected(axis.axis, &neighbours(resize, nearest, &axis));
                Value::Floats(extrapolated(resize, &axis, x)?)
            }
            (ResizeMode::Nearest(nearest), Value::Integers(x)) => {
                Value::Integers(x.selected(axis.axis, &neighbours(resize, nearest, &axis)))
            }
            (_, Value::Floats(x)) => Value::Floats(extrapolated(resize, &axis, interpolated(resize, &axis, x)?)?),
            (_, Value::Integers(x)) => return Err(Fault::new("input 0", "floats", x.data_type)),
        };
    }
    Ok(x)
}

fn axes<B: Backend>(resize: &Resize, shape: &[usize], operands: &mut Operands<B>) -> Outcome<Vec<Axis>> {
    let rank = shape.len();
    let all = || (0..rank as i64).collect();
    let listed: Vec<i64> = resize.axes.clone().unwrap_or_else(all);
    let axes = super::layout::resolve_axes(&listed, rank)
        .and(listed.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Outcome<Vec<_>>>())?;
    let mut numbers = |index: usize, name: &str, count: usize| -> Outcome<Option<Vec<f32>>> {
        let Some(value) = operands.optional(index) else { return Ok(None) };
        let values = value.into_floats(&operands.device).into_vec()?;
        match values.len() {
            0 => Ok(None),
            found if found == count => Ok(Some(values)),
            found => Err(Fault::new(name, format!("{count} numbers"), found)),
        }
    };
    let roi = numbers(1, "roi", 2 * axes.len())?;
    let scales = numbers(2, "scales", axes.len())?;
    let sizes = numbers(3, "sizes", axes.len())?;
    let lengths: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    let (targets, scales): (Vec<usize>, Vec<f32>) = match (scales, sizes) {
        (_, Some(sizes)) => {
            if sizes.iter().any(|size| *size < 0.0) {
                return Err(Fault::new("sizes", "no negative numbers", format!("{sizes:?}")));
            }
            let wanted: Vec<usize> = sizes.into_iter().map(|size| size as usize).collect();
            let targets = resize.aspect.sizes(&lengths, &wanted);
            let scales = targets.iter().zip(&lengths).map(|(&to, &from)| to as f32 / from.max(1) as f32).collect();
            (targets, scales)
        }
        (Some(scales), None) => {
            if scales.iter().any(|&scale| !(scale > 0.0 && scale.is_finite())) {
                return Err(Fault::new("scales", "positive numbers", format!("{scales:?}")));
            }
            (lengths.iter().zip(&scales).map(|(&length, &scale)| Resize::scaled(length, scale)).collect(), scales)
        }
        (None, None) => return Err(Fault::new("scales or sizes", "one of them", "neither")),
    };
    let axis = |at: usize| {
        let roi = roi.as_ref().map_or((0.0, 1.0), |roi| (roi[at], roi[axes.len() + at]));
        Axis { axis: axes[at], from: lengths[at], to: targets[at], scale: scales[at], roi }
    };
    Ok((0..axes.len()).map(axis).collect())
}

/// Where in the input an element of the output lies.
fn coordinate(resize: &Resize, axis: &Axis, place: usize) -> f32 {
    let (from, to, place) = (axis.from as f32, axis.to as f32, place as f32);
    let half_pixel = (place + 0.5) / axis.scale - 0.5;
    match resize.coordinates {
        Coordinates::HalfPixel => half_pixel,
        Coordinates::HalfPixelSymmetric => {
            // The output is centred, where its length had to be rounded.
            let adjustment = to / (axis.scale * from);
            from / 2.0 * (1.0 - adjustment) + half_pixel
        }
        Coordinates::PytorchHalfPixel => {
            if axis.to > 1 {
                half_pixel
            } else {
                0.0
            }
        }
        Coordinates::AlignCorners => {
            if axis.to > 1 {
                place * (from - 1.0) / (to - 1.0)
            } else {
                0.0
            }
        }
        Coordinates::Asymmetric => place / axis.scale,
        Coordinates::CropAndResize => {
            let (start, end) = axis.roi;
            match axis.to {
                0 | 1 => 0.5 * (start + end) * (from - 1.0),
                _ => start * (from - 1.0) + place * (end - start) * (from - 1.0) / (to - 1.0),
            }
        }
    }
}

/// The nearest element of the input for each element of the output.
fn neighbours(resize: &Resize, nearest: Nearest, axis: &Axis) -> Vec<usize> {
    let neighbour = |place: usize| {
        let x = coordinate(resize, axis, place);
        let rounded = match nearest {
            Nearest::Floor => x.floor(),
            Nearest::Ceil => x.ceil(),
            Nearest::RoundPreferFloor => (x - 0.5).ceil(),
            Nearest::RoundPreferCeil => (x + 0.5).floor(),
        };
        (rounded.max(0.0) as usize).min(axis.from - 1)
    };
    (0..axis.to).map(neighbour).collect()
}

/// The cubic convolution of Keys 1981.
pub(super) fn cubic(x: f32, a: f32) -> f32 {
    let x = x.abs();
    match x {
        x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    }
}

/// The weight of each element of the input (columns) in each of the output (rows).
fn weights(resize: &Resize, axis: &Axis) -> Vec<f32> {
    let mut matrix = vec![0.0; axis.to * axis.from];
    let shrink = if resize.antialias { axis.scale.min(1.0) } else { 1.0 };
    let reach = if matches!(resize.mode, ResizeMode::Cubic { .. }) { 2.0 } else { 1.0 } / shrink;
    // A widened kernel is cut off at the edge, as image libraries do.
    let exclude = resize.exclude_outside || resize.antialias;
    for (place, row) in matrix.chunks_exact_mut(axis.from.max(1)).enumerate() {
        let x = coordinate(resize, axis, place);
        let (first, last) = ((x - reach).floor() as i64, (x + reach).ceil() as i64);
        let mut sum = 0.0;
        for neighbour in first..=last {
            let distance = (neighbour as f32 - x) * shrink;
            let weight = match resize.mode {
                ResizeMode::Cubic { a } => cubic(distance, a),
                _ => (1.0 - distance.abs()).max(0.0),
            };
            let inside = neighbour.clamp(0, axis.from as i64 - 1);
            if exclude && inside != neighbour {
                continue;
            }
            sum += weight;
            row[inside as usize] += weight;
        }
        if exclude && sum != 0.0 {
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
    matrix
}

fn interpolated<B: Backend>(resize: &Resize, axis: &Axis, x: Floats<B>) -> Outcome<Floats<B>> {
    let rank = x.rank();
    element_count(&[axis.from, axis.to])?;
    let matrix = Floats::<B>::from_vec(weights(resize, axis), &[axis.to, axis.from], &x.device()).permuted(&[1, 0]);
    // The axis goes to the end and back.
    let order: Vec<usize> = (0..rank).filter(|&at| at != axis.axis).chain([axis.axis]).collect();
    let mut back: Vec<usize> = (0..rank - 1).collect();
    back.insert(axis.axis, rank - 1);
    let x = x.permuted(&order);
    let mut shape = x.shape().to_vec();
    let rows: usize = shape[..rank - 1].iter().product();
    let product = B::float_matmul(x.reshaped(&[rows, axis.from]).into_tensor(), matrix.into_tensor());
    shape[rank - 1] = axis.to;
    Ok(Floats::<B>::new(product).reshaped(&shape).permuted(&back))
}

/// Places outside of the input get a fixed value, where the operator says so.
fn extrapolated<B: Backend>(resize: &Resize, axis: &Axis, x: Floats<B>) -> Outcome<Floats<B>> {
    if resize.coordinates != Coordinates::CropAndResize {
        return Ok(x);
    }
    let outside = |place: usize| {
        let x = coordinate(resize, axis, place);
        x < 0.0 || x > axis.from as f32 - 1.0
    };
    let inner: usize = x.shape()[axis.axis + 1..].iter().product();
    let line: Vec<i64> = (0..axis.to).flat_map(|place| vec![i64::from(outside(place)); inner]).collect();
    let outer: usize = x.shape()[..axis.axis].iter().product();
    let mask = upload_mask::<B>(&line.repeat(outer), x.shape(), &x.device());
    let fixed = x.filled_like(x.shape(), f64::from(resize.extrapolation))?;
    Ok(x.replaced(mask, fixed))
}
