//! Pools, and how far a window slides: what pools and convolutions share.

use super::error::{InferenceError, Mismatch};
use super::fact::Fact;
use super::scope::Scope;
use crate::{Dim, Padding, Pool, Window};

/// Larger windows, strides and paddings are no network's; below it no product of two overflows.
const LARGEST: usize = 1 << 31;

/// A window over the spatial axes.
pub(super) fn pool(scope: &Scope<'_>, pool: &Pool) -> Result<Fact, InferenceError> {
    let Some(x) = scope.shape(0) else {
        let shape = (0..pool.kernel.len() + 2).map(|axis| scope.fresh(axis)).collect();
        return Ok(Fact::new(scope.data_type(0), Some(shape)));
    };
    let rank = pool.kernel.len();
    if x.len() != rank + 2 {
        return Err(scope.rank_error(0, (rank + 2).to_string()));
    }
    check_window(scope, &pool.window, rank)?;
    let mut shape = x[..2].to_vec();
    for (axis, (length, &kernel)) in x[2..].iter().zip(&pool.kernel).enumerate() {
        shape.push(slide(scope, &pool.window, axis, rank, length, kernel, pool.ceil)?);
    }
    Ok(Fact::new(scope.data_type(0), Some(shape)))
}

/// The spatial axes become 1.
pub(super) fn global_pool(scope: &Scope<'_>) -> Result<Fact, InferenceError> {
    let Some(x) = scope.shape(0) else {
        return Ok(Fact::new(scope.data_type(0), None));
    };
    if x.len() < 2 {
        return Err(scope.rank_error(0, "at least 2"));
    }
    let mut shape = x.clone();
    shape[2..].fill(Dim::known(1));
    Ok(Fact::new(scope.data_type(0), Some(shape)))
}

/// Every list of a window is empty or has an entry (two for the padding) for each spatial axis.
pub(super) fn check_window(scope: &Scope<'_>, window: &Window, rank: usize) -> Result<(), InferenceError> {
    check_list(scope, "strides", &window.strides, rank)?;
    check_list(scope, "dilations", &window.dilations, rank)?;
    if let Some(stride) = window.strides.iter().find(|&&stride| stride == 0) {
        return Err(scope.argument("strides", "at least 1", stride));
    }
    match &window.padding {
        Padding::Explicit(pads) => check_list(scope, "pads", pads, 2 * rank),
        _ => Ok(()),
    }
}

/// An attribute is empty or has `length` entries of a sensible size.
pub(super) fn check_list(
    scope: &Scope<'_>,
    argument: &'static str,
    list: &[usize],
    length: usize,
) -> Result<(), InferenceError> {
    if !list.is_empty() && list.len() != length {
        return Err(scope.argument(argument, format!("{length} entries"), list));
    }
    match list.iter().find(|&&entry| entry > LARGEST) {
        Some(entry) => Err(scope.too_large(argument, entry.to_string())),
        None => Ok(()),
    }
}

/// How often a window fits along spatial axis `axis` of `rank`.
pub(super) fn slide(
    scope: &Scope<'_>,
    window: &Window,
    axis: usize,
    rank: usize,
    length: &Dim,
    kernel: usize,
    ceil: bool,
) -> Result<Dim, InferenceError> {
    if kernel == 0 {
        return Err(scope.argument("kernel", "at least 1", kernel));
    }
    let largest = length.as_known().unwrap_or(0).max(kernel);
    if largest > LARGEST {
        return Err(scope.too_large("a window or its input", largest.to_string()));
    }
    let extent = window.extent(axis, kernel);
    if let Some(length) = length.as_known() {
        let output = window.output(axis, rank, length, kernel, ceil);
        return output.map(Dim::known).ok_or_else(|| {
            let (before, after) = window.pads(axis, rank, length, kernel);
            let mismatch = Mismatch::Window { axis: axis + 2, extent, length, padding: before.saturating_add(after) };
            scope.error(0, mismatch)
        });
    }
    let stride = window.stride(axis);
    // floor((length + offset) / stride) is the number of windows.
    let offset = match window.padding {
        Padding::Explicit(_) => {
            let (before, after) = window.pads(axis, rank, 0, kernel);
            before as i64 + after as i64 + stride as i64 - i64::try_from(extent).unwrap_or(i64::MAX / 2)
        }
        Padding::SameUpper | Padding::SameLower => stride as i64 - 1,
    };
    if ceil && stride > 1 {
        return Ok(scope.expression(axis + 2, format!("ceil(({length}{:+})/{stride})", offset)));
    }
    Ok(scope.quotient(axis + 2, length, offset, stride).unwrap_or_else(|| scope.fresh(axis + 2)))
}
