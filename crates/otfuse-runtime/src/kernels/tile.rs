//! Tiles: output positions that are computed together, so that what is unfolded for them stays in the cache.
//!
//! A tile covers some rows of one image's output, or the whole output of several images where that is small. Within
//! a tile, positions are ordered by row, column and image. With the image innermost, what a kernel's element reads
//! for a row of output is contiguous however short the rows are.

use std::ops::Range;

use super::shape::ConvolutionShape;

/// Output positions of a tile, roughly: enough to make use of the weights that are read for it.
const POSITIONS: usize = 256;
/// Parts that the images are cut into at least, as far as the tiles do not become too small.
const PARTS: usize = 4;
/// Positions that a product of matrices computes at once.
const VECTOR: usize = 16;
/// Elements of an unfolded tile, at most: half a MiB.
const UNFOLDED: usize = 1 << 17;

/// How the output is cut; a function of the shape only, so that results do not depend on the number of threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    shape: ConvolutionShape,
    /// Images of a tile.
    pub(super) images: usize,
    /// Rows of a tile: all if it has several images.
    rows: usize,
}

/// Images and rows of output.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    shape: ConvolutionShape,
    pub(super) images: Range<usize>,
    rows: Range<usize>,
}

impl Tiling {
    pub(super) fn new(shape: &ConvolutionShape) -> Self {
        let [rows, columns] = shape.axes.map(|axis| axis.output);
        if rows * columns > POSITIONS / 2 {
            let rows = (POSITIONS / columns).clamp(1, rows);
            return Self { shape: *shape, images: 1, rows };
        }
        let fewest = (POSITIONS / 2).div_ceil(rows * columns);
        let most = POSITIONS / (rows * columns);
        let images = shape.batch.div_ceil(PARTS).clamp(fewest, most);
        // Parts of equal size, as far as possible, in whole vectors.
        let images = shape.batch.div_ceil(shape.batch.div_ceil(images).max(1)).max(1);
        let whole = (images..images + VECTOR).find(|images| (images * rows * columns).is_multiple_of(VECTOR));
        let images = whole.filter(|_| shape.batch > images).unwrap_or(images);
        Self { shape: *shape, images, rows }
    }

    /// Groups of images that are computed independently of each other.
    pub(super) fn parts(&self) -> usize {
        self.shape.batch.div_ceil(self.images)
    }

    /// The tiles of a group of images.
    pub(super) fn of_part(self, part: usize) -> impl Iterator<Item = Tile> {
        let images = part * self.images..self.shape.batch.min((part + 1) * self.images);
        let rows = self.shape.axes[0].output;
        (0..rows.div_ceil(self.rows)).map(move |at| Tile {
            shape: self.shape,
            images: images.clone(),
            rows: at * self.rows..rows.min((at + 1) * self.rows),
        })
    }

    /// Input channels that are unfolded at once.
    pub(super) fn channels(&self) -> usize {
        let positions = self.images * self.rows * self.shape.axes[1].output;
        let [rows, columns] = self.shape.axes;
        let padded = rows.reach(self.rows) * columns.reach(columns.output) * self.images;
        let (inputs, most) = (self.shape.group_inputs(), UNFOLDED / (positions * self.shape.taps()).max(padded));
        // Blocks of equal size, as far as possible.
        inputs.div_ceil(inputs.div_ceil(most.max(1)))
    }
}

impl Tile {
    /// The number of output positions.
    pub(super) fn positions(&self) -> usize {
        self.rows.len() * self.shape.axes[1].output * self.images.len()
    }

    /// Elements of a kernel's plane.
    pub(super) fn taps(&self) -> usize {
        self.shape.taps()
    }

