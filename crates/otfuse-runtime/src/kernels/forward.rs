//! Convolution: weights times unfolded tiles.

use std::ops::Range;

use otfuse_transport::matrix::{Matrix, Update, product};
use rayon::prelude::*;

use super::direct;
use super::parallel;
use super::scratch::{Scratch, sized};
use super::shape::ConvolutionShape;
use super::tile::{Tile, Tiling};

/// Output channels computed together, at least, if few images make it necessary to divide the channels.
const FEWEST_CHANNELS: usize = 16;
/// Units of work that few images are divided into.
const UNITS: usize = 4;

/// `O(output elements x input channels of a group x kernel elements)`; unfolds a tile at a time on each thread.
pub(super) fn convolution(shape: &ConvolutionShape, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let tiling = Tiling::new(shape);
    let mut output = vec![0.0; shape.output().iter().product()];
    let block = if tiling.images == 1 { channel_block(shape) } else { shape.out_channels };
    let unit = tiling.images * block * shape.output_plane();
    let blocks = shape.out_channels / block;
    parallel::for_each(output.par_chunks_mut(unit.max(1)).enumerate(), |(at, output)| {
        let first = at % blocks * block;
        let work = Work { shape, tiling, input, weight, bias, channels: first..first + block };
        Scratch::with(|scratch| tiling.of_part(at / blocks).for_each(|tile| work.tile(&tile, scratch, output)));
    });
    output
}

/// Output channels of a unit of work: a divisor of their number, so that units are stretches of the output.
fn channel_block(shape: &ConvolutionShape) -> usize {
    if shape.batch >= UNITS {
        return shape.out_channels;
    }
    if shape.groups > 1 {
        return shape.group_outputs();
    }
    let fits = |parts: &usize| shape.out_channels.is_multiple_of(*parts);
    let most = (shape.out_channels / FEWEST_CHANNELS).max(1);
    shape.out_channels / (1..=most.min(2 * UNITS)).rev().find(fits).unwrap_or(1)
}

struct Work<'a> {
    shape: &'a ConvolutionShape,
    tiling: Tiling,
    input: &'a [f32],
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    /// The output channels that are computed.
    channels: Range<usize>,
}

impl Work<'_> {
    /// `output` begins with the first of the channels of the tile's first image.
    fn tile(&self, tile: &Tile, scratch: &mut Scratch, output: &mut [f32]) {
        let (shape, size) = (self.shape, self.shape.group_outputs());
        for group in self.channels.start / size..self.channels.end.div_ceil(size) {
            let outputs = self.channels.start.max(group * size)..self.channels.end.min((group + 1) * size);
            if tile.images.len() == 1 {
                let start = (outputs.start - self.channels.start) * shape.output_plane() + tile.offset();
                self.group(tile, group, &outputs, scratch, &mut output[start..], shape.output_plane());
            } else {
                let mut gathered = std::mem::take(&mut scratch.gathered);
                let rows = sized(&mut gathered, outputs.len() * tile.positions());
                self.group(tile, group, &outputs, scratch, rows, tile.positions());
                tile.scatter(rows, &outputs, output);
                scratch.gathered = gathered;
            }
        }
    }

    /// Output channels of one group, `step` apart.
    fn group(
        &self,
        tile: &Tile,
        group: usize,
        outputs: &Range<usize>,
        scratch: &mut Scratch,
        rows: &mut [f32],
        step: usize,
    ) {
        let positions = tile.positions();
        if let Some(bias) = self.bias {
            let biases = &bias[outputs.clone()];
            rows.chunks_mut(step).zip(biases).for_each(|(row, &bias)| row[..positions].fill(bias));
        }
        let inputs = self.shape.group_inputs();
        let (first, depth) = (group * inputs, inputs * self.shape.taps());
        if direct::pays(self.shape) {
            let padded = sized(&mut scratch.padded, tile.padded_len());
            tile.pad(self.input, &(first..first + 1), padded);
            for (row, output) in rows.chunks_mut(step).zip(outputs.clone()) {
                let row = &mut row[..positions];
                if self.bias.is_none() {
                    row.fill(0.0);
                }
                direct::correlate(tile, padded, &self.weight[output * depth..(output + 1) * depth], row);
            }
            return;
        }
        let block = self.tiling.channels();
        for start in (0..inputs).step_by(block) {
            let channels = first + start..first + inputs.min(start + block);
            let unfolded = unfolded(tile, self.input, &channels, &mut scratch.padded, &mut scratch.unfolded);
            let width = channels.len() * self.shape.taps();
            let weight = &self.weight[outputs.start * depth + start * self.shape.taps()..];
            let (left, right) = (Matrix::row_major(weight, depth), Matrix::row_major(unfolded, positions));
            let update = if start > 0 || self.bias.is_some() { Update::Add } else { Update::Replace };
            product(rows, step, [outputs.len(), width, positions], left, right, update);
        }
    }
}

/// The input of some channels, (channels x taps) x positions.
pub(super) fn unfolded<'a>(
    tile: &Tile,
    input: &[f32],
    channels: &Range<usize>,
    padded: &'a mut Vec<f32>,
    unfolded: &'a mut Vec<f32>,
) -> &'a [f32] {
    let padded = sized(padded, channels.len() * tile.padded_len());
    tile.pad(input, channels, padded);
    if tile.is_pointwise() {
        return padded;
    }
    let unfolded = sized(unfolded, channels.len() * tile.taps() * tile.positions());
    tile.unfold(padded, unfolded);
    unfolded
}
