//! Images as arrays: moved, mirrored, and how rough they are.

use rayon::prelude::*;

/// How a batch of images of so many planes of `height x width` is moved (around its edges) and mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Motion {
    pub(super) down: usize,
    pub(super) right: usize,
    pub(super) mirrored: bool,
}

impl Motion {
    fn source(self, row: usize, column: usize, height: usize, width: usize) -> usize {
        let column = if self.mirrored { width - 1 - column } else { column };
        let (row, column) =
            ((row + height - self.down % height) % height, (column + width - self.right % width) % width);
        row * width + column
    }

    /// The images, moved; `back` undoes it.
    pub(super) fn apply(self, images: &[f32], height: usize, width: usize, back: bool) -> Vec<f32> {
        if self == Self::default() {
            return images.to_vec();
        }
        let plane = (height * width).max(1);
        let mut moved = vec![0.0; images.len()];
        moved.par_chunks_mut(plane).zip(images.par_chunks(plane)).for_each(|(to, from)| {
            for row in 0..height {
                for column in 0..width {
                    let (here, there) = (row * width + column, self.source(row, column, height, width));
                    if back { to[there] = from[here] } else { to[here] = from[there] }
                }
            }
        });
        moved
    }
}

/// Adds the gradient of `weight` times the mean squared difference between neighbours, down and to the right.
pub(super) fn add_variation(images: &[f32], height: usize, width: usize, weight: f64, gradient: &mut [f32]) {
    let plane = (height * width).max(1);
    let planes = (images.len() / plane) as f64;
    let factor = |pairs: usize| if pairs == 0 { 0.0 } else { (2.0 * weight / (planes * pairs as f64)) as f32 };
    let (down, right) = (factor(height.saturating_sub(1) * width), factor(height * width.saturating_sub(1)));
    gradient.par_chunks_mut(plane).zip(images.par_chunks(plane)).for_each(|(gradient, x)| {
        for row in 0..height {
            for column in 0..width {
                let here = row * width + column;
                if row + 1 < height {
                    let step = down * (x[here + width] - x[here]);
                    gradient[here] -= step;
                    gradient[here + width] += step;
                }
                if column + 1 < width {
                    let step = right * (x[here + 1] - x[here]);
                    gradient[here] -= step;
                    gradient[here + 1] += step;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_comes_back() {
        let images: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let motion = Motion { down: 1, right: 3, mirrored: true };
        let moved = motion.apply(&images, 3, 4, false);
        assert_ne!(moved, images);
        assert_eq!(motion.apply(&moved, 3, 4, true), images);
        let shifted = Motion { down: 1, ..Motion::default() }.apply(&images, 3, 4, false);
        assert_eq!(shifted[4..8], images[0..4]);
    }

    #[test]
    fn the_gradient_of_the_variation_is_that_of_differences() {
        let (height, width, weight) = (3, 4, 0.7);
        let images: Vec<f32> = (0..24).map(|at| ((at * 7) % 11) as f32 / 3.0).collect();
        let value = |x: &[f32]| {
            let (mut down, mut right) = (0.0, 0.0);
            for plane in x.chunks(12) {
                for row in 0..3 {
                    for column in 0..4 {
                        let at = row * 4 + column;
                        down += if row < 2 { f64::from(plane[at + 4] - plane[at]).powi(2) } else { 0.0 };
                        right += if column < 3 { f64::from(plane[at + 1] - plane[at]).powi(2) } else { 0.0 };
                    }
                }
            }
            weight * (down / 16.0 + right / 18.0)
        };
        let mut gradient = vec![0.0; 24];
        add_variation(&images, height, width, weight, &mut gradient);
        for at in 0..24 {
            let moved = |step: f32| {
                let mut x = images.clone();
                x[at] += step;
                value(&x)
            };
            let expected = (moved(0.01) - moved(-0.01)) / 0.02;
            assert!((f64::from(gradient[at]) - expected).abs() < 1e-3, "{at}: {} {expected}", gradient[at]);
        }
    }
}
