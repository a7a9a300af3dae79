//! Gradients of a convolution by its input, its weights and its bias.

use std::ops::Range;

use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

use super::direct;
use super::forward::unfolded;
use super::parallel;
use super::scratch::{Scratch, sized};
use super::shape::ConvolutionShape;
use super::tile::{Tile, Tiling};
use super::transpose::{BLOCK, transpose};

/// Units of work that the gradient by the weights is divided into, at least, if there are as many tiles.
const UNITS: usize = 8;

/// The gradient by the input: transposed weights times the gradient by the output, folded.
pub(super) fn input_gradient(shape: &ConvolutionShape, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let tiling = Tiling::new(shape);
    let mut result = vec![0.0; shape.input().iter().product()];
    let unit = tiling.images * shape.in_channels * shape.input_plane();
    parallel::for_each(result.par_chunks_mut(unit.max(1)).enumerate(), |(part, result)| {
        Scratch::with(|scratch| {
            for tile in tiling.of_part(part) {
                for group in 0..shape.groups {
                    add_group(shape, &tiling, &tile, group, weight, gradient, scratch, result, part * unit);
                }
            }
        });
    });
    result
}

#[allow(clippy::too_many_arguments)]
fn add_group(
    shape: &ConvolutionShape,
    tiling: &Tiling,
    tile: &Tile,
    group: usize,
    weight: &[f32],
    gradient: &[f32],
    scratch: &mut Scratch,
    result: &mut [f32],
    first: usize,
) {
    let (positions, outputs) = (tile.positions(), shape.group_outputs());
    let outputs = group * outputs..(group + 1) * outputs;
    let (rows, step) = output_rows(shape, tile, gradient, &outputs, &mut scratch.gathered);
    let (inputs, taps) = (shape.group_inputs(), shape.taps());
    let depth = inputs * taps;
    if direct::pays(shape) {
        let padded = sized(&mut scratch.padded, tile.padded_len());
        padded.fill(0.0);
        for (row, output) in rows.chunks(step).zip(outputs) {
            direct::spread(tile, &row[..positions], &weight[output * depth..(output + 1) * depth], padded);
        }
        tile.unpad(padded, &(group..group + 1), result, first);
        return;
    }
    for start in (0..inputs).step_by(tiling.channels()) {
        let channels = start..inputs.min(start + tiling.channels());
        let width = channels.len() * taps;
        let unfolded = sized(&mut scratch.unfolded, width * positions);
        let left = Matrix::row_major(&weight[outputs.start * depth + start * taps..], depth).transposed();
        let right = Matrix::row_major(rows, step);
        product(unfolded, positions, [width, outputs.len(), positions], left, right, Update::Replace);
        let channels = group * inputs + channels.start..group * inputs + channels.end;
        if tile.is_pointwise() {
            tile.unpad(unfolded, &channels, result, first);
            continue;
        }
        let padded = sized(&mut scratch.padded, channels.len() * tile.padded_len());
        padded.fill(0.0);
        tile.fold(unfolded, padded);
        tile.unpad(padded, &channels, result, first);
    }
}

/// The gradient by the output of some channels at the positions of a tile, and how far apart the channels lie.
fn output_rows<'a>(
    shape: &ConvolutionShape,
    tile: &Tile,
    gradient: &'a [f32],
    channels: &Range<usize>,
    gathered: &'a mut Vec<f32>,
) -> (&'a [f32], usize) {
    let plane = shape.output_plane();
    let image = tile.images.start * shape.out_channels * plane;
    if tile.images.len() == 1 {
        let start = image + channels.start * plane + tile.offset();
        let end = image + channels.end * plane;
        return (&gradient[start..end], plane);
    }
    let gathered = sized(gathered, channels.len() * tile.positions());
    tile.gather(gradient, channels, image, gathered);
    (gathered, tile.positions())
}

/// The gradient by the weights: the gradient by the output times transposed unfolded tiles.
pub(super) fn weight_gradient(shape: &ConvolutionShape, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    if direct::pays(shape) {
        return kernel_gradients(shape, input, gradient);
    }
    let tiling = Tiling::new(shape);
    let turned = positions_first(shape, tiling, gradient);
    let inputs = shape.group_inputs();
    let blocks = inputs.div_ceil(tiling.channels());
    let slices = UNITS.div_ceil(shape.groups * blocks).min(tiling.parts()).max(1);
    let parts = tiling.parts().div_ceil(slices);
    let partial = |unit: usize| {
        let (slice, group, block) = (unit / blocks / shape.groups, unit / blocks % shape.groups, unit % blocks);
        let start = block * tiling.channels();
        let channels = group * inputs + start..group * inputs + inputs.min(start + tiling.channels());
        let parts = slice * parts..tiling.parts().min((slice + 1) * parts);
        Scratch::with(|scratch| partial_gradient(shape, tiling, input, &turned, group, &channels, parts, scratch))
    };
    let partials: Vec<Vec<f32>> = (0..slices * shape.groups * blocks).into_par_iter().map(partial).collect();
    sum_partials(shape, &partials, blocks, tiling.channels())
}

