//! Convolutions and transposed convolutions.

use super::error::{InferenceError, Mismatch};
use super::fact::Fact;
use super::pooling;
use super::scope::Scope;
use crate::{Conv, ConvTranspose, DataType, DeformConv, Dim, Node, Padding, Shape};

/// X of N, C, spatial..; W of M, C / groups, kernel..; B of M.
pub(super) fn conv(scope: &Scope<'_>, conv: &Conv) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0).or(scope.data_type(1));
    let Some((x, weight)) = operands(scope, conv.groups)? else {
        return Ok(unknown(scope, data_type, |weight| weight.first().cloned()));
    };
    let channels = scope.times(1, &weight[1], &Dim::known(conv.groups))?;
    if channels.as_known().zip(x[1].as_known()).is_some_and(|(a, b)| a != b) {
        let found = weight[1].clone();
        let expected = x[1].divided_by(&Dim::known(conv.groups));
        let mismatch = match expected {
            Some(expected) => Mismatch::Length { axis: 1, expected, found },
            None => indivisible(1, conv.groups, &x[1]),
        };
        let about = if matches!(mismatch, Mismatch::Length { .. }) { 1 } else { 0 };
        return Err(scope.error(about, mismatch));
    }
    if weight[0].as_known().is_some_and(|outputs| !outputs.is_multiple_of(conv.groups)) {
        return Err(scope.error(1, indivisible(0, conv.groups, &weight[0])));
    }
    scope.expect_vector(2, &weight[0])?;
    pooling::check_window(scope, &conv.window, x.len() - 2)?;
    let mut shape = vec![x[0].clone(), weight[0].clone()];
    for (axis, (length, kernel)) in x[2..].iter().zip(&weight[2..]).enumerate() {
        shape.push(match kernel.as_known() {
            Some(kernel) => pooling::slide(scope, &conv.window, axis, x.len() - 2, length, kernel, false)?,
            None => scope.fresh(axis + 2),
        });
    }
    Ok(Fact::new(data_type, Some(shape)))
}

/// As a convolution, with offsets and a mask for each element of the window and each position of the output.
pub(super) fn deform_conv(scope: &Scope<'_>, deform: &DeformConv) -> Result<Fact, InferenceError> {
    let inputs = [0, 1, 3].map(|position| scope.node.input(position));
    let node = Node { inputs: inputs.to_vec(), ..scope.node.clone() };
    let plain = Conv { groups: deform.groups, window: deform.window.clone() };
    let fact = conv(&scope.of(&node), &plain)?;
    let parts = deform.offset_groups;
    if parts == 0 {
        return Err(scope.argument("offset_group", "at least 1", parts));
    }
    if let Some(channels) = scope.shape(0).and_then(|x| x.get(1)).filter(|channels| channels.as_known().is_some())
        && channels.divided_by(&Dim::known(parts)).is_none()
    {
        return Err(scope.error(0, indivisible(1, parts, channels)));
    }
    let (Some(weight), Some(output)) = (scope.shape(1), &fact.shape) else { return Ok(fact) };
    let kernel = scope.product(1, &weight[2..])?;
    let rank = weight.len() - 2;
    for (input, numbers) in [(2, rank), (4, 1)] {
        let Some(found) = scope.shape(input) else { continue };
        if found.len() != output.len() {
            return Err(scope.rank_error(input, output.len().to_string()));
        }
        let mut expected = output.clone();
        expected[1] = scope.times(1, &kernel, &Dim::known(parts.saturating_mul(numbers)))?;
        for (axis, (expected, found)) in expected.iter().zip(found).enumerate() {
            scope.expect_length(input, axis, expected, found)?;
        }
    }
    Ok(fact)
}

