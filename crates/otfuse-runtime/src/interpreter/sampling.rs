//! Sampling at given places, and positions turned into channels.

use burn_backend::Backend;
use otfuse_graph::{DepthOrder, GridMode, GridPadding, GridSample, Window};

use super::array::Array;
use super::fault::{Fault, Outcome, element_count};
use super::floats::Floats;
use super::layout::lengths;
use super::value::{Operands, Value};
use super::window::slide;

/// Channels (block x inner or inner x block) become squares of positions.
pub(super) fn depth_to_space<B: Backend>(
    block: usize,
    order: DepthOrder,
    operands: &mut Operands<B>,
) -> Outcome<Value<B>> {
    fn moved<A: Array>(x: A, block: usize, order: DepthOrder) -> Outcome<A> {
        let &[samples, channels, rows, columns] = x.shape() else { return Err(four_axes(&x)) };
        let square = block * block;
        if square == 0 || !channels.is_multiple_of(square) {
            return Err(Fault::new("channels", format!("a multiple of {square}"), channels));
        }
        let inner = channels / square;
        let moved = match order {
            DepthOrder::BlockFirst => {
                x.reshaped(&[samples, block, block, inner, rows, columns]).permuted(&[0, 3, 4, 1, 5, 2])
            }
            DepthOrder::ChannelsFirst => {
                x.reshaped(&[samples, inner, block, block, rows, columns]).permuted(&[0, 1, 4, 2, 5, 3])
            }
        };
        Ok(moved.reshaped(&[samples, inner, rows * block, columns * block]))
    }
    Ok(match operands.value(0)? {
        Value::Floats(x) => Value::Floats(moved(x, block, order)?),
        Value::Integers(x) => Value::Integers(moved(x, block, order)?),
    })
}

/// Squares of positions become the slow part of the channels.
pub(super) fn space_to_depth<B: Backend>(block: usize, operands: &mut Operands<B>) -> Outcome<Value<B>> {
    fn moved<A: Array>(x: A, block: usize) -> Outcome<A> {
        let &[samples, channels, rows, columns] = x.shape() else { return Err(four_axes(&x)) };
        if block == 0 || !rows.is_multiple_of(block) || !columns.is_multiple_of(block) {
            return Err(Fault::new("rows and columns", format!("multiples of {block}"), format!("{:?}", x.shape())));
        }
        let (rows, columns) = (rows / block, columns / block);
        let parts = x.reshaped(&[samples, channels, rows, block, columns, block]).permuted(&[0, 3, 5, 1, 2, 4]);
        Ok(parts.reshaped(&[samples, channels * block * block, rows, columns]))
    }
    Ok(match operands.value(0)? {
        Value::Floats(x) => Value::Floats(moved(x, block)?),
        Value::Integers(x) => Value::Integers(moved(x, block)?),
    })
}

fn four_axes<A: Array>(x: &A) -> Fault {
    Fault::new("input 0", "4 axes", format!("shape {:?}", x.shape()))
}

/// Blocks summed up at their places.
pub(super) fn col2im<B: Backend>(window: &Window, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let x = operands.floats(0)?;
    let (image, block) = (lengths(&operands.integers(1)?.data)?, lengths(&operands.integers(2)?.data)?);
    let axes = slide(window, &image, &block, false)?;
    let places: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let (size, count) = (block.iter().product::<usize>(), places.iter().product::<usize>());
    let &[samples, rows, found] = x.shape() else {
        return Err(Fault::new("input 0", "3 axes", format!("shape {:?}", x.shape())));
    };
    if !rows.is_multiple_of(size) || found != count {
        return Err(Fault::new("input 0", format!("{count} blocks of {size}"), format!("shape {:?}", x.shape())));
    }
    let shape = [&[samples, rows / size], image.as_slice()].concat();
    let pixels: usize = image.iter().product();
    let mut result = vec![0.0; element_count(&shape)?];
    for (row, values) in x.into_vec()?.chunks_exact(count.max(1)).enumerate() {
        let target = &mut result[row / size * pixels..][..pixels];
        let offsets = unravel(row % size, &block);
        for (place, value) in values.iter().enumerate() {
            let starts = unravel(place, &places);
            let at = axes.iter().zip(offsets.iter().zip(starts)).zip(&image).try_fold(
                0,
                |at, ((axis, (own, start)), &length)| {
                    let padded = start * axis.stride + own * axis.dilation;
                    padded.checked_sub(axis.before).filter(|&index| index < length).map(|index| at * length + index)
                },
            );
            if let Some(at) = at {
                target[at] += value;
            }
        }
    }
    Ok(Floats::from_vec(result, &shape, &operands.device))
}

/// The coordinates of a place in row-major order.
pub(super) fn unravel(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut coordinates = vec![0; shape.len()];
    for (own, &length) in coordinates.iter_mut().zip(shape).rev() {
        *own = place % length.max(1);
        place /= length.max(1);
    }
    coordinates
}

