//! Operators that sample between positions, and those that turn positions into channels.

use super::error::{InferenceError, Mismatch};
use super::fact::{Element, Fact};
use super::pooling;
use super::scope::Scope;
use crate::{Aspect, Dim, Resize, Shape, Window};

/// Sizes, or lengths times scales rounded down.
pub(super) fn resize(scope: &Scope<'_>, resize: &Resize) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0);
    let Some(shape) = scope.shape(0) else { return Ok(Fact::new(data_type, None)) };
    let axes = match &resize.axes {
        Some(axes) => scope.axes(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let count = |argument: &'static str, found: usize| match found == axes.len() {
        true => Ok(()),
        false => Err(scope.argument(argument, format!("{} numbers", axes.len()), found)),
    };
    let mut resized = shape.clone();
    let sizes = scope.is_given(3);
    if sizes && let Some(elements) = scope.elements(3) {
        count("sizes", elements.len())?;
        let sizes: Option<Shape> = elements.iter().map(Element::as_length).collect();
        let sizes = sizes.ok_or_else(|| scope.argument("sizes", "no negative numbers", elements))?;
        let lengths: Vec<Dim> = axes.iter().map(|&axis| shape[axis].clone()).collect();
        for ((&axis, size), length) in axes.iter().zip(kept(scope, resize.aspect, &lengths, sizes)).zip(&lengths) {
            resized[axis] = size.unwrap_or_else(|| scope.fresh(axis));
            if length.as_known() == Some(0) && resized[axis].as_known() != Some(0) {
                return Err(scope.argument("sizes", "0 for an empty axis", &resized[axis]));
            }
        }
    } else if let Some(scales) = scope.constant(2).filter(|_| !sizes).and_then(crate::Tensor::to_f32) {
        count("scales", scales.len())?;
        for (&axis, &scale) in axes.iter().zip(&scales) {
            if !(scale > 0.0 && scale.is_finite()) {
                return Err(scope.argument("scales", "positive numbers", scale));
            }
            resized[axis] = match shape[axis].as_known() {
                _ if scale == 1.0 => shape[axis].clone(),
                Some(length) => Dim::known(Resize::scaled(length, scale)),
                None if scale.fract() == 0.0 => scope.times(axis, &shape[axis], &Dim::known(scale as usize))?,
                None => scope.fresh(axis),
            };
        }
    } else {
        axes.iter().for_each(|&axis| resized[axis] = scope.fresh(axis));
    }
    Ok(Fact::new(data_type, Some(resized)))
}

/// The sizes where the ratio of the axes is kept; `None` for what is not known.
fn kept(scope: &Scope<'_>, aspect: Aspect, lengths: &[Dim], sizes: Shape) -> Vec<Option<Dim>> {
    if aspect == Aspect::Stretch {
        return sizes.into_iter().map(Some).collect();
    }
    let known = |dims: &[Dim]| dims.iter().map(Dim::as_known).collect::<Option<Vec<usize>>>();
    match known(lengths).zip(known(&sizes)) {
        Some((lengths, sizes)) => {
            aspect.sizes(&lengths, &sizes).into_iter().map(|size| Some(Dim::known(size))).collect()
        }
        None => (0..sizes.len()).map(|axis| Some(scope.fresh(axis))).collect(),
    }
}

/// X of N, C, spatial..; a grid of N, places.., as many numbers as spatial axes.
pub(super) fn grid_sample(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0);
    let (Some(x), Some(grid)) = (scope.shape(0), scope.shape(1)) else { return Ok(Fact::new(data_type, None)) };
    if x.len() < 3 {
        return Err(scope.rank_error(0, "at least 3"));
    }
    if grid.len() != x.len() {
        return Err(scope.rank_error(1, x.len().to_string()));
    }
    let spatial = x.len() - 2;
    scope.expect_length(1, 0, &x[0], &grid[0])?;
    scope.expect_length(1, spatial + 1, &Dim::known(spatial), &grid[spatial + 1])?;
    Ok(Fact::new(data_type, Some([&x[..2], &grid[1..=spatial]].concat())))
}

/// `deeper`: positions become channels; else channels become positions.
pub(super) fn depth(scope: &Scope<'_>, block: usize, deeper: bool) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0);
    if block == 0 || block > 1 << 15 {
        return Err(scope.argument("blocksize", "a positive number", block));
    }
    let Some(shape) = scope.shape(0) else { return Ok(Fact::new(data_type, None)) };
    let [samples, channels, rows, columns] = shape.as_slice() else { return Err(scope.rank_error(0, "4")) };
    let parts = |axis: usize, length: &Dim, parts: usize| {
        let found = length.clone();
        let mismatch = Mismatch::Indivisible { axis, parts, found };
        match (length.divided_by(&Dim::known(parts)), length.as_known()) {
            (Some(part), _) => Ok(part),
            (None, None) => Ok(scope.quotient(axis, length, 0, parts).unwrap_or_else(|| scope.fresh(axis))),
            (None, Some(_)) => Err(scope.error(0, mismatch)),
        }
    };
    let (side, square) = (Dim::known(block), block * block);
    let shape = if deeper {
        let channels = scope.times(1, channels, &Dim::known(square))?;
        vec![samples.clone(), channels, parts(2, rows, block)?, parts(3, columns, block)?]
    } else {
        let channels = parts(1, channels, square)?;
        vec![samples.clone(), channels, scope.times(2, rows, &side)?, scope.times(3, columns, &side)?]
    };
    Ok(Fact::new(data_type, Some(shape)))
}

/// X of N, C x block, count.
pub(super) fn col2im(scope: &Scope<'_>, window: &Window) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0);
    let lengths = |input: usize| -> Result<Option<Shape>, InferenceError> {
        let Some(elements) = scope.elements(input) else { return Ok(None) };
        let lengths: Option<Shape> = elements.iter().map(Element::as_length).collect();
        lengths.map(Some).ok_or_else(|| scope.argument("a shape", "no negative numbers", elements))
    };
    let (Some(image), Some(block)) = (lengths(1)?, lengths(2)?) else { return Ok(Fact::new(data_type, None)) };
    if image.len() != block.len() {
        return Err(scope.argument("block_shape", format!("{} lengths", image.len()), block));
    }
    pooling::check_window(scope, window, image.len())?;
    let block = scope.product(1, &block)?;
    let (samples, channels) = match scope.shape(0).map(Vec::as_slice) {
        Some([samples, rows, _]) => {
            let parts = block.as_known().unwrap_or(0);
            let found = rows.clone();
            let channels = rows.divided_by(&block);
            let channels = channels.ok_or_else(|| scope.error(0, Mismatch::Indivisible { axis: 1, parts, found }))?;
            (samples.clone(), channels)
        }
        Some(_) => return Err(scope.rank_error(0, "3")),
        None => (scope.fresh(0), scope.fresh(1)),
    };
    let mut shape = vec![samples, channels];
    shape.extend(image);
    Ok(Fact::new(data_type, Some(shape)))
}