/// X of N, C, spatial..; W of C, M / groups, kernel..; B of M.
pub(super) fn conv_transpose(scope: &Scope<'_>, conv: &ConvTranspose) -> Result<Fact, InferenceError> {
    let data_type = scope.data_type(0).or(scope.data_type(1));
    let Some((x, weight)) = operands(scope, conv.groups)? else {
        return Ok(unknown(scope, data_type, |weight| weight.get(1)?.checked_times(&Dim::known(conv.groups))));
    };
    scope.expect_length(1, 0, &x[1], &weight[0])?;
    if weight[0].as_known().is_some_and(|inputs| !inputs.is_multiple_of(conv.groups)) {
        return Err(scope.error(1, indivisible(0, conv.groups, &weight[0])));
    }
    let outputs = scope.times(1, &weight[1], &Dim::known(conv.groups))?;
    scope.expect_vector(2, &outputs)?;
    let rank = x.len() - 2;
    pooling::check_window(scope, &conv.window, rank)?;
    pooling::check_list(scope, "output_padding", &conv.output_padding, rank)?;
    let given = conv.output_shape.as_deref();
    if let Some(given) = given.filter(|given| given.len() != rank) {
        return Err(scope.argument("output_shape", format!("{rank} lengths"), given));
    }
    let mut shape = vec![x[0].clone(), outputs];
    for (axis, (length, kernel)) in x[2..].iter().zip(&weight[2..]).enumerate() {
        shape.push(match (given, kernel.as_known()) {
            (Some(given), _) => Dim::known(given[axis]),
            (None, Some(kernel)) => stretch(scope, conv, axis, rank, length, kernel)?,
            (None, None) => scope.fresh(axis + 2),
        });
    }
    Ok(Fact::new(data_type, Some(shape)))
}

/// `stride * (length - 1) + extent + output_padding - padding`; `stride * length` for padding of the kind "same".
fn stretch(
    scope: &Scope<'_>,
    conv: &ConvTranspose,
    axis: usize,
    rank: usize,
    length: &Dim,
    kernel: usize,
) -> Result<Dim, InferenceError> {
    let stride = conv.window.stride(axis);
    let spread = scope.times(axis + 2, length, &Dim::known(stride))?;
    if !matches!(conv.window.padding, Padding::Explicit(_)) {
        return Ok(spread);
    }
    let (before, after) = conv.window.pads(axis, rank, 0, kernel);
    let extent = conv.window.extent(axis, kernel);
    let added = conv.output_padding.get(axis).copied().unwrap_or(0);
    let offset = extent as i128 + added as i128 - stride as i128 - before as i128 - after as i128;
    let offset = i64::try_from(offset).map_err(|_| scope.too_large("a window", extent.to_string()))?;
    // A symbolic length of 0 is out of question: there must be something to convolve.
    scope.plus(axis + 2, &spread, offset).filter(|_| length.as_known() != Some(0)).ok_or_else(|| {
        let mismatch = Mismatch::Window {
            axis: axis + 2,
            extent,
            length: length.as_known().unwrap_or(0),
            padding: before.saturating_add(after),
        };
        scope.error(0, mismatch)
    })
}

/// The shapes of X and W, if both are known: of one rank, at least 3.
fn operands<'a>(scope: &Scope<'a>, groups: usize) -> Result<Option<(&'a Shape, &'a Shape)>, InferenceError> {
    if groups == 0 {
        return Err(scope.argument("group", "at least 1", groups));
    }
    for input in 0..2 {
        if scope.shape(input).is_some_and(|shape| shape.len() < 3) {
            return Err(scope.rank_error(input, "at least 3"));
        }
    }
    match (scope.shape(0), scope.shape(1)) {
        (Some(x), Some(weight)) if x.len() != weight.len() => Err(scope.rank_error(1, x.len().to_string())),
        (Some(x), Some(weight)) => Ok(Some((x, weight))),
        _ => Ok(None),
    }
}

/// What one of the two shapes tells: the rank, and the channels if it is the weight's.
fn unknown(scope: &Scope<'_>, data_type: Option<DataType>, channels: impl Fn(&Shape) -> Option<Dim>) -> Fact {
    let known = scope.shape(1).or(scope.shape(0));
    let shape = known.map(|known| {
        let mut shape: Shape = (0..known.len()).map(|axis| scope.fresh(axis)).collect();
        if let Some(channels) = scope.shape(1).and_then(channels) {
            shape[1] = channels;
        }
        shape
    });
    Fact::new(data_type, shape)
}

fn indivisible(axis: usize, parts: usize, found: &Dim) -> Mismatch {
    let found = found.clone();
    Mismatch::Indivisible { axis, parts, found }
}
