//! Samples as pictures.

use std::path::Path;

use otfuse_runtime::dataset::encode_png;

use super::Generated;
use crate::{Error, Registry, Result};

/// The most samples of a row.
const MOST_COLUMNS: usize = 64;
/// Pixels between samples.
const GAP: usize = 2;
/// Samples smaller than this are drawn larger.
const LEAST_SIDE: usize = 48;

impl Generated {
    /// The first samples of all models, a row for each model and a column for each draw of noise, as PNG.
    ///
    /// # Errors
    /// Samples that are no images.
    pub fn grid(&self, columns: usize) -> Result<Vec<u8>> {
        drawn(&self.made, &self.report.shape, columns)
    }

    /// The samples of a walk through the noise, a row for each model, as PNG.
    ///
    /// # Errors
    /// Samples that are no images; that no walk was asked for.
    pub fn walk(&self) -> Result<Vec<u8>> {
        if self.walked.is_empty() {
            return Err(Error::input("no walk was made").hint("the option `walk` makes one"));
        }
        drawn(&self.walked, &self.report.shape, MOST_COLUMNS)
    }

    /// Stages the [grid](Self::grid) to be written.
    ///
    /// # Errors
    /// Samples that are no images, a path that cannot be written.
    pub fn write_grid(&self, registry: &Registry, path: &Path, columns: usize) -> Result<()> {
        registry.write(path, &self.grid(columns)?)
    }

    /// Stages the [walk](Self::walk) to be written.
    ///
    /// # Errors
    /// As there; a path that cannot be written.
    pub fn write_walk(&self, registry: &Registry, path: &Path) -> Result<()> {
        registry.write(path, &self.walk()?)
    }
}

/// Rows of samples as PNG.
fn drawn(rows: &[Vec<f32>], shape: &[usize], columns: usize) -> Result<Vec<u8>> {
    let Layout { channels, height, width, is_last } = Layout::of(shape)?;
    let size = channels * height * width;
    let most = rows.first().map_or(1, |row| row.len() / size).max(1);
    let columns = columns.clamp(1, MOST_COLUMNS.min(most));
    let scale = LEAST_SIDE.div_ceil(height.max(width)).max(1);
    let (down, along) = (height * scale + GAP, width * scale + GAP);
    let (tall, across) = (rows.len() * down + GAP, columns * along + GAP);
    let mut pixels = vec![255_u8; tall * across * 3];
    for (row, samples) in rows.iter().enumerate() {
        for (column, sample) in samples.chunks_exact(size).take(columns).enumerate() {
            for place in 0..height * scale * width * scale {
                let (y, x) = (place / (width * scale), place % (width * scale));
                let source = y / scale * width + x / scale;
                let target = ((row * down + GAP + y) * across + column * along + GAP + x) * 3;
                for colour in 0..3 {
                    let channel = colour.min(channels - 1);
                    let at = if is_last { source * channels + channel } else { channel * height * width + source };
                    pixels[target + colour] = (255.0 * sample[at].clamp(0.0, 1.0)).round() as u8;
                }
            }
        }
    }
    encode_png((across, tall), pixels).map_err(|problem| Error::run(format!("cannot write a picture: {problem}")))
}

/// How a sample is an image.
struct Layout {
    channels: usize,
    height: usize,
    width: usize,
    is_last: bool,
}

impl Layout {
    /// Of 1 or 3 channels, in front or behind, or one row as long as a square.
    fn of(shape: &[usize]) -> Result<Self> {
        let found = |channels, height, width, is_last| Ok(Self { channels, height, width, is_last });
        match *shape {
            [channels @ (1 | 3), height, width] => found(channels, height, width, false),
            [height, width, channels @ (1 | 3)] => found(channels, height, width, true),
            [height, width] => found(1, height, width, false),
            [count] => {
                for channels in [1, 3] {
                    let side = (count / channels).isqrt();
                    if side * side * channels == count {
                        return found(channels, side, side, false);
                    }
                }
                Err(no_image(shape))
            }
            _ => Err(no_image(shape)),
        }
    }
}

fn no_image(shape: &[usize]) -> Error {
    Error::input(format!("samples of shape {shape:?} are no images of 1 or 3 channels, of which no picture is made"))
        .hint("leave the pictures out: everything is measured without them")
}