/// The gradient by the output with channels innermost, tile by tile.
fn positions_first(shape: &ConvolutionShape, tiling: Tiling, gradient: &[f32]) -> Vec<f32> {
    let mut turned = vec![0.0; gradient.len()];
    let image = shape.out_channels * shape.output_plane();
    parallel::for_each(turned.par_chunks_mut((tiling.images * image).max(1)).enumerate(), |(part, turned)| {
        for tile in tiling.of_part(part) {
            let count = tile.images.len();
            let start = tile.offset() * count * shape.out_channels;
            for (at, index) in tile.images.clone().enumerate() {
                transpose(
                    &gradient[index * image + tile.offset()..],
                    shape.output_plane(),
                    &mut turned[start + at * shape.out_channels..],
                    count * shape.out_channels,
                    [shape.out_channels, tile.positions() / count],
                    |to, from| *to = from,
                );
            }
        }
    });
    turned
}

/// The gradient by the weights from some input channels to their group's outputs over some parts of the images:
/// (channels x taps) x outputs.
#[allow(clippy::too_many_arguments)]
fn partial_gradient(
    shape: &ConvolutionShape,
    tiling: Tiling,
    input: &[f32],
    turned: &[f32],
    group: usize,
    channels: &Range<usize>,
    parts: Range<usize>,
    scratch: &mut Scratch,
) -> Vec<f32> {
    let (outputs, width) = (shape.group_outputs(), channels.len() * shape.taps());
    let mut result = vec![0.0; width * outputs];
    let mut update = Update::Replace;
    for tile in parts.flat_map(|part| tiling.of_part(part)) {
        let positions = tile.positions();
        let unfolded = unfolded(&tile, input, channels, &mut scratch.padded, &mut scratch.unfolded);
        let first = tile.images.start * shape.output_plane() + tile.offset() * tile.images.len();
        let turned = Matrix::row_major(&turned[first * shape.out_channels + group * outputs..], shape.out_channels);
        let unfolded = Matrix::row_major(unfolded, positions);
        product(&mut result, outputs, [width, positions, outputs], unfolded, turned, update);
        update = Update::Add;
    }
    result
}

/// Adds up partial gradients in their order.
fn sum_partials(shape: &ConvolutionShape, partials: &[Vec<f32>], blocks: usize, channels: usize) -> Vec<f32> {
    let (outputs, depth) = (shape.group_outputs(), shape.group_inputs() * shape.taps());
    let mut result = vec![0.0; shape.out_channels * depth];
    let rows = if shape.groups == 1 { BLOCK } else { outputs };
    parallel::for_each(result.par_chunks_mut((rows * depth).max(1)).enumerate(), |(at, result)| {
        let (group, first) = (at * rows / outputs, at * rows % outputs);
        for slice in partials.chunks_exact(shape.groups * blocks) {
            for (block, partial) in slice[group * blocks..(group + 1) * blocks].iter().enumerate() {
                let start = block * channels * shape.taps();
                let size = [partial.len() / outputs, result.len() / depth];
                transpose(&partial[first..], outputs, &mut result[start..], depth, size, |to, from| *to += from);
            }
        }
    });
    result
}

/// The gradient by the kernels of a depthwise convolution.
fn kernel_gradients(shape: &ConvolutionShape, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let tiling = Tiling::new(shape);
    let (outputs, taps) = (shape.group_outputs(), shape.taps());
    let mut result = vec![0.0; shape.out_channels * taps];
    parallel::for_each(result.par_chunks_mut((outputs * taps).max(1)).enumerate(), |(group, result)| {
        Scratch::with(|scratch| {
            for tile in (0..tiling.parts()).flat_map(|part| tiling.of_part(part)) {
                let padded = sized(&mut scratch.padded, tile.padded_len());
                tile.pad(input, &(group..group + 1), padded);
                let channels = group * outputs..(group + 1) * outputs;
                let (rows, step) = output_rows(shape, &tile, gradient, &channels, &mut scratch.gathered);
                for (row, result) in rows.chunks(step).zip(result.chunks_exact_mut(taps)) {
                    direct::kernel_gradient(&tile, padded, &row[..tile.positions()], result);
                }
            }
        });
    });
    result
}

/// The gradient by the bias: sums over images and positions.
pub(super) fn bias_gradient(shape: &ConvolutionShape, gradient: &[f32]) -> Vec<f32> {
    let plane = shape.output_plane();
    let sum = |channel: usize| {
        let planes = (0..shape.batch).map(|image| (image * shape.out_channels + channel) * plane);
        planes.map(|start| direct::sum(&gradient[start..start + plane])).sum()
    };
    (0..shape.out_channels).into_par_iter().map(sum).collect()
}