/// The most axes along which is sampled between elements: as many as twice for each are read at each place.
const MOST_SAMPLED: usize = 16;

/// Refuses to sample along more axes than anything has.
pub(super) fn check_sampled(spatial: usize) -> Outcome<()> {
    if spatial <= MOST_SAMPLED {
        return Ok(());
    }
    Err(Fault::new("input 0", format!("{MOST_SAMPLED} spatial axes at most"), spatial))
}

/// Elements of an axis with their weights; `None` stands for zeros beyond the edge.
type Taps = Vec<(Option<usize>, f32)>;

pub(super) fn grid_sample<B: Backend>(sample: GridSample, operands: &mut Operands<B>) -> Outcome<Floats<B>> {
    let (x, grid) = (operands.floats(0)?, operands.floats(1)?);
    let (shape, places) = (x.shape().to_vec(), grid.shape().to_vec());
    let spatial = shape.len().saturating_sub(2);
    let fits = spatial > 0 && places.len() == shape.len() && places[0] == shape[0] && places[spatial + 1] == spatial;
    if !fits || shape[2..].contains(&0) {
        let expected = format!("[{}, .., {spatial}]", shape.first().copied().unwrap_or(0));
        return Err(Fault::new("grid", expected, format!("{places:?} for {shape:?}")));
    }
    check_sampled(spatial)?;
    let (samples, channels) = (shape[0], shape[1]);
    let pixels: usize = shape[2..].iter().product();
    let count: usize = places[1..=spatial].iter().product();
    let output = [&shape[..2], &places[1..=spatial]].concat();
    let mut result = vec![0.0; element_count(&output)?];
    let (x, grid) = (x.into_vec()?, grid.into_vec()?);
    for at in 0..samples * count {
        let address = &grid[at * spatial..][..spatial];
        // The grid names the last axis first.
        let taps: Vec<Taps> =
            address.iter().rev().zip(&shape[2..]).map(|(&place, &length)| taps(sample, place, length)).collect();
        let elements = combined(&taps, &shape[2..]);
        let (sample, place) = (at / count, at % count);
        for channel in 0..channels {
            let row = sample * channels + channel;
            let source = &x[row * pixels..][..pixels];
            result[row * count + place] = elements.iter().map(|&(element, weight)| source[element] * weight).sum();
        }
    }
    Ok(Floats::from_vec(result, &output, &operands.device))
}

/// All combinations of the taps of each axis, as row-major places.
fn combined(taps: &[Taps], shape: &[usize]) -> Vec<(usize, f32)> {
    let mut elements = vec![(0, 1.0)];
    for (taps, &length) in taps.iter().zip(shape) {
        let inside = || taps.iter().filter_map(|&(index, weight)| Some((index?, weight)));
        elements = elements
            .into_iter()
            .flat_map(|(place, factor)| inside().map(move |(index, weight)| (place * length + index, factor * weight)))
            .collect();
    }
    elements
}

fn taps(sample: GridSample, place: f32, length: usize) -> Taps {
    let last = length as f32 - 1.0;
    let mut x = match sample.align_corners {
        true => (place + 1.0) / 2.0 * last,
        false => ((place + 1.0) * length as f32 - 1.0) / 2.0,
    };
    if sample.mode == GridMode::Nearest {
        x = x.round_ties_even();
    }
    // A cubic kernel reaches beyond the edge from within; there each element is mapped, not the place.
    if sample.mode != GridMode::Cubic {
        x = match sample.padding {
            GridPadding::Zeros => x,
            GridPadding::Border => x.clamp(0.0, last),
            GridPadding::Reflection => reflected(x, length, sample.align_corners),
        };
    }
    let inside = |index: f32| {
        let index = match sample.padding {
            GridPadding::Zeros => index,
            GridPadding::Border => index.clamp(0.0, last),
            GridPadding::Reflection => reflected(index, length, sample.align_corners).clamp(0.0, last),
        };
        (index >= 0.0 && index <= last).then_some(index as usize)
    };
    let floor = x.floor();
    match sample.mode {
        GridMode::Nearest => vec![(inside(x), 1.0)],
        GridMode::Linear => vec![(inside(floor), 1.0 - (x - floor)), (inside(floor + 1.0), x - floor)],
        GridMode::Cubic => (-1..=2)
            .map(|offset| {
                let index = floor + offset as f32;
                (inside(index), super::resize::cubic(index - x, -0.75))
            })
            .collect(),
    }
}

/// A place mirrored at the edges until it is inside.
fn reflected(x: f32, length: usize, align_corners: bool) -> f32 {
    let (low, high) = if align_corners { (0.0, length as f32 - 1.0) } else { (-0.5, length as f32 - 0.5) };
    let span = high - low;
    if span <= 0.0 || !x.is_finite() {
        return 0.0;
    }
    let folded = (x - low).rem_euclid(2.0 * span);
    low + if folded > span { 2.0 * span - folded } else { folded }
}