    /// Whether each position reads the one element of the padded tile at the same place.
    pub(super) fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.shape.axes.iter().all(|axis| axis.stride == 1)
    }

    /// The first of the tile's positions in an image's output plane.
    pub(super) fn offset(&self) -> usize {
        self.rows.start * self.shape.axes[1].output
    }

    /// Rows and columns of the padded input that the tile reads.
    fn reach(&self) -> [usize; 2] {
        let [rows, columns] = self.shape.axes;
        [rows.reach(self.rows.len()), columns.reach(columns.output)]
    }

    /// Elements of a channel of the padded input that the tile reads.
    pub(super) fn padded_len(&self) -> usize {
        let [rows, columns] = self.reach();
        rows * columns * self.images.len()
    }

    /// Calls `visit` with (start in the padded tile, start in the input, length) of the rows of input that the tile
    /// reads, for each of its images and `channels`.
    fn input_rows(&self, channels: &Range<usize>, mut visit: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = self.shape.axes;
        let [height, width] = self.reach();
        let top = self.rows.start * rows.stride;
        let (down, right) = (rows.within(top, height), columns.within(0, width));
        let count = self.images.len();
        for (at, channel) in channels.clone().enumerate() {
            for row in down.clone() {
                for (image, index) in self.images.clone().enumerate() {
                    let plane = index * self.shape.in_channels + channel;
                    let line = plane * rows.input + (top + row - rows.before);
                    let input = line * columns.input + right.start.saturating_sub(columns.before);
                    visit(((at * height + row) * width + right.start) * count + image, input, right.len());
                }
            }
        }
    }

    /// Copies the input of some channels with its padding: channels x rows x columns x images.
    pub(super) fn pad(&self, input: &[f32], channels: &Range<usize>, padded: &mut [f32]) {
        let count = self.images.len();
        padded.fill(0.0);
        self.input_rows(channels, |to, from, length| {
            let source = &input[from..from + length];
            if count == 1 {
                padded[to..to + length].copy_from_slice(source);
            } else {
                padded[to..].iter_mut().step_by(count).zip(source).for_each(|(to, &from)| *to = from);
            }
        });
    }

    /// The reverse of [`pad`](Self::pad): adds to the input; `first` is where the tile's first image begins in it.
    pub(super) fn unpad(&self, padded: &[f32], channels: &Range<usize>, input: &mut [f32], first: usize) {
        let count = self.images.len();
        self.input_rows(channels, |from, to, length| {
            let target = &mut input[to - first..to - first + length];
            target.iter_mut().zip(padded[from..].iter().step_by(count)).for_each(|(to, &from)| *to += from);
        });
    }

    /// Calls `visit` with (start in the padded channel, step there, start among the positions, length) of every run
    /// of positions whose elements under one kernel element lie `step` runs of images apart.
    pub(super) fn runs(&self, tap: usize, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let [rows, columns] = self.shape.axes;
        let [_, width] = self.reach();
        let count = self.images.len();
        let (down, right) = (tap / columns.kernel * rows.dilation, tap % columns.kernel * columns.dilation);
        let whole = rows.stride == 1 && columns.stride == 1 && width == columns.output;
        let (lines, length) =
            if whole { (1, self.rows.len() * columns.output) } else { (self.rows.len(), columns.output) };
        for line in 0..lines {
            let start = ((line * rows.stride + down) * width + right) * count;
            if columns.stride == 1 {
                visit(start, line * length * count, length * count, 1);
            } else if count == 1 {
                visit(start, line * length, length, columns.stride);
            } else {
                for at in 0..length {
                    visit(start + at * columns.stride * count, (line * length + at) * count, count, 1);
                }
            }
        }
    }

    /// Unfolds padded channels: (channels x taps) rows of as many elements as there are positions.
    pub(super) fn unfold(&self, padded: &[f32], unfolded: &mut [f32]) {
        let (positions, taps) = (self.positions(), self.shape.taps());
        let planes = padded.chunks_exact(self.padded_len());
        for (plane, rows) in planes.zip(unfolded.chunks_exact_mut(positions * taps)) {
            for (tap, row) in rows.chunks_exact_mut(positions).enumerate() {
                self.runs(tap, |from, to, length, step| {
                    let target = &mut row[to..to + length];
                    if step == 1 {
                        copy(&plane[from..from + length], target);
                    } else {
                        target.iter_mut().zip(plane[from..].iter().step_by(step)).for_each(|(to, &from)| *to = from);
                    }
                });
            }
        }
    }

    /// The reverse of [`unfold`](Self::unfold): adds each element to where it came from.
    pub(super) fn fold(&self, unfolded: &[f32], padded: &mut [f32]) {
        let (positions, taps) = (self.positions(), self.shape.taps());
        let planes = padded.chunks_exact_mut(self.padded_len());
        for (plane, rows) in planes.zip(unfolded.chunks_exact(positions * taps)) {
            for (tap, row) in rows.chunks_exact(positions).enumerate() {
                self.runs(tap, |to, from, length, step| {
                    let source = &row[from..from + length];
                    if step == 1 {
                        plane[to..to + length].iter_mut().zip(source).for_each(|(to, &from)| *to += from);
                    } else {
                        plane[to..].iter_mut().step_by(step).zip(source).for_each(|(to, &from)| *to += from);
                    }
                });
            }
        }
    }

    /// Copies the tile's part of output planes, channels x positions; `first` is where the tile's first image begins.
    pub(super) fn gather(&self, output: &[f32], channels: &Range<usize>, first: usize, gathered: &mut [f32]) {
        let (plane, count) = (self.shape.output_plane(), self.images.len());
        for (channel, row) in channels.clone().zip(gathered.chunks_exact_mut(self.positions())) {
            for image in 0..count {
                let start = first + (image * self.shape.out_channels + channel) * plane + self.offset();
                let source = &output[start..start + row.len() / count];
                row[image..].iter_mut().step_by(count).zip(source).for_each(|(to, &from)| *to = from);
            }
        }
    }

    /// The reverse of [`gather`](Self::gather).
    pub(super) fn scatter(&self, gathered: &[f32], channels: &Range<usize>, output: &mut [f32]) {
        let (plane, count) = (self.shape.output_plane(), self.images.len());
        for (channel, row) in channels.clone().zip(gathered.chunks_exact(self.positions())) {
            for image in 0..count {
                let start = (image * self.shape.out_channels + channel) * plane + self.offset();
                let target = &mut output[start..start + row.len() / count];
                target.iter_mut().zip(row[image..].iter().step_by(count)).for_each(|(to, &from)| *to = from);
            }
        }
    }
}

/// Copies a short run without a call.
fn copy(source: &[f32], target: &mut [f32]) {
    const LANES: usize = 8;
    let (source, source_rest) = source.as_chunks::<LANES>();
    let (target, target_rest) = target.as_chunks_mut::<LANES>();
    source.iter().zip(target).for_each(|(from, to)| *to = *from);
    source_rest.iter().zip(target_rest).for_each(|(from, to)| *to = *from);
}
